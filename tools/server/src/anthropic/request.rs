//! From the body of `/v1/messages` to a [`ChatRequest`].

use qwip::chat::{Format, ToolChoice};
use serde_json::{Value, json};

use super::content;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::fields::{Fields, set_effort};

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
pub(crate) fn parse(body: &Value, counting: bool) -> Result<Messages, Failure> {
    let body = Fields::body(body)?;
    let mut chat = ChatRequest {
        model: body.need_text("model")?.to_owned(),
        messages: content::messages(&body)?,
        tools: tools(&body)?,
        stop: body.stops("stop_sequences")?,
        whole_calls: body.flag("stream")? != Some(true),
        ..ChatRequest::default()
    };
    chat.max_tokens = body.count("max_tokens")?;
    if !counting {
        body.need("max_tokens", chat.max_tokens)?;
    }
    chat.sampling.temperature = body.number("temperature")?;
    chat.sampling.top_p = body.number("top_p")?;
    chat.sampling.top_k = body.count("top_k")?;
    set_tool_choice(&body, &mut chat)?;
    set_output(&body, &mut chat)?;
    let hide_thinking = set_thinking(&body, &mut chat)?;
    Ok(Messages { chat, stream: body.flag("stream")?.unwrap_or(false), hide_thinking })
}

fn tools(body: &Fields) -> Result<Vec<Value>, Failure> {
    let mut tools = Vec::new();
    for (index, tool) in body.list("tools")?.iter().enumerate() {
        let tool = body.entry("tools", index, tool)?;
        if let Some(kind) = tool.text("type")?.filter(|&kind| kind != "custom") {
            return Err(tool.bad("type", format_args!("is \"{kind}\", a tool of Anthropic's own servers")));
        }
        let mut function = json!({"name": tool.need_text("name")?});
        if let Some(description) = tool.text("description")? {
            function["description"] = description.into();
        }
        let schema = tool.need("input_schema", tool.get("input_schema"))?;
        if !schema.is_object() {
            return Err(tool.wrong("input_schema", "an object"));
        }
        function["parameters"] = schema.clone();
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

fn set_tool_choice(body: &Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let Some(choice) = body.object("tool_choice")? else { return Ok(()) };
    let declared = |name: &str| chat.tools.iter().any(|tool| tool["function"]["name"] == name);
    chat.tool_choice = match choice.need_text("type")? {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" if chat.tools.is_empty() => {
            return Err(choice.bad("type", "is \"any\", but there are no tools"));
        }
        "any" => ToolChoice::Required,
        "tool" => match choice.need_text("name")? {
            name if declared(name) => ToolChoice::Named(name.to_owned()),
            name => {
                return Err(choice.bad("name", format_args!("is \"{name}\", which is not among the tools")));
            }
        },
        other => {
            let known = "auto, any, tool and none are known";
            return Err(choice.bad("type", format_args!("is \"{other}\": {known}")));
        }
    };
    if choice.flag("disable_parallel_tool_use")? == Some(true) {
        chat.parallel_tool_calls = Some(false);
    }
    Ok(())
}

/// `output_config`: the effort, and a schema for the answer.
fn set_output(body: &Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let Some(config) = body.object("output_config")? else { return Ok(()) };
    set_effort(&config, "effort", chat)?;
    // Whether the model thinks at all is what `thinking` says.
    chat.thinking = None;
    if let Some(format) = config.object("format")? {
        match format.need_text("type")? {
            "json_schema" => {
                let schema = format.need("schema", format.get("schema"))?;
                chat.format = Format::JsonSchema(schema.clone());
            }
            other => return Err(format.bad("type", format_args!("is \"{other}\": json_schema is known"))),
        }
    }
    Ok(())
}

/// Without a word about it a model does not think, as there: clients that did not ask for thinking look for the text in
/// the first block. Whether it is not to be shown.
fn set_thinking(body: &Fields, chat: &mut ChatRequest) -> Result<bool, Failure> {
    let Some(thinking) = body.object("thinking")? else {
        chat.thinking = Some(false);
        return Ok(false);
    };
    match thinking.need_text("type")? {
        "disabled" => chat.thinking = Some(false),
        "adaptive" => chat.thinking = None,
        "enabled" => {
            chat.thinking = Some(true);
            let budget = thinking.count("budget_tokens")?;
            chat.thinking_budget = Some(thinking.need("budget_tokens", budget)?);
        }
        other => {
            let known = "enabled, disabled and adaptive are known";
            return Err(thinking.bad("type", format_args!("is \"{other}\": {known}")));
        }
    }
    Ok(thinking.text("display")? == Some("omitted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(more: Value) -> Value {
        let mut body =
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn chat(more: Value) -> ChatRequest {
        parse(&body(more), false).unwrap().chat
    }

    fn error(more: Value) -> String {
        parse(&body(more), false).unwrap_err().message
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
        let parsed = parse(&request, false).unwrap();
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
            "`tool_choice.name` is \"g\", which is not among the tools"
        );
        assert_eq!(
            error(json!({"tool_choice": {"type": "any"}})),
            "`tool_choice.type` is \"any\", but there are no tools"
        );
    }

    #[test]
    fn faults_are_named() {
        let missing = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(parse(&missing, false).unwrap_err().message, "`max_tokens` is missing");
        assert!(parse(&missing, true).is_ok());
        assert_eq!(error(json!({"model": null})), "`model` is missing");
        assert_eq!(error(json!({"max_tokens": "9"})), "`max_tokens` is text, not a whole number");
        assert_eq!(
            error(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
            "`tools[0].type` is \"web_search_20250305\", a tool of Anthropic's own servers"
        );
        assert_eq!(error(json!({"tools": [{"name": "f"}]})), "`tools[0].input_schema` is missing");
        assert_eq!(error(json!({"thinking": {"type": "enabled"}})), "`thinking.budget_tokens` is missing");
        assert_eq!(
            error(json!({"output_config": {"effort": "banana"}})),
            "`output_config.effort` is \"banana\": none, minimal, low, medium, high, xhigh and max are known"
        );
        assert_eq!(
            error(json!({"thinking": {"type": "hard"}})),
            "`thinking.type` is \"hard\": enabled, disabled and adaptive are known"
        );
    }
}
