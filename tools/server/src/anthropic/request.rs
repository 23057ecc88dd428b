//! From the body of `/v1/messages` to a [`ChatRequest`].

use serde_json::{Value, json};

use super::content;
use crate::chat::{ChatRequest, Format, ToolChoice};
use crate::engine::Failure;
use crate::fields::set_effort;
use crate::http::Fields;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    /// The conversation.
    pub(crate) chat: ChatRequest,
    /// Whether the answer comes as events.
    pub(crate) stream: bool,
    /// Thinking is done, but not shown (`thinking.display` is `omitted`).
    pub(crate) hide_thinking: bool,
}

/// Reads a body. To count tokens no `max_tokens` is needed.
///
/// # Errors
/// A [`Failure`] that names the field.
pub(crate) fn parse(mut body: Fields, counting: bool) -> Result<Messages, Failure> {
    let body = &mut body;
    let mut chat = ChatRequest {
        model: body.need_text("model")?,
        messages: content::messages(body)?,
        tools: tools(body)?,
        stop: body.stops("stop_sequences")?,
        max_tokens: body.count("max_tokens", usize::MAX)?,
        ..ChatRequest::default()
    };
    if !counting {
        body.need("max_tokens", chat.max_tokens)?;
    }
    chat.sampling.temperature = body.number("temperature", 0.0..=2.0)?;
    chat.sampling.top_p = body.number("top_p", 0.0..=1.0)?;
    chat.sampling.top_k = body.count("top_k", usize::MAX)?;
    set_tool_choice(body, &mut chat)?;
    set_output(body, &mut chat)?;
    let hide_thinking = set_thinking(body, &mut chat)?;
    Ok(Messages { chat, stream: body.flag("stream")?.unwrap_or(false), hide_thinking })
}

fn tools(body: &mut Fields) -> Result<Vec<Value>, Failure> {
    let mut tools = Vec::new();
    for mut tool in body.entries("tools")? {
        if let Some(kind) = tool.text("type")?.filter(|kind| kind != "custom") {
            return Err(tool.bad("type", format_args!("\"{kind}\" is a tool of Anthropic's own servers")));
        }
        let mut function = json!({"name": tool.need_text("name")?});
        if let Some(description) = tool.text("description")? {
            function["description"] = description.into();
        }
        let schema = tool.object("input_schema")?;
        function["parameters"] = tool.need("input_schema", schema)?.into_map().into();
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

fn set_tool_choice(body: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let Some(mut choice) = body.object("tool_choice")? else { return Ok(()) };
    let declared = |name: &str| chat.tools.iter().any(|tool| tool["function"]["name"] == name);
    chat.tool_choice = match choice.need_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" if chat.tools.is_empty() => return Err(choice.bad("type", "\"any\", but there are no tools")),
        "any" => ToolChoice::Required,
        "tool" => match choice.need_text("name")? {
            name if declared(&name) => ToolChoice::Named(name),
            name => return Err(choice.bad("name", format_args!("\"{name}\" is not among the tools"))),
        },
        other => return Err(choice.unknown("type", other, "auto, any, tool or none")),
    };
    if choice.flag("disable_parallel_tool_use")? == Some(true) {
        chat.parallel_tool_calls = Some(false);
    }
    Ok(())
}

/// `output_config`: the effort, and a schema for the answer.
fn set_output(body: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let Some(mut config) = body.object("output_config")? else { return Ok(()) };
    if let Some(effort) = config.text("effort")? {
        set_effort(chat, &effort);
        // Whether the model thinks at all is what `thinking` says.
        chat.thinking = None;
    }
    if let Some(mut format) = config.object("format")? {
        match format.need_text("type")?.as_str() {
            "json_schema" => {
                let schema = format.take("schema");
                chat.format = Format::JsonSchema(format.need("schema", schema)?);
            }
            other => return Err(format.unknown("type", other, "json_schema")),
        }
    }
    Ok(())
}

