//! `qwip run`: one prompt, one answer.

use std::path::Path;

use anyhow::Context;
use qwip::chat::Message;
use qwip::constrain::{Grammar, Thinking, Vocabulary};
use qwip::{FinishReason, Sampler, Session};
use serde_json::json;

use crate::args::RunArgs;
use crate::chat::ChatArgs;
use crate::model_arg::{self, Opened};
use crate::output::{Ending, line, note, usage};
use crate::screen::{Look, Screen};
use crate::voice::{self, Answer};
use crate::{builtin, chat, device, input, interrupt, running};

pub(crate) fn run(args: RunArgs) -> anyhow::Result<()> {
    let name = model_arg::choose(&args.model)?;
    let schema = args.json_schema.as_deref().map(schema).transpose()?;
    let Some(text) = prompt_text(&args)? else {
        if schema.is_some() {
            return Err(usage("--json-schema is for one answer: give a prompt with -p TEXT or -f FILE"));
        }
        let RunArgs { model, answer, look, compute, sampling, .. } = args;
        return chat::run(ChatArgs {
            model,
            answer,
            look,
            compute,
            sampling,
            ..ChatArgs::from_environment()?
        });
    };
    let armed = interrupt::arm();
    let started = std::time::Instant::now();
    let opened = Opened::new(&name, &args.compute)?;
    if opened.is_builtin() && !args.json {
        note(format_args!("qwip: note: {}", builtin::NOTICE));
    }
    opened.check_answers()?;
    let file = opened.model.file();
    let voice = voice::of(&opened)?;
    let prompt = if args.raw {
        voice.raw_prompt(text)
    } else {
        let system = args.answer.system.iter().map(|text| Message::system(text));
        let messages: Vec<Message> = system.chain([Message::user(&text)]).collect();
        voice::prompt(&voice, &messages, &[], args.answer.think).with_context(|| opened.name.clone())?
    };
    let constraint = schema.map(|grammar| {
        let thinking = match args.raw {
            true => Thinking::None,
            false => voice.thinking_before(&prompt, voice::wish(args.answer.think)),
        };
        let vocabulary = Vocabulary::new(voice.tokenizer(), opened.model.config().vocab)?;
        vocabulary.constraint(&grammar, thinking)
    });
    let constraint = constraint.transpose()?;
    let is_constrained = constraint.is_some();
    let params = voice::sampling(&voice, file, args.answer.think, &args.sampling)?;
    let (seed, in_effect) = (params.seed, voice::in_effect(&params));
    let mut session = opened.session_with_notes()?;
    let load_time = started.elapsed();
    model_arg::remember(&args.model, &opened);
    let _running = running::register("run", &opened);

    // Without a template it is no Markdown that the model writes, nor is JSON.
    let look = Look { markdown: !args.look.no_markdown && !args.raw && !is_constrained, fold: false };
    let mut screen = Screen::new(look);
    let mut sampler = Sampler::new(params);
    let answer = voice::answer(
        &mut session,
        &voice,
        &mut sampler,
        &prompt,
        &voice::generate_options(&args.answer),
        constraint,
        interrupt::flag(),
        &mut |part| if args.json { Ok(()) } else { screen.show(part) },
    )?;
    screen.finish()?;
    drop(armed);
    if args.json {
        line(json_of(&answer, &opened, &session, seed, load_time))?;
    }
    if answer.reason == FinishReason::Repetition && !args.json {
        note("qwip: note: stopped: the answer repeats itself (--no-loop-guard lets it)");
    }
    if answer.reason == FinishReason::ContextFull && !args.json {
        note(format_args!(
            "qwip: note: the context of {} tokens is full (raise it with -c)",
            opened.context()
        ));
    }
    if is_constrained && answer.reason == FinishReason::Length && !args.json {
        note("qwip: note: the answer is cut off at -n: it is not all of the JSON");
    }
    if args.answer.verbose {
        note(format_args!(
            "qwip: {} ({}), {}{} threads, {}, context {}, {in_effect}, load {:.0} ms; {}; cache {}",
            opened.name,
            opened.model.architecture(),
            device::of(&session).map_or(String::new(), |name| format!("{name}, ")),
            opened.cpu.pool.threads(),
            opened.cpu.kernels.isa,
            opened.context(),
            load_time.as_secs_f64() * 1e3,
            answer.timing(),
            crate::output::bytes(session.kv_bytes())
        ));
    }
    match answer.reason {
        FinishReason::Cancelled => Err(Ending::Interrupted.into()),
        _ => Ok(()),
    }
}

/// The schema that an argument is, or that is in the file of that name.
fn schema(argument: &str) -> anyhow::Result<Grammar> {
    let (text, name) = match argument.trim_start().starts_with('{') {
        true => (argument.to_string(), "--json-schema"),
        false => (input::read(Path::new(argument))?, argument),
    };
    let schema = serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
    Ok(Grammar::json_schema(&schema))
}

/// The prompt, or `None` where a person at a terminal should be asked.
fn prompt_text(args: &RunArgs) -> anyhow::Result<Option<String>> {
    let text = match (&args.prompt, &args.file) {
        (Some(text), None) => text.clone(),
        // What is to be done with the file comes last: models heed that best.
        (Some(text), Some(path)) => format!("{}\n\n{text}", input::read_prompt(path)?.trim_end()),
        (None, Some(path)) => input::read_prompt(path)?,
        (None, None) if input::from_terminal() => return Ok(None),
        (None, None) if args.json_schema.as_deref() == Some("-") => {
            return Err(usage(
                "the schema comes from standard input: give the prompt with -p TEXT or -f FILE",
            ));
        }
        (None, None) => input::read_stdin()?,
    };
    if text.trim().is_empty() {
        return Err(usage("there is no prompt: give one with -p TEXT, -f FILE or on standard input"));
    }
    // The newline that ends a file or an echo is not meant.
    let meant = if args.prompt.is_some() || args.raw { &text } else { text.trim_end_matches(['\n', '\r']) };
    Ok(Some(meant.to_string()))
}

fn json_of(
    answer: &Answer,
    opened: &Opened,
    session: &Session,
    seed: u64,
    load_time: std::time::Duration,
) -> serde_json::Value {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let mut object = json!({
        "text": answer.text,
        "thinking": if answer.thinking.is_empty() { None } else { Some(&answer.thinking) },
        "tokens": answer.tokens,
        "finish_reason": answer.reason.as_str(),
        "context_full": answer.reason == FinishReason::ContextFull,
        "timings": {
            "load_ms": ms(load_time),
            "prompt_tokens": answer.prompt_tokens,
            "prompt_ms": ms(answer.prompt_time),
            "prompt_per_second": answer.prompt_rate(),
            "answer_tokens": answer.tokens.len(),
            "answer_ms": ms(answer.answer_time),
            "answer_per_second": answer.answer_rate(),
        },
        "seed": seed,
        "model": opened.name,
    });
    device::add_to(&mut object, session);
    object
}
