//! Strings that end an answer.

/// Holds text back while it may be the beginning of a stop string.
#[derive(Debug)]
pub(super) struct StopStrings {
    stops: Vec<Stop>,
    held: String,
    /// Number of the one that has come.
    stopped: Option<usize>,
}

/// A stop string and how much of it the text ends with. However long it is, each byte of the text is looked at once, or
/// twice on average (Knuth, Morris and Pratt).
#[derive(Debug)]
struct Stop {
    text: String,
    /// For each beginning of the string, one byte and longer: the length of the longest shorter one that it ends with.
    borders: Vec<usize>,
    matched: usize,
}

impl Stop {
    fn new(text: String) -> Self {
        let mut stop = Stop { borders: Vec::with_capacity(text.len()), text, matched: 0 };
        for at in 0..stop.text.len() {
            let border =
                if at == 0 { 0 } else { stop.longer(stop.borders[at - 1], stop.text.as_bytes()[at]) };
            stop.borders.push(border);
        }
        stop
    }

    /// The longest beginning that a text ends with, if it ended with one of `matched` bytes before this byte.
    fn longer(&self, mut matched: usize, byte: u8) -> usize {
        loop {
            if self.text.as_bytes().get(matched) == Some(&byte) {
                return matched + 1;
            }
            if matched == 0 {
                return 0;
            }
            matched = self.borders[matched - 1];
        }
    }

    /// Reads on; the byte behind the stop string, if it has come.
    fn find(&mut self, text: &str) -> Option<usize> {
        for (at, byte) in text.bytes().enumerate() {
            self.matched = self.longer(self.matched, byte);
            if self.matched == self.text.len() {
                return Some(at + 1);
            }
        }
        None
    }
}

impl StopStrings {
    pub(super) fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().map(Stop::new).collect();
        StopStrings { stops, held: String::new(), stopped: None }
    }

    /// Takes the next text and appends to `out` what is certain by now; whether a stop string has come.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        let before = self.held.len();
        self.held.push_str(text);
        let stops = self.stops.iter_mut().enumerate().filter(|(_, stop)| !stop.text.is_empty());
        let mut hit: Option<(usize, usize)> = None;
        let mut beginning = 0;
        for (i, stop) in stops {
            if let Some(end) = stop.find(text) {
                let found = (before + end - stop.text.len(), i);
                hit = Some(hit.map_or(found, |first| first.min(found)));
            }
            beginning = beginning.max(stop.matched);
        }
        let certain = hit.map_or(self.held.len() - beginning, |(at, _)| at);
        out.extend(self.held.drain(..certain));
        self.stopped = self.stopped.or(hit.map(|(_, i)| i));
        hit.is_some()
    }

    /// Takes text that is not the model's: no stop string counts in it, and none comes.
    pub(super) fn pass(&mut self, text: &str, out: &mut String) -> bool {
        out.push_str(&self.held);
        out.push_str(text);
        self.held.clear();
        self.stops.iter_mut().for_each(|stop| stop.matched = 0);
        false
    }

    /// The one that has come.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stops.get(self.stopped?).map(|stop| stop.text.as_str())
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

    /// What the whole text says, when it is looked at as a whole.
    #[test]
    fn all_short_texts_are_cut_where_a_search_cuts_them() {
        let texts: Vec<String> = (0..1 << 8)
            .map(|bits| (0..8).map(|i| if bits >> i & 1 == 1 { '日' } else { 'a' }).collect())
            .collect();
        for stops in [&["aa日aa"][..], &["a日a日日", "日日"], &["aaa", "日aaa日", "a日a"], &["日a日a日"]]
        {
            for text in &texts {
                let pieces: Vec<String> = text.chars().map(String::from).collect();
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                let first = stops.iter().filter_map(|stop| Some((text.find(stop)?, stop))).min();
                let wanted = (first.map_or(text.as_str(), |(at, _)| &text[..at]).to_owned(), first.is_some());
                assert_eq!(run(stops, &[text]), wanted, "{stops:?} {text}");
                if stops.len() == 1 {
                    assert_eq!(run(stops, &pieces), wanted, "{stops:?} {text}, one by one");
                }
            }
        }
    }

    #[test]
    fn nothing_goes_on_behind_text_that_is_not_the_models() {
        let mut filter = StopStrings::new(vec!["END".into()]);
        let mut out = String::new();
        assert!(!filter.push("aEN", &mut out) && !filter.pass("|", &mut out) && !filter.push("D", &mut out));
        assert_eq!(out, "aEN|D");
    }

    #[test]
    fn a_stop_string_may_be_long() {
        let long = "a".repeat(1 << 20);
        let mut filter = StopStrings::new(vec![format!("{long}b"), "c".repeat(1 << 20)]);
        let started = std::time::Instant::now();
        let mut out = String::new();
        assert!((0..1 << 18).all(|_| !filter.push("aaaa", &mut out)));
        (0..1 << 16).for_each(|_| assert!(!filter.push("ccac", &mut out)));
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        assert_eq!(out.len(), (1 << 20) + (1 << 18) - 1);
        filter.finish("", &mut out);
        assert!(out.ends_with("cacccac"));
    }
}
