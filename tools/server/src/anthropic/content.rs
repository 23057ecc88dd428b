//! Messages of content blocks, made into the messages that templates see.

use qwip::chat::{Message, json_kind};
use serde_json::{Map, Value, json};

use crate::engine::Failure;
use crate::fields::Fields;

/// Clients put a line about themselves in front of the instructions that is another one in every request. The model has
/// no use for it, and it would keep every later token from being shared with the request before.
const CLIENT_LINE: &str = "x-anthropic-billing-header:";

/// `system` and `messages`.
pub(super) fn messages(body: &Fields) -> Result<Vec<Message>, Failure> {
    let mut out = Vec::new();
    if let Some(text) = system(body)? {
        push_text(&mut out, "system", text);
    }
    let list = body.list("messages")?;
    if list.is_empty() {
        return Err(body.bad("messages", "must hold at least one message"));
    }
    for (index, value) in list.iter().enumerate() {
        let message = body.entry("messages", index, value)?;
        match message.need_text("role")? {
            "user" => user(&message, &mut out)?,
            "assistant" => out.push(assistant(&message)?),
            "system" => {
                let text = texts(&message, "content")?;
                push_text(&mut out, "system", text);
            }
            other => {
                let want = "user, assistant and system are known";
                return Err(message.bad("role", format_args!("is \"{other}\": {want}")));
            }
        }
    }
    // The answer would have to go on in the middle of a message, and templates close what they write.
    if out.last().is_some_and(|last: &Map<String, Value>| last["role"] == "assistant") {
        let message = "must end with a user's message: an answer that was begun cannot be continued";
        return Err(body.bad("messages", message));
    }
    Ok(out.into_iter().map(Message::from_map).collect())
}

/// The instructions; none if they are empty.
fn system(body: &Fields) -> Result<Option<String>, Failure> {
    let text = match body.get("system") {
        None => return Ok(None),
        Some(Value::Array(blocks)) => {
            let mut kept = Vec::new();
            for (index, block) in blocks.iter().enumerate() {
                let text = text_block(&body.entry("system", index, block)?)?;
                if !text.starts_with(CLIENT_LINE) {
                    kept.push(text);
                }
            }
            kept.join("\n")
        }
        Some(_) => texts(body, "system")?,
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// What the user says, and the results of tools, in their order.
fn user(message: &Fields, out: &mut Vec<Map<String, Value>>) -> Result<(), Failure> {
    let Some(Value::Array(blocks)) = message.get("content") else {
        let text = texts(message, "content")?;
        push_text(out, "user", text);
        return Ok(());
    };
    for (index, block) in blocks.iter().enumerate() {
        let block = message.entry("content", index, block)?;
        match block.need_text("type")? {
            "text" => push_text(out, "user", text_block(&block)?),
            "tool_result" => out.push(tool_result(&block)?),
            other => return Err(unknown_block(&block, other)),
        }
    }
    Ok(())
}

fn tool_result(block: &Fields) -> Result<Map<String, Value>, Failure> {
    let id = block.need_text("tool_use_id")?;
    let mut text = if block.get("content").is_some() { texts(block, "content")? } else { String::new() };
    // Templates have no field for it, so the text must say it.
    let says_so = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    if block.flag("is_error")? == Some(true) && !says_so {
        text.insert_str(0, "Error: ");
    }
    Ok(object(json!({"role": "tool", "tool_call_id": id, "content": text})))
}

/// What the model said before.
fn assistant(message: &Fields) -> Result<Map<String, Value>, Failure> {
    let Some(Value::Array(blocks)) = message.get("content") else {
        return Ok(object(json!({"role": "assistant", "content": texts(message, "content")?})));
    };
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for (index, block) in blocks.iter().enumerate() {
        let block = message.entry("content", index, block)?;
        match block.need_text("type")? {
            "text" => text.push_str(text_block(&block)?),
            "thinking" => thinking.push_str(block.text("thinking")?.unwrap_or_default()),
            // Another service's: nobody but it can read it.
            "redacted_thinking" => {}
            "tool_use" => {
                let name = block.need_text("name")?;
                let id = block.text("id")?.unwrap_or_default();
                let input = match block.get("input") {
                    None => json!({}),
                    Some(input) if input.is_object() => input.clone(),
                    Some(_) => return Err(block.wrong("input", "an object")),
                };
                let function = json!({"name": name, "arguments": input});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            other => return Err(unknown_block(&block, other)),
        }
    }
    let mut map = object(json!({"role": "assistant", "content": text}));
    if !thinking.is_empty() {
        map.insert("reasoning_content".to_owned(), thinking.into());
    }
    if !calls.is_empty() {
        map.insert("tool_calls".to_owned(), calls.into());
    }
    Ok(map)
}

/// A text, or text blocks joined by line breaks.
fn texts(holder: &Fields, name: &str) -> Result<String, Failure> {
    match holder.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(blocks)) => {
            let mut texts = Vec::with_capacity(blocks.len());
            for (index, block) in blocks.iter().enumerate() {
                texts.push(text_block(&holder.entry(name, index, block)?)?);
            }
            Ok(texts.join("\n"))
        }
        _ => Err(holder.wrong(name, "text or a list of content blocks")),
    }
}

fn text_block<'a>(block: &Fields<'a>) -> Result<&'a str, Failure> {
    match block.need_text("type")? {
        "text" => block.need_text("text"),
        other => Err(unknown_block(block, other)),
    }
}

