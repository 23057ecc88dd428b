//! From the bodies of `/api/chat` and `/api/generate` to what is asked.

use qwip::chat::Message;
use serde_json::{Map, Value, json};

use super::options::common;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::fields::Fields;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The conversation.
    pub(crate) chat: ChatRequest,
    /// Whether the answer comes line by line, as it does unless told otherwise.
    pub(crate) stream: bool,
    /// What the model does with it.
    pub(crate) what: What,
}

/// What the model does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// It is loaded or unloaded, nothing else.
    Load,
    /// It answers the conversation.
    Answer,
    /// It continues a text as it is, control tokens included.
    Continue(String),
    /// It writes what stands between two texts.
    Insert(String, String),
}

/// Reads a body of `/api/chat`.
///
/// # Errors
/// A [`Failure`] that names the field.
pub(crate) fn chat(body: &Value) -> Result<Asked, Failure> {
    let body = Fields::body(body)?;
    let mut chat = common(&body)?;
    chat.messages = body.entries("messages")?.iter().map(message).collect::<Result<_, _>>()?;
    chat.tools = body.list("tools")?.to_vec();
    let what = if chat.messages.is_empty() { What::Load } else { What::Answer };
    Ok(Asked { chat, stream: body.flag("stream")?.unwrap_or(true), what })
}

fn message(fields: &Fields) -> Result<Message, Failure> {
    refuse_images(fields)?;
    let role = fields.need_text("role")?;
    if !["system", "user", "assistant", "tool"].contains(&role) {
        return Err(fields.unknown("role", role, "system, user, assistant and tool"));
    }
    let mut map = Map::new();
    map.insert("role".to_owned(), role.into());
    map.insert("content".to_owned(), fields.text("content")?.unwrap_or_default().into());
    if let Some(thinking) = fields.text("thinking")?.filter(|text| !text.is_empty()) {
        map.insert("reasoning_content".to_owned(), thinking.into());
    }
    if let Some(name) = fields.text("tool_name")? {
        map.insert("name".to_owned(), name.into());
    }
    let mut calls = Vec::new();
    for call in fields.entries("tool_calls")? {
        let function = call.need("function", call.object("function")?)?;
        let name = function.need_text("name")?;
        let arguments = function.get("arguments").cloned().unwrap_or_else(|| json!({}));
        let id = call.text("id")?.unwrap_or_default();
        calls.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}));
    }
    if !calls.is_empty() {
        map.insert("tool_calls".to_owned(), calls.into());
    }
    Message::from_json(&Value::Object(map))
        .map_err(|error| fields.bad("content", format_args!("is wrong: {error}")))
}

/// Reads a body of `/api/generate`.
///
/// # Errors
/// A [`Failure`] that names the field.
pub(crate) fn generate(body: &Value) -> Result<Asked, Failure> {
    let body = Fields::body(body)?;
    let mut chat = common(&body)?;
    refuse_images(&body)?;
    if body.text("template")?.is_some_and(|template| !template.is_empty()) {
        let message = "cannot be used: the model's own template is the only one; `raw` does without";
        return Err(body.bad("template", message));
    }
    // The tokens of an earlier answer; none are handed out, so there is nothing to go on with.
    body.list("context")?;
    let prompt = body.text("prompt")?.unwrap_or_default();
    let suffix = body.text("suffix")?.filter(|suffix| !suffix.is_empty());
    let system = body.text("system")?.filter(|system| !system.is_empty());
    let raw = body.flag("raw")?.unwrap_or(false);
    let what = match suffix {
        None if prompt.is_empty() => What::Load,
        None if raw => What::Continue(prompt.to_owned()),
        Some(suffix) if !raw => What::Insert(prompt.to_owned(), suffix.to_owned()),
        Some(_) => {
            return Err(body.bad("suffix", "cannot be used with `raw`, which takes the prompt as it is"));
        }
        None => {
            chat.messages = system.into_iter().map(Message::system).collect();
            chat.messages.push(Message::user(prompt));
            What::Answer
        }
    };
    Ok(Asked { chat, stream: body.flag("stream")?.unwrap_or(true), what })
}

fn refuse_images(fields: &Fields) -> Result<(), Failure> {
    match fields.list("images")? {
        [] => Ok(()),
        _ => Err(fields.bad("images", "cannot be used: the model reads text only")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(asked: &Asked) -> Value {
        asked.chat.messages.iter().map(|message| Value::Object(message.as_map().clone())).collect()
    }

    #[test]
    fn a_chat_with_tools() {
        let call = json!({"function": {"name": "f", "arguments": {"a": 1}}});
        let asked = chat(&json!({
            "model": "m", "tools": [{"type": "function", "function": {"name": "f"}}],
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u", "images": null},
                {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [call]},
                {"role": "tool", "content": "r", "tool_name": "f"},
            ],
        }))
        .unwrap();
        let made_call =
            json!({"id": "", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}});
        let want = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "", "reasoning_content": "t", "tool_calls": [made_call]},
            {"role": "tool", "content": "r", "name": "f"},
        ]);
        assert_eq!(messages(&asked), want);
        assert_eq!((asked.stream, asked.chat.tools.len(), asked.what), (true, 1, What::Answer));
    }

    #[test]
    fn nothing_to_say_is_loading() {
        assert_eq!(chat(&json!({"model": "m"})).unwrap().what, What::Load);
        let asked = generate(&json!({"model": "m", "prompt": "", "keep_alive": 0})).unwrap();
        assert_eq!(asked.what, What::Load);
    }

    #[test]
    fn a_prompt_is_answered_continued_or_filled_in() {
        let ask = |mut body: Value| {
            body["model"] = "m".into();
            generate(&body)
        };
        let asked = ask(json!({"prompt": "p", "system": "s", "stream": false, "context": [1, 2]})).unwrap();
        assert_eq!(messages(&asked)[0]["role"], "system");
        assert_eq!((asked.stream, asked.what), (false, What::Answer));
        let raw = ask(json!({"prompt": "<x>", "raw": true})).unwrap();
        assert_eq!(raw.what, What::Continue("<x>".to_owned()));
        let insert = ask(json!({"prompt": "a", "suffix": "b"})).unwrap();
        assert_eq!(insert.what, What::Insert("a".to_owned(), "b".to_owned()));
        let error = |body: Value| ask(body).unwrap_err().message;
        assert_eq!(
            error(json!({"prompt": "a", "images": ["eA=="]})),
            "`images` cannot be used: the model reads text only"
        );
        assert!(error(json!({"prompt": "a", "template": "{{ x }}"})).starts_with("`template` cannot"));
        assert!(error(json!({"prompt": "a", "suffix": "b", "raw": true})).starts_with("`suffix` cannot"));
        assert!(error(json!({"prompt": "a", "context": "x"})).starts_with("`context` is text, not a list"));
    }

    #[test]
    fn faults_of_messages_are_named() {
        let error = |message: Value| chat(&json!({"model": "m", "messages": [message]})).unwrap_err();
        assert_eq!(error(json!({})).message, "`messages[0].role` is missing");
        assert_eq!(
            error(json!({"role": "user", "content": []})).message,
            "`messages[0].content` is a list, not text"
        );
        assert_eq!(
            error(json!({"role": "x"})).message,
            "`messages[0].role` is \"x\": system, user, assistant and tool are known"
        );
        assert_eq!(
            error(json!({"role": "user", "images": ["x"]})).message,
            "`messages[0].images` cannot be used: the model reads text only"
        );
    }
}
