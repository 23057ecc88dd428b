//! What a client wants of a chat model, and what it gets.

use std::time::Duration;

use qwip::FinishReason;
use qwip::chat::{Delta, Format, Message, ToolChoice};
use qwip::sample::{SamplingChoice, TokenLogprob};
use serde_json::{Map, Value};

use crate::engine::{Failure, Summary};

/// A conversation to answer. `Default` asks for what the model's own defaults give.
#[derive(Clone, Debug, Default)]
pub struct ChatRequest {
    /// The model's name; empty means the default.
    pub model: String,
    /// The conversation, already in the shape that templates see ([`Message::from_json`]).
    pub messages: Vec<Message>,
    /// Declared tools, as OpenAI's `{"type": "function", "function": {..}}`.
    pub tools: Vec<Value>,
    /// Whether tools may, must or must not be called.
    pub tool_choice: ToolChoice,
    /// Whether several calls may come in one answer; `None`: yes.
    pub parallel_tool_calls: Option<bool>,
    /// Calls come when they are complete, and what is broken or cut short is text; otherwise they stream, whatever comes of
    /// them.
    pub whole_calls: bool,
    /// What the answer must look like.
    pub format: Format,
    /// Whether the model thinks, where it can do either.
    pub thinking: Option<bool>,
    /// Most tokens of thinking.
    pub thinking_budget: Option<usize>,
    /// Further variables for the template.
    pub template_kwargs: Map<String, Value>,
    /// Most tokens of the answer, thinking included.
    pub max_tokens: Option<usize>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How tokens are chosen; the rest is the model's own.
    pub sampling: SamplingChoice,
    /// Seed of the draw; `None`: a new one. Answer number i of several gets seed + i.
    pub seed: Option<u64>,
    /// Answers wanted, at least 1 (0 counts as 1).
    pub n: usize,
    /// Log probabilities of the tokens, with so many alternatives.
    pub logprobs: Option<usize>,
    /// Go on when the model says that it is done.
    pub ignore_eos: bool,
    /// How long the model stays loaded afterwards; `None`: the server's setting.
    pub keep_alive: Option<KeepAlive>,
}

/// How long a model stays loaded when nobody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long.
    For(Duration),
    /// Until the server ends, or its memory is wanted for another model.
    Forever,
}

/// What comes of a request: `Started`, then `Delta`s of all answers as they come, a `Finished` for each, and `End`; or
/// `Failed` at any time, after which nothing comes.
#[derive(Clone, Debug)]
pub enum ChatEvent {
    /// The prompts have been read.
    Started,
    /// More of answer number `choice`.
    Delta {
        /// From 0 to n - 1.
        choice: usize,
        /// May be none, if only tokens came.
        deltas: Vec<Delta>,
        /// The tokens of these deltas, if log probabilities were asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// An answer is complete.
    Finished {
        /// Which.
        choice: usize,
        /// Why it ended.
        reason: FinishReason,
        /// Whether tools are called: then the reason is `tool_calls`.
        calls: usize,
        /// What it took.
        summary: Summary,
    },
    /// All answers are complete.
    End(Usage),
    /// It cannot go on.
    Failed(Failure),
}

/// Tokens of a request, all answers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, counted once.
    pub prompt_tokens: usize,
    /// Those of them that did not have to be computed.
    pub cached_tokens: usize,
    /// Of the answers.
    pub completion_tokens: usize,
    /// Those of them that were thinking.
    pub reasoning_tokens: usize,
}
