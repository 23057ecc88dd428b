//! From the bodies of `/api/chat` and `/api/generate` to what is asked.

use qwip::chat::Message;
use serde_json::{Map, Value, json};

use super::options::common;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::http::{Fields, wrong};

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
pub(crate) fn chat(mut body: Fields) -> Result<Asked, Failure> {
    let body = &mut body;
    let mut chat = common(body)?;
    let messages = body.entries("messages")?.into_iter().map(message);
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    chat.tools = body.list("tools")?.unwrap_or_default();
    let what = if messages.is_empty() { What::Load } else { What::Answer };
    chat.messages = messages;
    Ok(Asked { chat, stream: body.flag("stream")?.unwrap_or(true), what })
}

fn message(mut fields: Fields) -> Result<Message, Failure> {
    refuse_images(&mut fields)?;
    let role = fields.need_text("role")?;
    if !["system", "user", "assistant", "tool"].contains(&role.as_str()) {
        return Err(fields.unknown("role", &role, "system, user, assistant or tool"));
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
    for mut call in fields.entries("tool_calls")? {
        let function = call.object("function")?;
        let mut function = call.need("function", function)?;
        let name = function.need_text("name")?;
        let arguments = function.take("arguments").unwrap_or_else(|| json!({}));
        let id = call.text("id")?.unwrap_or_default();
        calls.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}));
    }
    if !calls.is_empty() {
        map.insert("tool_calls".to_owned(), calls.into());
    }
    Message::from_json(&Value::Object(map)).map_err(|error| fields.bad("tool_calls", error))
}

/// Reads a body of `/api/generate`.
///
/// # Errors
/// A [`Failure`] that names the field.
pub(crate) fn generate(mut body: Fields) -> Result<Asked, Failure> {
    let body = &mut body;
    let mut chat = common(body)?;
    refuse_images(body)?;
    if body.text("template")?.is_some_and(|template| !template.is_empty()) {
        return Err(body.bad("template", "a model's own template is the only one; use raw to do without"));
    }
    // The tokens of an earlier answer; none are handed out, so there is nothing to go on with.
    if let Some(context) = body.list("context")?
        && let Some(other) = context.iter().find(|id| !id.is_u64())
    {
        return Err(wrong("context[]", "ids of tokens", other));
    }
    let prompt = body.text("prompt")?.unwrap_or_default();
    let suffix = body.text("suffix")?.filter(|suffix| !suffix.is_empty());
    let system = body.text("system")?.filter(|system| !system.is_empty());
    let raw = body.flag("raw")?.unwrap_or(false);
    let what = match suffix {
        None if prompt.is_empty() => What::Load,
        None if raw => What::Continue(prompt),
        Some(suffix) if !raw => What::Insert(prompt, suffix),
        Some(_) => return Err(body.bad("suffix", "cannot be used with raw, which takes the prompt as it is")),
        None => {
            chat.messages = system.iter().map(|text| Message::system(text)).collect();
            chat.messages.push(Message::user(&prompt));
            What::Answer
        }
    };
    Ok(Asked { chat, stream: body.flag("stream")?.unwrap_or(true), what })
}

fn refuse_images(fields: &mut Fields) -> Result<(), Failure> {
    match fields.list("images")? {
        Some(images) if !images.is_empty() => Err(fields.bad("images", "the model reads text only")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::fields;

    fn messages(asked: &Asked) -> Value {
        asked.chat.messages.iter().map(|message| Value::Object(message.as_map().clone())).collect()
    }

    #[test]
    fn a_chat_with_tools() {
        let call = json!({"function": {"name": "f", "arguments": {"a": 1}}});
        let asked = chat(fields(json!({
            "model": "m", "tools": [{"type": "function", "function": {"name": "f"}}],
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u", "images": null},
                {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [call]},
                {"role": "tool", "content": "r", "tool_name": "f"},
            ],
        })))
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
        assert_eq!(chat(fields(json!({"model": "m"}))).unwrap().what, What::Load);
        let asked = generate(fields(json!({"model": "m", "prompt": "", "keep_alive": 0}))).unwrap();
        assert_eq!(asked.what, What::Load);
    }

    #[test]
    fn a_prompt_is_answered_continued_or_filled_in() {
        let ask = |mut body: Value| {
            body["model"] = "m".into();
            generate(fields(body))
        };
        let asked = ask(json!({"prompt": "p", "system": "s", "stream": false, "context": [1, 2]})).unwrap();
        assert_eq!(messages(&asked)[0]["role"], "system");
        assert_eq!((asked.stream, asked.what), (false, What::Answer));
        let raw = ask(json!({"prompt": "<x>", "raw": true})).unwrap();
        assert_eq!(raw.what, What::Continue("<x>".to_owned()));
        let insert = ask(json!({"prompt": "a", "suffix": "b"})).unwrap();
        assert_eq!(insert.what, What::Insert("a".to_owned(), "b".to_owned()));
        let error = |body: Value| ask(body).unwrap_err().message;
        assert_eq!(error(json!({"prompt": "a", "images": ["eA=="]})), "images: the model reads text only");
        assert!(error(json!({"prompt": "a", "template": "{{ x }}"})).starts_with("template: "));
        assert!(error(json!({"prompt": "a", "suffix": "b", "raw": true})).starts_with("suffix: "));
        assert!(error(json!({"prompt": "a", "context": ["x"]})).starts_with("context[]: "));
    }

    #[test]
    fn faults_of_messages_are_named() {
        let error = |message: Value| chat(fields(json!({"model": "m", "messages": [message]}))).unwrap_err();
        assert_eq!(error(json!({})).message, "messages[0].role: missing");
        assert_eq!(
            error(json!({"role": "user", "content": []})).message,
            "messages[0].content: expected text, found a list"
        );
        assert_eq!(
            error(json!({"role": "x"})).message,
            "messages[0].role: expected system, user, assistant or tool, found \"x\""
        );
        assert_eq!(
            error(json!({"role": "user", "images": ["x"]})).message,
            "messages[0].images: the model reads text only"
        );
    }
}
