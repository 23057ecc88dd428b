//! One answer from prompt to end, as the flags say.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use qwip::chat::{ChatError, Message, Part, Prompt, RenderOptions, ThinkingSplitter, Voice};
use qwip::constrain::Constraint;
use qwip::{Cancel, FinishReason, GenerateOptions, Generation, ModelFile, Sampler, SamplingParams, Session};

use crate::args::{AnswerArgs, SamplingArgs, Think};
use crate::model_arg::Opened;
use crate::output;

/// The template and the tokenizer of a file.
pub(crate) fn of(opened: &Opened) -> anyhow::Result<Voice> {
    Voice::new(opened.model.file(), opened.tokenizer()?).with_context(|| opened.name.clone())
}

/// The prompt of a conversation.
pub(crate) fn prompt(
    voice: &Voice,
    messages: &[Message],
    tools: &[serde_json::Value],
    think: Think,
) -> anyhow::Result<Prompt> {
    let options = RenderOptions { thinking: wish(think), ..RenderOptions::default() };
    voice.prompt(messages, tools, &options).map_err(explained)
}

/// Fails for a base model.
pub(crate) fn check_chat(voice: &Voice) -> anyhow::Result<()> {
    voice.template().map(|_| ()).map_err(explained)
}

fn explained(error: ChatError) -> anyhow::Error {
    match error {
        ChatError::NoTemplate => anyhow!("{error}: use `qwip run --raw`"),
        other => other.into(),
    }
}

/// What the template is told.
pub(crate) fn wish(think: Think) -> Option<bool> {
    match think {
        Think::On => Some(true),
        Think::Off => Some(false),
        Think::Auto => None,
    }
}

/// The settings of the draw: flags over the file's over the family's.
pub(crate) fn sampling(
    voice: &Voice,
    file: &ModelFile,
    think: Think,
    flags: &SamplingArgs,
) -> anyhow::Result<SamplingParams> {
    let params = match voice.sampling(file, wish(think), &flags.choice()) {
        Err(error @ qwip::Error::BadOption { .. }) => return Err(output::usage(error.to_string())),
        other => other.with_context(|| file.path().display().to_string())?,
    };
    let seed = flags.seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or_else(new_seed);
    Ok(SamplingParams { seed, ..params })
}

/// The settings of the draw, in words.
pub(crate) fn in_effect(params: &SamplingParams) -> String {
    let p = params;
    let mut text = match p.temperature == 0.0 {
        true => "the most probable token".to_string(),
        false => {
            format!("temperature {}, top-k {}, top-p {}, min-p {}", p.temperature, p.top_k, p.top_p, p.min_p)
        }
    };
    let penalties = [
        ("repeat", p.repeat_penalty, 1.0),
        ("presence", p.presence_penalty, 0.0),
        ("frequency", p.frequency_penalty, 0.0),
    ];
    for (name, value, off) in penalties {
        if value != off {
            text += &format!(", {name} penalty {value}");
        }
    }
    format!("{text}, seed {}", p.seed)
}

/// A seed that nobody chose, short enough to be typed again.
fn new_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The hasher's keys come from the operating system.
    std::hash::RandomState::new().build_hasher().finish() & 0xffff_ffff
}

/// How an answer ends, from the flags.
pub(crate) fn generate_options(args: &AnswerArgs) -> GenerateOptions {
    GenerateOptions {
        // Negative: no limit, as in llama.cpp.
        max_tokens: args.predict.and_then(|n| usize::try_from(n).ok()),
        stop: args.stop.clone(),
        ignore_eos: args.ignore_eos,
        thinking_budget: args.think_budget.and_then(|n| usize::try_from(n).ok()),
        loop_guard: !args.no_loop_guard,
        ..GenerateOptions::default()
    }
}

/// An answer and how long it took.
pub(crate) struct Answer {
    pub(crate) thinking: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    pub(crate) reason: FinishReason,
    pub(crate) prompt_tokens: usize,
    /// Tokens of the prompt that had to be computed.
    pub(crate) evaluated: usize,
    pub(crate) prompt_time: Duration,
    pub(crate) answer_time: Duration,
}

