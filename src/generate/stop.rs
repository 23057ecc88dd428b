//! Strings that end an answer.

use std::ops::ControlFlow;

use super::FinishReason;

/// Holds text back while it may be the beginning of a stop string.
pub(super) struct StopStrings<'a> {
    stops: &'a [String],
    held: String,
    stopped: bool,
}

impl<'a> StopStrings<'a> {
    pub(super) fn new(stops: &'a [String]) -> Self {
        StopStrings { stops, held: String::new(), stopped: false }
    }

    /// Takes the next text and hands on what is certain by now; why the answer ends, if it does.
    pub(super) fn push(
        &mut self,
        text: &str,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Option<FinishReason> {
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

    /// Takes text that is not the model's: no stop string counts in it.
    pub(super) fn pass(
        &mut self,
        text: &str,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Option<FinishReason> {
        self.held.push_str(text);
        let broken = !self.held.is_empty() && sink(&self.held).is_break();
        self.held.clear();
        broken.then_some(FinishReason::Cancelled)
    }

    /// Length of the longest tail of `held` that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let tails = self.held.char_indices().map(|(i, _)| &self.held[i..]);
        let mut matching = tails.filter(|tail| self.stops.iter().any(|s| s.starts_with(tail)));
        matching.next().map_or(0, str::len)
    }

    /// Hands on what was held back when the answer has ended for `reason`.
    pub(super) fn finish(
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
