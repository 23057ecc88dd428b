//! Messages of content blocks, made into the messages that templates see.

use qwip::chat::{Message, json_kind};
use serde_json::{Map, Value, json};

use crate::engine::Failure;
use crate::http::{Fields, wrong};

/// Clients put a line about themselves in front of the instructions that is another one in every request. The model has
/// no use for it, and it would keep every later token from being shared with the request before.
const CLIENT_LINE: &str = "x-anthropic-billing-header:";

/// `system` and `messages`.
pub(super) fn messages(body: &mut Fields) -> Result<Vec<Message>, Failure> {
    let mut out = Vec::new();
    if let Some(text) = system(body)? {
        push_text(&mut out, "system", &text);
    }
    let list = body.entries("messages")?;
    if list.is_empty() {
        return Err(body.bad("messages", "at least one is needed"));
    }
    for mut message in list {
        match message.need_text("role")?.as_str() {
            "user" => user(&mut message, &mut out)?,
            "assistant" => out.push(assistant(&mut message)?),
            "system" => push_text(&mut out, "system", &texts(&mut message, "content")?),
            other => return Err(message.unknown("role", other, "user, assistant or system")),
        }
    }
    // The answer would have to go on in the middle of a message, and templates close what they write.
    if out.last().is_some_and(|last: &Map<String, Value>| last["role"] == "assistant") {
        let message = "the last one is the assistant's; an answer that was begun cannot be continued";
        return Err(body.bad("messages", message));
    }
    Ok(out.into_iter().map(Message::from_map).collect())
}

/// The instructions; none if they are empty.
fn system(body: &mut Fields) -> Result<Option<String>, Failure> {
    let Some(value) = body.take("system") else { return Ok(None) };
    let mut texts = all_texts(body, "system", value)?;
    texts.retain(|text| !text.starts_with(CLIENT_LINE));
    Ok(Some(texts.join("\n")).filter(|text| !text.is_empty()))
}

/// What the user says, and the results of tools, in their order.
fn user(message: &mut Fields, out: &mut Vec<Map<String, Value>>) -> Result<(), Failure> {
    let blocks = match message.take("content") {
        Some(Value::Array(blocks)) => message.objects("content", blocks)?,
        Some(Value::String(text)) => {
            push_text(out, "user", &text);
            return Ok(());
        }
        other => return Err(no_content(message, "content", other)),
    };
    for mut block in blocks {
        match block.need_text("type")?.as_str() {
            "text" => push_text(out, "user", &block.need_text("text")?),
            "tool_result" => out.push(tool_result(&mut block)?),
            other => return Err(unknown_block(&block, other)),
        }
    }
    Ok(())
}

fn tool_result(block: &mut Fields) -> Result<Map<String, Value>, Failure> {
    let id = block.need_text("tool_use_id")?;
    let content = block.take("content").unwrap_or_else(|| "".into());
    let mut text = all_texts(block, "content", content)?.join("\n");
    // Templates have no field for it, so the text must say it.
    let says_so = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    if block.flag("is_error")? == Some(true) && !says_so {
        text.insert_str(0, "Error: ");
    }
    Ok(object(json!({"role": "tool", "tool_call_id": id, "content": text})))
}

/// What the model said before.
fn assistant(message: &mut Fields) -> Result<Map<String, Value>, Failure> {
    let blocks = match message.take("content") {
        Some(Value::Array(blocks)) => message.objects("content", blocks)?,
        Some(Value::String(text)) => return Ok(object(json!({"role": "assistant", "content": text}))),
        other => return Err(no_content(message, "content", other)),
    };
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for mut block in blocks {
        match block.need_text("type")?.as_str() {
            "text" => text.push_str(&block.need_text("text")?),
            "thinking" => thinking.push_str(&block.text("thinking")?.unwrap_or_default()),
            // Another service's: nobody but it can read it.
            "redacted_thinking" => {}
            "tool_use" => {
                let (id, name) = (block.text("id")?.unwrap_or_default(), block.need_text("name")?);
                let input = block.object("input")?.map(Fields::into_map).unwrap_or_default();
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
fn texts(holder: &mut Fields, key: &str) -> Result<String, Failure> {
    match holder.take(key) {
        Some(value) => Ok(all_texts(holder, key, value)?.join("\n")),
        None => Err(no_content(holder, key, None)),
    }
}

/// The texts of a text or of text blocks.
fn all_texts(holder: &Fields, key: &str, value: Value) -> Result<Vec<String>, Failure> {
    let text = |mut block: Fields| match block.need_text("type")?.as_str() {
        "text" => block.need_text("text"),
        other => Err(unknown_block(&block, other)),
    };
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(blocks) => holder.objects(key, blocks)?.into_iter().map(text).collect(),
        other => Err(no_content(holder, key, Some(other))),
    }
}

fn no_content(holder: &Fields, key: &str, found: Option<Value>) -> Failure {
    match found {
        None => holder.bad(key, "missing"),
        Some(found) => wrong(&holder.name(key), "text or a list of content blocks", &found),
    }
}

fn unknown_block(block: &Fields, kind: &str) -> Failure {
    match kind {
        "image" | "document" => block.bad("type", format_args!("\"{kind}\": the model reads text only")),
        other => block.bad("type", format_args!("\"{other}\" is not supported here")),
    }
}

/// Adds what somebody says. Turns of the same one that follow each other are one turn.
fn push_text(out: &mut Vec<Map<String, Value>>, role: &str, text: &str) {
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
    use crate::fields::fields;

    fn made(body: Value) -> Result<Value, String> {
        let messages = messages(&mut fields(body)).map_err(|failure| failure.message)?;
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
            (user(image), "messages[0].content[0].type: \"image\": the model reads text only"),
            (user(json!(5)), "messages[0].content: expected text or a list of content blocks, found 5"),
            (user(json!([{"type": "text"}])), "messages[0].content[0].text: missing"),
            (
                user(json!([{"type": "tool_result", "content": "x"}])),
                "messages[0].content[0].tool_use_id: missing",
            ),
            (
                user(json!([{"type": "web_search_tool_result"}])),
                "messages[0].content[0].type: \"web_search_tool_result\" is not supported here",
            ),
            (made(json!({"messages": []})), "messages: at least one is needed"),
            (made(json!({"messages": [{"role": "user"}]})), "messages[0].content: missing"),
            (
                made(json!({"messages": [{"role": "tool", "content": ""}]})),
                "messages[0].role: expected user, assistant or system, found \"tool\"",
            ),
            (
                made(json!({"messages": [{"role": "assistant", "content": "The answer is"}]})),
                "messages: the last one is the assistant's; an answer that was begun cannot be continued",
            ),
            (made(json!({"system": [{"type": "text"}], "messages": [{}]})), "system[0].text: missing"),
        ];
        for (result, want) in cases {
            assert_eq!(result.unwrap_err(), want);
        }
    }
}
