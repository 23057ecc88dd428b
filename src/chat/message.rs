//! Messages, and what OpenAI's wire format is turned into before a template sees it.

use serde_json::{Map, Value, json};

use super::ChatError;

/// One message of a conversation: the fields that the template will see, `role` among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    fn new(role: &str, content: &str) -> Message {
        let mut map = Map::new();
        map.insert("role".to_owned(), json!(role));
        map.insert("content".to_owned(), json!(content));
        Message(map)
    }

    /// Instructions that stand in front of the conversation.
    pub fn system(content: &str) -> Message {
        Message::new("system", content)
    }

    /// What the user says.
    pub fn user(content: &str) -> Message {
        Message::new("user", content)
    }

    /// What the model said before. Thinking may stand in front of the text as `<think>..</think>`.
    pub fn assistant(content: &str) -> Message {
        Message::new("assistant", content)
    }

    /// The result of a tool call.
    pub fn tool(content: &str) -> Message {
        Message::new("tool", content)
    }

    /// Takes the fields as they are. Nothing is checked and nothing is changed: the template sees exactly this.
    pub fn from_map(fields: Map<String, Value>) -> Message {
        Message(fields)
    }

    /// Takes one message of OpenAI's format, and makes it what templates can handle:
    ///
    /// - `arguments` of a tool call, a JSON string on the wire, become the object they spell; an empty string becomes
    ///   the empty object. (Qwen's templates print a map as JSON or entry by entry; a string they print raw or
    ///   refuse.) A string that spells no object stays.
    /// - `content` that is null or absent becomes the empty text; a list of text parts becomes their texts joined
    ///   without a separator, as Qwen3.5's template joins them. A list with other parts stays.
    /// - `reasoning` or `thinking` text, other names of the same thing, becomes `reasoning_content`.
    /// - the role `developer` becomes `system`.
    ///
    /// An error says which field is not what it should be.
    pub fn from_json(json: &Value) -> Result<Message, ChatError> {
        let Value::Object(map) = json else {
            return wrong(format!("a message is {}, not an object", json_kind(json)));
        };
        let mut map = map.clone();
        match map.get("role") {
            Some(Value::String(role)) if role == "developer" => {
                map.insert("role".to_owned(), json!("system"));
            }
            Some(Value::String(_)) => {}
            Some(other) => return wrong(format!("a message's role is {}, not text", json_kind(other))),
            None => return wrong("a message has no role".to_owned()),
        }
        let content = map.get("content").cloned().unwrap_or(Value::Null);
        map.insert("content".to_owned(), plain_content(content)?);
        for alias in ["reasoning", "thinking"] {
            if let (Some(Value::String(text)), false) =
                (map.get(alias), map.contains_key("reasoning_content"))
            {
                let text = text.clone();
                map.insert("reasoning_content".to_owned(), Value::String(text));
            }
        }
        match map.get_mut("tool_calls") {
            Some(Value::Array(calls)) => calls.iter_mut().try_for_each(parse_arguments)?,
            // Some clients send null for "no calls"; templates may ask for the length of whatever is there.
            Some(Value::Null) => {
                map.shift_remove("tool_calls");
            }
            Some(other) => {
                return wrong(format!("a message's tool_calls are {}, not a list", json_kind(other)));
            }
            None => {}
        }
        Ok(Message(map))
    }

    /// The fields.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Who speaks; empty if the message was made from fields without a role.
    pub fn role(&self) -> &str {
        self.0.get("role").and_then(Value::as_str).unwrap_or("")
    }

    /// What is said, if it is text.
    pub fn content(&self) -> Option<&str> {
        self.0.get("content").and_then(Value::as_str)
    }
}

/// The messages of an OpenAI message list (a JSON array); see [`Message::from_json`] for what changes.
pub fn messages_from_openai(json: &Value) -> Result<Vec<Message>, ChatError> {
    let Value::Array(items) = json else {
        return wrong(format!("the message list is {}, not a list", json_kind(json)));
    };
    let number = |(i, item)| {
        Message::from_json(item).map_err(|error| ChatError::Messages(format!("message {}: {error}", i + 1)))
    };
    items.iter().enumerate().map(number).collect()
}

