//! From the body of `/v1/responses` to a [`ChatRequest`].

use serde_json::{Map, Value, json};

use super::input;
use crate::chat::{ChatRequest, Format, ToolChoice};
use crate::engine::Failure;
use crate::fields::set_effort;
use crate::http::Fields;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The conversation.
    pub(crate) chat: ChatRequest,
    /// Whether the answer comes as events.
    pub(crate) stream: bool,
    /// Fields of the request that the answer repeats.
    pub(crate) echo: Map<String, Value>,
}

/// What the answer repeats, and what it says where the request said nothing.
fn repeated(body: &Fields) -> Map<String, Value> {
    let mut echo = Map::new();
    for (name, absent) in [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("temperature", Value::Null),
        ("text", json!({"format": {"type": "text"}})),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_p", Value::Null),
        ("user", Value::Null),
    ] {
        let said = body.get(name).cloned();
        echo.insert(name.to_owned(), said.unwrap_or(absent));
    }
    echo
}

/// Reads a body.
///
/// # Errors
/// A [`Failure`] that names the field; also for what needs a memory of earlier answers.
pub(crate) fn parse(mut body: Fields) -> Result<Asked, Failure> {
    let echo = repeated(&body);
    let body = &mut body;
    refuse_memory(body)?;
    let mut chat = ChatRequest {
        model: body.text("model")?.unwrap_or_default(),
        messages: input::messages(body)?,
        tools: tools(body)?,
        max_tokens: body.count("max_output_tokens", usize::MAX)?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        ..ChatRequest::default()
    };
    chat.sampling.temperature = body.number("temperature", 0.0..=2.0)?;
    chat.sampling.top_p = body.number("top_p", 0.0..=1.0)?;
    // Not OpenAI's, but what its package sends as `extra_body`.
    chat.sampling.top_k = body.count("top_k", usize::MAX)?;
    chat.sampling.min_p = body.number("min_p", 0.0..=1.0)?;
    chat.seed = body.integer("seed", i64::MIN..=i64::MAX)?.map(i64::cast_unsigned);
    if let Some(kwargs) = body.object("chat_template_kwargs")? {
        chat.template_kwargs = kwargs.into_map();
    }
    if let Some(mut reasoning) = body.object("reasoning")?
        && let Some(effort) = reasoning.text("effort")?
    {
        set_effort(&mut chat, &effort);
    }
    if let Some(mut text) = body.object("text")?
        && let Some(mut format) = text.object("format")?
    {
        chat.format = self::format(&mut format)?;
    }
    set_tool_choice(body, &mut chat)?;
    Ok(Asked { chat, stream: body.flag("stream")?.unwrap_or(false), echo })
}

/// What would need answers to be kept, or is done only by OpenAI's own servers.
fn refuse_memory(body: &mut Fields) -> Result<(), Failure> {
    for name in ["previous_response_id", "conversation"] {
        if body.take(name).is_some() {
            let message = "no answers are kept here; send the whole conversation as `input`";
            return Err(body.bad(name, message));
        }
    }
    if body.take("prompt").is_some() {
        return Err(body.bad("prompt", "names a template that OpenAI keeps; send `input`"));
    }
    if body.flag("background")? == Some(true) {
        return Err(body.bad("background", "no answers are kept here, so it cannot be true"));
    }
    if body.count("top_logprobs", usize::MAX)?.unwrap_or(0) > 0 {
        return Err(body.bad("top_logprobs", "is supported in /v1/chat/completions, not here"));
    }
    Ok(())
}

/// Functions, which are flat here.
fn tools(body: &mut Fields) -> Result<Vec<Value>, Failure> {
    let mut tools = Vec::new();
    for mut tool in body.entries("tools")? {
        let kind = tool.need_text("type")?;
        if kind != "function" {
            let message = format_args!("\"{kind}\": only functions can be declared here");
            return Err(tool.bad("type", message));
        }
        let mut function = json!({"name": tool.need_text("name")?});
        if let Some(description) = tool.text("description")? {
            function["description"] = description.into();
        }
        if let Some(parameters) = tool.object("parameters")? {
            function["parameters"] = parameters.into_map().into();
        }
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

fn format(format: &mut Fields) -> Result<Format, Failure> {
    match format.need_text("type")?.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let schema = format.take("schema");
            Ok(Format::JsonSchema(format.need("schema", schema)?))
        }
        other => Err(format.unknown("type", other, "text, json_object or json_schema")),
    }
}

fn set_tool_choice(body: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    match body.take("tool_choice") {
        None => {}
        Some(Value::String(word)) => chat.tool_choice = choice_of(body, "tool_choice", &word)?,
        Some(choice) => choose(&mut Fields::of(choice, "tool_choice")?, chat)?,
    }
    if chat.tool_choice == ToolChoice::Required && chat.tools.is_empty() {
        return Err(body.bad("tool_choice", "\"required\", but there are no tools"));
    }
    Ok(())
}

fn choice_of(holder: &Fields, key: &str, word: &str) -> Result<ToolChoice, Failure> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(holder.unknown(key, other, "auto, none or required")),
    }
}

