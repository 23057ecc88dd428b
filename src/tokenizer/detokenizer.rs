//! Text out of tokens as they come.

use super::Tokenizer;

/// Turns tokens into text one at a time. A token may end inside a character: its first bytes wait here for the rest.
/// Over a whole sequence the text is that of [`Tokenizer::decode`].
#[derive(Clone, Debug)]
pub struct Detokenizer {
    /// The beginning of a character, at most three bytes between two calls.
    pending: Vec<u8>,
    show_control: bool,
    /// The next token begins a text.
    begins: bool,
}

impl Default for Detokenizer {
    fn default() -> Detokenizer {
        Detokenizer::new(false)
    }
}

impl Detokenizer {
    /// A detokenizer at the beginning of a text; `show_control` says whether control tokens are written out or left
    /// out.
    pub fn new(show_control: bool) -> Detokenizer {
        Detokenizer { pending: Vec::new(), show_control, begins: true }
    }

    /// A detokenizer of what comes after the tokens `before`: an answer that begins with a space keeps it, where
    /// [`Detokenizer::new`] would take it for the one that SentencePiece vocabularies put before a text.
    pub fn after(tokenizer: &Tokenizer, before: &[u32], show_control: bool) -> Detokenizer {
        let begins = before.last().is_none_or(|&id| tokenizer.is_control(id));
        Detokenizer { begins, ..Detokenizer::new(show_control) }
    }

    /// Appends to `out` the text that is certain once token `id` is known. Bytes that are no UTF-8 become U+FFFD;
    /// an id without a token adds nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, out: &mut String) {
        tokenizer.write_next(id, self.show_control, &mut self.begins, &mut self.pending);
        let mut rest = self.pending.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            // Valid up to here: nothing is replaced in this part.
            out.push_str(&String::from_utf8_lossy(valid));
            rest = after;
            match error.error_len() {
                Some(length) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[length..];
                }
                None => break,
            }
        }
        let done = self.pending.len() - rest.len();
        self.pending.drain(..done);
    }

    /// Ends the text: what still waits for more becomes U+FFFD. The detokenizer then is at a beginning again.
    pub fn flush(&mut self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&self.pending));
        self.pending.clear();
        self.begins = true;
    }
}
