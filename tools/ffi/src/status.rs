//! What a call says came of it.

use runtime::Error;
use runtime::chat::ChatError;
use runtime::session::SavedError;

/// What came of a call: one of the `QWIP_STATUS_` constants. More may come with later versions: what is not
/// `QWIP_STATUS_OK` has failed.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub type qwip_status = i32;

/// It is done.
pub const QWIP_STATUS_OK: qwip_status = 0;
/// An argument is NULL, out of range, not UTF-8, or broken JSON.
pub const QWIP_STATUS_INVALID_ARGUMENT: qwip_status = 1;
/// The handle is NULL, was freed, or is that of something else.
pub const QWIP_STATUS_INVALID_HANDLE: qwip_status = 2;
/// Too early or too late: the model is not loaded, the request has been started already.
pub const QWIP_STATUS_WRONG_STATE: qwip_status = 3;
/// Another call uses it at this moment, or the call came out of a callback that has to return first.
pub const QWIP_STATUS_BUSY: qwip_status = 4;
/// It was cancelled.
pub const QWIP_STATUS_CANCELLED: qwip_status = 5;
/// The time was over before anything happened.
pub const QWIP_STATUS_TIMEOUT: qwip_status = 6;
/// There are no more events.
pub const QWIP_STATUS_DONE: qwip_status = 7;
/// There is no such file, or no such key.
pub const QWIP_STATUS_NOT_FOUND: qwip_status = 8;
/// Reading or writing failed.
pub const QWIP_STATUS_IO: qwip_status = 9;
/// The file is damaged, or is no model.
pub const QWIP_STATUS_INVALID_MODEL: qwip_status = 10;
/// This model cannot do it, or this build, or this platform.
pub const QWIP_STATUS_UNSUPPORTED: qwip_status = 11;
/// The memory limit does not allow it, or the system has no more.
pub const QWIP_STATUS_OUT_OF_MEMORY: qwip_status = 12;
/// It does not fit the context.
pub const QWIP_STATUS_CONTEXT_FULL: qwip_status = 13;
/// The array is too short; the count says how long it has to be.
pub const QWIP_STATUS_BUFFER_TOO_SMALL: qwip_status = 14;
/// The model is in the background, where no new work begins.
pub const QWIP_STATUS_BACKGROUND: qwip_status = 15;
/// A defect of the library. Everything can still be used and freed.
pub const QWIP_STATUS_INTERNAL: qwip_status = 16;

/// The names, by number.
pub(crate) const NAMES: [&std::ffi::CStr; 17] = [
    c"QWIP_STATUS_OK",
    c"QWIP_STATUS_INVALID_ARGUMENT",
    c"QWIP_STATUS_INVALID_HANDLE",
    c"QWIP_STATUS_WRONG_STATE",
    c"QWIP_STATUS_BUSY",
    c"QWIP_STATUS_CANCELLED",
    c"QWIP_STATUS_TIMEOUT",
    c"QWIP_STATUS_DONE",
    c"QWIP_STATUS_NOT_FOUND",
    c"QWIP_STATUS_IO",
    c"QWIP_STATUS_INVALID_MODEL",
    c"QWIP_STATUS_UNSUPPORTED",
    c"QWIP_STATUS_OUT_OF_MEMORY",
    c"QWIP_STATUS_CONTEXT_FULL",
    c"QWIP_STATUS_BUFFER_TOO_SMALL",
    c"QWIP_STATUS_BACKGROUND",
    c"QWIP_STATUS_INTERNAL",
];

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: qwip_status,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(status: qwip_status, message: impl Into<String>) -> Fault {
        let mut message = message.into();
        // One line, whatever a path or a key in it is called.
        if message.contains(char::is_control) {
            message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        }
        Fault { status, message }
    }

    /// An argument is not what it has to be.
    pub(crate) fn argument(message: impl Into<String>) -> Fault {
        Fault::new(QWIP_STATUS_INVALID_ARGUMENT, message)
    }

    pub(crate) fn state(message: impl Into<String>) -> Fault {
        Fault::new(QWIP_STATUS_WRONG_STATE, message)
    }

    pub(crate) fn busy(message: impl Into<String>) -> Fault {
        Fault::new(QWIP_STATUS_BUSY, message)
    }

    pub(crate) fn cancelled() -> Fault {
        Fault::new(QWIP_STATUS_CANCELLED, "cancelled")
    }
}

impl From<ChatError> for Fault {
    fn from(error: ChatError) -> Fault {
        let status = match error {
            ChatError::NoTemplate => QWIP_STATUS_UNSUPPORTED,
            ChatError::Parse { .. } => QWIP_STATUS_INVALID_MODEL,
            _ => QWIP_STATUS_INVALID_ARGUMENT,
        };
        Fault::new(status, error.to_string())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let status = match &error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                QWIP_STATUS_NOT_FOUND
            }
            Error::Threads { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
                QWIP_STATUS_INVALID_ARGUMENT
            }
            Error::Io { .. } | Error::Threads { .. } => QWIP_STATUS_IO,
            Error::NotAFile { .. } => QWIP_STATUS_NOT_FOUND,
            Error::Format { .. }
            | Error::Metadata(_)
            | Error::NotAModel { .. }
            | Error::MissingKey { .. }
            | Error::BadValue { .. }
            | Error::MissingTensor { .. }
            | Error::UnexpectedTensor { .. }
            | Error::TensorShape { .. }
            | Error::Contradiction { .. }
            | Error::LayerKind { .. }
            | Error::TensorData { .. }
            | Error::Tokenizer(_)
            | Error::NonFiniteLogits { .. } => QWIP_STATUS_INVALID_MODEL,
            Error::UnknownArchitecture { .. }
            | Error::TensorType { .. }
            | Error::OtherTask { .. }
            | Error::Isa(_) => QWIP_STATUS_UNSUPPORTED,
            Error::Gpu(_) | Error::SplitModel { .. } => QWIP_STATUS_UNSUPPORTED,
            Error::Chat(error) => return Fault::from(error.clone()),
            Error::PromptTooLong { .. } | Error::NotAtOnce { .. } => QWIP_STATUS_CONTEXT_FULL,
            Error::EmptyPrompt
            | Error::TokenOutOfRange { .. }
            | Error::BadOption { .. }
            | Error::OutOfFile { .. }
            | Error::Constraint { .. } => QWIP_STATUS_INVALID_ARGUMENT,
            Error::Cancelled => return Fault::cancelled(),
            Error::Memory { .. } | Error::KvMemory { .. } => QWIP_STATUS_OUT_OF_MEMORY,
            Error::Saved(SavedError::TooLong { .. }) => QWIP_STATUS_CONTEXT_FULL,
            Error::Saved(SavedError::OnDevice | SavedError::Other { .. }) => QWIP_STATUS_UNSUPPORTED,
            Error::Saved(_) => QWIP_STATUS_IO,
            _ => QWIP_STATUS_INTERNAL,
        };
        Fault::new(status, error.to_string())
    }
}

/// What a call does.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;
