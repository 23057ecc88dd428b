//! From a request to what the engine is asked: prompt, settings, the form that the answer is held to.

use qwip::chat::{Prompt, RenderOptions};
use qwip::constrain::Grammar;
use qwip::{GenerateOptions, SamplingParams};
use serde_json::Value;

use super::{ChatRequest, Format, ToolChoice};
use crate::engine::{Ask, Failure, FailureKind};
use crate::models::{Loaded, Settings};

/// Most answers to one request.
const MOST_ANSWERS: usize = 16;

/// Behind every call.
pub(super) const CALL_END: &str = "</tool_call>";

/// A request that is ready for the engine.
pub(super) struct Prepared {
    pub(super) prompt: Prompt,
    /// One for each answer.
    pub(super) asks: Vec<Ask>,
    /// The declared tools; none if the model was not told of any.
    pub(super) tools: Vec<Value>,
}

/// The prompt of a request. Takes milliseconds, for long conversations more.
pub(super) fn prompt(model: &Loaded, request: &ChatRequest) -> Result<Prompt, Failure> {
    if request.messages.is_empty() {
        return Err(Failure::invalid("messages", "there are no messages"));
    }
    let options = RenderOptions {
        thinking: request.thinking,
        extra: request.template_kwargs.clone(),
        ..RenderOptions::default()
    };
    model
        .voice()
        .prompt(&request.messages, declared(request), &options)
        .map_err(|error| Failure::invalid("messages", error.to_string()))
}

/// The tools that the model is told of.
fn declared(request: &ChatRequest) -> &[Value] {
    match request.tool_choice {
        ToolChoice::None => &[],
        _ => &request.tools,
    }
}

/// Renders, encodes and compiles: work for a thread of its own.
pub(super) fn prepare(
    model: &Loaded,
    settings: &Settings,
    request: &ChatRequest,
) -> Result<Prepared, Failure> {
    let answers = request.n.max(1);
    if answers > MOST_ANSWERS {
        return Err(Failure::invalid(
            "n",
            format!("{answers} answers are wanted, at most {MOST_ANSWERS} are made"),
        ));
    }
    let places = settings.parallel.saturating_add(settings.queue);
    if answers > places {
        let message = format!(
            "{answers} answers are wanted, but the server takes {places} at a time (--parallel, --queue)"
        );
        return Err(Failure::invalid("n", message));
    }
    let prompt = prompt(model, request)?;
    let sampling = model
        .voice()
        .sampling(model.model().file(), wish(request), &request.sampling)
        .map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))?;
    let seed = request.seed.unwrap_or_else(crate::id::seed);
    let form = match grammar(model, request)? {
        None => None,
        Some(grammar) => Some(model.form(&grammar).map_err(|failure| {
            let param = if declared(request).is_empty() { "response_format" } else { "tools" };
            Failure { param: Some(param.to_owned()), ..failure }
        })?),
    };
    let free = model.voice().thinking_before(&prompt, wish(request));
    let mut stop = request.stop.clone();
    if matches!(request.tool_choice, ToolChoice::Auto)
        && request.parallel_tool_calls == Some(false)
        && !request.tools.is_empty()
    {
        // The first call ends the answer. Where a call is required, the grammar knows of one alone.
        stop.push(CALL_END.to_owned());
    }
    let ask = |i: usize| Ask {
        prompt: prompt.tokens.clone(),
        sampling: SamplingParams { seed: seed.wrapping_add(i as u64), ..sampling.clone() },
        options: GenerateOptions {
            max_tokens: request.max_tokens,
            stop: stop.clone(),
            ignore_eos: request.ignore_eos,
            thinking_budget: request.thinking_budget,
            logprobs: request.logprobs,
            ..GenerateOptions::default()
        },
        constraint: form.as_ref().map(|form| form.constraint(free)),
        prompt_logprobs: None,
    };
    let asks = (0..answers).map(ask).collect();
    Ok(Prepared { asks, prompt, tools: declared(request).to_vec() })
}

/// Whether the model is to think; a variable of the template says the same as the field.
fn wish(request: &ChatRequest) -> Option<bool> {
    request.template_kwargs.get("enable_thinking").and_then(Value::as_bool).or(request.thinking)
}

/// The form of the answer, if it is held to one.
fn grammar(model: &Loaded, request: &ChatRequest) -> Result<Option<Grammar>, Failure> {
    let tools = declared(request);
    let voice = model.voice();
    let several = request.parallel_tool_calls != Some(false);
    let calls = |tools: &[Value], otherwise: Option<&Value>| {
        Grammar::tool_calls(voice.tokenizer(), voice.tool_format(), tools, several, otherwise)
            .map(Some)
            .map_err(|error| Failure::invalid("tools", error.to_string()))
    };
    match &request.tool_choice {
        ToolChoice::Required if tools.is_empty() => {
            return Err(Failure::invalid("tool_choice", "a call is required, but no tools are declared"));
        }
        ToolChoice::Required => return calls(tools, None),
        ToolChoice::Named(name) => {
            let named: Vec<Value> =
                tools.iter().filter(|tool| name_of(tool) == Some(name)).cloned().collect();
            if named.is_empty() {
                return Err(Failure::invalid(
                    "tool_choice",
                    format!("there is no tool '{name}' among the {}", tools.len()),
                ));
            }
            return calls(&named, None);
        }
        ToolChoice::Auto | ToolChoice::None => {}
    }
    let schema = match &request.format {
        Format::Text => return Ok(None),
        Format::JsonObject => serde_json::json!({"type": "object"}),
        Format::JsonSchema(schema) => schema.clone(),
    };
    match tools.is_empty() {
        true => Ok(Some(Grammar::json_schema(&schema))),
        false => calls(tools, Some(&schema)),
    }
}

fn name_of(tool: &Value) -> Option<&String> {
    match &tool["function"]["name"] {
        Value::String(name) => Some(name),
        _ => None,
    }
}
