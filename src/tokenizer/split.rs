//! The pre-tokenizers: how a text falls into the words that byte-pair merges may not cross.
//!
//! Each is a regular expression in the Hugging Face tokenizer; here they are matched by hand, since the look-ahead in
//! them rules the fast engines out. `qwen2`:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
//! `qwen35` is the same with `[\p{L}\p{M}]+` for `\p{L}+` and `[^\s\p{L}\p{M}\p{N}]+` for `[^\s\p{L}\p{N}]+`.

use super::classes::{ClassTable, LETTER, MARK, NUMBER, SPACE};

/// The names of `tokenizer.ggml.pre` that we know.
pub(super) const KNOWN: [&str; 3] = ["qwen2", "qwen35", "deepseek-r1-qwen"];

/// A pre-tokenizer.
#[derive(Clone, Copy)]
pub(super) struct Splitter {
    /// The classes of the characters that make up a word: letters, in `qwen35` marks too.
    letters: u8,
    classes: &'static ClassTable,
}

impl Splitter {
    /// The pre-tokenizer of that name, if it is one of [`KNOWN`].
    pub(super) fn from_name(name: &str) -> Option<Splitter> {
        let letters = match name {
            "qwen2" | "deepseek-r1-qwen" => LETTER,
            "qwen35" => LETTER | MARK,
            _ => return None,
        };
        Some(Splitter { letters, classes: ClassTable::get() })
    }

    /// The words of `text` in order; they are never empty and together they are the text.
    pub(super) fn words<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let splitter = *self;
        let text = text.as_bytes();
        let mut start = 0;
        std::iter::from_fn(move || {
            if start >= text.len() {
                return None;
            }
            let end = splitter.word_end(text, start);
            let word = &text[start..end];
            start = end;
            Some(word)
        })
    }

    /// The class of the character at `at` and where the next one starts. `text` is valid UTF-8.
    fn class_at(&self, text: &[u8], at: usize) -> (u8, usize) {
        let byte = text[at];
        if byte < 0x80 {
            return (self.classes.of_ascii(byte), at + 1);
        }
        let low = |offset: usize| u32::from(text[at + offset] & 0x3f);
        let lead = u32::from(byte);
        if byte < 0xe0 {
            (self.classes.of((lead & 0x1f) << 6 | low(1)), at + 2)
        } else if byte < 0xf0 {
            (self.classes.of((lead & 0x0f) << 12 | low(1) << 6 | low(2)), at + 3)
        } else {
            (self.classes.of((lead & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3)), at + 4)
        }
    }

    /// Where the run of characters for which `belongs(class)` ends that starts at `at`.
    fn run_end(&self, text: &[u8], mut at: usize, belongs: impl Fn(u8) -> bool) -> usize {
        while at < text.len() {
            let (class, next) = self.class_at(text, at);
            if !belongs(class) {
                break;
            }
            at = next;
        }
        at
    }

    /// Where the word that starts at `start` ends: the alternatives of the expression, in its order.
    fn word_end(&self, text: &[u8], start: usize) -> usize {
        let is_letter = |class: u8| class & self.letters != 0;
        let is_other = |class: u8| class & (self.letters | NUMBER | SPACE) == 0;

        let first = text[start];
        if first == b'\''
            && let Some(length) = contraction(&text[start + 1..])
        {
            return start + 1 + length;
        }

        let (class, next) = self.class_at(text, start);
        if is_letter(class) {
            return self.run_end(text, next, is_letter);
        }
        if class == NUMBER {
            return next;
        }
        let second = if next < text.len() { Some(self.class_at(text, next).0) } else { None };
        if first != b'\r' && first != b'\n' && second.is_some_and(is_letter) {
            return self.run_end(text, next, is_letter);
        }

        if is_other(class) || (first == b' ' && second.is_some_and(is_other)) {
            let end = self.run_end(text, next, is_other);
            let line_ends = text[end..].iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
            return end + line_ends;
        }

        let end = self.run_end(text, start, |class| class == SPACE);
        if let Some(last) = text[start..end].iter().rposition(|&b| b == b'\r' || b == b'\n') {
            return start + last + 1;
        }
        if end == text.len() {
            return end;
        }
        // The last space of several belongs to the word that follows.
        let mut last = end - 1;
        while text[last] & 0xc0 == 0x80 {
            last -= 1;
        }
        if last > start { last } else { end }
    }
}

