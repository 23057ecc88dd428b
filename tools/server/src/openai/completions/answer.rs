//! The objects that texts are told in.

use qwip::FinishReason;
use qwip::chat::random_name;
use qwip::sample::TokenLogprob;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::usage::{self, Timings};
use super::batch::Batch;
use crate::chat::Usage;
use crate::engine::Summary;
use crate::logprob::{Each, Spell, finite};

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
            id: format!("cmpl-{}", random_name(24)),
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

    fn head(&self) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        })
    }

    /// What has come of an answer since its last chunk, as JSON.
    pub(super) fn chunk(&self, index: usize, choice: &mut Choice, spell: &Spell<'_>) -> String {
        self.written(index, &choice.take(spell), None, spell)
    }

    pub(super) fn last_chunk(
        &self,
        index: usize,
        choice: &mut Choice,
        summary: &Summary,
        spell: &Spell<'_>,
    ) -> String {
        self.written(index, &choice.take(spell), Some(Timings::of(summary).object()), spell)
    }

    fn written(&self, index: usize, choice: &Choice, timings: Option<Value>, spell: &Spell<'_>) -> String {
        let usage = self.with_usage.then_some(Value::Null);
        let chunk = Object { head: self.head(), choices: [choice.object(index, spell)], usage, timings };
        // Nothing of it cannot be JSON.
        serde_json::to_string(&chunk).unwrap_or_else(|error| json!({"error": error.to_string()}).to_string())
    }

    pub(super) fn usage_chunk(&self) -> Value {
        let mut chunk = self.head();
        chunk["choices"] = json!([]);
        chunk["usage"] = usage::usage(&self.usage);
        chunk["timings"] = self.timings.object();
        chunk
    }

    pub(super) fn complete<'a>(&self, choices: &'a [Choice], spell: &'a Spell<'a>) -> impl Serialize + 'a {
        let choices =
            Each(move || choices.iter().enumerate().map(|(index, choice)| choice.object(index, spell)));
        let (usage, timings) = (Some(usage::usage(&self.usage)), Some(self.timings.object()));
        Object { head: self.head(), choices, usage, timings }
    }
}

#[derive(Serialize)]
struct Object<C> {
    #[serde(flatten)]
    head: Value,
    choices: C,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Value>,
}

/// An answer, or what has come of it since the last chunk.
#[derive(Debug, Default)]
pub(super) struct Choice {
    text: String,
    logprobs: Option<Logprobs>,
    reason: Option<&'static str>,
}

/// A token, and how probable it was; the first one of a prompt was not foretold.
#[derive(Debug, PartialEq)]
enum Token {
    First(u32),
    Other(TokenLogprob),
}

/// Tokens, and the number of characters before the first of them.
#[derive(Debug, Default)]
struct Logprobs {
    tokens: Vec<Token>,
    characters: usize,
}

impl Choice {
    /// The prompt has been read: `logprobs` has one entry for each of its tokens but the first, if asked for.
    pub(super) fn begin(&mut self, batch: &Batch, index: usize, logprobs: Vec<TokenLogprob>) {
        self.logprobs = batch.has_logprobs().then(Logprobs::default);
        let Some((text, tokens)) = batch.echoed(index) else { return };
        self.text.push_str(text);
        if let (Some(all), Some(&first)) = (&mut self.logprobs, tokens.first()) {
            all.tokens.push(Token::First(first));
            all.tokens.extend(logprobs.into_iter().map(Token::Other));
        }
    }

    pub(super) fn push(&mut self, text: &str, token: Option<TokenLogprob>) {
        self.text.push_str(text);
        if let (Some(all), Some(token)) = (&mut self.logprobs, token) {
            all.tokens.push(Token::Other(token));
        }
    }

