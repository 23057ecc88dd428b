//! From a request to what the engine is asked: prompt, settings, the form that the answer is held to.

use qwip::chat::{FormField, Prompt, RenderOptions, answer_grammar, call_stop, declared};
use qwip::sample::random_seed;
use qwip::{GenerateOptions, SamplingParams};
use serde_json::Value;

use super::ChatRequest;
use crate::engine::{Ask, Failure, FailureKind};
use crate::models::{Loaded, Settings};

/// Most answers to one request.
const MOST_ANSWERS: usize = 16;

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
        .prompt(&request.messages, declared(&request.tools, &request.tool_choice), &options)
        .map_err(|error| Failure::invalid("messages", error.to_string()))
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
    let seed = request.seed.unwrap_or_else(random_seed);
    let (tools, choice) = (&request.tools, &request.tool_choice);
    let several = request.parallel_tool_calls != Some(false);
    let form = match answer_grammar(model.voice(), tools, choice, several, &request.format) {
        Err(error) => return Err(Failure::invalid(error.field.name(), error.message)),
        Ok(None) => None,
        Ok(Some(grammar)) => Some(model.form(&grammar).map_err(|failure| {
            let param = FormField::of_grammar(tools, choice).name();
            Failure { param: Some(param.to_owned()), ..failure }
        })?),
    };
    let free = model.voice().thinking_before(&prompt, wish(request));
    let mut stop = request.stop.clone();
    stop.extend(call_stop(tools, choice, several).map(str::to_owned));
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
    Ok(Prepared { asks, prompt, tools: declared(tools, choice).to_vec() })
}

/// Whether the model is to think; a variable of the template says the same as the field.
fn wish(request: &ChatRequest) -> Option<bool> {
    request.template_kwargs.get("enable_thinking").and_then(Value::as_bool).or(request.thinking)
}
