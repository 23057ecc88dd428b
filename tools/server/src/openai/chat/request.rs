//! What the body of a chat request says. Wrong types are errors that name the field; fields that nobody knows are left
//! alone, as clients of other servers send many.

use qwip::chat::{Format, ToolChoice, messages_from_openai};
use serde_json::{Value, json};

use super::super::sampling;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::fields::{Fields, set_effort};

/// Most alternatives of a token.
const MOST_ALTERNATIVES: usize = 20;

/// A request for a chat.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) chat: ChatRequest,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

pub(super) fn parse(value: &Value) -> Result<Wanted, Failure> {
    let body = Fields::body(value)?;
    sampling::refuse_unknown(&body)?;
    for (name, instead) in [("functions", "tools"), ("function_call", "tool_choice")] {
        if body.get(name).is_some() {
            return Err(body.bad(name, format_args!("is not supported; use `{instead}`")));
        }
    }
    if body.list("modalities")?.iter().any(|kind| kind != "text") {
        return Err(body.bad("modalities", "may only be text"));
    }
    let limit = "max_completion_tokens";
    let limit = if body.get(limit).is_some() { limit } else { "max_tokens" };
    let mut chat = ChatRequest {
        model: body.text("model")?.unwrap_or_default().to_owned(),
        messages: messages(&body)?,
        tools: tools(&body)?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        whole_calls: body.flag("stream")? != Some(true),
        format: format(&body)?,
        max_tokens: sampling::without_limit(&body, limit)?.flatten(),
        stop: body.stops("stop")?,
        sampling: sampling::sampling(&body)?,
        seed: body.seed("seed")?,
        n: sampling::answers(&body)?,
        logprobs: logprobs(&body)?,
        ignore_eos: body.flag("ignore_eos")?.unwrap_or(false),
        ..ChatRequest::default()
    };
    chat.tool_choice = tool_choice(&body, &chat.tools)?;
    set_thinking(&body, &mut chat)?;
    let (stream, include_usage) = sampling::stream(&body)?;
    Ok(Wanted { chat, stream, include_usage })
}

fn messages(body: &Fields<'_>) -> Result<Vec<qwip::chat::Message>, Failure> {
    body.need("messages", body.get("messages"))?;
    let list = body.list("messages")?;
    for (i, message) in list.iter().enumerate() {
        let message = body.entry("messages", i, message)?;
        let Some(Value::Array(parts)) = message.get("content") else { continue };
        for (j, part) in parts.iter().enumerate() {
            let kind = part["type"].as_str().unwrap_or("text");
            // What the model said when it would not answer is a text like any other.
            let text = if kind == "refusal" { "refusal" } else { "text" };
            if kind != text {
                let path = format!("{}[{j}]", message.path("content"));
                let message = format!(
                    "`{path}` is of type \"{kind:.100}\"; this server takes text only, and fetches nothing"
                );
                return Err(Failure::invalid(&path, message));
            }
            if !part.is_string() && !part[text].is_string() {
                let path = format!("{}[{j}].{text}", message.path("content"));
                return Err(Failure::invalid(&path, format!("`{path}` is missing or no text")));
            }
        }
    }
    if list.is_empty() {
        return Err(body.bad("messages", "is empty, at least one message is wanted"));
    }
    let mut list = list.to_vec();
    let contents = list.iter_mut().filter_map(|message| message.get_mut("content")?.as_array_mut());
    for part in contents.flatten() {
        if part["type"] == "refusal" {
            *part = json!({"type": "text", "text": part["refusal"]});
        }
    }
    messages_from_openai(&Value::Array(list)).map_err(|error| Failure::invalid("messages", error.to_string()))
}

fn tools(body: &Fields<'_>) -> Result<Vec<Value>, Failure> {
    let list = body.list("tools")?;
    for (i, tool) in list.iter().enumerate() {
        let tool = body.entry("tools", i, tool)?;
        if let Some(kind) = tool.text("type")?.filter(|&kind| kind != "function") {
            return Err(tool.bad("type", format_args!("is \"{kind}\"; only functions are known")));
        }
        let function = tool.need("function", tool.object("function")?)?;
        function.need("name", function.text("name")?)?;
        function.text("description")?;
        function.object("parameters")?;
    }
    Ok(list.to_vec())
}

