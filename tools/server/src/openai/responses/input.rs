//! The items of `input`, made into the messages that templates see.

use qwip::chat::Message;
use serde_json::{Map, Value, json};

use crate::engine::Failure;
use crate::fields::Fields;

/// `instructions` and `input`.
pub(super) fn messages(body: &Fields) -> Result<Vec<Message>, Failure> {
    let mut out = Conversation::default();
    if let Some(text) = body.text("instructions")? {
        out.say("system", text.to_owned());
    }
    match body.get("input") {
        None => return Err(body.bad("input", "is missing")),
        Some(Value::String(text)) => out.say("user", text.clone()),
        Some(Value::Array(items)) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                out.item(&body.entry("input", index, item)?)?;
            }
        }
        Some(Value::Array(_)) => return Err(body.bad("input", "must hold at least one item")),
        Some(_) => return Err(body.wrong("input", "text or a list of items")),
    }
    // Arguments of calls, which are text here, become objects.
    let made = |message| Message::from_json(&Value::Object(message));
    let messages: Result<_, _> = out.messages.into_iter().map(made).collect();
    messages.map_err(|error| body.bad("input", format_args!("cannot be read: {error}")))
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Map<String, Value>>,
    /// The last message is the model's, and what it said first is still to come: it has thought or called tools.
    open: bool,
}

impl Conversation {
    fn item(&mut self, item: &Fields) -> Result<(), Failure> {
        // A message needs no type.
        match item.text("type")?.unwrap_or("message") {
            "message" => self.message(item),
            "reasoning" => {
                let text = reasoning(item)?;
                let last = self.assistant();
                let known = last.get("reasoning_content").and_then(Value::as_str).unwrap_or_default();
                let joined = format!("{known}{text}");
                if !joined.is_empty() {
                    last.insert("reasoning_content".to_owned(), joined.into());
                }
                Ok(())
            }
            "function_call" => {
                let call = json!({
                    "id": item.need_text("call_id")?,
                    "type": "function",
                    "function": {
                        "name": item.need_text("name")?,
                        "arguments": item.text("arguments")?.unwrap_or("{}"),
                    },
                });
                let last = self.assistant();
                match last.get_mut("tool_calls").and_then(Value::as_array_mut) {
                    Some(calls) => calls.push(call),
                    None => drop(last.insert("tool_calls".to_owned(), json!([call]))),
                }
                Ok(())
            }
            "function_call_output" => {
                let id = item.need_text("call_id")?;
                let output = texts(item, "output")?;
                self.push(json!({"role": "tool", "tool_call_id": id, "content": output}));
                Ok(())
            }
            "item_reference" => {
                Err(item.bad("type", "is \"item_reference\": no items are kept, send them whole"))
            }
            other => Err(item.bad("type", format_args!("is \"{other}\", which is not supported here"))),
        }
    }

    fn message(&mut self, item: &Fields) -> Result<(), Failure> {
        let text = texts(item, "content")?;
        match item.need_text("role")? {
            "assistant" => {
                let first = self.open && self.messages.last().is_some_and(|last| last["content"] == "");
                if !first {
                    self.open = false;
                }
                self.assistant().insert("content".to_owned(), text.into());
                Ok(())
            }
            "user" => {
                self.say("user", text);
                Ok(())
            }
            "system" | "developer" => {
                self.say("system", text);
                Ok(())
            }
            other => {
                let known = "user, assistant, system and developer are known";
                Err(item.bad("role", format_args!("is \"{other}\": {known}")))
            }
        }
    }

    /// Adds what somebody says. Instructions in front of the conversation are one message, as templates want it.
    fn say(&mut self, role: &str, text: String) {
        if role == "system"
            && let [only] = self.messages.as_mut_slice()
            && only["role"] == "system"
            && let Some(Value::String(said)) = only.get_mut("content")
        {
            said.push_str("\n\n");
            said.push_str(&text);
            return;
        }
        self.push(json!({"role": role, "content": text}));
    }

    fn push(&mut self, message: Value) {
        self.open = false;
        self.messages.extend(message.as_object().cloned());
    }

