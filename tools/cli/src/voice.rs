//! How a model is talked with: its template and tokenizer, and one answer from prompt to end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use qwip::chat::{
    ChatTemplate, Guarded, Message, Part, RenderOptions, ThinkingSplitter, prompt_opens_thinking,
};
use qwip::constrain::{Constraint, Thinking};
use qwip::sample::SamplingChoice;
use qwip::tokenizer::Special;
use qwip::{
    Cancel, FinishReason, GenerateOptions, Generation, ModelFile, Sampler, SamplingParams, Session, Tokenizer,
};

use crate::args::{AnswerArgs, SamplingArgs, Think};
use crate::output;

/// The template and the tokenizer of a file.
pub(crate) struct Voice {
    pub(crate) tokenizer: Tokenizer,
    /// None for a base model, which only continues text.
    template: Option<ChatTemplate>,
    /// Whether the template knows of thinking.
    pub(crate) thinks: bool,
    bos: Option<String>,
    eos: Option<String>,
}

/// What a model is asked: the tokens, and whether the answer begins inside the thinking.
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    inside_thinking: bool,
}

impl Voice {
    /// Reads both from a file. A file without a template of its own but with ChatML's tokens gets plain ChatML.
    pub(crate) fn new(file: &ModelFile, tokenizer: Tokenizer) -> anyhow::Result<Voice> {
        let source = file.header().str("tokenizer.chat_template")?;
        let template = match source {
            Some(source) => Some(ChatTemplate::parse(source)?),
            None if tokenizer.find("<|im_start|>").is_some() => Some(ChatTemplate::chatml()),
            None => None,
        };
        let text = |id: Option<u32>| Some(tokenizer.decode(&[id?], true));
        let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos()));
        let thinks = source.is_some_and(|source| source.contains("<think>"));
        Ok(Voice { template, thinks, bos, eos, tokenizer })
    }

    /// The template, which a base model does not have.
    pub(crate) fn check_chat(&self) -> anyhow::Result<&ChatTemplate> {
        self.template
            .as_ref()
            .context("the model has no chat template, it only continues text: use `qwip run --raw`")
    }

    /// The prompt of a conversation.
    pub(crate) fn prompt(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        think: Think,
    ) -> anyhow::Result<Prompt> {
        let template = self.check_chat()?;
        let options = RenderOptions {
            add_generation_prompt: true,
            thinking: match think {
                Think::On => Some(true),
                Think::Off => Some(false),
                Think::Auto => None,
            },
            bos_token: self.bos.clone(),
            eos_token: self.eos.clone(),
            ..RenderOptions::default()
        };
        let guarded = Guarded::new(&self.tokenizer, messages, tools)?;
        let text = template.render(guarded.messages(), guarded.tools(), &options)?;
        let tokens = guarded.encode(&self.tokenizer, &text);
        let inside_thinking = prompt_opens_thinking(&text);
        Ok(Prompt { text: guarded.text(&text), tokens, inside_thinking })
    }

    /// The prompt that is exactly this text, control tokens included.
    pub(crate) fn raw_prompt(&self, text: String) -> Prompt {
        let tokens = self.tokenizer.encode_with_bos(&text, Special::Parse);
        Prompt { text, tokens, inside_thinking: false }
    }

    /// Whether the model thinks if it is asked to like this: the prompt says, since some do not by themselves, and some
    /// always do.
    fn is_thinking(&self, think: Think) -> bool {
        let prompt = || self.prompt(&[Message::user("Hi")], &[], think).map(|prompt| prompt.text);
        self.thinks
            && match (think, prompt()) {
                (Think::Off, Ok(prompt)) => prompt_opens_thinking(&prompt),
                (_, Ok(prompt)) => !prompt.trim_end().ends_with("</think>"),
                (_, Err(_)) => think != Think::Off,
            }
    }

    /// What a constraint has to leave free of an answer to a chat's prompt.
    pub(crate) fn thinking_before(&self, prompt: &Prompt, think: Think) -> Thinking {
        match prompt.inside_thinking {
            true => Thinking::Inside,
            false if self.is_thinking(think) => Thinking::MayOpen,
            false => Thinking::None,
        }
    }

    /// The settings of the draw: flags over the file's over the family's.
    pub(crate) fn sampling(
        &self,
        file: &ModelFile,
        think: Think,
        flags: &SamplingArgs,
    ) -> anyhow::Result<SamplingParams> {
        let thinking = self.is_thinking(think);
        let choice = SamplingChoice {
            temperature: flags.temp,
            top_k: flags.top_k,
            top_p: flags.top_p,
            min_p: flags.min_p,
            repeat_penalty: flags.repeat_penalty,
            presence_penalty: flags.presence_penalty,
            frequency_penalty: flags.frequency_penalty,
            penalty_last_n: flags.repeat_last_n,
        };
        let params = match SamplingParams::for_model(file.header(), thinking, &choice) {
            Err(error @ qwip::Error::BadOption { .. }) => return Err(output::usage(error.to_string())),
            other => other.with_context(|| file.path().display().to_string())?,
        };
        let seed = flags.seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or_else(new_seed);
        Ok(SamplingParams { seed, ..params })
    }
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
    let mut generation = Generation::new(session, &voice.tokenizer, sampler.clone(), options.clone())?;
    if let Some(constraint) = constraint {
        generation.constrain(constraint);
    }
    let reason = generation.run(session, &voice.tokenizer, cancel, &mut |piece| {
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
