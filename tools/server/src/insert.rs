//! Texts with a gap, in the form that models which fill in were trained on.

use qwip::chat::Voice;

/// What stands before the beginning, before the end, and before what is to be written.
const MARKS: [&str; 3] = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];

/// The mark that a model does not know, if there is one: then it does not fill in.
pub(crate) fn unknown_mark(voice: &Voice) -> Option<&'static str> {
    MARKS.into_iter().find(|mark| voice.tokenizer().find(mark).is_none())
}

/// What the model continues to fill the gap.
pub(crate) fn prompt(before: &str, after: &str) -> String {
    let [prefix, suffix, middle] = MARKS;
    format!("{prefix}{before}{suffix}{after}{middle}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_comes_last() {
        assert_eq!(prompt("a", "b"), "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>");
    }
}
