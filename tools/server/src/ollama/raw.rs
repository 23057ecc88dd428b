//! Texts that are continued without a template, told as a chat's answer is.

use qwip::chat::{Delta, Format};
use qwip::sample::random_seed;
use qwip::{GenerateOptions, SamplingParams};
use tokio::sync::mpsc::UnboundedReceiver;

use super::request::What;
use crate::chat::{ChatEvent, ChatRequest, Usage};
use crate::engine::{Ask, Event, Failure, FailureKind};
use crate::events::broken_off;
use crate::insert;
use crate::models::{Lease, Loaded};

/// A text that is being continued. Dropping it cancels.
pub(super) struct Raw {
    /// Keeps the model loaded.
    lease: Lease,
    events: UnboundedReceiver<Event>,
    /// What follows the last event.
    end: Option<Usage>,
}

impl Raw {
    /// Makes tokens of the prompt, which takes a while if it is long, and asks.
    ///
    /// # Errors
    /// `Invalid` for what cannot be done without a template; as [`Loaded::generate`].
    pub(super) fn new(mut lease: Lease, request: ChatRequest, what: &What) -> Result<Raw, Failure> {
        if request.format != Format::Text {
            return Err(Failure::invalid(
                "format",
                "`format` needs a prompt that is answered, not continued",
            ));
        }
        if let Some(keep_alive) = request.keep_alive {
            lease.set_keep_alive(keep_alive);
        }
        let prompt = lease.voice().raw_prompt(text_of(&lease, what)?).tokens;
        if prompt.is_empty() {
            return Err(Failure::invalid("prompt", "`prompt` has no tokens, at least one is wanted"));
        }
        let sampling = lease.voice().sampling(lease.model().file(), None, &request.sampling);
        let sampling = sampling.map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))?;
        let seed = request.seed.unwrap_or_else(random_seed);
        let options = GenerateOptions {
            max_tokens: request.max_tokens,
            stop: request.stop,
            logprobs: request.logprobs,
            ..GenerateOptions::default()
        };
        let sampling = SamplingParams { seed, ..sampling };
        let events =
            lease.generate(Ask { prompt, sampling, options, constraint: None, prompt_logprobs: None })?;
        Ok(Raw { lease, events, end: None })
    }

    /// The text of a token, and its bytes.
    pub(super) fn spell(&self, token: u32) -> (String, Vec<u8>) {
        let tokenizer = self.lease.voice().tokenizer();
        (tokenizer.decode(&[token], true), tokenizer.token_bytes(token).into_owned())
    }

    /// What comes next; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<ChatEvent> {
        if let Some(usage) = self.end.take() {
            self.events.close();
            return Some(ChatEvent::End(usage));
        }
        let event = match self.events.recv().await {
            Some(event) => event,
            None if self.events.is_closed() => return None,
            None => Event::Failed(broken_off()),
        };
        Some(match event {
            Event::Prompt { .. } => ChatEvent::Started,
            Event::Piece { text, token } => {
                let deltas = if text.is_empty() { Vec::new() } else { vec![Delta::Content(text)] };
                ChatEvent::Delta { choice: 0, deltas, logprobs: token.into_iter().collect() }
            }
            Event::Done(summary) => {
                self.end = Some(Usage {
                    prompt_tokens: summary.prompt_tokens,
                    cached_tokens: summary.cached_tokens,
                    completion_tokens: summary.answer_tokens,
                    reasoning_tokens: 0,
                });
                ChatEvent::Finished { choice: 0, reason: summary.reason, calls: 0, summary }
            }
            Event::Failed(failure) => ChatEvent::Failed(failure),
        })
    }
}

/// The text that the model sees.
fn text_of(model: &Loaded, what: &What) -> Result<String, Failure> {
    let (before, after) = match what {
        What::Continue(text) => return Ok(text.clone()),
        What::Insert(before, after) => (before, after),
        What::Load | What::Answer => return Ok(String::new()),
    };
    match insert::unknown_mark(model.voice()) {
        None => Ok(insert::prompt(before, after)),
        Some(_) => Err(Failure::invalid("suffix", format!("{} does not support insert", model.name()))),
    }
}