fn tool_choice(body: &Fields<'_>, tools: &[Value]) -> Result<ToolChoice, Failure> {
    let choice = match body.get("tool_choice") {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" if tools.is_empty() => {
                return Err(body.bad("tool_choice", "is \"required\", but there are no tools"));
            }
            "required" => return Ok(ToolChoice::Required),
            other => {
                let known = "auto, none, required and {\"type\": \"function\", ..} are known";
                return Err(body.bad("tool_choice", format_args!("is \"{other}\": {known}")));
            }
        },
        Some(_) => body.need("tool_choice", body.object("tool_choice")?)?,
    };
    if let Some(kind) = choice.text("type")?.filter(|&kind| kind != "function") {
        return Err(choice.bad("type", format_args!("is \"{kind}\"; only functions are known")));
    }
    let function = choice.need("function", choice.object("function")?)?;
    let name = function.need("name", function.text("name")?)?;
    match tools.iter().any(|tool| tool["function"]["name"] == name) {
        true => Ok(ToolChoice::Named(name.to_owned())),
        false => Err(function.bad("name", format_args!("is \"{name}\", which is not among the tools"))),
    }
}

fn format(body: &Fields<'_>) -> Result<Format, Failure> {
    let Some(format) = body.object("response_format")? else { return Ok(Format::Text) };
    match format.need("type", format.text("type")?)? {
        "text" => Ok(Format::Text),
        // llama.cpp takes a schema here, too.
        "json_object" => match format.get("schema") {
            Some(schema) => Ok(Format::JsonSchema(schema.clone())),
            None => Ok(Format::JsonObject),
        },
        "json_schema" => {
            let described = format.need("json_schema", format.object("json_schema")?)?;
            described.text("name")?;
            described.flag("strict")?;
            let schema = described.need("schema", described.get("schema"))?;
            match schema {
                Value::Object(_) | Value::Bool(_) => Ok(Format::JsonSchema(schema.clone())),
                _ => Err(described.wrong("schema", "an object")),
            }
        }
        other => {
            let known = "text, json_object and json_schema are known";
            Err(format.bad("type", format_args!("is \"{other}\": {known}")))
        }
    }
}

fn logprobs(body: &Fields<'_>) -> Result<Option<usize>, Failure> {
    let wanted = body.flag("logprobs")?.unwrap_or(false);
    let top = sampling::up_to(body, "top_logprobs", MOST_ALTERNATIVES)?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, Some(1..)) => Err(body.bad("top_logprobs", "needs `logprobs` to be true")),
        (false, _) => Ok(None),
    }
}

