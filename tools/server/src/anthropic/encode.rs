//! From [`ChatEvent`]s to the events of a stream, and to the message that is the same in one piece.

use qwip::FinishReason;
use qwip::chat::Delta;
use serde_json::{Value, json};

use crate::chat::{ChatEvent, Usage};
use crate::events::{Encode, Event};
use crate::parts::{Added, Part, Parts, arguments_object};

/// Anthropic signs thinking so that it can trust it when it comes back; here nothing is trusted and nothing checked. The
/// field is not empty, since some clients drop thinking that is not signed.
const SIGNATURE: &str = "qwip";

/// Makes the events of one answer, or its message.
#[derive(Debug)]
pub(crate) struct Encoder {
    id: String,
    model: String,
    prompt_tokens: usize,
    hide_thinking: bool,
    parts: Parts,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<String>,
    usage: Usage,
}

impl Encode for Encoder {
    fn events(&mut self, event: &ChatEvent) -> Vec<Event> {
        let mut out = Vec::new();
        match event {
            ChatEvent::Started => {
                let start = json!({"type": "message_start", "message": self.message()});
                out.push(("message_start", start));
                out.push(("ping", json!({"type": "ping"})));
            }
            ChatEvent::Delta { deltas, .. } => deltas.iter().for_each(|delta| self.delta(delta, &mut out)),
            ChatEvent::Finished { reason, calls, summary, .. } => {
                self.close(self.parts.last_index(), &mut out);
                self.stop_reason = Some(stop_reason(*reason, *calls, summary.stop.is_some()));
                self.stop_sequence = summary.stop.clone();
            }
            ChatEvent::End(usage) => {
                self.usage = *usage;
                let delta = json!({
                    "type": "message_delta",
                    "delta": {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence},
                    "usage": self.usage(),
                });
                out.push(("message_delta", delta));
                out.push(("message_stop", json!({"type": "message_stop"})));
            }
            // The stream itself ends with the error.
            ChatEvent::Failed(_) => {}
        }
        out
    }
}

impl Encoder {
    /// For an answer of `model` to a prompt of so many tokens. `key` makes its id unique.
    pub(crate) fn new(key: &str, model: &str, prompt_tokens: usize, hide_thinking: bool) -> Encoder {
        Encoder {
            id: format!("msg_{key}"),
            model: model.to_owned(),
            prompt_tokens,
            hide_thinking,
            parts: Parts::default(),
            stop_reason: None,
            stop_sequence: None,
            usage: Usage::default(),
        }
    }

