//! From logits to text: the loop that samples, detokenizes, watches for the end and can be stopped.

mod budget;
pub mod repetition;
mod stop;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::model::Task;
use crate::sample::Sampler;
use crate::session::{Cancel, Session};
use crate::tokenizer::{Detokenizer, Special, Tokenizer};
use budget::Budget;
pub use budget::CLOSING_WORDS;
use repetition::Guard;
use stop::StopStrings;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said so (an end-of-generation token), or a stop string appeared.
    Stop,
    /// The limit on new tokens was reached.
    Length,
    /// The context is full.
    ContextFull,
    /// The caller stopped it.
    Cancelled,
    /// It had become a cycle without end ([`repetition`]).
    Repetition,
}

impl FinishReason {
    /// The field's word for it: `stop`, `length`; for what the field has none, `cancelled` and `repetition`.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length | FinishReason::ContextFull => "length",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Repetition => "repetition",
        }
    }
}

/// Limits of one answer.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Most new tokens; `None` goes on until the context is full.
    pub max_tokens: Option<usize>,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// Emit the text of control tokens too.
    pub show_control: bool,
    /// Ignore end-of-generation tokens.
    pub ignore_eos: bool,
    /// Most tokens of thinking, `<think>` not counted; `None` is no limit. When they are used up, the runtime goes on in the
    /// model's place: it adds [`CLOSING_WORDS`], which end the thinking, and the model answers. These tokens are part of the
    /// answer, of its length and of the session as if the model had said them, except that no stop string counts in
    /// them. With 0 the thinking is closed at once, as templates close it. (A character is not broken: thinking may take
    /// the few tokens more that complete it.)
    pub thinking_budget: Option<usize>,
    /// End an answer that repeats itself without end, by the rule of [`repetition`]. With `ignore_eos` it does not count:
    /// that asks for all tokens there are.
    pub loop_guard: bool,
}

/// No limits but the context and the loop guard.
impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            max_tokens: None,
            stop: Vec::new(),
            show_control: false,
            ignore_eos: false,
            thinking_budget: None,
            loop_guard: true,
        }
    }
}

/// What an answer came to.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Why it ended.
    pub reason: FinishReason,
    /// The new tokens, the one that ended it not included.
    pub tokens: Vec<u32>,
}

/// Continues a session that has logits. The last tokens of the answer are not evaluated; the next call to
/// [`Session::prompt`] does that. `sink` receives text as it becomes certain (never half a character,
/// never the beginning of a stop string) and may break off.
///
/// # Errors
/// [`Error::OtherTask`] if the model is not for answers. What [`Session::extend`] reports, except that cancelling is a way to
/// finish, not an error.
pub fn generate(
    session: &mut Session,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    options: &GenerateOptions,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Generated> {
    session.model().allows(Task::Generate)?;
    let mut tokens = Vec::new();
    let mut detokenizer = Detokenizer::after(tokenizer, session.tokens(), options.show_control);
    let mut stops = StopStrings::new(&options.stop);
    let mut text = String::new();
    if options.max_tokens == Some(0) {
        return Ok(Generated { reason: FinishReason::Length, tokens });
    }
    // On a device few numbers are enough to go on with, and all logits would take long to get here.
    let allowed = session.chooses().then(|| tokenizer.sampleable(session.model().config().vocab));
    let (mut candidates, mut recent) = (None, Vec::new());
    let mut guard = (options.loop_guard && !options.ignore_eos).then(Guard::new);
    let mut budget = options.thinking_budget.map(|tokens| Budget::new(tokens, session, tokenizer));
    // Tokens that come in place of the model's, and those that are to be evaluated.
    let (mut given, mut waiting) = (VecDeque::new(), Vec::new());
    let tokens_of = |words| tokenizer.encode_part(words, Special::Parse, false);
    given.extend(budget.as_mut().and_then(Budget::closing).into_iter().flat_map(tokens_of));
    let reason = loop {
        if cancel.is_cancelled() {
            break FinishReason::Cancelled;
        }
        let chosen = given.is_empty();
        let token = match given.pop_front() {
            Some(token) => token,
            None => {
                let position = session.tokens().len();
                let picked = match candidates.take() {
                    Some(candidates) => sampler.pick_among(&candidates),
                    None => {
                        sampler.pick(session.logits(), session.tokens(), |id| tokenizer.is_sampleable(id))
                    }
                };
                let token = picked.ok_or(Error::NonFiniteLogits { position })?;
                if tokenizer.is_end_of_generation(token) && !options.ignore_eos {
                    break FinishReason::Stop;
                }
                token
            }
        };
        tokens.push(token);
        text.clear();
        detokenizer.push(tokenizer, token, &mut text);
        let flow = if chosen { stops.push(&text, sink) } else { stops.pass(&text, sink) };
        if let Some(flow) = flow {
            break flow;
        }
        if guard.as_mut().is_some_and(|guard| guard.is_loop(&tokens, |round| tokenizer.decode(round, true))) {
            break FinishReason::Repetition;
        }
        if let Some(budget) = &mut budget {
            budget.take(&text);
            given.extend(budget.closing().into_iter().flat_map(tokens_of));
        }
        if options.max_tokens.is_some_and(|max| tokens.len() >= max) {
            break FinishReason::Length;
        }
        waiting.push(token);
        if session.room() < waiting.len() {
            break FinishReason::ContextFull;
        }
        if !given.is_empty() {
            continue;
        }
        let result = match (&waiting[..], &allowed) {
            (&[token], Some(allowed)) => {
                recent.clear();
                recent.extend_from_slice(session.tokens());
                recent.push(token);
                let wanted = sampler.wanted(&recent, allowed);
                session.extend_choosing(token, wanted, cancel)
            }
            (tokens, _) => session.extend(tokens, cancel, &mut |_| {}).map(|()| None),
        };
        match result {
            Err(Error::Cancelled) => break FinishReason::Cancelled,
            other => candidates = other?,
        }
        waiting.clear();
    };
    text.clear();
    detokenizer.flush(&mut text);
    let reason = stops.finish(&text, reason, sink);
    Ok(Generated { reason, tokens })
}
