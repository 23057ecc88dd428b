//! The objects that a chat's answer is told in: one, or many chunks.

use qwip::FinishReason;
use qwip::chat::{Delta, random_name};
use qwip::sample::TokenLogprob;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::usage::{self, Timings};
use crate::chat::{Answers, Usage};
use crate::engine::Summary;
use crate::logprob::{self, Each, Spell};

/// What all objects of an answer have in common.
pub(super) struct Frame {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    with_logprobs: bool,
    with_usage: bool,
    /// Of a stream: what each choice has come to.
    begun: Vec<Begun>,
    timings: Timings,
}

#[derive(Default)]
struct Begun {
    /// Whether the chunk with the role has been sent.
    role: bool,
    /// Log probabilities of tokens whose text has not come yet.
    logprobs: Vec<Value>,
}

impl Frame {
    pub(super) fn new(answers: &Answers, with_logprobs: bool) -> Frame {
        Frame {
            id: format!("chatcmpl-{}", random_name(24)),
            created: answers.created,
            model: answers.model().to_owned(),
            fingerprint: answers.fingerprint().to_owned(),
            with_logprobs,
            with_usage: false,
            begun: Vec::new(),
            timings: Timings::default(),
        }
    }

    /// Chunks have `usage`, null but in the last one, if one was asked for.
    pub(super) fn promise_usage(&mut self, asked: bool) {
        self.with_usage = asked;
    }