    /// The whole message, as far as it has come.
    pub(crate) fn message(&self) -> Value {
        let content: Vec<Value> = self.parts.all().iter().map(|part| self.block(part)).collect();
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "usage": self.usage(),
        })
    }

    /// Cached tokens are not counted among those of the input. How many there are is known at the end.
    fn usage(&self) -> Value {
        let usage = &self.usage;
        let prompt = if usage.prompt_tokens > 0 { usage.prompt_tokens } else { self.prompt_tokens };
        json!({
            "input_tokens": prompt.saturating_sub(usage.cached_tokens),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
        })
    }

    fn block(&self, part: &Part) -> Value {
        match part {
            Part::Reasoning(text) => {
                let shown = if self.hide_thinking { "" } else { text };
                json!({"type": "thinking", "thinking": shown, "signature": SIGNATURE})
            }
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Call { id, name, arguments } => {
                // Only an answer that was broken off has arguments that are none; its stop reason says so.
                let input = arguments_object(arguments).unwrap_or_default();
                json!({"type": "tool_use", "id": tool_use_id(id), "name": name, "input": input})
            }
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<Event>) {
        let added = self.parts.push(delta);
        let index = self.parts.last_index();
        if added == Added::New {
            if index > 0 {
                self.close(index - 1, out);
            }
            let block = match delta {
                Delta::Reasoning(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
                Delta::ToolCall { id, name, .. } => {
                    json!({"type": "tool_use", "id": tool_use_id(id), "name": name, "input": {}})
                }
                _ => json!({"type": "text", "text": ""}),
            };
            let start = json!({"type": "content_block_start", "index": index, "content_block": block});
            out.push(("content_block_start", start));
        }
        let more = match delta {
            _ if added == Added::Nothing => return,
            Delta::ToolCall { .. } => return,
            Delta::Reasoning(_) if self.hide_thinking => return,
            Delta::Reasoning(text) => json!({"type": "thinking_delta", "thinking": text}),
            Delta::Content(text) => json!({"type": "text_delta", "text": text}),
            Delta::Arguments { fragment, .. } => {
                json!({"type": "input_json_delta", "partial_json": fragment})
            }
        };
        out.push(block_delta(index, more));
    }

    /// Ends a block.
    fn close(&self, index: usize, out: &mut Vec<Event>) {
        match self.parts.all().get(index) {
            None => return,
            Some(Part::Reasoning(_)) => {
                out.push(block_delta(index, json!({"type": "signature_delta", "signature": SIGNATURE})));
            }
            Some(_) => {}
        }
        out.push(("content_block_stop", json!({"type": "content_block_stop", "index": index})));
    }
}

fn block_delta(index: usize, delta: Value) -> Event {
    ("content_block_delta", json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

/// The ids of calls begin otherwise there.
fn tool_use_id(id: &str) -> String {
    format!("toolu_{}", id.strip_prefix("call_").unwrap_or(id))
}

/// An answer that is cut short says so even where it calls tools: the last call may be cut, too.
fn stop_reason(reason: FinishReason, calls: usize, stopped: bool) -> &'static str {
    match reason {
        FinishReason::ContextFull => "model_context_window_exceeded",
        // A cycle without end would have run into the limit.
        FinishReason::Length | FinishReason::Cancelled | FinishReason::Repetition => "max_tokens",
        FinishReason::Stop if stopped => "stop_sequence",
        FinishReason::Stop if calls > 0 => "tool_use",
        FinishReason::Stop => "end_turn",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Summary;

    fn said(deltas: Vec<Delta>) -> ChatEvent {
        ChatEvent::Delta { choice: 0, deltas, logprobs: Vec::new() }
    }

    fn finished(reason: FinishReason, calls: usize) -> ChatEvent {
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
        ChatEvent::Finished { choice: 0, reason, calls, summary }
    }

    fn answer() -> Vec<ChatEvent> {
        let text = |text: &str| text.to_owned();
        let call = |index| Delta::ToolCall { index, id: format!("call_{index}"), name: "f".to_owned() };
        let usage = Usage { prompt_tokens: 12, cached_tokens: 8, completion_tokens: 7, reasoning_tokens: 2 };
        vec![
            ChatEvent::Started,
            said(vec![Delta::Reasoning(text("hm"))]),
            said(vec![Delta::Reasoning(text("m")), Delta::Content(text("Yes"))]),
            said(vec![]),
            said(vec![Delta::Content(text("")), Delta::Content(text("."))]),
            said(vec![call(0), Delta::Arguments { index: 0, fragment: text("{\"a\":") }]),
            said(vec![Delta::Arguments { index: 0, fragment: text("1}") }, call(1)]),
            said(vec![Delta::Arguments { index: 1, fragment: text("{}") }]),
            finished(FinishReason::Stop, 2),
            ChatEvent::End(usage),
        ]
    }

    #[test]
    fn a_stream_of_all_kinds_of_blocks() {
        let mut encoder = Encoder::new("k", "m", 12, false);
        let events: Vec<Event> = answer().iter().flat_map(|event| encoder.events(event)).collect();
        assert!(events.iter().all(|(name, data)| data["type"] == *name));
        let start = &events[0].1["message"];
        assert_eq!((&start["id"], &start["content"]), (&json!("msg_k"), &json!([])));
        assert_eq!(start["stop_reason"], Value::Null);
        assert_eq!(start["usage"]["input_tokens"], 12);
        let short: Vec<String> = events
            .iter()
            .map(|(name, data)| match *name {
                "content_block_start" => format!("start {} {}", data["index"], data["content_block"]),
                "content_block_delta" => format!("delta {} {}", data["index"], data["delta"]),
                "content_block_stop" => format!("stop {}", data["index"]),
                other => other.to_owned(),
            })
            .collect();
        let want = [
            "message_start",
            "ping",
            r#"start 0 {"type":"thinking","thinking":"","signature":""}"#,
            r#"delta 0 {"type":"thinking_delta","thinking":"hm"}"#,
            r#"delta 0 {"type":"thinking_delta","thinking":"m"}"#,
            r#"delta 0 {"type":"signature_delta","signature":"qwip"}"#,
            "stop 0",
            r#"start 1 {"type":"text","text":""}"#,
            r#"delta 1 {"type":"text_delta","text":"Yes"}"#,
            r#"delta 1 {"type":"text_delta","text":"."}"#,
            "stop 1",
            r#"start 2 {"type":"tool_use","id":"toolu_0","name":"f","input":{}}"#,
            r#"delta 2 {"type":"input_json_delta","partial_json":"{\"a\":"}"#,
            r#"delta 2 {"type":"input_json_delta","partial_json":"1}"}"#,
            "stop 2",
            r#"start 3 {"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#,
            r#"delta 3 {"type":"input_json_delta","partial_json":"{}"}"#,
            "stop 3",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(short, want);
        let end = &events[events.len() - 2].1;
        assert_eq!(end["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
        assert_eq!((&end["usage"]["input_tokens"], &end["usage"]["output_tokens"]), (&json!(4), &json!(7)));
        assert_eq!(end["usage"]["cache_read_input_tokens"], 8);
    }

    #[test]
    fn the_same_in_one_piece() {
        let mut encoder = Encoder::new("k", "m", 12, false);
        for event in answer() {
            encoder.events(&event);
        }
        let want = json!([
            {"type": "thinking", "thinking": "hmm", "signature": "qwip"},
            {"type": "text", "text": "Yes."},
            {"type": "tool_use", "id": "toolu_0", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        ]);
        let message = encoder.message();
        assert_eq!((&message["content"], &message["stop_reason"]), (&want, &json!("tool_use")));
    }

    #[test]
    fn thinking_may_be_hidden() {
        let mut encoder = Encoder::new("k", "m", 12, true);
        let events: Vec<Event> = answer().iter().flat_map(|event| encoder.events(event)).collect();
        assert!(!events.iter().any(|(_, data)| data["delta"]["type"] == "thinking_delta"));
        assert!(events.iter().any(|(_, data)| data["delta"]["type"] == "signature_delta"));
        assert_eq!(encoder.message()["content"][0]["thinking"], "");
    }

    #[test]
    fn why_it_stopped() {
        let reason = |reason, calls| stop_reason(reason, calls, false);
        assert_eq!(stop_reason(FinishReason::Stop, 1, true), "stop_sequence");
        assert_eq!(reason(FinishReason::Stop, 0), "end_turn");
        assert_eq!(reason(FinishReason::Stop, 1), "tool_use");
        assert_eq!(reason(FinishReason::Length, 1), "max_tokens");
        assert_eq!(reason(FinishReason::ContextFull, 0), "model_context_window_exceeded");
    }
}
