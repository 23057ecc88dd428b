//! Log probabilities on their way to a client. As values of JSON they take ten times the memory of the text, so they become
//! some only as they are written.

use qwip::sample::TokenLogprob;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// What says a token's text and bytes.
pub(crate) type Spell<'a> = dyn Fn(u32) -> (String, Vec<u8>) + 'a;

/// A logarithm that JSON can hold, as OpenAI does it.
pub(crate) fn finite(logprob: f32) -> f64 {
    if logprob.is_finite() { logprob.into() } else { -9999.0 }
}

fn entry(id: u32, logprob: f32, spell: &Spell<'_>) -> Value {
    let (text, bytes) = spell(id);
    json!({"token": text, "logprob": finite(logprob), "bytes": bytes})
}

/// A token in the form that OpenAI's chats and Ollama share.
pub(crate) fn object(token: &TokenLogprob, spell: &Spell<'_>) -> Value {
    let mut object = entry(token.token, token.logprob, spell);
    object["top_logprobs"] = token.top.iter().map(|&(id, logprob)| entry(id, logprob, spell)).collect();
    object
}

/// A list whose entries are made one by one as they are written.
pub(crate) struct Each<F>(pub(crate) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_spelled_out_as_they_are_written() {
        // Part of a character has bytes, but no text of its own.
        let spell = |id: u32| ("\u{fffd}".to_owned(), vec![0xc3, id as u8]);
        let tokens = [TokenLogprob { token: 5, logprob: -0.5, top: vec![(5, -0.5), (6, f32::NEG_INFINITY)] }];
        let list = serde_json::to_value(Each(|| tokens.iter().map(|token| object(token, &spell)))).unwrap();
        let entry = |id: u32, x: f32| json!({"token": "\u{fffd}", "logprob": x, "bytes": [0xc3, id]});
        let mut want = entry(5, -0.5);
        want["top_logprobs"] = json!([entry(5, -0.5), entry(6, -9999.0)]);
        assert_eq!(list, json!([want]));
    }
}