fn unknown_block(block: &Fields, kind: &str) -> Failure {
    let message = match kind {
        "image" | "document" => format!("is \"{kind}\": the model reads text only"),
        other => format!("is \"{other}\", which is not supported here"),
    };
    block.bad("type", message)
}

/// Adds what somebody says. Turns of the same one that follow each other are one turn.
fn push_text(out: &mut Vec<Map<String, Value>>, role: &str, text: impl AsRef<str>) {
    let text = text.as_ref();
    if let Some(last) = out.last_mut()
        && last["role"] == role
        && let Some(Value::String(said)) = last.get_mut("content")
    {
        said.push('\n');
        said.push_str(text);
    } else {
        out.push(object(json!({"role": role, "content": text})));
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("a literal object is {}", json_kind(&other)),
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
    fn a_conversation_with_tools() {
        let body = json!({
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"},
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Really."},
            ],
            "messages": [
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "call it", "signature": "s"},
                    {"type": "redacted_thinking", "data": "xx"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true,
                     "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "city"}]},
                    {"type": "text", "text": "And?"},
                    {"type": "text", "text": "Well?"},
                ]},
                {"role": "user", "content": "Hello?"},
            ],
        });
        let call = |id: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}});
        let want = json!([
            {"role": "system", "content": "Be brief.\nReally."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "I look.", "reasoning_content": "call it",
             "tool_calls": [call("toolu_1", json!({"city": "Rome"})), call("toolu_2", json!({}))]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no\ncity"},
            {"role": "user", "content": "And?\nWell?\nHello?"},
        ]);
        assert_eq!(made(body).unwrap(), want);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let user = |content: Value| made(json!({"messages": [{"role": "user", "content": content}]}));
        let image =
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]);
        let cases = [
            (user(image), "`messages[0].content[0].type` is \"image\": the model reads text only"),
            (user(json!(5)), "`messages[0].content` is a number, not text or a list of content blocks"),
            (user(json!([{"type": "text"}])), "`messages[0].content[0].text` is missing"),
            (
                user(json!([{"type": "tool_result", "content": "x"}])),
                "`messages[0].content[0].tool_use_id` is missing",
            ),
            (
                user(json!([{"type": "web_search_tool_result"}])),
                "`messages[0].content[0].type` is \"web_search_tool_result\", which is not supported here",
            ),
            (made(json!({"messages": []})), "`messages` must hold at least one message"),
            (
                made(json!({"messages": [{"role": "tool", "content": ""}]})),
                "`messages[0].role` is \"tool\": user, assistant and system are known",
            ),
            (
                made(json!({"messages": [{"role": "assistant", "content": "The answer is"}]})),
                "`messages` must end with a user's message: an answer that was begun cannot be continued",
            ),
            (made(json!({"system": [{"type": "text"}], "messages": [{}]})), "`system[0].text` is missing"),
        ];
        for (result, want) in cases {
            assert_eq!(result.unwrap_err(), want);
        }
    }
}
