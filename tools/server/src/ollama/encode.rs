//! From [`ChatEvent`]s to the lines of an answer, and to the one object that is the same in one piece.

use std::time::{Duration, Instant, SystemTime};

use qwip::FinishReason;
use qwip::sample::TokenLogprob;
use serde_json::{Map, Value, json};

use crate::chat::{ChatEvent, Delta};
use crate::engine::Summary;
use crate::parts::arguments_object;
use crate::time::rfc3339;

/// Which route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Chat,
    Generate,
}

/// What a line holds besides what all lines have.
#[derive(Debug, Default)]
struct Piece {
    thinking: String,
    text: String,
    calls: Vec<Value>,
    logprobs: Vec<Value>,
}

/// Makes the lines of one answer, or the whole answer.
pub(super) struct Encoder {
    route: Route,
    model: String,
    begun: Instant,
    load: Duration,
    /// Everything that has come.
    all: Piece,
    /// A call whose arguments are still coming: its number, id, name, arguments.
    call: Option<(usize, String, String, String)>,
}

impl Encoder {
    /// For an answer of `model` to a request that came at `begun`; until the model was there it took `load`.
    pub(super) fn new(route: Route, model: &str, begun: Instant, load: Duration) -> Encoder {
        Encoder { route, model: model.to_owned(), begun, load, all: Piece::default(), call: None }
    }

    /// The lines that say what has happened. `text_of` says what a token spells, for log probabilities.
    pub(super) fn lines(&mut self, event: &ChatEvent, text_of: &dyn Fn(u32) -> String) -> Vec<Value> {
        match event {
            ChatEvent::Delta { deltas, logprobs, .. } => {
                let mut piece = Piece::default();
                for delta in deltas {
                    self.delta(delta, &mut piece);
                }
                piece.logprobs.extend(logprobs.iter().map(|token| logprob(token, text_of)));
                let line = (!piece.is_empty()).then(|| self.line(&piece));
                self.all.add(piece);
                line.into_iter().collect()
            }
            ChatEvent::Finished { reason, summary, .. } => {
                let mut lines = Vec::new();
                let mut piece = Piece::default();
                self.end_call(&mut piece);
                if !piece.is_empty() {
                    lines.push(self.line(&piece));
                    self.all.add(piece);
                }
                let mut last = self.line(&Piece::default());
                self.finish(&mut last, *reason, summary);
                lines.push(last);
                lines
            }
            ChatEvent::Started | ChatEvent::End(_) | ChatEvent::Failed(_) => Vec::new(),
        }
    }

    /// The whole answer, after its end.
    pub(super) fn whole(&self, reason: FinishReason, summary: &Summary) -> Value {
        let mut whole = self.line(&self.all);
        self.finish(&mut whole, reason, summary);
        whole
    }

    /// The answer to a request that only loads or unloads the model.
    pub(super) fn nothing(&self, unloaded: bool) -> Value {
        let mut line = self.line(&Piece::default());
        line["done"] = true.into();
        line["done_reason"] = if unloaded { "unload" } else { "load" }.into();
        line
    }

    fn delta(&mut self, delta: &Delta, piece: &mut Piece) {
        match delta {
            Delta::Reasoning(text) => piece.thinking.push_str(text),
            Delta::Content(text) => piece.text.push_str(text),
            Delta::ToolCall { index, id, name } => {
                self.end_call(piece);
                self.call = Some((*index, id.clone(), name.clone(), String::new()));
            }
            Delta::Arguments { fragment, .. } => {
                if let Some((.., arguments)) = &mut self.call {
                    arguments.push_str(fragment);
                }
            }
        }
    }

    /// A call is sent as a whole. One that was broken off with the answer is not sent: it has no arguments.
    fn end_call(&mut self, piece: &mut Piece) {
        if let Some((index, id, name, arguments)) = self.call.take()
            && let Some(arguments) = arguments_object(&arguments)
        {
            let function = json!({"index": index, "name": name, "arguments": arguments});
            piece.calls.push(json!({"id": id, "function": function}));
        }
    }

    fn line(&self, piece: &Piece) -> Value {
        let mut line = json!({"model": self.model, "created_at": rfc3339(SystemTime::now())});
        match self.route {
            Route::Chat => {
                let mut message = Map::new();
                message.insert("role".to_owned(), "assistant".into());
                message.insert("content".to_owned(), piece.text.as_str().into());
                if !piece.thinking.is_empty() {
                    message.insert("thinking".to_owned(), piece.thinking.as_str().into());
                }
                if !piece.calls.is_empty() {
                    message.insert("tool_calls".to_owned(), piece.calls.clone().into());
                }
                line["message"] = message.into();
            }
            Route::Generate => {
                line["response"] = piece.text.as_str().into();
                if !piece.thinking.is_empty() {
                    line["thinking"] = piece.thinking.as_str().into();
                }
            }
        }
        line["done"] = false.into();
        if !piece.logprobs.is_empty() {
            line["logprobs"] = piece.logprobs.clone().into();
        }
        line
    }

    fn finish(&self, line: &mut Value, reason: FinishReason, summary: &Summary) {
        line["done"] = true.into();
        line["done_reason"] = if reason == FinishReason::Stop { "stop" } else { "length" }.into();
        line["total_duration"] = nanoseconds(self.begun.elapsed());
        line["load_duration"] = nanoseconds(self.load);
        line["prompt_eval_count"] = summary.prompt_tokens.into();
        line["prompt_eval_duration"] = nanoseconds(summary.prompt_time);
        line["eval_count"] = summary.answer_tokens.into();
        line["eval_duration"] = nanoseconds(summary.answer_time);
    }
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.thinking.is_empty() && self.text.is_empty() && self.calls.is_empty() && self.logprobs.is_empty()
    }

    fn add(&mut self, piece: Piece) {
        self.thinking.push_str(&piece.thinking);
        self.text.push_str(&piece.text);
        self.calls.extend(piece.calls);
        self.logprobs.extend(piece.logprobs);
    }
}

