//! From [`ChatEvent`]s to the lines of an answer, and to the one object that is the same in one piece.

use std::time::{Duration, Instant, SystemTime};

use qwip::FinishReason;
use qwip::chat::Delta;
use qwip::sample::TokenLogprob;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::ChatEvent;
use crate::engine::Summary;
use crate::logprob::{self, Each, Spell};
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
    logprobs: Vec<TokenLogprob>,
}

/// Makes the lines of one answer, or the whole answer.
pub(super) struct Encoder {
    route: Route,
    model: String,
    begun: Instant,
    load: Duration,
    /// Everything that has come, unless it comes in lines.
    all: Piece,
    /// A call whose arguments are still coming: its number, id, name, arguments.
    call: Option<(usize, String, String, String)>,
}

impl Encoder {
    /// For an answer of `model` to a request that came at `begun`; until the model was there it took `load`.
    pub(super) fn new(route: Route, model: &str, begun: Instant, load: Duration) -> Encoder {
        Encoder { route, model: model.to_owned(), begun, load, all: Piece::default(), call: None }
    }

    /// What has happened, as far as it is to be told.
    fn piece(&mut self, event: &ChatEvent) -> Piece {
        let mut piece = Piece::default();
        match event {
            ChatEvent::Delta { deltas, logprobs, .. } => {
                for delta in deltas {
                    self.delta(delta, &mut piece);
                }
                piece.logprobs.extend_from_slice(logprobs);
            }
            ChatEvent::Finished { .. } => self.end_call(&mut piece),
            ChatEvent::Started | ChatEvent::End(_) | ChatEvent::Failed(_) => {}
        }
        piece
    }

    /// The lines that say what has happened. `spell` says what a token is, for log probabilities.
    pub(super) fn lines(&mut self, event: &ChatEvent, spell: &Spell<'_>) -> Vec<Value> {
        let piece = self.piece(event);
        let mut lines = Vec::new();
        if !piece.is_empty() {
            let mut line = self.line(&piece);
            if !piece.logprobs.is_empty() {
                line["logprobs"] = piece.logprobs.iter().map(|token| logprob(token, spell)).collect();
            }
            lines.push(line);
        }
        if let ChatEvent::Finished { reason, summary, .. } = event {
            let mut last = self.line(&Piece::default());
            self.finish(&mut last, *reason, summary);
            lines.push(last);
        }
        lines
    }

    /// Keeps what has happened for [`whole`](Encoder::whole).
    pub(super) fn add(&mut self, event: &ChatEvent) {
        let piece = self.piece(event);
        self.all.add(piece);
    }

    /// The whole answer, after its end.
    pub(super) fn whole(&self, reason: FinishReason, summary: &Summary, spell: &Spell<'_>) -> impl Serialize {
        let mut line = self.line(&self.all);
        self.finish(&mut line, reason, summary);
        let logprobs = &self.all.logprobs;
        let logprobs =
            (!logprobs.is_empty()).then_some(Each(|| logprobs.iter().map(|token| logprob(token, spell))));
        Whole { line, logprobs }
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

#[derive(Serialize)]
struct Whole<L> {
    #[serde(flatten)]
    line: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<L>,
}

/// Alternatives are there if some were asked for.
fn logprob(token: &TokenLogprob, spell: &Spell<'_>) -> Value {
    let mut object = logprob::object(token, spell);
    if let (true, Some(fields)) = (token.top.is_empty(), object.as_object_mut()) {
        fields.remove("top_logprobs");
    }
    object
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

    fn spell(id: u32) -> (String, Vec<u8>) {
        (format!("t{id}"), vec![0xc3, id as u8])
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
        events(arguments).iter().flat_map(|event| encoder.lines(event, &spell)).collect()
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
        events("{\"cut").iter().for_each(|event| encoder.add(event));
        let end = summary(FinishReason::Length);
        let whole = encoder.whole(end.reason, &end, &spell);
        let whole = serde_json::to_value(whole).unwrap();
        assert!(whole.get("logprobs").is_none());
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
        let mut encoder = encoder(Route::Chat);
        let lines = encoder.lines(&event, &spell);
        let entry = &lines[0]["logprobs"][0];
        assert_eq!((&entry["token"], &entry["logprob"]), (&json!("t5"), &json!(-0.5)));
        // Those of the token, which need not be those of its text.
        assert_eq!(entry["top_logprobs"][1]["bytes"], json!([0xc3, 6]));
        assert!(encoder.all.logprobs.is_empty(), "what is sent is not kept");
        encoder.add(&event);
        let end = summary(FinishReason::Stop);
        let whole = encoder.whole(end.reason, &end, &spell);
        assert_eq!(serde_json::to_value(whole).unwrap()["logprobs"], lines[0]["logprobs"]);
    }
}
