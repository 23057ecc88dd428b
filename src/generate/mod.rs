//! From logits to text: the loop that samples, detokenizes, watches for the end and can be stopped.

mod budget;
mod generation;
pub mod repetition;
mod stop;

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::sample::{Sampler, TokenLogprob};
use crate::session::{Cancel, Session};
use crate::tokenizer::Tokenizer;
pub use budget::CLOSING_WORDS;
pub use generation::{Generation, Next};

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
    /// Hand out the log probability of each token and those of so many most probable ones, up to
    /// [`MOST_LOGPROBS`](crate::sample::MOST_LOGPROBS): the model's own, before temperature and penalties.
    pub logprobs: Option<usize>,
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
            logprobs: None,
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

/// What is handed out of an answer at a time.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The next text; never half a character, never the beginning of a stop string. It may be empty where there is a token.
    pub text: &'a str,
    /// How probable the token was, one for each token of the answer if [log probabilities](GenerateOptions::logprobs) are
    /// asked for. Its text may come with a later piece. The tokens that end thinking which has used up its budget are
    /// certain: 0, with no others beside them.
    pub token: Option<&'a TokenLogprob>,
}

/// Receives an answer piece by piece, and may break it off.
pub type Sink<'s> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 's;

/// Continues a session that has logits. The last tokens of the answer are not evaluated; the next call to
/// [`Session::prompt`] does that. `sink` receives text as it becomes certain (never half a character,
/// never the beginning of a stop string) and may break off. [`Generation`] does the same step by step, and more.
///
/// # Errors
/// What [`Generation::new`] and [`Generation::next`] report. What [`Session::extend`] reports, except that cancelling is a
/// way to finish, not an error.
pub fn generate(
    session: &mut Session,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    options: &GenerateOptions,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Generated> {
    let mut generation = Generation::new(session, tokenizer, sampler.clone(), options.clone())?;
    let reason = generation.run(session, tokenizer, cancel, &mut |piece| match piece.text {
        "" => ControlFlow::Continue(()),
        text => sink(text),
    });
    let (tokens, as_it_is_now) = generation.into_parts();
    *sampler = as_it_is_now;
    Ok(Generated { reason: reason?, tokens })
}

impl Generation {
    /// Drives the answer to its end. Cancelling is a way to finish.
    ///
    /// # Errors
    /// What [`Generation::next`] and [`Generation::evaluate`] report.
    pub fn run(
        &mut self,
        session: &mut Session,
        tokenizer: &Tokenizer,
        cancel: &Cancel,
        sink: &mut Sink<'_>,
    ) -> Result<FinishReason> {
        while !cancel.is_cancelled() {
            if let Next::Done(reason) = self.next(session, tokenizer, sink)? {
                return Ok(reason);
            }
            match self.evaluate(session, cancel) {
                Err(Error::Cancelled) => break,
                result => result?,
            }
        }
        Ok(self.finish(FinishReason::Cancelled, sink))
    }
}
