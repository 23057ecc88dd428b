//! Strings that end an answer.

/// Holds text back while it may be the beginning of a stop string.
#[derive(Debug)]
pub(super) struct StopStrings {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopStrings {
    pub(super) fn new(stops: Vec<String>) -> Self {
        StopStrings { stops, held: String::new(), stopped: false }
    }

    /// Takes the next text and appends to `out` what is certain by now; whether a stop string has come.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        self.held.push_str(text);
        let hit =
            self.stops.iter().filter(|s| !s.is_empty()).filter_map(|s| self.held.find(s.as_str())).min();
        let certain = hit.unwrap_or_else(|| self.held.len() - self.longest_beginning());
        out.extend(self.held.drain(..certain));
        self.stopped |= hit.is_some();
        hit.is_some()
    }

    /// Takes text that is not the model's: no stop string counts in it, and none comes.
    pub(super) fn pass(&mut self, text: &str, out: &mut String) -> bool {
        out.push_str(&self.held);
        out.push_str(text);
        self.held.clear();
        false
    }

    /// Length of the longest tail of `held` that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let tails = self.held.char_indices().map(|(i, _)| &self.held[i..]);
        let mut matching = tails.filter(|tail| self.stops.iter().any(|s| s.starts_with(tail)));
        matching.next().map_or(0, str::len)
    }

    /// Appends what was held back, and `text` after it, when the answer has ended; nothing behind a stop string.
    pub(super) fn finish(&mut self, text: &str, out: &mut String) {
        if !self.stopped {
            self.pass(text, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut filter = StopStrings::new(stops);
        let mut out = String::new();
        let stopped = pieces.iter().any(|piece| filter.push(piece, &mut out));
        filter.finish("", &mut out);
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