/// Without a word about it a model does not think, as there: clients that did not ask for thinking look for the text in
/// the first block. Whether it is not to be shown.
fn set_thinking(body: &mut Fields, chat: &mut ChatRequest) -> Result<bool, Failure> {
    let Some(mut thinking) = body.object("thinking")? else {
        chat.thinking = Some(false);
        return Ok(false);
    };
    match thinking.need_text("type")?.as_str() {
        "disabled" => chat.thinking = Some(false),
        "adaptive" => chat.thinking = None,
        "enabled" => {
            chat.thinking = Some(true);
            let budget = thinking.count("budget_tokens", usize::MAX)?;
            chat.thinking_budget = Some(thinking.need("budget_tokens", budget)?);
        }
        other => return Err(thinking.unknown("type", other, "enabled, disabled or adaptive")),
    }
    Ok(thinking.text("display")?.is_some_and(|display| display == "omitted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::fields;

    fn body(more: Value) -> Value {
        let mut body =
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn chat(more: Value) -> ChatRequest {
        parse(fields(body(more)), false).unwrap().chat
    }

    fn error(more: Value) -> String {
        parse(fields(body(more)), false).unwrap_err().message
    }

    #[test]
    fn every_field_finds_its_place() {
        let tool = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}});
        let request = body(json!({
            "stream": true, "stop_sequences": ["###"], "temperature": 0.5, "top_p": 0.9, "top_k": 5,
            "metadata": {"user_id": "u"}, "cache_control": {"type": "ephemeral"}, "tools": [tool],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        }));
        let parsed = parse(fields(request), false).unwrap();
        assert!(parsed.stream && parsed.hide_thinking);
        let chat = parsed.chat;
        assert_eq!((chat.model.as_str(), chat.max_tokens, chat.messages.len()), ("m", Some(9), 1));
        assert_eq!(chat.stop, ["###"]);
        assert_eq!((chat.sampling.temperature, chat.sampling.top_p), (Some(0.5), Some(0.9)));
        assert_eq!(chat.sampling.top_k, Some(5));
        let function = json!({"name": "f", "description": "d", "parameters": {"type": "object"}});
        assert_eq!(chat.tools, [json!({"type": "function", "function": function})]);
        assert_eq!((chat.tool_choice, chat.parallel_tool_calls), (ToolChoice::Required, Some(false)));
        assert_eq!((chat.thinking, chat.thinking_budget), (Some(true), Some(2048)));
        assert_eq!(chat.template_kwargs["reasoning_effort"], "low");
        assert_eq!(chat.format, Format::JsonSchema(json!({"type": "object"})));
    }

    #[test]
    fn thinking_is_off_unless_asked_for() {
        assert_eq!(chat(json!({})).thinking, Some(false));
        assert_eq!(chat(json!({"output_config": {"effort": "high"}})).thinking, Some(false));
        assert_eq!(chat(json!({"thinking": {"type": "disabled"}})).thinking, Some(false));
        assert_eq!(chat(json!({"thinking": {"type": "adaptive"}})).thinking, None);
    }

    #[test]
    fn a_tool_may_be_named() {
        let tools = json!([{"name": "f", "input_schema": {}}]);
        let choice = |choice: Value| json!({"tools": tools, "tool_choice": choice});
        let named = chat(choice(json!({"type": "tool", "name": "f"})));
        assert_eq!(named.tool_choice, ToolChoice::Named("f".to_owned()));
        assert_eq!(chat(choice(json!({"type": "none"}))).tool_choice, ToolChoice::None);
        assert_eq!(
            error(choice(json!({"type": "tool", "name": "g"}))),
            "tool_choice.name: \"g\" is not among the tools"
        );
        assert_eq!(
            error(json!({"tool_choice": {"type": "any"}})),
            "tool_choice.type: \"any\", but there are no tools"
        );
    }

    #[test]
    fn faults_are_named() {
        let missing = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(parse(fields(missing.clone()), false).unwrap_err().message, "max_tokens: missing");
        assert!(parse(fields(missing), true).is_ok());
        assert_eq!(error(json!({"model": null})), "model: missing");
        assert_eq!(
            error(json!({"max_tokens": "9"})),
            "max_tokens: expected a whole number of at least 0, found text"
        );
        assert_eq!(
            error(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
            "tools[0].type: \"web_search_20250305\" is a tool of Anthropic's own servers"
        );
        assert_eq!(error(json!({"tools": [{"name": "f"}]})), "tools[0].input_schema: missing");
        assert_eq!(error(json!({"thinking": {"type": "enabled"}})), "thinking.budget_tokens: missing");
        assert_eq!(
            error(json!({"thinking": {"type": "hard"}})),
            "thinking.type: expected enabled, disabled or adaptive, found \"hard\""
        );
    }
}
