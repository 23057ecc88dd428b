//! From [`ChatEvent`]s to the events of a stream, and to the response that is the same in one piece.

use qwip::FinishReason;
use qwip::chat::Delta;
use serde_json::{Map, Value, json};

use crate::chat::{ChatEvent, Usage};
use crate::engine::{Failure, FailureKind};
use crate::events::{Encode, Event};
use crate::parts::{Added, Part, Parts};

/// Makes the events of one answer, or the whole response.
#[derive(Debug)]
pub(crate) struct Encoder {
    key: String,
    model: String,
    created: u64,
    echo: Map<String, Value>,
    parts: Parts,
    /// Number of the next event.
    sequence: u64,
    end: End,
    usage: Option<Usage>,
}

/// How far it is.
#[derive(Debug)]
enum End {
    None,
    Completed,
    /// Cut short.
    Incomplete,
    Failed(Failure),
}

impl Encode for Encoder {
    fn events(&mut self, event: &ChatEvent) -> Vec<Event> {
        let mut out = Vec::new();
        match event {
            ChatEvent::Started => {
                for name in ["response.created", "response.in_progress"] {
                    let response = json!({"response": self.response()});
                    self.emit(&mut out, name, response);
                }
            }
            ChatEvent::Delta { deltas, .. } => deltas.iter().for_each(|delta| self.delta(delta, &mut out)),
            ChatEvent::Finished { reason, .. } => {
                // The last item is cut short if the answer is.
                self.end = if *reason == FinishReason::Stop { End::Completed } else { End::Incomplete };
                self.close(self.parts.last_index(), &mut out);
            }
            ChatEvent::End(usage) => {
                self.usage = Some(*usage);
                self.finish(&mut out);
            }
            ChatEvent::Failed(failure) => {
                self.end = End::Failed(failure.clone());
                self.finish(&mut out);
            }
        }
        out
    }
}

