//! Everything that can go wrong in the runtime, one variant per broken expectation.
//!
//! Each message is one line that names the thing at fault and, where two numbers disagree, both.

use std::path::PathBuf;

use qwip_quant::{TypeError, gguf};

/// The runtime's error type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, read or mapped.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The path names something that is not a regular file.
    #[error("{}: is not a file{hint}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What to do about it, starting with a separator, or nothing.
        hint: &'static str,
    },
    /// A part of a file is asked for that is not all there.
    #[error("{}: {len} bytes from {offset} on are asked for, but the file has {size}", path.display())]
    OutOfFile {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// Its bytes.
        len: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// One file of a split model, in a place where the others cannot be found.
    #[error("{}: is one of {count} files of a split model, which can only be opened by its path", path.display())]
    SplitModel {
        /// The file (or `<memory>`).
        path: PathBuf,
        /// How many files there are.
        count: usize,
    },
    /// The bytes are not a valid GGUF file.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file (or `<memory>`).
        path: PathBuf,
        /// The broken rule.
        source: gguf::Error,
    },
    /// A metadata value has the wrong type, or a string is not where it should be.
    #[error(transparent)]
    Metadata(#[from] gguf::Error),
    /// The file's architecture is not one we run.
    #[error("architecture '{found}' is not supported (known: {known})")]
    UnknownArchitecture {
        /// `general.architecture` of the file.
        found: String,
        /// The names that are supported, comma separated.
        known: &'static str,
    },
    /// The file holds no model (`general.type` says what it is).
    #[error("this file is of type '{found}', not a model")]
    NotAModel {
        /// `general.type` of the file.
        found: String,
    },
    /// A required metadata key is absent.
    #[error("metadata key '{key}' is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value is outside its allowed range or contradicts another.
    #[error("metadata key '{key}' is {found}, expected {want}")]
    BadValue {
        /// The key.
        key: String,
        /// The value found.
        found: String,
        /// What would have been accepted.
        want: String,
    },
    /// A required tensor is absent.
    #[error("tensor '{name}' is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of the text model that its architecture or its number of layers has no use for.
    #[error("tensor '{name}' has no place in {architecture} of {layers} layers ({count} such tensors)")]
    UnexpectedTensor {
        /// The first such tensor.
        name: String,
        /// How many there are.
        count: usize,
        /// The architecture.
        architecture: String,
        /// Its number of layers.
        layers: usize,
    },
    /// A tensor's shape contradicts the hyper-parameters.
    #[error("tensor '{name}' has shape {found:?}, expected {want:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Its dimensions, contiguous one first.
        found: Vec<u64>,
        /// The dimensions that the hyper-parameters demand.
        want: Vec<u64>,
    },
    /// A tensor's shape contradicts a metadata key.
    #[error("tensor '{name}' has {found} {what}, but metadata key '{key}' says {want}")]
    Contradiction {
        /// The tensor.
        name: String,
        /// What its dimension counts.
        what: &'static str,
        /// The size of the dimension.
        found: u64,
        /// The key.
        key: String,
        /// The number that the key gives.
        want: usize,
    },
    /// A layer of a hybrid has a tensor of the other kind of layer.
    #[error(
        "layer {layer} has {kind} by the metadata (attention.recurrent_layers or full_attention_interval), but there \
         is a tensor '{tensor}'"
    )]
    LayerKind {
        /// The layer.
        layer: usize,
        /// What the metadata says.
        kind: &'static str,
        /// The tensor.
        tensor: String,
    },
    /// A tensor is stored in a type that we know but cannot compute with.
    #[error("tensor '{name}' has type {ty}, which is not supported")]
    TensorType {
        /// The tensor.
        name: String,
        /// The type's name.
        ty: &'static str,
    },
    /// A row of a tensor could not be decoded.
    #[error("tensor '{name}': {source}")]
    TensorData {
        /// The tensor.
        name: String,
        /// The broken rule.
        source: TypeError,
    },
    /// The tokenizer in the file is missing or broken.
    #[error(transparent)]
    Tokenizer(#[from] crate::tokenizer::TokenizerError),
    /// The chat template or a message list is at fault.
    #[error(transparent)]
    Chat(#[from] crate::chat::ChatError),
    /// A text or a file of base log-probabilities cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] crate::eval::EvalError),
    /// The prompt and what was there before do not fit the context.
    #[error("the prompt needs {tokens} tokens, but the context holds {context}")]
    PromptTooLong {
        /// Positions needed.
        tokens: usize,
        /// Positions available.
        context: usize,
    },
    /// Tokens that see each other come in several calls, or are too many for one.
    #[error(
        "{tokens} tokens after {before}: in this model every token sees all others, so they come together, at most {most}"
    )]
    NotAtOnce {
        /// Tokens that the session holds.
        before: usize,
        /// Tokens that are to follow.
        tokens: usize,
        /// As many as can come together.
        most: usize,
    },
    /// The model is for something else.
    #[error("metadata key '{key}' is {value}: {kind}, which cannot {asked}")]
    OtherTask {
        /// The key that says so.
        key: String,
        /// Its value.
        value: String,
        /// What the model is.
        kind: &'static str,
        /// What it was asked to do.
        asked: &'static str,
    },
    /// There is nothing to evaluate.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A token id is not in the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab} entries")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Number of entries.
        vocab: usize,
    },
    /// A session setting is outside its range.
    #[error("{what} is {found}, expected {want}")]
    BadOption {
        /// The setting.
        what: &'static str,
        /// The value given.
        found: String,
        /// What is accepted.
        want: String,
    },
    /// The caller cancelled; the session is as it was before the call.
    #[error("cancelled")]
    Cancelled,
    /// A form that answers are to be held to cannot be used, or does not let the answer go on.
    #[error("constrained output: {message}")]
    Constraint {
        /// What is wrong with it, in one line.
        message: String,
    },
    /// The model produced NaN or infinity.
    #[error(
        "the model produced a number that is not finite at position {position} (the file may be damaged)"
    )]
    NonFiniteLogits {
        /// Position in the sequence.
        position: usize,
    },
    /// The machine could not give the memory.
    #[error("not enough memory for {what} ({bytes} bytes)")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// Bytes asked for.
        bytes: u64,
    },
    /// The limit on what all sessions hold together is reached.
    #[error("keys and values need {needed} more bytes, but {used} of {limit} are taken")]
    KvMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes that sessions hold.
        used: u64,
        /// Bytes that they may hold.
        limit: u64,
    },
    /// A session cannot be saved, or a saved one is not of use here.
    #[error(transparent)]
    Saved(#[from] crate::session::SavedError),
    /// The GPU cannot do it.
    #[error(transparent)]
    Gpu(#[from] crate::backend::gpu::GpuError),
    /// The system refused to start threads.
    #[error("could not start {threads} threads: {source}")]
    Threads {
        /// Threads asked for, 0 for one a core.
        threads: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The kernel set asked for does not exist or cannot run here.
    #[error(transparent)]
    Isa(#[from] qwip_cpu::IsaError),
}

/// Result with the runtime's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// [`Error::Constraint`], in one line of bounded length whatever is in the message.
    pub(crate) fn constraint(message: &str) -> Error {
        /// Characters of the message.
        const MOST: usize = 300;
        let mut line = String::new();
        for word in
            message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
        {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if let Some((end, _)) = line.char_indices().nth(MOST) {
            line.truncate(end);
            line.push_str("...");
        }
        Error::Constraint { message: line }
    }
}

impl From<qwip_cpu::Cancelled> for Error {
    fn from(_: qwip_cpu::Cancelled) -> Self {
        Error::Cancelled
    }
}