fn wrong<T>(message: String) -> Result<T, ChatError> {
    Err(ChatError::Messages(message))
}

/// What a JSON value is, in words for a message.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn plain_content(content: Value) -> Result<Value, ChatError> {
    match content {
        Value::Null => Ok(json!("")),
        Value::String(_) => Ok(content),
        Value::Array(ref parts) => {
            let text = |part: &Value| match part {
                Value::String(text) => Some(text.clone()),
                _ if part["type"] == "text" => part["text"].as_str().map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            Ok(texts.map_or(content, |texts| Value::String(texts.concat())))
        }
        other => wrong(format!("a message's content is {}, not text or a list of parts", json_kind(&other))),
    }
}

/// Replaces the argument string of one tool call (nested in `function` or flat) by the object it spells.
fn parse_arguments(call: &mut Value) -> Result<(), ChatError> {
    if !call.is_object() {
        return wrong(format!("a tool call is {}, not an object", json_kind(call)));
    }
    let holder = if call["function"].is_object() { &mut call["function"] } else { call };
    let Some(arguments) = holder.get_mut("arguments") else { return Ok(()) };
    if let Value::String(text) = arguments {
        let text = if text.trim().is_empty() { "{}" } else { text.as_str() };
        if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
            *arguments = object;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: Value) -> Value {
        Value::Object(Message::from_json(&json).unwrap().as_map().clone())
    }

    #[test]
    fn argument_strings_become_objects() {
        let call = |arguments: Value| {
            let json = json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]});
            message(json)["tool_calls"][0]["function"]["arguments"].clone()
        };
        assert_eq!(call(json!("{\"b\": 1, \"a\": [2]}")).to_string(), r#"{"b":1,"a":[2]}"#);
        assert_eq!(call(json!({"x": 1})), json!({"x": 1}));
        assert_eq!(call(json!(" ")), json!({}));
        assert_eq!(call(json!("[1]")), json!("[1]"));
        assert_eq!(call(json!("{\"cut")), json!("{\"cut"));
        let flat = json!({"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]});
        assert_eq!(message(flat)["tool_calls"][0]["arguments"], json!({}));
    }

    #[test]
    fn content_becomes_text_where_it_can() {
        let content =
            |content: Value| message(json!({"role": "user", "content": content}))["content"].clone();
        assert_eq!(content(Value::Null), json!(""));
        assert_eq!(
            content(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])),
            json!("ab")
        );
        let with_image =
            json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        assert_eq!(content(with_image.clone()), with_image);
        assert_eq!(message(json!({"role": "user"}))["content"], json!(""));
    }

    #[test]
    fn other_names_of_fields_and_roles() {
        let renamed = message(json!({"role": "developer", "content": "x", "reasoning": "because"}));
        assert_eq!(renamed["role"], "system");
        assert_eq!(renamed["reasoning_content"], "because");
        let kept = message(
            json!({"role": "assistant", "reasoning_content": "a", "reasoning": "b", "tool_calls": null}),
        );
        assert_eq!(kept["reasoning_content"], "a");
        assert!(kept.get("tool_calls").is_none());
    }

    #[test]
    fn errors_say_which_message_and_why() {
        let error = |json: Value| messages_from_openai(&json).unwrap_err().to_string();
        assert_eq!(error(json!({})), "the message list is an object, not a list");
        assert_eq!(error(json!([1])), "message 1: a message is a number, not an object");
        assert_eq!(error(json!([{"role": "user", "content": ""}, {}])), "message 2: a message has no role");
        assert_eq!(error(json!([{"role": 1}])), "message 1: a message's role is a number, not text");
        assert_eq!(
            error(json!([{"role": "user", "content": 7}])),
            "message 1: a message's content is a number, not text or a list of parts"
        );
        assert_eq!(
            error(json!([{"role": "assistant", "tool_calls": [null]}])),
            "message 1: a tool call is null, not an object"
        );
    }
}