impl Encoder {
    /// For an answer of `model`, asked for at `created`, in seconds since 1970. `key` makes its ids unique, `echo` is what
    /// [`parse`](super::parse) says.
    pub(crate) fn new(key: &str, model: &str, created: u64, echo: Map<String, Value>) -> Encoder {
        Encoder {
            key: key.to_owned(),
            model: model.to_owned(),
            created,
            echo,
            parts: Parts::default(),
            sequence: 0,
            end: End::None,
            usage: None,
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let name = match self.end {
            End::None | End::Completed => "response.completed",
            End::Incomplete => "response.incomplete",
            End::Failed(_) => "response.failed",
        };
        let response = json!({"response": self.response()});
        self.emit(out, name, response);
    }

    /// The whole response, as far as it has come.
    pub(crate) fn response(&self) -> Value {
        let (status, incomplete, error) = match &self.end {
            End::None => ("in_progress", Value::Null, Value::Null),
            End::Completed => ("completed", Value::Null, Value::Null),
            End::Incomplete => ("incomplete", json!({"reason": "max_output_tokens"}), Value::Null),
            End::Failed(failure) => {
                let code = match failure.kind {
                    FailureKind::Invalid | FailureKind::TooLong => "invalid_prompt",
                    FailureKind::Busy => "rate_limit_exceeded",
                    _ => "server_error",
                };
                ("failed", Value::Null, json!({"code": code, "message": failure.message}))
            }
        };
        let output: Vec<Value> = (0..self.parts.all().len()).map(|index| self.item(index)).collect();
        let mut response = json!({
            "id": format!("resp_{}", self.key),
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": error,
            "incomplete_details": incomplete,
            "model": self.model,
            "output": output,
            "previous_response_id": null,
            "store": false,
            "truncation": "disabled",
            "usage": self.usage.map(usage),
        });
        for (name, value) in &self.echo {
            response[name] = value.clone();
        }
        response
    }

    /// Item number `index` as it is now.
    fn item(&self, index: usize) -> Value {
        let last = index == self.parts.last_index();
        let status = match self.end {
            End::None if last => "in_progress",
            End::Incomplete | End::Failed(_) if last => "incomplete",
            _ => "completed",
        };
        let id = self.item_id(index);
        match &self.parts.all()[index] {
            Part::Reasoning(text) => {
                let content = [json!({"type": "reasoning_text", "text": text})];
                json!({"id": id, "type": "reasoning", "summary": [], "content": content, "status": status})
            }
            Part::Text(text) => {
                let content = [text_part(text)];
                json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
            }
            Part::Call { id: call_id, name, arguments } => json!({
                "id": id, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments,
                "status": status,
            }),
        }
    }

    fn item_id(&self, index: usize) -> String {
        let kind = match self.parts.all()[index] {
            Part::Reasoning(_) => "rs",
            Part::Text(_) => "msg",
            Part::Call { .. } => "fc",
        };
        format!("{kind}_{}{index}", self.key)
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<Event>) {
        let added = self.parts.push(delta);
        let index = self.parts.last_index();
        if added == Added::New {
            if index > 0 {
                self.close(index - 1, out);
            }
            self.open(index, out);
        }
        let (name, text) = match delta {
            _ if added == Added::Nothing => return,
            Delta::ToolCall { .. } => return,
            Delta::Reasoning(text) => ("response.reasoning_text.delta", text),
            Delta::Content(text) => ("response.output_text.delta", text),
            Delta::Arguments { fragment, .. } => ("response.function_call_arguments.delta", fragment),
        };
        let mut data = self.place(index);
        data["delta"] = text.as_str().into();
        self.emit(out, name, data);
    }

    /// Where an event belongs: to an item, and for texts to its only part.
    fn place(&self, index: usize) -> Value {
        let id = self.item_id(index);
        match &self.parts.all()[index] {
            Part::Reasoning(_) => json!({"item_id": id, "output_index": index, "content_index": 0}),
            Part::Text(_) => {
                json!({"item_id": id, "output_index": index, "content_index": 0, "logprobs": []})
            }
            Part::Call { .. } => json!({"item_id": id, "output_index": index}),
        }
    }

    /// An item begins: it is empty.
    fn open(&mut self, index: usize, out: &mut Vec<Event>) {
        let mut item = self.item(index);
        let part = match &self.parts.all()[index] {
            Part::Reasoning(_) => Some(json!({"type": "reasoning_text", "text": ""})),
            Part::Text(_) => Some(text_part("")),
            Part::Call { .. } => None,
        };
        if part.is_some() {
            item["content"] = json!([]);
        }
        self.emit(out, "response.output_item.added", json!({"output_index": index, "item": item}));
        if let Some(part) = part {
            let data = self.part_event(index, part);
            self.emit(out, "response.content_part.added", data);
        }
    }

    /// An item ends, if there is one.
    fn close(&mut self, index: usize, out: &mut Vec<Event>) {
        let mut data = match self.parts.all().get(index) {
            None => return,
            Some(_) => self.place(index),
        };
        let (name, part) = match &self.parts.all()[index] {
            Part::Reasoning(text) => {
                data["text"] = text.as_str().into();
                ("response.reasoning_text.done", Some(json!({"type": "reasoning_text", "text": text})))
            }
            Part::Text(text) => {
                data["text"] = text.as_str().into();
                ("response.output_text.done", Some(text_part(text)))
            }
            Part::Call { name, arguments, .. } => {
                data["name"] = name.as_str().into();
                data["arguments"] = arguments.as_str().into();
                ("response.function_call_arguments.done", None)
            }
        };
        self.emit(out, name, data);
        if let Some(part) = part {
            let data = self.part_event(index, part);
            self.emit(out, "response.content_part.done", data);
        }
        let item = self.item(index);
        self.emit(out, "response.output_item.done", json!({"output_index": index, "item": item}));
    }

    fn part_event(&self, index: usize, part: Value) -> Value {
        json!({"item_id": self.item_id(index), "output_index": index, "content_index": 0, "part": part})
    }

    fn emit(&mut self, out: &mut Vec<Event>, name: &'static str, data: Value) {
        let mut event = json!({"type": name, "sequence_number": self.sequence});
        self.sequence += 1;
        if let (Value::Object(event), Value::Object(data)) = (&mut event, data) {
            event.extend(data);
        }
        out.push((name, event));
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Summary;

    fn said(deltas: Vec<Delta>) -> ChatEvent {
        ChatEvent::Delta { choice: 0, deltas, logprobs: Vec::new() }
    }

    fn finished(reason: FinishReason) -> ChatEvent {
        let summary = Summary {
            reason,
            stop: None,
            prompt_tokens: 12,
            cached_tokens: 8,
            answer_tokens: 7,
            prompt_time: Duration::ZERO,
            answer_time: Duration::ZERO,
            queue_time: Duration::ZERO,
        };
        ChatEvent::Finished { choice: 0, reason, calls: 1, summary }
    }

    fn answer(reason: FinishReason) -> Vec<ChatEvent> {
        let text = |text: &str| text.to_owned();
        let usage = Usage { prompt_tokens: 12, cached_tokens: 8, completion_tokens: 7, reasoning_tokens: 2 };
        vec![
            ChatEvent::Started,
            said(vec![Delta::Reasoning(text("hm"))]),
            said(vec![Delta::Content(text("Yes")), Delta::Content(text("."))]),
            said(vec![Delta::ToolCall { index: 0, id: text("call_a"), name: text("f") }]),
            said(vec![Delta::Arguments { index: 0, fragment: text("{\"a\":") }]),
            said(vec![Delta::Arguments { index: 0, fragment: text("1}") }]),
            finished(reason),
            ChatEvent::End(usage),
        ]
    }

    fn encoder() -> Encoder {
        let echo = super::super::request::parse(&json!({"input": "Hi", "temperature": 0.5})).unwrap().echo;
        Encoder::new("k", "m", 100, echo)
    }

    #[test]
    fn a_stream_of_all_kinds_of_items() {
        let mut encoder = encoder();
        let events: Vec<Event> =
            answer(FinishReason::Stop).iter().flat_map(|event| encoder.events(event)).collect();
        for (number, (name, data)) in events.iter().enumerate() {
            assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
        }
        let short: Vec<String> = events
            .iter()
            .map(|(name, data)| {
                format!("{} {}", name.strip_prefix("response.").unwrap(), data["output_index"])
            })
            .collect();
        let want = [
            "created null",
            "in_progress null",
            "output_item.added 0",
            "content_part.added 0",
            "reasoning_text.delta 0",
            "reasoning_text.done 0",
            "content_part.done 0",
            "output_item.done 0",
            "output_item.added 1",
            "content_part.added 1",
            "output_text.delta 1",
            "output_text.delta 1",
            "output_text.done 1",
            "content_part.done 1",
            "output_item.done 1",
            "output_item.added 2",
            "function_call_arguments.delta 2",
            "function_call_arguments.delta 2",
            "function_call_arguments.done 2",
            "output_item.done 2",
            "completed null",
        ];
        assert_eq!(short, want);
        assert_eq!(events[0].1["response"]["status"], "in_progress");
        assert_eq!(
            events[2].1["item"],
            json!({"id": "rs_k0", "type": "reasoning", "summary": [], "content": [], "status": "in_progress"})
        );
        assert_eq!(events[7].1["item"]["status"], "completed");
        assert_eq!(events[12].1["text"], "Yes.");
        let call = &events[19].1["item"];
        assert_eq!((&call["call_id"], &call["arguments"]), (&json!("call_a"), &json!("{\"a\":1}")));
        let response = &events[20].1["response"];
        assert_eq!(response, &encoder.response());
        assert_eq!((&response["status"], &response["temperature"]), (&json!("completed"), &json!(0.5)));
        assert_eq!(response["output"].as_array().unwrap().len(), 3);
        assert_eq!(response["usage"]["total_tokens"], 19);
    }

    #[test]
    fn an_answer_that_is_cut_short() {
        let mut encoder = encoder();
        let events: Vec<Event> =
            answer(FinishReason::Length).iter().flat_map(|event| encoder.events(event)).collect();
        let (name, data) = events.last().unwrap();
        assert_eq!((*name, &data["response"]["status"]), ("response.incomplete", &json!("incomplete")));
        assert_eq!(data["response"]["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(data["response"]["output"][2]["status"], "incomplete");
        assert_eq!(data["response"]["output"][1]["status"], "completed");
    }

    #[test]
    fn a_failure_ends_the_stream() {
        let mut encoder = encoder();
        encoder.events(&ChatEvent::Started);
        let events = encoder.events(&ChatEvent::Failed(Failure::new(FailureKind::Internal, "no")));
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].1["response"]["error"], json!({"code": "server_error", "message": "no"}));
        assert_eq!(events[0].1["sequence_number"], 2);
    }
}
