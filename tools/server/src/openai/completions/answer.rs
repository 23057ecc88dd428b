//! The objects that texts are told in.

use qwip::FinishReason;
use qwip::sample::TokenLogprob;
use serde_json::{Map, Value, json};

use super::super::usage::{self, Timings};
use super::batch::Batch;
use crate::chat::Usage;
use crate::engine::Summary;

/// What all objects of an answer have in common.
pub(super) struct Frame {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    with_usage: bool,
    usage: Usage,
    timings: Timings,
}

impl Frame {
    pub(super) fn new(batch: &Batch, with_usage: bool) -> Frame {
        Frame {
            id: format!("cmpl-{}", crate::id::random(24)),
            created: crate::http::now(),
            model: batch.model().name().to_owned(),
            fingerprint: batch.model().system_fingerprint().to_owned(),
            with_usage,
            usage: Usage::default(),
            timings: Timings::default(),
        }
    }

    /// Counts what an answer took; its prompt only once.
    pub(super) fn add(&mut self, batch: &Batch, index: usize, summary: &Summary) {
        if batch.is_first(index) {
            self.usage.prompt_tokens += summary.prompt_tokens;
            self.usage.cached_tokens += summary.cached_tokens;
        }
        self.usage.completion_tokens += summary.answer_tokens;
        self.timings.add(summary);
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    fn object(&self, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }

    pub(super) fn chunk(&self, index: usize, choice: Choice) -> Value {
        let mut chunk = self.object(json!([choice.object(index)]));
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    pub(super) fn last_chunk(&self, index: usize, choice: Choice, summary: &Summary) -> Value {
        let mut chunk = self.chunk(index, choice);
        chunk["timings"] = Timings::of(summary).object();
        chunk
    }

    pub(super) fn usage_chunk(&self) -> Value {
        self.complete(Vec::new())
    }

    pub(super) fn complete(&self, choices: Vec<Choice>) -> Value {
        let choices = choices.into_iter().enumerate().map(|(index, choice)| choice.object(index));
        let mut object = self.object(choices.collect::<Vec<_>>().into());
        object["usage"] = usage::usage(&self.usage);
        object["timings"] = self.timings.object();
        object
    }
}

/// An answer, or what has come of it since the last chunk.
#[derive(Debug, Default)]
pub(super) struct Choice {
    text: String,
    logprobs: Option<Logprobs>,
    reason: Option<&'static str>,
}

/// OpenAI's first form of log probabilities: lists of the same length.
#[derive(Debug, Default)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Characters of the text before each token.
    text_offset: Vec<usize>,
    /// Characters that have begun so far.
    characters: usize,
}

impl Choice {
    /// The prompt has been read: `logprobs` has one entry for each of its tokens but the first, if asked for.
    pub(super) fn begin(&mut self, batch: &Batch, index: usize, logprobs: &[TokenLogprob]) {
        self.logprobs = batch.has_logprobs().then(Logprobs::default);
        let Some((text, tokens)) = batch.echoed(index) else { return };
        self.text.push_str(text);
        if let (Some(all), Some(&first)) = (&mut self.logprobs, tokens.first()) {
            let tokenizer = batch.tokenizer();
            let name = |id: u32| tokenizer.decode(&[id], true);
            all.push(name(first), &tokenizer.token_bytes(first), None, &name);
            for logprob in logprobs {
                all.push(name(logprob.token), &tokenizer.token_bytes(logprob.token), Some(logprob), &name);
            }
        }
    }

    pub(super) fn push(&mut self, batch: &Batch, text: &str, token: Option<&TokenLogprob>) {
        self.text.push_str(text);
        if let (Some(all), Some(logprob)) = (&mut self.logprobs, token) {
            let tokenizer = batch.tokenizer();
            let name = |id: u32| tokenizer.decode(&[id], true);
            all.push(name(logprob.token), &tokenizer.token_bytes(logprob.token), Some(logprob), &name);
        }
    }

    pub(super) fn finish(&mut self, reason: FinishReason) {
        self.reason = Some(usage::finish_reason(reason, 0));
    }

    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// What there is; the next chunk goes on behind it.
    pub(super) fn take(&mut self) -> Choice {
        let next =
            self.logprobs.as_ref().map(|all| Logprobs { characters: all.characters, ..Logprobs::default() });
        let now = std::mem::take(self);
        self.logprobs = next;
        now
    }

    fn object(self, index: usize) -> Value {
        let logprobs = self.logprobs.map(|all| {
            json!({
                "tokens": all.tokens,
                "token_logprobs": all.token_logprobs,
                "top_logprobs": all.top_logprobs,
                "text_offset": all.text_offset,
            })
        });
        json!({"text": self.text, "index": index, "logprobs": logprobs, "finish_reason": self.reason})
    }
}

impl Logprobs {
    /// `name` is the text of a token.
    fn push(
        &mut self,
        text: String,
        bytes: &[u8],
        logprob: Option<&TokenLogprob>,
        name: &dyn Fn(u32) -> String,
    ) {
        self.text_offset.push(self.characters);
        // A character begins with a byte that continues no other.
        self.characters += bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let finite = |x: f32| if x.is_finite() { x } else { -9999.0 };
        self.token_logprobs.push(logprob.map(|logprob| finite(logprob.logprob)));
        self.top_logprobs.push(logprob.map(|logprob| {
            let mut top = Map::new();
            let own = (logprob.token, logprob.logprob);
            for &(id, x) in logprob.top.iter().chain([&own]) {
                // Of parts of characters, which look the same, the most probable one.
                top.entry(name(id)).or_insert(json!(finite(x)));
            }
            top
        }));
        self.tokens.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: u32) -> String {
        ["a", "b", "\u{fffd}", "\u{fffd}"][id as usize].to_owned()
    }

    #[test]
    fn lists_have_the_same_length_and_the_first_token_no_probability() {
        let mut all = Logprobs::default();
        all.push("é".into(), "é".as_bytes(), None, &name);
        let logprob = TokenLogprob { token: 1, logprob: -2.0, top: vec![(0, -0.5), (2, -1.0), (3, -1.5)] };
        all.push("b".into(), b"b", Some(&logprob), &name);
        let mut choice = Choice { text: "éb".into(), logprobs: Some(all), reason: None };
        assert_eq!(
            choice.take().object(3),
            json!({"text": "éb", "index": 3, "finish_reason": null, "logprobs": {
                "tokens": ["é", "b"], "token_logprobs": [null, -2.0], "text_offset": [0, 1],
                "top_logprobs": [null, {"a": -0.5, "\u{fffd}": -1.0, "b": -2.0}]}})
        );
        let rest = choice.take();
        assert_eq!(rest.logprobs.map(|all| all.characters), Some(2));
    }
}