/// Evaluates the prompt and answers it, held to `constraint` if there is one; `show` gets the parts as they come.
///
/// Interrupted inside the prompt it is an error, later an answer with that reason.
pub(crate) fn answer(
    session: &mut Session,
    voice: &Voice,
    sampler: &mut Sampler,
    prompt: &Prompt,
    options: &GenerateOptions,
    constraint: Option<Box<dyn Constraint>>,
    cancel: &Cancel,
    show: &mut dyn FnMut(Part<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let mut meter = None;
    let total = prompt.tokens.len();
    let mut before = 0;
    let evaluated = session.prompt(&prompt.tokens, cancel, &mut |done| {
        if total > LONG_PROMPT {
            let meter = meter.get_or_insert_with(|| {
                crate::progress::Meter::new("reading the prompt", total as u64, crate::progress::Unit::Tokens)
            });
            meter.advance((done - before) as u64, "");
            before = done;
        }
    })?;
    drop(meter);
    let prompt_time = started.elapsed();

    let started = Instant::now();
    let mut splitter = ThinkingSplitter::new(prompt.inside_thinking);
    let (mut thinking, mut text) = (String::new(), String::new());
    let mut shown = Ok(());
    let mut take = |part: Part<'_>| {
        match part {
            Part::Thinking(more) => thinking.push_str(more),
            Part::Answer(more) => text.push_str(more),
        }
        if shown.is_ok() {
            shown = show(part);
        }
        shown.is_ok()
    };
    let mut go_on = true;
    let mut generation = Generation::new(session, voice.tokenizer(), sampler.clone(), options.clone())?;
    if let Some(constraint) = constraint {
        generation.constrain(constraint);
    }
    let reason = generation.run(session, voice.tokenizer(), cancel, &mut |piece| {
        splitter.push(piece.text, &mut |part| go_on &= take(part));
        if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let (tokens, as_it_is_now) = generation.into_parts();
    *sampler = as_it_is_now;
    splitter.finish(&mut |part| {
        take(part);
    });
    shown?;
    let answer_time = started.elapsed();
    Ok(Answer { thinking, text, tokens, reason, prompt_tokens: total, evaluated, prompt_time, answer_time })
}

/// Prompts of more tokens show how far they have been read.
const LONG_PROMPT: usize = 1024;

impl Answer {
    /// Tokens a second of the prompt.
    pub(crate) fn prompt_rate(&self) -> f64 {
        self.evaluated as f64 / self.prompt_time.as_secs_f64().max(1e-9)
    }

    /// Tokens a second of the answer.
    pub(crate) fn answer_rate(&self) -> f64 {
        self.tokens.len() as f64 / self.answer_time.as_secs_f64().max(1e-9)
    }

    /// One line about the time it took.
    pub(crate) fn timing(&self) -> String {
        format!(
            "prompt {} tokens ({} new), {:.1} t/s; answer {} tokens, {:.1} t/s",
            self.prompt_tokens,
            self.evaluated,
            self.prompt_rate(),
            self.tokens.len(),
            self.answer_rate()
        )
    }
}

/// What the model said before, as the template sees it. Templates drop the thinking where the model wants that.
pub(crate) fn said(thinking: &str, text: &str) -> Message {
    match thinking.is_empty() {
        true => Message::assistant(text),
        false => Message::assistant(&format!("<think>\n{thinking}\n</think>\n\n{text}")),
    }
}

/// The tools of a file: a JSON list of objects as in OpenAI's requests.
pub(crate) fn parse_tools(text: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let value: serde_json::Value = serde_json::from_str(text).context("not JSON")?;
    match value {
        serde_json::Value::Array(tools) if tools.iter().all(serde_json::Value::is_object) => Ok(tools),
        _ => bail!("expected a list of tools: [{{\"type\": \"function\", \"function\": {{...}}}}]"),
    }
}
