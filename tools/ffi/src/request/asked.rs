//! What is asked, in the library's own types.

#[cfg(feature = "constrain")]
use runtime::chat::answer_grammar;
use runtime::chat::{Format, Message, Prompt, RenderOptions, ToolChoice, call_stop, declared};
#[cfg(feature = "constrain")]
use runtime::constrain::{Constraint, Grammar};
use runtime::{GenerateOptions, SamplingParams};
use serde_json::{Map, Value};

use crate::model::Engine;
use crate::sampler::Draw;
#[cfg(feature = "constrain")]
use crate::status::QWIP_STATUS_INVALID_ARGUMENT;
use crate::status::{Fault, Outcome};

/// See the setters.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) input: Option<Input>,
    pub(super) tools: Vec<Value>,
    pub(super) tool_choice: ToolChoice,
    /// One call an answer, not several.
    pub(super) single_call: bool,
    pub(super) format: Format,
    /// In the place of a format: a grammar in Lark.
    pub(super) lark: Option<String>,
    pub(super) thinking: Option<bool>,
    pub(super) thinking_budget: Option<usize>,
    pub(super) template_kwargs: Map<String, Value>,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) ignore_eos: bool,
    pub(super) draw: Draw,
}

/// What the answer follows.
pub(super) enum Input {
    Messages(Vec<Message>),
    /// Exactly this, control tokens included.
    Text(String),
}

/// All that the answer needs.
pub(super) struct Prepared {
    pub(super) prompt: Prompt,
    /// Those that the model was told of.
    pub(super) tools: Vec<Value>,
    pub(super) sampling: SamplingParams,
    pub(super) options: GenerateOptions,
    #[cfg(feature = "constrain")]
    pub(super) constraint: Option<Box<dyn Constraint>>,
}

impl Asked {
    /// Whether the model is to think; a variable of the template says the same as the setting.
    fn wish(&self) -> Option<bool> {
        self.template_kwargs.get("enable_thinking").and_then(Value::as_bool).or(self.thinking)
    }

    /// What can be said before a thread is started for it.
    pub(super) fn check(&self) -> Outcome {
        let calls = matches!(self.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        match &self.input {
            None => Err(Fault::state("nothing is asked: set the messages or the prompt first")),
            Some(Input::Text(_)) if !self.tools.is_empty() => {
                Err(Fault::argument("tools belong to messages, but a prompt is set"))
            }
            Some(_) if calls && self.tools.is_empty() => {
                Err(Fault::argument("a call of a tool is required, but there are no tools"))
            }
            Some(_) if calls && (self.lark.is_some() || self.format != Format::Text) => Err(Fault::argument(
                "a call of a tool is required, and the answer is held to a form: only one is possible",
            )),
            Some(_) => Ok(()),
        }
    }

    /// Renders, encodes and compiles: milliseconds, with a schema up to a second.
    pub(super) fn prepare(self, engine: &Engine) -> Outcome<Prepared> {
        let (voice, wish) = (engine.voice(), self.wish());
        let tools = declared(&self.tools, &self.tool_choice).to_vec();
        let options =
            RenderOptions { thinking: wish, extra: self.template_kwargs.clone(), ..RenderOptions::default() };
        let prompt = match &self.input {
            Some(Input::Messages(messages)) => voice.prompt(messages, &tools, &options)?,
            Some(Input::Text(text)) => voice.raw_prompt(text.clone()),
            None => return Err(Fault::state("nothing is asked")),
        };
        let sampling = self.draw.params(engine, wish)?;
        let mut stop = self.stop.clone();
        stop.extend(call_stop(&tools, &self.tool_choice, !self.single_call).map(str::to_owned));
        let options = GenerateOptions {
            max_tokens: self.max_tokens,
            stop,
            ignore_eos: self.ignore_eos,
            thinking_budget: self.thinking_budget,
            ..GenerateOptions::default()
        };
        #[cfg(feature = "constrain")]
        let constraint = self.constraint(engine, &prompt)?;
        Ok(Prepared {
            prompt,
            tools,
            sampling,
            options,
            #[cfg(feature = "constrain")]
            constraint,
        })
    }

    /// The form of the answer, if it is held to one.
    #[cfg(feature = "constrain")]
    fn constraint(&self, engine: &Engine, prompt: &Prompt) -> Outcome<Option<Box<dyn Constraint>>> {
        let voice = engine.voice();
        let grammar = match &self.lark {
            Some(lark) => Some(Grammar::lark(lark)),
            None => answer_grammar(voice, &self.tools, &self.tool_choice, !self.single_call, &self.format)
                .map_err(|error| {
                    Fault::new(
                        QWIP_STATUS_INVALID_ARGUMENT,
                        format!("{}: {}", error.field.name(), error.message),
                    )
                })?,
        };
        let Some(grammar) = grammar else { return Ok(None) };
        let form = engine.form(&grammar)?;
        // A prompt that is given as it is may hold anything: nothing is left free before the form.
        let free = match &self.input {
            Some(Input::Messages(_)) => voice.thinking_before(prompt, self.wish()),
            _ => runtime::constrain::Thinking::None,
        };
        Ok(Some(form.constraint(free)))
    }
}