/// One function, or some of them.
fn choose(choice: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    match choice.need_text("type")?.as_str() {
        "function" => {
            let name = choice.need_text("name")?;
            if !chat.tools.iter().any(|tool| tool["function"]["name"] == name) {
                return Err(choice.bad("name", format_args!("\"{name}\" is not among the tools")));
            }
            chat.tool_choice = ToolChoice::Named(name);
        }
        "allowed_tools" => {
            let allowed = choice.entries("tools")?.into_iter().map(|mut tool| tool.need_text("name"));
            let allowed: Vec<String> = allowed.collect::<Result<_, _>>()?;
            chat.tools.retain(|tool| allowed.iter().any(|name| tool["function"]["name"] == *name));
            let mode = choice.text("mode")?;
            chat.tool_choice = choice_of(choice, "mode", mode.as_deref().unwrap_or("auto"))?;
        }
        other => return Err(choice.unknown("type", other, "function or allowed_tools")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::fields;

    fn body(more: Value) -> Value {
        let mut body = json!({"model": "m", "input": "Hi"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn error(more: Value) -> String {
        parse(fields(body(more))).unwrap_err().message
    }

    #[test]
    fn every_field_finds_its_place() {
        let tool = json!({"type": "function", "name": "f", "description": "d", "strict": true,
                          "parameters": {"type": "object"}});
        let format =
            json!({"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}});
        let asked = parse(fields(body(json!({
            "stream": true, "store": true, "max_output_tokens": 20, "temperature": 0.5, "top_p": 0.9, "top_k": 4,
            "min_p": 0.1, "seed": 7, "parallel_tool_calls": false, "reasoning": {"effort": "low"}, "tools": [tool],
            "tool_choice": {"type": "function", "name": "f"}, "text": {"format": format}, "truncation": "auto",
            "metadata": {"a": "b"}, "user": null, "previous_response_id": null,
        }))))
        .unwrap();
        let chat = asked.chat;
        assert!(asked.stream);
        assert_eq!((chat.max_tokens, chat.seed, chat.parallel_tool_calls), (Some(20), Some(7), Some(false)));
        assert_eq!((chat.sampling.temperature, chat.sampling.top_p), (Some(0.5), Some(0.9)));
        assert_eq!((chat.sampling.top_k, chat.sampling.min_p), (Some(4), Some(0.1)));
        let function = json!({"name": "f", "description": "d", "parameters": {"type": "object"}});
        assert_eq!(chat.tools, [json!({"type": "function", "function": function})]);
        assert_eq!(chat.tool_choice, ToolChoice::Named("f".to_owned()));
        assert_eq!(chat.format, Format::JsonSchema(json!({"type": "object"})));
        assert_eq!((chat.thinking, &chat.template_kwargs["reasoning_effort"]), (Some(true), &json!("low")));
        assert_eq!(asked.echo["metadata"], json!({"a": "b"}));
        assert_eq!(asked.echo["tools"][0]["name"], "f");
        assert_eq!(asked.echo["user"], Value::Null);
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let asked = parse(fields(body(json!({})))).unwrap();
        assert_eq!((asked.stream, asked.chat.thinking, &asked.chat.format), (false, None, &Format::Text));
        assert_eq!(asked.echo["tool_choice"], "auto");
        assert_eq!(asked.echo["parallel_tool_calls"], true);
        let none = parse(fields(body(json!({"reasoning": {"effort": "none"}})))).unwrap().chat;
        assert_eq!((none.thinking, none.template_kwargs.len()), (Some(false), 0));
    }

    #[test]
    fn tools_may_be_chosen_among() {
        let tools = json!([{"type": "function", "name": "f"}, {"type": "function", "name": "g"}]);
        let choice = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]});
        let chat = parse(fields(body(json!({"tools": tools, "tool_choice": choice})))).unwrap().chat;
        assert_eq!((chat.tools.len(), &chat.tools[0]["function"]["name"]), (1, &json!("g")));
        assert_eq!(chat.tool_choice, ToolChoice::Required);
        assert_eq!(
            error(json!({"tool_choice": "required"})),
            "tool_choice: \"required\", but there are no tools"
        );
        assert_eq!(
            error(json!({"tool_choice": "any"})),
            "tool_choice: expected auto, none or required, found \"any\""
        );
        assert_eq!(
            error(json!({"tools": tools, "tool_choice": {"type": "function", "name": "h"}})),
            "tool_choice.name: \"h\" is not among the tools"
        );
    }

    #[test]
    fn what_needs_a_memory_is_refused() {
        let message =
            "previous_response_id: no answers are kept here; send the whole conversation as `input`";
        assert_eq!(error(json!({"previous_response_id": "resp_1"})), message);
        assert!(error(json!({"conversation": "c"})).starts_with("conversation: no answers"));
        assert_eq!(
            error(json!({"background": true})),
            "background: no answers are kept here, so it cannot be true"
        );
        assert_eq!(
            error(json!({"tools": [{"type": "web_search"}]})),
            "tools[0].type: \"web_search\": only functions can be declared here"
        );
        assert!(error(json!({"top_logprobs": 3})).contains("/v1/chat/completions"));
        assert!(
            error(json!({"text": {"format": {"type": "xml"}}}))
                .starts_with("text.format.type: expected text")
        );
    }
}
