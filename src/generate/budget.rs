//! How thinking is ended when it has taken the tokens that it may take.

use crate::chat::{Part, ThinkingSplitter, prompt_opens_thinking};
use crate::session::Session;
use crate::tokenizer::Tokenizer;

/// What is added to thinking to end it, word for word as the makers of Qwen3 publish it for this purpose.
pub const CLOSING_WORDS: &str = "\n\nConsidering the limited time by the user, I have to give the solution based on the \
                                 thinking directly now.\n</think>\n\n";

/// The end of thinking that has not begun, as templates write it where there is to be none: behind `<think>`, and behind
/// that and a newline.
const NO_THINKING: [&str; 2] = ["\n\n</think>\n\n", "\n</think>\n\n"];

/// Counts the tokens of thinking.
#[derive(Debug)]
pub(super) struct Budget {
    /// Tokens that thinking may still take.
    left: usize,
    /// Whether it may take none.
    none: bool,
    splitter: ThinkingSplitter,
    /// Whether the text ends with a newline.
    newline: bool,
    /// Whether the text ends with a whole character.
    whole: bool,
    closed: bool,
}

impl Budget {
    /// For an answer to what `session` holds, the prompt, which may have opened the thinking.
    pub(super) fn new(tokens: usize, session: &Session, tokenizer: &Tokenizer) -> Budget {
        // A tag may be spelt out, a byte a token.
        const TAIL: usize = 16;
        let prompt = session.tokens();
        let tail = tokenizer.decode(&prompt[prompt.len().saturating_sub(TAIL)..], true);
        Budget::after(tokens, &tail)
    }

    /// For an answer to a prompt that ends so.
    fn after(tokens: usize, prompt: &str) -> Budget {
        Budget {
            left: tokens,
            none: tokens == 0,
            splitter: ThinkingSplitter::new(prompt_opens_thinking(prompt)),
            newline: prompt.ends_with('\n'),
            whole: true,
            closed: false,
        }
    }

    /// Counts a token of the answer, which has added `text`.
    pub(super) fn take(&mut self, text: &str) {
        if self.splitter.is_thinking() {
            self.left = self.left.saturating_sub(1);
        }
        self.splitter.push(text, &mut |_: Part<'_>| {});
        self.whole = !text.is_empty();
        if self.whole {
            self.newline = text.ends_with('\n');
        }
    }

    /// What is to be added now, once: nothing while there are tokens left, outside thinking, and inside a character.
    pub(super) fn closing(&mut self) -> Option<&'static str> {
        if self.closed || self.left > 0 || !self.whole || !self.splitter.is_thinking() {
            return None;
        }
        self.closed = true;
        Some(if self.none { NO_THINKING[usize::from(self.newline)] } else { CLOSING_WORDS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of the pieces, one a token, the thinking is closed, and how.
    fn closed(tokens: usize, prompt: &str, pieces: &[&str]) -> Option<(usize, &'static str)> {
        let mut budget = Budget::after(tokens, prompt);
        let mut at = 0;
        loop {
            if let Some(words) = budget.closing() {
                budget.take(words);
                assert!(!budget.splitter.is_thinking() && budget.closing().is_none());
                return Some((at, words));
            }
            budget.take(pieces.get(at)?);
            at += 1;
        }
    }

    #[test]
    fn thinking_is_closed_when_its_tokens_are_used_up() {
        let pieces = ["<think>", "\n", "I", " see", ".", "</think>", "Yes", "."];
        assert_eq!(closed(3, "assistant\n", &pieces), Some((4, CLOSING_WORDS)));
        assert_eq!(closed(1, "assistant\n", &pieces), Some((2, CLOSING_WORDS)));
        // The tag itself is a token of the thinking that it ends.
        assert_eq!(closed(5, "assistant\n", &pieces), None);
        assert_eq!(closed(2, "assistant\n<think>\n", &["I", " see", "."]), Some((2, CLOSING_WORDS)));
        // Not inside a character, of which nothing has come.
        assert_eq!(closed(2, "<think>", &["I", "", "", "日", "本"]), Some((4, CLOSING_WORDS)));
    }

    #[test]
    fn without_tokens_thinking_is_closed_as_templates_close_it() {
        assert_eq!(closed(0, "assistant\n<think>\n", &[]), Some((0, "\n</think>\n\n")));
        assert_eq!(closed(0, "assistant\n<think>", &[]), Some((0, "\n\n</think>\n\n")));
        assert_eq!(closed(0, "assistant\n", &["<think>", "\n"]), Some((1, "\n\n</think>\n\n")));
        assert_eq!(closed(0, "assistant\n", &["<think>\n", "I"]), Some((1, "\n</think>\n\n")));
    }

    #[test]
    fn answers_are_not_thinking() {
        assert_eq!(closed(0, "<think>\n\n</think>\n\n", &["Tags", " like", " <think>", " open", "."]), None);
        assert_eq!(closed(1, "assistant\n", &["One", " two", " three"]), None);
    }
}
