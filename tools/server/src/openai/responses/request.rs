//! From the body of `/v1/responses` to a [`ChatRequest`].

use qwip::chat::{Format, ToolChoice};
use serde_json::{Map, Value, json};

use super::input;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::fields::{Fields, set_effort};

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
fn repeated() -> [(&'static str, Value); 11] {
    [
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
    ]
}

/// Reads a body.
///
/// # Errors
/// A [`Failure`] that names the field; also for what needs a memory of earlier answers.
pub(crate) fn parse(body: &Value) -> Result<Asked, Failure> {
    let body = Fields::body(body)?;
    refuse_memory(&body)?;
    let mut chat = ChatRequest {
        model: body.text("model")?.unwrap_or_default().to_owned(),
        messages: input::messages(&body)?,
        tools: tools(&body)?,
        max_tokens: body.count("max_output_tokens")?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        whole_calls: body.flag("stream")? != Some(true),
        ..ChatRequest::default()
    };
    chat.sampling.temperature = body.number("temperature")?;
    chat.sampling.top_p = body.number("top_p")?;
    // Not OpenAI's, but what its package sends as `extra_body`.
    chat.sampling.top_k = body.count("top_k")?;
    chat.sampling.min_p = body.number("min_p")?;
    chat.seed = body.seed("seed")?;
    if let Some(kwargs) = body.get("chat_template_kwargs") {
        let kwargs = kwargs.as_object().ok_or_else(|| body.wrong("chat_template_kwargs", "an object"))?;
        chat.template_kwargs = kwargs.clone();
    }
    if let Some(reasoning) = body.object("reasoning")? {
        set_effort(&reasoning, "effort", &mut chat)?;
    }
    if let Some(text) = body.object("text")?
        && let Some(format) = text.object("format")?
    {
        chat.format = self::format(&format)?;
    }
    set_tool_choice(&body, &mut chat)?;
    let echo = repeated().map(|(name, absent)| (name.to_owned(), body.get(name).cloned().unwrap_or(absent)));
    let stream = body.flag("stream")?.unwrap_or(false);
    Ok(Asked { chat, stream, echo: Map::from_iter(echo) })
}

/// What would need answers to be kept, or is done only by OpenAI's own servers.
fn refuse_memory(body: &Fields) -> Result<(), Failure> {
    for name in ["previous_response_id", "conversation"] {
        if body.get(name).is_some() {
            let message = "cannot be used: no answers are kept here, send the whole conversation as `input`";
            return Err(body.bad(name, message));
        }
    }
    if body.get("prompt").is_some() {
        return Err(body.bad("prompt", "names a template that is kept by OpenAI; send `input`"));
    }
    if body.flag("background")? == Some(true) {
        return Err(body.bad("background", "cannot be true: no answers are kept here"));
    }
    if body.count("top_logprobs")?.unwrap_or(0) > 0 {
        return Err(body.bad("top_logprobs", "is not supported here, but in /v1/chat/completions"));
    }
    Ok(())
}

/// Functions, which are flat here.
fn tools(body: &Fields) -> Result<Vec<Value>, Failure> {
    let mut tools = Vec::new();
    for (index, tool) in body.list("tools")?.iter().enumerate() {
        let tool = body.entry("tools", index, tool)?;
        match tool.need_text("type")? {
            "function" => {}
            other => {
                let message = format_args!("is \"{other}\": only functions can be declared here");
                return Err(tool.bad("type", message));
            }
        }
        let mut function = json!({"name": tool.need_text("name")?});
        if let Some(description) = tool.text("description")? {
            function["description"] = description.into();
        }
        if let Some(parameters) = tool.get("parameters") {
            if !parameters.is_object() {
                return Err(tool.wrong("parameters", "an object"));
            }
            function["parameters"] = parameters.clone();
        }
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

fn format(format: &Fields) -> Result<Format, Failure> {
    match format.need_text("type")? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => Ok(Format::JsonSchema(format.need("schema", format.get("schema"))?.clone())),
        other => {
            let known = "text, json_object and json_schema are known";
            Err(format.bad("type", format_args!("is \"{other}\": {known}")))
        }
    }
}

fn set_tool_choice(body: &Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let word = |holder: &Fields, name: &str, word: &str| match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(holder.bad(name, format_args!("is \"{other}\": auto, none and required are known"))),
    };
    let choice = match body.get("tool_choice") {
        None => return Ok(()),
        Some(Value::String(text)) => {
            chat.tool_choice = word(body, "tool_choice", text)?;
            return no_tools(body, chat);
        }
        Some(choice) => Fields::inside(choice, body.path("tool_choice"))?,
    };
    match choice.need_text("type")? {
        "function" => {
            let name = choice.need_text("name")?;
            if !chat.tools.iter().any(|tool| tool["function"]["name"] == name) {
                return Err(choice.bad("name", format_args!("is \"{name}\", which is not among the tools")));
            }
            chat.tool_choice = ToolChoice::Named(name.to_owned());
        }
        "allowed_tools" => {
            let mut names = Vec::new();
            for (index, tool) in choice.list("tools")?.iter().enumerate() {
                let tool = choice.entry("tools", index, tool)?;
                names.push(tool.need_text("name")?);
            }
            chat.tools.retain(|tool| names.iter().any(|name| tool["function"]["name"] == *name));
            chat.tool_choice = word(&choice, "mode", choice.text("mode")?.unwrap_or("auto"))?;
        }
        other => {
            let known = "function and allowed_tools are known";
            return Err(choice.bad("type", format_args!("is \"{other}\": {known}")));
        }
    }
    no_tools(body, chat)
}

fn no_tools(body: &Fields, chat: &ChatRequest) -> Result<(), Failure> {
    if chat.tool_choice == ToolChoice::Required && chat.tools.is_empty() {
        return Err(body.bad("tool_choice", "is \"required\", but there are no tools"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(more: Value) -> Value {
        let mut body = json!({"model": "m", "input": "Hi"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn error(more: Value) -> String {
        parse(&body(more)).unwrap_err().message
    }

    #[test]
    fn every_field_finds_its_place() {
        let tool = json!({"type": "function", "name": "f", "description": "d", "strict": true,
                          "parameters": {"type": "object"}});
        let format =
            json!({"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}});
        let asked = parse(&body(json!({
            "stream": true, "store": true, "max_output_tokens": 20, "temperature": 0.5, "top_p": 0.9, "top_k": 4,
            "min_p": 0.1, "seed": 7, "parallel_tool_calls": false, "reasoning": {"effort": "low"}, "tools": [tool],
            "tool_choice": {"type": "function", "name": "f"}, "text": {"format": format}, "truncation": "auto",
            "metadata": {"a": "b"}, "user": null, "previous_response_id": null,
        })))
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
        let asked = parse(&body(json!({}))).unwrap();
        assert_eq!((asked.stream, asked.chat.thinking, &asked.chat.format), (false, None, &Format::Text));
        assert_eq!(asked.echo["tool_choice"], "auto");
        assert_eq!(asked.echo["parallel_tool_calls"], true);
        let none = parse(&body(json!({"reasoning": {"effort": "none"}}))).unwrap().chat;
        assert_eq!((none.thinking, none.template_kwargs.len()), (Some(false), 0));
    }

    #[test]
    fn tools_may_be_chosen_among() {
        let tools = json!([{"type": "function", "name": "f"}, {"type": "function", "name": "g"}]);
        let choice = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]});
        let chat = parse(&body(json!({"tools": tools, "tool_choice": choice}))).unwrap().chat;
        assert_eq!((chat.tools.len(), &chat.tools[0]["function"]["name"]), (1, &json!("g")));
        assert_eq!(chat.tool_choice, ToolChoice::Required);
        assert_eq!(
            error(json!({"tool_choice": "required"})),
            "`tool_choice` is \"required\", but there are no tools"
        );
        assert_eq!(
            error(json!({"tool_choice": "any"})),
            "`tool_choice` is \"any\": auto, none and required are known"
        );
        assert_eq!(
            error(json!({"tools": tools, "tool_choice": {"type": "function", "name": "h"}})),
            "`tool_choice.name` is \"h\", which is not among the tools"
        );
    }

    #[test]
    fn what_needs_a_memory_is_refused() {
        let message = "`previous_response_id` cannot be used: no answers are kept here, send the whole conversation as `input`";
        assert_eq!(error(json!({"previous_response_id": "resp_1"})), message);
        assert!(error(json!({"conversation": "c"})).starts_with("`conversation` cannot be used"));
        assert_eq!(
            error(json!({"background": true})),
            "`background` cannot be true: no answers are kept here"
        );
        assert_eq!(
            error(json!({"tools": [{"type": "web_search"}]})),
            "`tools[0].type` is \"web_search\": only functions can be declared here"
        );
        assert_eq!(
            error(json!({"reasoning": {"effort": "banana"}})),
            "`reasoning.effort` is \"banana\": none, minimal, low, medium, high, xhigh and max are known"
        );
        assert!(error(json!({"top_logprobs": 3})).contains("/v1/chat/completions"));
        assert!(
            error(json!({"text": {"format": {"type": "xml"}}})).starts_with("`text.format.type` is \"xml\"")
        );
    }
}