/// How many bytes after an apostrophe make up an English contraction.
fn contraction(rest: &[u8]) -> Option<usize> {
    let lower = |at: usize| rest.get(at).map(u8::to_ascii_lowercase);
    match (lower(0)?, lower(1)) {
        (b's' | b't' | b'm' | b'd', _) => Some(1),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(2),
        // U+017F, the long s: Unicode case folding makes it an s.
        (0xc5, Some(0xbf)) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, text: &str) -> Vec<String> {
        let splitter = Splitter::from_name(name).unwrap();
        splitter.words(text).map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }

    #[test]
    fn words_of_the_two_expressions() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello, world!", &["Hello", ",", " world", "!"]),
            ("I'M don't 'S 'ſa", &["I", "'M", " don", "'t", " '", "S", " '", "ſa"]),
            ("'ſa'sb'LLc'", &["'ſ", "a", "'s", "b", "'LL", "c", "'"]),
            ("x=10**3;\n\n  y", &["x", "=", "1", "0", "**", "3", ";\n\n", " ", " y"]),
            ("  \n  x \n", &["  \n", " ", " x", " \n"]),
            (" \u{3000}\u{3000}中", &[" \u{3000}", "\u{3000}中"]),
            ("\u{3000}!", &["\u{3000}", "!"]),
            ("\u{a0}\u{a0}", &["\u{a0}\u{a0}"]),
            ("\r\nabc\tdef", &["\r\n", "abc", "\tdef"]),
            ("½①", &["½", "①"]),
            ("", &[]),
        ];
        for (text, words) in cases {
            assert_eq!(split("qwen2", text), *words, "{text:?}");
            assert_eq!(split("qwen35", text), *words, "{text:?}");
        }
    }

    #[test]
    fn marks_end_a_word_of_qwen2_only() {
        assert_eq!(split("qwen2", "e\u{301}t"), ["e", "\u{301}t"]);
        assert_eq!(split("qwen35", "e\u{301}t"), ["e\u{301}t"]);
        assert_eq!(split("qwen2", " \u{301}\u{302}!"), [" \u{301}\u{302}!"]);
        assert_eq!(split("qwen35", " \u{301}\u{302}!"), [" \u{301}\u{302}", "!"]);
    }

    /// The expressions in the regex engine of the `tokenizers` crate.
    fn oracle(name: &str, text: &str) -> Vec<usize> {
        use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
        use tokenizers::{
            OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
        };
        let (words, others) = match name {
            "qwen2" => (r"\p{L}+", r"[^\s\p{L}\p{N}]+"),
            _ => (r"[\p{L}\p{M}]+", r"[^\s\p{L}\p{M}\p{N}]+"),
        };
        let expression = format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{words}|\p{{N}}| ?{others}[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        );
        let split =
            Split::new(SplitPattern::Regex(expression), SplitDelimiterBehavior::Isolated, false).unwrap();
        let mut text = PreTokenizedString::from(text);
        split.pre_tokenize(&mut text).unwrap();
        let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (_, end), _)| end).collect()
    }

    #[test]
    fn every_character_is_of_the_class_that_the_regex_engine_gives_it() {
        // Between a letter and a sign, three characters of each class make other words.
        let scalars: Vec<char> = ('\0'..=char::MAX).collect();
        for chunk in scalars.chunks(1 << 12) {
            let text: String = chunk.iter().flat_map(|&c| [c, c, c, '!', 'a']).collect();
            for name in ["qwen2", "qwen35"] {
                let mut end = 0;
                let ours = Splitter::from_name(name).unwrap().words(&text).map(|word| {
                    end += word.len();
                    end
                });
                let (ours, theirs) = (ours.collect::<Vec<_>>(), oracle(name, &text));
                let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
                assert!(
                    ours == theirs,
                    "{name}: {:?}",
                    first.map(|i| text[ours[i.max(1) - 1]..].chars().take(6).collect::<String>())
                );
            }
        }
    }
}