    pub(super) fn finish(&mut self, reason: FinishReason) {
        self.reason = Some(usage::finish_reason(reason, 0));
    }

    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// What there is; the next chunk goes on behind it.
    pub(super) fn take(&mut self, spell: &Spell<'_>) -> Choice {
        let next = |all: &Logprobs| {
            let more: usize = all.tokens.iter().map(|token| token.characters(spell)).sum();
            Logprobs { tokens: Vec::new(), characters: all.characters + more }
        };
        let next = self.logprobs.as_ref().map(next);
        let now = std::mem::take(self);
        self.logprobs = next;
        now
    }

    fn object<'a>(&'a self, index: usize, spell: &'a Spell<'a>) -> impl Serialize + 'a {
        let logprobs = self.logprobs.as_ref().map(|all| {
            let tokens = || all.tokens.iter();
            Lists {
                tokens: Each(move || tokens().map(|token| spell(token.id()).0)),
                token_logprobs: Each(move || tokens().map(Token::logprob)),
                top_logprobs: Each(move || tokens().map(|token| token.top(spell))),
                text_offset: Each(move || {
                    tokens().scan(all.characters, |characters, token| {
                        let before = *characters;
                        *characters += token.characters(spell);
                        Some(before)
                    })
                }),
            }
        });
        WholeChoice { text: &self.text, index, logprobs, finish_reason: self.reason }
    }
}

#[derive(Serialize)]
struct WholeChoice<'a, L> {
    text: &'a str,
    index: usize,
    logprobs: Option<L>,
    finish_reason: Option<&'static str>,
}

/// OpenAI's first form of log probabilities: lists of the same length.
#[derive(Serialize)]
struct Lists<A, B, C, D> {
    tokens: A,
    token_logprobs: B,
    top_logprobs: C,
    /// Characters of the text before each token.
    text_offset: D,
}

impl Token {
    fn id(&self) -> u32 {
        match self {
            Token::First(id) => *id,
            Token::Other(logprob) => logprob.token,
        }
    }

    fn logprob(&self) -> Option<f64> {
        match self {
            Token::First(_) => None,
            Token::Other(logprob) => Some(finite(logprob.logprob)),
        }
    }

    fn top(&self, spell: &Spell<'_>) -> Option<Map<String, Value>> {
        let Token::Other(logprob) = self else { return None };
        let mut top = Map::new();
        let own = (logprob.token, logprob.logprob);
        for &(id, x) in logprob.top.iter().chain([&own]) {
            // Of parts of characters, which look the same, the most probable one.
            top.entry(spell(id).0).or_insert(json!(finite(x)));
        }
        Some(top)
    }

    /// Characters that begin in it: with a byte that continues no other.
    fn characters(&self, spell: &Spell<'_>) -> usize {
        spell(self.id()).1.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(id: u32) -> (String, Vec<u8>) {
        let text = ["a", "b", "\u{fffd}", "\u{fffd}", "é"][id as usize];
        (text.to_owned(), text.as_bytes().to_vec())
    }

    #[test]
    fn lists_have_the_same_length_and_the_first_token_no_probability() {
        let logprob = TokenLogprob { token: 1, logprob: -2.0, top: vec![(0, -0.5), (2, -1.0), (3, -1.5)] };
        let all = Logprobs { tokens: vec![Token::First(4), Token::Other(logprob)], characters: 0 };
        let mut choice = Choice { text: "éb".into(), logprobs: Some(all), reason: None };
        assert_eq!(
            serde_json::to_value(choice.take(&spell).object(3, &spell)).unwrap(),
            json!({"text": "éb", "index": 3, "finish_reason": null, "logprobs": {
                "tokens": ["é", "b"], "token_logprobs": [null, -2.0], "text_offset": [0, 1],
                "top_logprobs": [null, {"a": -0.5, "\u{fffd}": -1.0, "b": -2.0}]}})
        );
        choice.push("b", Some(TokenLogprob { token: 1, logprob: -2.0, top: Vec::new() }));
        let rest = serde_json::to_value(choice.take(&spell).object(3, &spell)).unwrap();
        assert_eq!(rest["logprobs"]["text_offset"], json!([2]));
    }
}