/// Whether the model thinks, and how much. `reasoning_effort` of `none` and `minimal` is no thinking; any other word is
/// thinking, and templates that know of grades see it. A budget ends the thinking after so many tokens.
fn set_thinking(body: &Fields<'_>, chat: &mut ChatRequest) -> Result<(), Failure> {
    set_effort(body, "reasoning_effort", chat)?;
    if let Some(thinking) = body.flag("enable_thinking")? {
        chat.thinking = Some(thinking);
    }
    if let Some(kwargs) = body.get("chat_template_kwargs") {
        let kwargs = kwargs.as_object().ok_or_else(|| body.wrong("chat_template_kwargs", "an object"))?;
        chat.template_kwargs.extend(kwargs.clone());
        match kwargs.get("enable_thinking") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(thinking)) => chat.thinking = Some(*thinking),
            Some(_) => {
                let kwargs = body.need("chat_template_kwargs", body.object("chat_template_kwargs")?)?;
                return Err(kwargs.wrong("enable_thinking", "true or false"));
            }
        }
    }
    for name in ["thinking_budget", "thinking_budget_tokens", "reasoning_budget"] {
        if let Some(budget) = sampling::without_limit(body, name)? {
            chat.thinking_budget = budget;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(more: Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn chat(more: Value) -> ChatRequest {
        parse(&body(more)).unwrap().chat
    }

    /// The field and what is said about it.
    fn error(more: Value) -> (String, String) {
        let failure = parse(&body(more)).unwrap_err();
        (failure.param.unwrap_or_default(), failure.message)
    }

    #[test]
    fn every_field_finds_its_place() {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
        let wanted = parse(&body(json!({
            "max_tokens": 5, "max_completion_tokens": 9, "temperature": 0.5, "stop": "###", "seed": -1, "n": 3,
            "logprobs": true, "top_logprobs": 4, "stream": true, "stream_options": {"include_usage": true},
            "tools": [tool], "tool_choice": {"type": "function", "function": {"name": "f"}}, "user": "u",
            "parallel_tool_calls": false, "metadata": {}, "store": true, "something_else": [1], "logit_bias": {},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": true}},
        })))
        .unwrap();
        assert!(wanted.stream && wanted.include_usage);
        let chat = wanted.chat;
        assert_eq!((chat.model.as_str(), chat.max_tokens, chat.n), ("m", Some(9), 3));
        assert_eq!((chat.seed, chat.logprobs, chat.stop), (Some(u64::MAX), Some(4), vec!["###".to_owned()]));
        assert_eq!(chat.tool_choice, ToolChoice::Named("f".into()));
        assert_eq!((chat.tools, chat.parallel_tool_calls), (vec![tool], Some(false)));
        assert_eq!(chat.format, Format::JsonSchema(json!({})));
        assert_eq!(chat.messages[0].content(), Some("Hi"));
    }

    #[test]
    fn effort_and_template_variables_say_whether_it_thinks() {
        let of = |more: Value| {
            let chat = chat(more);
            (chat.thinking, chat.template_kwargs.get("reasoning_effort").cloned())
        };
        assert_eq!(of(json!({})), (None, None));
        assert_eq!(of(json!({"reasoning_effort": "none"})), (Some(false), None));
        assert_eq!(of(json!({"reasoning_effort": "minimal"})), (Some(false), None));
        assert_eq!(of(json!({"reasoning_effort": "high"})), (Some(true), Some(json!("high"))));
        assert_eq!(of(json!({"chat_template_kwargs": {"enable_thinking": false}})), (Some(false), None));
        assert_eq!(of(json!({"enable_thinking": true})), (Some(true), None));
        assert_eq!(chat(json!({"thinking_budget": 7})).thinking_budget, Some(7));
        assert_eq!(chat(json!({"reasoning_budget": -1})).thinking_budget, None);
        assert_eq!(error(json!({"reasoning_effort": "much"})).0, "reasoning_effort");
        assert_eq!(
            error(json!({"chat_template_kwargs": {"enable_thinking": 1}})).0,
            "chat_template_kwargs.enable_thinking"
        );
    }

    #[test]
    fn formats_are_told_apart() {
        let of = |format: Value| chat(json!({"response_format": format})).format;
        assert_eq!(of(json!({"type": "text"})), Format::Text);
        assert_eq!(of(json!({"type": "json_object"})), Format::JsonObject);
        assert_eq!(
            of(json!({"type": "json_object", "schema": {"a": 1}})),
            Format::JsonSchema(json!({"a": 1}))
        );
        let wrong = |format: Value| error(json!({"response_format": format})).0;
        assert_eq!(wrong(json!("text")), "response_format");
        assert_eq!(wrong(json!({"type": "xml"})), "response_format.type");
        assert_eq!(wrong(json!({"type": "json_schema"})), "response_format.json_schema");
        assert_eq!(
            wrong(json!({"type": "json_schema", "json_schema": {"name": "x"}})),
            "response_format.json_schema.schema"
        );
    }

    #[test]
    fn wrong_fields_are_named() {
        for (more, param) in [
            (json!({"model": 5}), "model"),
            (json!({"messages": null}), "messages"),
            (json!({"messages": []}), "messages"),
            (json!({"messages": "Hi"}), "messages"),
            (json!({"messages": ["Hi"]}), "messages[0]"),
            (json!({"messages": [{"content": "Hi"}]}), "messages"),
            (json!({"temperature": "hot"}), "temperature"),
            (json!({"max_tokens": -2}), "max_tokens"),
            (json!({"max_completion_tokens": 1.5}), "max_completion_tokens"),
            (json!({"n": 0}), "n"),
            (json!({"stream": "yes"}), "stream"),
            (json!({"stream_options": {"include_usage": 1}}), "stream_options.include_usage"),
            (json!({"stop": [1]}), "stop"),
            (json!({"logprobs": 5}), "logprobs"),
            (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
            (json!({"top_logprobs": 2}), "top_logprobs"),
            (json!({"tools": {}}), "tools"),
            (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
            (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
            (json!({"tools": [{"type": "function", "function": {"name": 1}}]}), "tools[0].function.name"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"tool_choice": "maybe"}), "tool_choice"),
            (
                json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}),
                "tool_choice.function.name",
            ),
            (json!({"functions": [{"name": "f"}]}), "functions"),
            (json!({"modalities": ["audio"]}), "modalities"),
            (json!({"logit_bias": {"1": 5}}), "logit_bias"),
            (json!({"seed": "1"}), "seed"),
        ] {
            assert_eq!(error(more.clone()).0, param, "{more}");
        }
    }

    #[test]
    fn images_are_refused_with_words() {
        let image = json!({"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png"}});
        let text = json!({"type": "text", "text": "What is this?"});
        let (param, message) = error(json!({"messages": [{"role": "user", "content": [text, image]}]}));
        assert_eq!(param, "messages[0].content[1]");
        assert!(message.contains("image_url") && message.contains("text only"), "{message}");
        let chat = chat(json!({"messages": [{"role": "user", "content": [text, text]}]}));
        assert_eq!(chat.messages[0].content(), Some("What is this?What is this?"));
    }

    #[test]
    fn what_was_refused_is_a_part_of_the_history() {
        let refusal =
            json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]});
        let user = json!({"role": "user", "content": "Why?"});
        let chat = chat(json!({"messages": [user, refusal, user]}));
        assert_eq!(chat.messages[1].content(), Some("I will not."));
        let broken = json!({"role": "assistant", "content": [{"type": "refusal", "text": "I"}]});
        assert_eq!(error(json!({"messages": [broken]})).0, "messages[0].content[0].refusal");
    }
}