    /// The model's message to which the next of its items belongs.
    fn assistant(&mut self) -> &mut Map<String, Value> {
        if !self.open {
            self.push(json!({"role": "assistant", "content": ""}));
            self.open = true;
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }
}

/// The thinking itself where it is there, else what it was summed up to.
fn reasoning(item: &Fields) -> Result<String, Failure> {
    let joined = |name: &str| -> Result<String, Failure> {
        let mut text = String::new();
        for (index, part) in item.list(name)?.iter().enumerate() {
            text.push_str(item.entry(name, index, part)?.text("text")?.unwrap_or_default());
        }
        Ok(text)
    };
    let content = joined("content")?;
    if content.is_empty() { joined("summary") } else { Ok(content) }
}

/// A text, or text parts joined without a separator.
fn texts(item: &Fields, name: &str) -> Result<String, Failure> {
    match item.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let mut joined = String::new();
            for (index, part) in parts.iter().enumerate() {
                let part = item.entry(name, index, part)?;
                match part.need_text("type")? {
                    "input_text" | "output_text" | "text" => {
                        joined.push_str(part.need_text("text")?);
                    }
                    "refusal" => joined.push_str(part.need_text("refusal")?),
                    other => {
                        let message = format_args!("is \"{other}\": the model reads text only");
                        return Err(part.bad("type", message));
                    }
                }
            }
            Ok(joined)
        }
        _ => Err(item.wrong(name, "text or a list of parts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: Value) -> Result<Value, String> {
        let fields = Fields::body(&body).unwrap();
        let messages = messages(&fields).map_err(|failure| failure.message)?;
        Ok(messages.iter().map(|message| Value::Object(message.as_map().clone())).collect())
    }

    #[test]
    fn items_become_messages() {
        let call =
            |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{\"a\":1}"});
        let body = json!({
            "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "Really."},
                {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
                call("call_1"),
                call("call_2"),
                {"type": "function_call_output", "call_id": "call_1", "output": "x"},
                {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "y"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]},
                {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                 "content": [{"type": "output_text", "text": "done", "annotations": []}]},
                {"role": "assistant", "content": "really"},
                {"role": "user", "content": "thanks"},
            ],
        });
        let made_call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": {"a": 1}}});
        let want = json!([
            {"role": "system", "content": "Be brief.\n\nReally."},
            {"role": "user", "content": "ab"},
            {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [made_call("call_1"), made_call("call_2")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "x"},
            {"role": "tool", "tool_call_id": "call_2", "content": "y"},
            {"role": "assistant", "content": "done", "reasoning_content": "so"},
            {"role": "assistant", "content": "really"},
            {"role": "user", "content": "thanks"},
        ]);
        assert_eq!(made(body).unwrap(), want);
        let plain = made(json!({"input": "Hi"})).unwrap();
        assert_eq!(plain, json!([{"role": "user", "content": "Hi"}]));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let item = |item: Value| made(json!({"input": [item]})).unwrap_err();
        assert_eq!(made(json!({})).unwrap_err(), "`input` is missing");
        assert_eq!(made(json!({"input": []})).unwrap_err(), "`input` must hold at least one item");
        assert_eq!(
            made(json!({"input": 1})).unwrap_err(),
            "`input` is a number, not text or a list of items"
        );
        assert_eq!(
            item(json!({"type": "item_reference", "id": "x"})),
            "`input[0].type` is \"item_reference\": no items are kept, send them whole"
        );
        assert_eq!(
            item(json!({"type": "web_search_call"})),
            "`input[0].type` is \"web_search_call\", which is not supported here"
        );
        assert_eq!(
            item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]})),
            "`input[0].content[0].type` is \"input_image\": the model reads text only"
        );
        assert_eq!(item(json!({"type": "function_call"})), "`input[0].call_id` is missing");
        assert_eq!(
            item(json!({"role": "tool", "content": ""})),
            "`input[0].role` is \"tool\": user, assistant, system and developer are known"
        );
    }
}
