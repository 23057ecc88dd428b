//! Strings that end an answer.

/// Holds text back while it may be the beginning of a stop string.
#[derive(Debug)]
pub(super) struct StopStrings {
    stops: Vec<String>,
    held: String,
    /// Number of the one that has come.
    stopped: Option<usize>,
}

impl StopStrings {
    pub(super) fn new(stops: Vec<String>) -> Self {
        StopStrings { stops, held: String::new(), stopped: None }
    }

    /// Takes the next text and appends to `out` what is certain by now; whether a stop string has come.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        self.held.push_str(text);
        let stops = self.stops.iter().enumerate().filter(|(_, s)| !s.is_empty());
        let hit = stops.filter_map(|(i, s)| Some((self.held.find(s.as_str())?, i))).min();
        let certain = hit.map_or_else(|| self.held.len() - self.longest_beginning(), |(at, _)| at);
        out.extend(self.held.drain(..certain));
        self.stopped = self.stopped.or(hit.map(|(_, i)| i));
        hit.is_some()
    }

    /// Takes text that is not the model's: no stop string counts in it, and none comes.
    pub(super) fn pass(&mut self, text: &str, out: &mut String) -> bool {
        out.push_str(&self.held);
        out.push_str(text);
        self.held.clear();
        false
    }

    /// The one that has come.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stops.get(self.stopped?).map(String::as_str)
    }

    /// Length of the longest tail of `held` that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let tails = self.held.char_indices().map(|(i, _)| &self.held[i..]);
        let mut matching = tails.filter(|tail| self.stops.iter().any(|s| s.starts_with(tail)));
        matching.next().map_or(0, str::len)
    }

    /// Appends what was held back, and `text` after it, when the answer has ended; nothing behind a stop string.
    pub(super) fn finish(&mut self, text: &str, out: &mut String) {
        if self.stopped.is_none() {
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

    #[test]
    fn the_first_in_the_text_has_ended_it() {
        let mut filter = StopStrings::new(vec!["".into(), "y".into(), "xy".into()]);
        let mut out = String::new();
        assert!(!filter.push("ax", &mut out));
        assert_eq!(filter.stopped(), None);
        assert!(filter.push("yz", &mut out));
        assert_eq!((filter.stopped(), out.as_str()), (Some("xy"), "a"));
    }
}
