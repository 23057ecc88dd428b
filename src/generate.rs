//! From logits to text: the loop that samples, detokenizes, watches for the end and can be stopped.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::model::Task;
use crate::sample::Sampler;
use crate::session::{Cancel, Session};
use crate::tokenizer::{Detokenizer, Tokenizer};

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
}

impl FinishReason {
    /// The field's word for it: `stop`, `length`; cancelled answers say `cancelled`.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length | FinishReason::ContextFull => "length",
            FinishReason::Cancelled => "cancelled",
        }
    }
}

/// Limits of one answer.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Most new tokens; `None` goes on until the context is full.
    pub max_tokens: Option<usize>,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// Emit the text of control tokens too.
    pub show_control: bool,
    /// Ignore end-of-generation tokens.
    pub ignore_eos: bool,
}

/// What an answer came to.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Why it ended.
    pub reason: FinishReason,
    /// The new tokens, the one that ended it not included.
    pub tokens: Vec<u32>,
}

/// Continues a session that has logits. The last token sampled is not evaluated; the next call to
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
    let reason = loop {
        if cancel.is_cancelled() {
            break FinishReason::Cancelled;
        }
        let position = session.tokens().len();
        let picked = match candidates.take() {
            Some(candidates) => sampler.pick_among(&candidates),
            None => sampler.pick(session.logits(), session.tokens(), |id| tokenizer.is_sampleable(id)),
        };
        let token = picked.ok_or(Error::NonFiniteLogits { position })?;
        if tokenizer.is_end_of_generation(token) && !options.ignore_eos {
            break FinishReason::Stop;
        }
        tokens.push(token);
        text.clear();
        detokenizer.push(tokenizer, token, &mut text);
        if let Some(flow) = stops.push(&text, sink) {
            break flow;
        }
        if options.max_tokens.is_some_and(|max| tokens.len() >= max) {
            break FinishReason::Length;
        }
        if session.room() == 0 {
            break FinishReason::ContextFull;
        }
        let wanted = allowed.as_ref().and_then(|allowed| {
            recent.clear();
            recent.extend_from_slice(session.tokens());
            recent.push(token);
            sampler.wanted(&recent, allowed)
        });
        match session.extend_choosing(token, wanted, cancel) {
            Err(Error::Cancelled) => break FinishReason::Cancelled,
            other => candidates = other?,
        }
    };
    text.clear();
    detokenizer.flush(&mut text);
    let reason = stops.finish(&text, reason, sink);
    Ok(Generated { reason, tokens })
}

/// Holds text back while it may be the beginning of a stop string.
struct StopStrings<'a> {
    stops: &'a [String],
    held: String,
    stopped: bool,
}

impl<'a> StopStrings<'a> {
    fn new(stops: &'a [String]) -> Self {
        StopStrings { stops, held: String::new(), stopped: false }
    }

    fn push(&mut self, text: &str, sink: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Option<FinishReason> {
        self.held.push_str(text);
        let hit =
            self.stops.iter().filter(|s| !s.is_empty()).filter_map(|s| self.held.find(s.as_str())).min();
        let certain = hit.unwrap_or_else(|| self.held.len() - self.longest_beginning());
        let broken = certain > 0 && sink(&self.held[..certain]).is_break();
        self.held.drain(..certain);
        if hit.is_some() {
            self.stopped = true;
            return Some(FinishReason::Stop);
        }
        broken.then_some(FinishReason::Cancelled)
    }

    /// Length of the longest tail of `held` that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let tails = self.held.char_indices().map(|(i, _)| &self.held[i..]);
        let mut matching = tails.filter(|tail| self.stops.iter().any(|s| s.starts_with(tail)));
        matching.next().map_or(0, str::len)
    }

    fn finish(
        &mut self,
        text: &str,
        reason: FinishReason,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> FinishReason {
        if self.stopped {
            return reason;
        }
        self.held.push_str(text);
        if !self.held.is_empty() {
            // The answer is over: whether the sink wants more no longer matters.
            let _ = sink(&self.held);
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut filter = StopStrings::new(&stops);
        let mut out = String::new();
        let mut stopped = false;
        for piece in pieces {
            if filter
                .push(piece, &mut |t| {
                    out.push_str(t);
                    ControlFlow::Continue(())
                })
                .is_some()
            {
                stopped = true;
                break;
            }
        }
        filter.finish("", FinishReason::Length, &mut |t| {
            out.push_str(t);
            ControlFlow::Continue(())
        });
        (out, stopped)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_never_emitted() {
        assert_eq!(run(&["END"], &["abcE", "N", "Dxyz"]), ("abc".into(), true));
        assert_eq!(run(&["END"], &["abcE", "N", "xyz"]), ("abcENxyz".into(), false));
        assert_eq!(run(&["END"], &["abcEN"]), ("abcEN".into(), false));
        assert_eq!(run(&["日本", "x"], &["一日", "本"]), ("一".into(), true));
        assert_eq!(run(&["bc", "abcd"], &["abc"]), ("a".into(), true));
        assert_eq!(run(&[], &["a", "b"]), ("ab".into(), false));
        assert_eq!(run(&[""], &["a", "b"]), ("ab".into(), false));
    }
}
