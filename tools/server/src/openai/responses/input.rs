//! The items of `input`, made into the messages that templates see.

use qwip::chat::Message;
use serde_json::{Map, Value, json};

use crate::engine::Failure;
use crate::http::{Fields, wrong};

/// `instructions` and `input`.
pub(super) fn messages(body: &mut Fields) -> Result<Vec<Message>, Failure> {
    let mut out = Conversation::default();
    if let Some(text) = body.text("instructions")? {
        out.say("system", text);
    }
    match body.take("input") {
        None => return Err(body.bad("input", "missing")),
        Some(Value::String(text)) => out.say("user", text),
        Some(Value::Array(items)) if !items.is_empty() => {
            body.objects("input", items)?.iter_mut().try_for_each(|item| out.item(item))?;
        }
        Some(Value::Array(_)) => return Err(body.bad("input", "at least one item is needed")),
        Some(other) => return Err(wrong("input", "text or a list of items", &other)),
    }
    // Arguments of calls, which are text here, become objects.
    let made = |message| Message::from_json(&Value::Object(message));
    let messages: Result<_, _> = out.messages.into_iter().map(made).collect();
    messages.map_err(|error| body.bad("input", error))
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Map<String, Value>>,
    /// The last message is the model's, and what it said first is still to come: it has thought or called tools.
    open: bool,
}

impl Conversation {
    fn item(&mut self, item: &mut Fields) -> Result<(), Failure> {
        // A message needs no type.
        match item.text("type")?.as_deref().unwrap_or("message") {
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
                let (id, name) = (item.need_text("call_id")?, item.need_text("name")?);
                let arguments = item.text("arguments")?.unwrap_or_default();
                let function = json!({"name": name, "arguments": arguments});
                let call = json!({"id": id, "type": "function", "function": function});
                let last = self.assistant();
                match last.get_mut("tool_calls").and_then(Value::as_array_mut) {
                    Some(calls) => calls.push(call),
                    None => drop(last.insert("tool_calls".to_owned(), json!([call]))),
                }
                Ok(())
            }
            "function_call_output" => {
                let (id, output) = (item.need_text("call_id")?, texts(item, "output")?);
                self.push(json!({"role": "tool", "tool_call_id": id, "content": output}));
                Ok(())
            }
            "item_reference" => {
                Err(item.bad("type", "\"item_reference\": no items are kept here, send them whole"))
            }
            other => Err(item.bad("type", format_args!("\"{other}\" is not supported here"))),
        }
    }

    fn message(&mut self, item: &mut Fields) -> Result<(), Failure> {
        let text = texts(item, "content")?;
        match item.need_text("role")?.as_str() {
            "assistant" => {
                let first = self.open && self.messages.last().is_some_and(|last| last["content"] == "");
                if !first {
                    self.open = false;
                }
                self.assistant().insert("content".to_owned(), text.into());
            }
            "user" => self.say("user", text),
            "system" | "developer" => self.say("system", text),
            other => return Err(item.unknown("role", other, "user, assistant, system or developer")),
        }
        Ok(())
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
fn reasoning(item: &mut Fields) -> Result<String, Failure> {
    let joined = |item: &mut Fields, key: &str| -> Result<String, Failure> {
        let parts = item.entries(key)?;
        parts.into_iter().map(|mut part| Ok(part.text("text")?.unwrap_or_default())).collect()
    };
    let content = joined(item, "content")?;
    if content.is_empty() { joined(item, "summary") } else { Ok(content) }
}

/// A text, or text parts joined without a separator.
fn texts(item: &mut Fields, key: &str) -> Result<String, Failure> {
    let text = |mut part: Fields| match part.need_text("type")?.as_str() {
        "input_text" | "output_text" | "text" => part.need_text("text"),
        "refusal" => part.need_text("refusal"),
        other => Err(part.bad("type", format_args!("\"{other}\": the model reads text only"))),
    };
    match item.take(key) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) => item.objects(key, parts)?.into_iter().map(text).collect(),
        Some(other) => Err(wrong(&item.name(key), "text or a list of parts", &other)),
        None => Err(item.bad(key, "missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::fields;

    fn made(body: Value) -> Result<Value, String> {
        let messages = messages(&mut fields(body)).map_err(|failure| failure.message)?;
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
        assert_eq!(made(json!({})).unwrap_err(), "input: missing");
        assert_eq!(made(json!({"input": []})).unwrap_err(), "input: at least one item is needed");
        assert_eq!(
            made(json!({"input": 1})).unwrap_err(),
            "input: expected text or a list of items, found 1"
        );
        assert_eq!(
            item(json!({"type": "item_reference", "id": "x"})),
            "input[0].type: \"item_reference\": no items are kept here, send them whole"
        );
        assert_eq!(
            item(json!({"type": "web_search_call"})),
            "input[0].type: \"web_search_call\" is not supported here"
        );
        assert_eq!(
            item(json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]})),
            "input[0].content[0].type: \"input_image\": the model reads text only"
        );
        assert_eq!(item(json!({"type": "function_call"})), "input[0].call_id: missing");
        assert_eq!(
            item(json!({"role": "tool", "content": ""})),
            "input[0].role: expected user, assistant, system or developer, found \"tool\""
        );
    }
}