/// A duration as the lines have it.
pub(super) fn nanoseconds(time: Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}

fn logprob(token: &TokenLogprob, text_of: &dyn Fn(u32) -> String) -> Value {
    let one = |id: u32, logprob: f32| {
        let text = text_of(id);
        json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()})
    };
    let mut entry = one(token.token, token.logprob);
    if !token.top.is_empty() {
        entry["top_logprobs"] = token.top.iter().map(|&(id, logprob)| one(id, logprob)).collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(reason: FinishReason) -> Summary {
        Summary {
            reason,
            stop: None,
            prompt_tokens: 12,
            cached_tokens: 8,
            answer_tokens: 7,
            prompt_time: Duration::from_millis(2),
            answer_time: Duration::from_millis(3),
            queue_time: Duration::ZERO,
        }
    }

    fn encoder(route: Route) -> Encoder {
        Encoder::new(route, "m", Instant::now(), Duration::from_micros(5))
    }

    fn events(arguments: &str) -> Vec<ChatEvent> {
        let said = |deltas| ChatEvent::Delta { choice: 0, deltas, logprobs: Vec::new() };
        let text = |text: &str| text.to_owned();
        let call =
            |index, name: &str| Delta::ToolCall { index, id: format!("call_{index}"), name: text(name) };
        let reason = FinishReason::Stop;
        vec![
            ChatEvent::Started,
            said(vec![Delta::Reasoning(text("hm"))]),
            said(vec![Delta::Content(text("Yes"))]),
            said(vec![]),
            said(vec![call(0, "f"), Delta::Arguments { index: 0, fragment: text("{\"a\":") }]),
            said(vec![Delta::Arguments { index: 0, fragment: text("1}") }]),
            said(vec![call(1, "g"), Delta::Arguments { index: 1, fragment: text(arguments) }]),
            ChatEvent::Finished { choice: 0, reason, calls: 2, summary: summary(reason) },
        ]
    }

    fn run(encoder: &mut Encoder, arguments: &str) -> Vec<Value> {
        events(arguments).iter().flat_map(|event| encoder.lines(event, &|_| String::new())).collect()
    }

    #[test]
    fn lines_of_a_chat() {
        let lines = run(&mut encoder(Route::Chat), "{}");
        let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
        let call = |index: usize, name: &str, arguments: Value| json!({"id": format!("call_{index}"), "function": {"index": index, "name": name, "arguments": arguments}});
        let want = [
            json!({"role": "assistant", "content": "", "thinking": "hm"}),
            json!({"role": "assistant", "content": "Yes"}),
            json!({"role": "assistant", "content": "", "tool_calls": [call(0, "f", json!({"a": 1}))]}),
            json!({"role": "assistant", "content": "", "tool_calls": [call(1, "g", json!({}))]}),
            json!({"role": "assistant", "content": ""}),
        ];
        assert_eq!(messages, want.iter().collect::<Vec<_>>());
        assert!(lines[..4].iter().all(|line| line["done"] == false && line.get("done_reason").is_none()));
        let last = &lines[4];
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
        assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&json!(12), &json!(7)));
        assert_eq!(
            (&last["prompt_eval_duration"], &last["eval_duration"]),
            (&json!(2_000_000), &json!(3_000_000))
        );
        assert_eq!(last["load_duration"], 5000);
    }

    #[test]
    fn the_same_in_one_piece() {
        let mut encoder = encoder(Route::Chat);
        run(&mut encoder, "{\"cut");
        let whole = encoder.whole(FinishReason::Length, &summary(FinishReason::Length));
        let message = &whole["message"];
        assert_eq!((&message["content"], &message["thinking"]), (&json!("Yes"), &json!("hm")));
        // The second one was cut.
        assert_eq!(message["tool_calls"].as_array().unwrap().len(), 1);
        assert_eq!(whole["done_reason"], "length");
    }

    #[test]
    fn lines_of_generate_and_of_nothing() {
        let lines = run(&mut encoder(Route::Generate), "{}");
        assert_eq!((&lines[0]["thinking"], &lines[0]["response"]), (&json!("hm"), &json!("")));
        assert_eq!(lines[1]["response"], "Yes");
        let nothing = encoder(Route::Generate).nothing(true);
        assert_eq!((&nothing["response"], &nothing["done_reason"]), (&json!(""), &json!("unload")));
        assert_eq!(encoder(Route::Chat).nothing(false)["done_reason"], "load");
    }

    #[test]
    fn log_probabilities_are_spelled_out() {
        let token = TokenLogprob { token: 5, logprob: -0.5, top: vec![(5, -0.5), (6, -1.0)] };
        let event = ChatEvent::Delta {
            choice: 0,
            deltas: vec![Delta::Content("x".to_owned())],
            logprobs: vec![token],
        };
        let lines = encoder(Route::Chat).lines(&event, &|id| format!("t{id}"));
        let entry = &lines[0]["logprobs"][0];
        assert_eq!((&entry["token"], &entry["logprob"]), (&json!("t5"), &json!(-0.5)));
        assert_eq!(entry["top_logprobs"][1]["bytes"], json!([116, 54]));
    }
}
