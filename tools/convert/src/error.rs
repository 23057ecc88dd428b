//! The one error type of the converter. Every message is one line and names what is wrong.

use qwip_quant::gguf;
use std::io;
use std::path::{Path, PathBuf};

/// Why a conversion stopped. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The system refused to read or write a file: it is missing, protected, or the disk is full.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The checkpoint is damaged, incomplete, or of a kind that is not supported.
    #[error("{0}")]
    Invalid(String),
    /// [`Progress::cancelled`](crate::Progress::cancelled) answered true.
    #[error("cancelled")]
    Cancelled,
}

pub(crate) type Result<T> = std::result::Result<T, ConvertError>;

/// Shorthand for the errors about content.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    // A name or a shape out of a file may be very long.
    const MOST: usize = 600;
    let mut message = message.into();
    if let Some((end, _)) = message.char_indices().nth(MOST) {
        message.replace_range(end.., "...");
    }
    Err(ConvertError::Invalid(message))
}

/// For `map_err` on an [`io::Result`].
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ConvertError {
    let path = path.to_path_buf();
    move |source| ConvertError::Io { action, path, source }
}

/// For `map_err` on what the GGUF writer returns; `path` is the file it writes.
pub(crate) fn gguf_error(path: &Path) -> impl FnOnce(gguf::Error) -> ConvertError {
    let path = path.to_path_buf();
    move |e| match e {
        gguf::Error::Write(source) => ConvertError::Io { action: "write", path, source },
        other => ConvertError::Invalid(other.to_string()),
    }
}