    fn head(&self, kind: &str) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        })
    }

    fn object(&self, kind: &str, choices: Value) -> Value {
        let mut object = self.head(kind);
        object["choices"] = choices;
        object
    }

    fn chunk(&self, choice: usize, delta: Value, logprobs: Vec<Value>, reason: Option<&str>) -> Value {
        let logprobs = match self.with_logprobs && !logprobs.is_empty() {
            true => json!({"content": logprobs, "refusal": null}),
            false => Value::Null,
        };
        let choice = json!({"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason});
        let mut chunk = self.object("chat.completion.chunk", json!([choice]));
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn begun(&mut self, choice: usize) -> &mut Begun {
        if self.begun.len() <= choice {
            self.begun.resize_with(choice + 1, Begun::default);
        }
        &mut self.begun[choice]
    }

    /// The chunk with the role, once.
    fn role(&mut self, choice: usize) -> Option<Value> {
        let said = std::mem::replace(&mut self.begun(choice).role, true);
        (!said).then(|| self.chunk(choice, json!({"role": "assistant", "content": ""}), Vec::new(), None))
    }

    /// What came of one choice.
    pub(super) fn chunks(&mut self, choice: usize, deltas: Vec<Delta>, logprobs: Vec<Value>) -> Vec<Value> {
        let mut chunks: Vec<Value> = self.role(choice).into_iter().collect();
        self.begun(choice).logprobs.extend(logprobs);
        for delta in deltas {
            let logprobs = std::mem::take(&mut self.begun(choice).logprobs);
            chunks.push(self.chunk(choice, delta_object(delta), logprobs, None));
        }
        chunks
    }

    /// The end of one choice.
    pub(super) fn last_chunks(
        &mut self,
        choice: usize,
        reason: FinishReason,
        calls: usize,
        summary: &Summary,
    ) -> Vec<Value> {
        self.timings.add(summary);
        let mut chunks: Vec<Value> = self.role(choice).into_iter().collect();
        let logprobs = std::mem::take(&mut self.begun(choice).logprobs);
        let reason = usage::finish_reason(reason, calls);
        let mut last = self.chunk(choice, json!({}), logprobs, Some(reason));
        last["timings"] = Timings::of(summary).object();
        chunks.push(last);
        chunks
    }

    /// The chunk behind the last one.
    pub(super) fn usage_chunk(&self, usage: &Usage) -> Value {
        let mut chunk = self.object("chat.completion.chunk", json!([]));
        chunk["usage"] = usage::usage(usage);
        chunk["timings"] = self.timings.object();
        chunk
    }

    /// The answer in one.
    pub(super) fn complete<'a>(
        &self,
        complete: &'a Complete,
        usage: &Usage,
        spell: &'a Spell<'a>,
    ) -> impl Serialize {
        let with_logprobs = self.with_logprobs;
        let choices = || complete.choices.iter().enumerate();
        Whole {
            head: self.head("chat.completion"),
            choices: Each(move || choices().map(move |(i, choice)| choice.object(i, with_logprobs, spell))),
            usage: usage::usage(usage),
            timings: complete.timings.object(),
        }
    }
}

#[derive(Serialize)]
struct Whole<C> {
    #[serde(flatten)]
    head: Value,
    choices: C,
    usage: Value,
    timings: Value,
}

#[derive(Serialize)]
struct WholeChoice<L> {
    index: usize,
    message: Value,
    logprobs: Option<L>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Logprobs<C> {
    content: C,
    refusal: (),
}

fn delta_object(delta: Delta) -> Value {
    match delta {
        Delta::Reasoning(text) => json!({"reasoning_content": text}),
        Delta::Content(text) => json!({"content": text}),
        Delta::ToolCall { index, id, name } => {
            let function = json!({"name": name, "arguments": ""});
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        }
        Delta::Arguments { index, fragment } => {
            json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
        }
    }
}

/// All answers, as they come together.
#[derive(Default)]
pub(super) struct Complete {
    choices: Vec<Choice>,
    timings: Timings,
}

#[derive(Default)]
struct Choice {
    content: String,
    reasoning: String,
    /// Name of the call, name of the tool, arguments.
    calls: Vec<[String; 3]>,
    logprobs: Vec<TokenLogprob>,
    reason: Option<&'static str>,
}

impl Complete {
    fn choice(&mut self, choice: usize) -> &mut Choice {
        if self.choices.len() <= choice {
            self.choices.resize_with(choice + 1, Choice::default);
        }
        &mut self.choices[choice]
    }

    pub(super) fn push(&mut self, choice: usize, deltas: Vec<Delta>, logprobs: Vec<TokenLogprob>) {
        let choice = self.choice(choice);
        choice.logprobs.extend(logprobs);
        for delta in deltas {
            match delta {
                Delta::Reasoning(text) => choice.reasoning.push_str(&text),
                Delta::Content(text) => choice.content.push_str(&text),
                Delta::ToolCall { id, name, .. } => choice.calls.push([id, name, String::new()]),
                Delta::Arguments { index, fragment } => {
                    if let Some([_, _, arguments]) = choice.calls.get_mut(index) {
                        arguments.push_str(&fragment);
                    }
                }
            }
        }
    }

    pub(super) fn finish(&mut self, choice: usize, reason: FinishReason, calls: usize, summary: &Summary) {
        self.timings.add(summary);
        self.choice(choice).reason = Some(usage::finish_reason(reason, calls));
    }
}

impl Choice {
    fn object<'a>(&'a self, index: usize, with_logprobs: bool, spell: &'a Spell<'a>) -> impl Serialize {
        let content = Each(|| self.logprobs.iter().map(|token| logprob::object(token, spell)));
        WholeChoice {
            index,
            message: self.message(),
            logprobs: with_logprobs.then_some(Logprobs { content, refusal: () }),
            finish_reason: self.reason,
        }
    }

    fn message(&self) -> Value {
        let nothing = self.content.is_empty() && !self.calls.is_empty();
        let content = (!nothing).then_some(&self.content);
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.calls.is_empty() {
            let call = |[id, name, arguments]: &[String; 3]| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
            message["tool_calls"] = self.calls.iter().map(call).collect();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(with_logprobs: bool) -> Frame {
        Frame {
            id: "chatcmpl-x".into(),
            created: 7,
            model: "m".into(),
            fingerprint: "f".into(),
            with_logprobs,
            with_usage: false,
            begun: Vec::new(),
            timings: Timings::default(),
        }
    }

    fn summary(reason: FinishReason) -> Summary {
        Summary {
            reason,
            stop: None,
            prompt_tokens: 10,
            cached_tokens: 4,
            answer_tokens: 5,
            prompt_time: Duration::from_millis(6),
            answer_time: Duration::from_millis(50),
            queue_time: Duration::ZERO,
        }
    }

    fn whole(frame: &Frame, complete: &Complete) -> Value {
        let spell = |id: u32| (format!("t{id}"), vec![id as u8]);
        serde_json::to_value(frame.complete(complete, &Usage::default(), &spell)).unwrap()
    }

    fn call() -> Vec<Delta> {
        vec![
            Delta::ToolCall { index: 0, id: "call_a".into(), name: "f".into() },
            Delta::Arguments { index: 0, fragment: "{\"a\":".into() },
            Delta::Arguments { index: 0, fragment: "1}".into() },
        ]
    }

    #[test]
    fn a_stream_begins_with_the_role_and_ends_with_a_reason() {
        let mut frame = frame(false);
        let chunks = frame.chunks(0, vec![Delta::Content("Hi".into())], Vec::new());
        assert_eq!(
            chunks[0],
            json!({"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 7, "model": "m",
                   "system_fingerprint": "f", "choices": [{"index": 0, "delta": {"role": "assistant",
                   "content": ""}, "logprobs": null, "finish_reason": null}]})
        );
        assert_eq!(chunks[1]["choices"][0]["delta"], json!({"content": "Hi"}));
        assert_eq!(frame.chunks(0, vec![Delta::Reasoning("h".into())], Vec::new()).len(), 1);
        let last = frame.last_chunks(0, FinishReason::Stop, 0, &summary(FinishReason::Stop));
        let [last] = last.as_slice() else { panic!("{last:?}") };
        assert_eq!(last["choices"][0]["delta"], json!({}));
        assert_eq!(last["choices"][0]["finish_reason"], "stop");
        assert_eq!((&last["timings"]["prompt_n"], &last["timings"]["cache_n"]), (&json!(6), &json!(4)));
        assert_eq!(last["timings"]["predicted_per_second"], json!(100.0));
        assert!(last.get("usage").is_none());
    }

    #[test]
    fn an_empty_answer_still_has_a_role() {
        let chunks = frame(false).last_chunks(1, FinishReason::Length, 0, &summary(FinishReason::Length));
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(chunks[1]["choices"][0]["finish_reason"], "length");
        assert_eq!(chunks[1]["choices"][0]["index"], 1);
    }

    #[test]
    fn usage_is_null_until_the_chunk_without_choices() {
        let mut frame = frame(false);
        frame.promise_usage(true);
        let chunks = frame.chunks(0, vec![Delta::Content("Hi".into())], Vec::new());
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
        let usage = Usage { prompt_tokens: 10, cached_tokens: 4, completion_tokens: 5, reasoning_tokens: 2 };
        let last = frame.usage_chunk(&usage);
        assert_eq!(last["choices"], json!([]));
        assert_eq!(
            last["usage"],
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                   "prompt_tokens_details": {"cached_tokens": 4},
                   "completion_tokens_details": {"reasoning_tokens": 2}})
        );
    }

    #[test]
    fn calls_come_with_index_and_arguments_as_text() {
        let mut frame = frame(false);
        let chunks = frame.chunks(0, call(), Vec::new());
        let first = &chunks[1]["choices"][0]["delta"]["tool_calls"][0];
        let function = json!({"name": "f", "arguments": ""});
        assert_eq!(*first, json!({"index": 0, "id": "call_a", "type": "function", "function": function}));
        let second = &chunks[2]["choices"][0]["delta"]["tool_calls"][0];
        assert_eq!(*second, json!({"index": 0, "function": {"arguments": "{\"a\":"}}));
        let mut complete = Complete::default();
        complete.push(0, call(), Vec::new());
        complete.finish(0, FinishReason::Stop, 1, &summary(FinishReason::Stop));
        let object = whole(&frame, &complete);
        let choice = &object["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
        assert_eq!((&object["object"], &choice["logprobs"]), (&json!("chat.completion"), &Value::Null));
    }

    #[test]
    fn log_probabilities_of_a_whole_answer_are_written_out() {
        let token = TokenLogprob { token: 7, logprob: -0.5, top: Vec::new() };
        let mut complete = Complete::default();
        complete.push(0, vec![Delta::Content("x".into())], vec![token]);
        complete.finish(0, FinishReason::Stop, 0, &summary(FinishReason::Stop));
        let object = whole(&frame(true), &complete);
        let fields: Vec<&String> = object.as_object().unwrap().keys().collect();
        let want = ["id", "object", "created", "model", "system_fingerprint", "choices", "usage", "timings"];
        assert_eq!(fields, want);
        let entry = json!({"token": "t7", "logprob": -0.5, "bytes": [7], "top_logprobs": []});
        let message = json!({"role": "assistant", "content": "x", "refusal": null});
        assert_eq!(
            object["choices"],
            json!([{"index": 0, "message": message, "logprobs": {"content": [entry], "refusal": null},
                    "finish_reason": "stop"}])
        );
    }

    #[test]
    fn log_probabilities_wait_for_a_chunk() {
        let mut frame = frame(true);
        assert_eq!(frame.chunks(0, Vec::new(), vec![json!(1)]).len(), 1);
        let chunks = frame.chunks(0, vec![Delta::Content("é".into())], vec![json!(2)]);
        assert_eq!(chunks[0]["choices"][0]["logprobs"], json!({"content": [1, 2], "refusal": null}));
        frame.chunks(0, Vec::new(), vec![json!(3)]);
        let last = frame.last_chunks(0, FinishReason::Stop, 0, &summary(FinishReason::Stop));
        assert_eq!(last[0]["choices"][0]["logprobs"]["content"], json!([3]));
    }
}
