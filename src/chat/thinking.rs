//! Thinking and answer, taken apart while the text streams in.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A piece of a model's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text between `<think>` and `</think>`.
    Thinking(&'a str),
    /// Text for the user.
    Answer(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space has come; `<think>` may follow.
    Start,
    /// Inside the thinking and nothing but the opening tag (if not in the prompt) and newlines have come.
    ThinkingStart,
    Thinking,
    /// Behind `</think>`, where only newlines have come.
    AnswerStart,
    Answer,
}

/// Splits streamed output into thinking and answer. The tags and the newlines next to them are not part of either;
/// all other text comes out exactly once and in order, however the stream was cut into pieces.
///
/// `<think>` counts only at the beginning of the output, and the first `</think>` after it ends the thinking: an
/// answer may talk about the tags. Thinking that never ends stays thinking.
#[derive(Debug)]
pub struct ThinkingSplitter {
    state: State,
    /// Text that may still turn out to be a tag, or newlines in front of one.
    held: String,
}

impl ThinkingSplitter {
    /// `starts_inside`: the prompt already ended with an open `<think>` (see [`prompt_opens_thinking`]).
    pub fn new(starts_inside: bool) -> ThinkingSplitter {
        let state = if starts_inside { State::ThinkingStart } else { State::Start };
        ThinkingSplitter { state, held: String::new() }
    }

    /// Whether the next text would be thinking.
    pub fn is_thinking(&self) -> bool {
        matches!(self.state, State::ThinkingStart | State::Thinking)
    }

    /// Takes the next piece of output and hands on what is certain by now; the parts are never empty.
    pub fn push(&mut self, text: &str, sink: &mut impl FnMut(Part<'_>)) {
        self.held.push_str(text);
        while self.step(sink) {}
    }

    /// Hands on what was held back when the output has ended. The splitter is then as after a closed answer.
    pub fn finish(&mut self, sink: &mut impl FnMut(Part<'_>)) {
        let thinking = self.is_thinking();
        self.release(self.held.len(), thinking, sink);
        self.state = State::Answer;
    }

    /// Hands on the first `len` held bytes.
    fn release(&mut self, len: usize, thinking: bool, sink: &mut impl FnMut(Part<'_>)) {
        if len > 0 {
            let text = &self.held[..len];
            sink(if thinking { Part::Thinking(text) } else { Part::Answer(text) });
            self.held.drain(..len);
        }
    }

    /// Works off what can be decided; true if the state changed and there is more to look at.
    fn step(&mut self, sink: &mut impl FnMut(Part<'_>)) -> bool {
        match self.state {
            State::Start => {
                let trimmed = self.held.trim_start();
                if trimmed.starts_with(OPEN) {
                    self.held.drain(..self.held.len() - trimmed.len() + OPEN.len());
                    self.state = State::ThinkingStart;
                    return true;
                }
                if OPEN.starts_with(trimmed) {
                    return false;
                }
                self.state = State::Answer;
                true
            }
            State::ThinkingStart => {
                let skipped = self.held.len() - self.held.trim_start_matches(['\n', '\r']).len();
                self.held.drain(..skipped);
                // Some models open the thinking again although the prompt has done it.
                if self.held.starts_with(OPEN) {
                    self.held.drain(..OPEN.len());
                    return true;
                }
                if OPEN.starts_with(&self.held) {
                    return false;
                }
                self.state = State::Thinking;
                true
            }
            State::Thinking => {
                if let Some(at) = self.held.find(CLOSE) {
                    let kept = self.held[..at].trim_end_matches(['\n', '\r']).len();
                    self.release(kept, true, sink);
                    self.held.drain(..at - kept + CLOSE.len());
                    self.state = State::AnswerStart;
                    return true;
                }
                let partial = partial_tag(&self.held, CLOSE);
                let certain = self.held[..self.held.len() - partial].trim_end_matches(['\n', '\r']).len();
                self.release(certain, true, sink);
                false
            }
            State::AnswerStart => {
                let skipped = self.held.len() - self.held.trim_start_matches(['\n', '\r']).len();
                self.held.drain(..skipped);
                if self.held.is_empty() {
                    return false;
                }
                self.state = State::Answer;
                true
            }
            State::Answer => {
                self.release(self.held.len(), false, sink);
                false
            }
        }
    }
}

/// Length of the longest end of `text` that is a beginning of `tag`.
pub(super) fn partial_tag(text: &str, tag: &str) -> usize {
    (1..tag.len()).rev().find(|&len| text.ends_with(&tag[..len])).unwrap_or(0)
}

/// Whether a rendered prompt leaves the thinking open, so that the output starts inside it.
pub fn prompt_opens_thinking(prompt: &str) -> bool {
    prompt.trim_end_matches('\n').ends_with(OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, neighbouring parts of one kind joined: (thinking?, text).
    fn split(inside: bool, pieces: &[&str]) -> Vec<(bool, String)> {
        let mut parts: Vec<(bool, String)> = Vec::new();
        let mut sink = |part: Part<'_>| {
            let (thinking, text) = match part {
                Part::Thinking(text) => (true, text),
                Part::Answer(text) => (false, text),
            };
            assert!(!text.is_empty());
            match parts.last_mut() {
                Some((kind, joined)) if *kind == thinking => joined.push_str(text),
                _ => parts.push((thinking, text.to_owned())),
            }
        };
        let mut splitter = ThinkingSplitter::new(inside);
        for piece in pieces {
            splitter.push(piece, &mut sink);
        }
        splitter.finish(&mut sink);
        parts
    }

    /// Input, whether it starts inside, and the thinking and answer it holds.
    const CASES: [(&str, bool, &str, &str); 18] = [
        ("<think>\nWhy é?\n</think>\n\nBecause 是.", false, "Why é?", "Because 是."),
        ("Why?\n\nSo.\n</think>\n\nBecause.\n", true, "Why?\n\nSo.", "Because.\n"),
        ("<think>\n\n</think>\n\nJust the answer", false, "", "Just the answer"),
        ("\n </think> x", true, " ", " x"),
        ("no tags at all", false, "", "no tags at all"),
        ("\n\n  indented", false, "", "\n\n  indented"),
        ("  \n<think>a</think>b", false, "a", "b"),
        ("<think>\nnever closed\n", false, "never closed\n", ""),
        ("never closed </thin", true, "never closed </thin", ""),
        ("The tag <think> opens, </think> closes", false, "", "The tag <think> opens, </think> closes"),
        ("a</think>b</think>c<think>d", true, "a", "b</think>c<think>d"),
        ("<think>\nopened twice</think>\nb", true, "opened twice", "b"),
        ("x<think>y</think>z", true, "x<think>y", "z"),
        ("<thinker> is a word", false, "", "<thinker> is a word"),
        ("</</think></think>", true, "</", "</think>"),
        ("a\r\n\r\n</think>\r\n\r\nb", true, "a", "b"),
        ("", false, "", ""),
        (" <thi", false, "", " <thi"),
    ];

    fn expected(thinking: &str, answer: &str) -> Vec<(bool, String)> {
        let parts = [(true, thinking.to_owned()), (false, answer.to_owned())];
        parts.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    #[test]
    fn any_two_cuts_give_the_same_parts() {
        for (text, inside, thinking, answer) in CASES {
            let wanted = expected(thinking, answer);
            let cuts: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            for &a in &cuts {
                for &b in cuts.iter().filter(|&&b| b >= a) {
                    assert_eq!(
                        split(inside, &[&text[..a], &text[a..b], &text[b..]]),
                        wanted,
                        "{text:?} {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn single_characters_give_the_same_parts() {
        for (text, inside, thinking, answer) in CASES {
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(split(inside, &pieces), expected(thinking, answer), "{text:?}");
        }
    }

    #[test]
    fn text_is_handed_on_as_soon_as_it_is_certain() {
        let mut parts = Vec::new();
        let mut splitter = ThinkingSplitter::new(true);
        splitter.push("I see\n", &mut |part| parts.push(format!("{part:?}")));
        assert_eq!(parts, [r#"Thinking("I see")"#]);
        assert!(splitter.is_thinking());
        splitter.push("</think>\n\nYes", &mut |part| parts.push(format!("{part:?}")));
        assert_eq!(parts[1..], [r#"Answer("Yes")"#]);
        assert!(!splitter.is_thinking());
    }

    #[test]
    fn prompts_that_open_the_thinking() {
        assert!(prompt_opens_thinking("<|im_start|>assistant\n<think>\n"));
        assert!(!prompt_opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!prompt_opens_thinking("<|im_start|>assistant\n"));
    }
}
