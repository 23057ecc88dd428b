//! What a sequence is asked to do, and what it says.

use std::time::Duration;

use qwip::constrain::Constraint;
use qwip::sample::TokenLogprob;
use qwip::{FinishReason, GenerateOptions, SamplingParams};

/// One answer to compute.
pub struct Ask {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// When the answer ends, and how many log probabilities come with it.
    pub options: GenerateOptions,
    /// What the answer must look like.
    pub constraint: Option<Box<dyn Constraint>>,
    /// The log probabilities of the prompt's tokens are wanted, with so many alternatives: the whole prompt is evaluated.
    pub prompt_logprobs: Option<usize>,
}

/// What comes of it, in this order: `Prompt`, any number of `Piece`s, and `Done` or `Failed`.
#[derive(Clone, Debug)]
pub enum Event {
    /// The prompt has been evaluated.
    Prompt {
        /// Tokens of it that did not have to be computed.
        cached: usize,
        /// One for each token but the first, if asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// More of the answer.
    Piece {
        /// Text that is certain; may be empty.
        text: String,
        /// The token, if log probabilities were asked for.
        token: Option<TokenLogprob>,
    },
    /// The answer is complete.
    Done(Summary),
    /// It cannot go on.
    Failed(Failure),
}

/// What an answer took.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub reason: FinishReason,
    /// The stop string that ended it, if one did.
    pub stop: Option<String>,
    /// Tokens of the prompt, and how many of them did not have to be computed.
    pub prompt_tokens: usize,
    /// See [`Event::Prompt`].
    pub cached_tokens: usize,
    /// Tokens of the answer, those of the thinking among them.
    pub answer_tokens: usize,
    /// From the first slice of the prompt to its last.
    pub prompt_time: Duration,
    /// From then to the last token.
    pub answer_time: Duration,
    /// From the request to the first slice.
    pub queue_time: Duration,
}

/// Why a request fails. The message is one line and goes to the client.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of fault it is; each dialect has its own status and words for it.
    pub kind: FailureKind,
    /// What is wrong, with the numbers that disagree.
    pub message: String,
    /// The field of the request that is at fault, if it is one.
    pub param: Option<String>,
}

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong: 400, `invalid_request_error`.
    Invalid,
    /// The prompt, or prompt and answer, are longer than the context: 400, `context_length_exceeded`.
    TooLong,
    /// No or a wrong key: 401, `authentication_error`.
    Unauthorized,
    /// A host or an origin that is not allowed: 403, `permission_error`.
    Forbidden,
    /// No such model: 404, `model_not_found`.
    UnknownModel,
    /// No such route or method: 404, 405.
    NotFound,
    /// The body is larger than the limit: 413.
    TooLarge,
    /// What qwip does not do: 501, `not_supported_error`.
    Unsupported,
    /// Queue or pages are exhausted: 503, `unavailable_error`, to be tried again.
    Busy,
    /// A fault of ours or of the model file: 500, `server_error`.
    Internal,
}

impl Failure {
    /// A failure of some kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), param: None }
    }

    /// A wrong field of the request.
    pub fn invalid(param: &str, message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Invalid, message: message.into(), param: Some(param.to_owned()) }
    }
}

impl From<qwip::Error> for Failure {
    fn from(error: qwip::Error) -> Failure {
        use qwip::Error;
        let kind = match &error {
            Error::PromptTooLong { .. } | Error::NotAtOnce { .. } => FailureKind::TooLong,
            Error::EmptyPrompt
            | Error::TokenOutOfRange { .. }
            | Error::BadOption { .. }
            | Error::OtherTask { .. }
            | Error::Constraint { .. }
            | Error::Chat(_) => FailureKind::Invalid,
            Error::KvMemory { .. } | Error::Memory { .. } => FailureKind::Busy,
            _ => FailureKind::Internal,
        };
        let message = match error {
            // What the command line may be told to do about it is no client's business.
            Error::PromptTooLong { tokens, context } => too_long(tokens, context),
            error => error.to_string(),
        };
        Failure::new(kind, message)
    }
}

/// What is said of a prompt that does not fit.
pub(crate) fn too_long(tokens: usize, context: usize) -> String {
    format!("the prompt has {tokens} tokens, but the context holds {context}")
}
