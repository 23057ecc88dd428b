//! Hugging Face checkpoint to GGUF, for every generation of Qwen from the first to Qwen3.5, dense and with experts, the text
//! parts of their vision models, their embedding models and rerankers, and from one GGUF file to another with other types.
//!
//! [`convert`] and [`quantize`] check all they read before they write a byte, then stream: a few MiB of weights are in
//! memory at a time. The output appears under its name when it is complete, or not at all. Nothing is printed.

mod change;
mod checkpoint;
mod config;
mod convert;
mod edit;
mod error;
mod foreign;
mod fp8;
mod hybrid;
mod json;
mod layout;
mod lora;
mod metadata;
mod names;
mod output;
mod pooling;
mod pre;
pub mod quantize;
mod qwen;
mod sentencepiece;
mod source;
mod stream;
mod tiktoken;
mod transposed;
mod verify;
mod vocab;

pub use edit::Edit;
pub use error::ConvertError;
pub use layout::{Limits, Portion};
pub use output::OutputFile;
use qwip_quant::types::FILE_TYPES;
pub use qwip_quant::types::FileType;
use std::path::{Path, PathBuf};

/// The mixes of types that can be written, in the order of their ids.
pub fn file_types() -> impl Iterator<Item = FileType> {
    FILE_TYPES.into_iter().filter(|ty| ty.base.is_encodable())
}

/// A mix by its name, in upper or lower case, such as `q4_k_m`.
///
/// # Errors
/// There is no such mix, or none that can be written; the message lists those that can.
pub fn file_type(name: &str) -> Result<FileType, ConvertError> {
    match FileType::from_name(name).filter(|found| file_types().any(|ty| ty == *found)) {
        Some(ty) => Ok(ty),
        None => {
            let known: Vec<String> = file_types().map(|ty| ty.name.to_lowercase()).collect();
            error::invalid(format!("unknown output type {} (known: {})", json::quote(name), known.join(", ")))
        }
    }
}

/// What [`convert`] may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the matrices become; norms and biases are F32 in every case.
    pub ty: FileType,
    /// The codes of llama.cpp's quantizer, bit by bit, in place of codes with less error.
    pub reference: bool,
    /// An adapter to merge.
    pub lora: Option<Lora>,
    /// Weights that are infinite or not numbers become zero; otherwise they are an error.
    pub allow_nan: bool,
    /// Read the output again, before it gets its name: the bytes that were written, every scale and number finite.
    pub verify: bool,
    /// How many threads encode; `None` is one a core.
    pub threads: Option<usize>,
    /// What one file may hold: with limits that are too small for the model, it becomes several files.
    pub limits: Limits,
}

impl Options {
    /// To this mix: codes with less error, no adapter, every weight a number, one thread a core, one file.
    pub fn new(ty: FileType) -> Self {
        Self {
            ty,
            reference: false,
            lora: None,
            allow_nan: false,
            verify: false,
            threads: None,
            limits: Limits::default(),
        }
    }
}

/// A PEFT adapter: LoRA, rsLoRA or DoRA, with the modules that were trained whole.
#[derive(Clone, Debug)]
pub struct Lora {
    /// The folder with adapter_config.json and adapter_model.safetensors. If it has a tokenizer, the model gets that.
    pub dir: PathBuf,
    /// How strong `B·A` is: 1 as it was trained. DoRA's lengths and modules that were trained whole are taken at any strength.
    pub scale: f32,
}

/// Hears from a conversion while it runs, and can stop it. Calls come from the thread that called [`convert`].
pub trait Progress {
    /// Everything has been checked; `total_bytes` of weights will be written.
    fn start(&mut self, total_bytes: u64);
    /// `bytes` more have been written, all of them of `tensor` (its name in GGUF).
    fn advance(&mut self, bytes: u64, tensor: &str);
    /// Something that the user may want to know; one line.
    fn note(&mut self, text: &str);
    /// Asked every few MiB: true ends the conversion with [`ConvertError::Cancelled`].
    fn cancelled(&self) -> bool;
}

/// Hears nothing and stops nothing.
impl Progress for () {
    fn start(&mut self, _: u64) {}
    fn advance(&mut self, _: u64, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all weights, without metadata and padding.
    pub bytes: u64,
    /// `bytes` in bits, divided by `parameters`.
    pub bits_per_weight: f64,
    /// The files, in order.
    pub files: Vec<Portion>,
    /// Everything that [`Progress::note`] was told.
    pub notes: Vec<String>,
}

/// Converts the checkpoint in the folder `checkpoint` to the GGUF file `out`, or to several files whose names begin as its
/// name does ([`Options::limits`]); files of these names are replaced.
///
/// The weights are read from `model.safetensors` or the files of `model.safetensors.index.json`. The file is written
/// under another name, which ends in `.part`, and renamed when it is safely on the disk; see [`OutputFile`].
///
/// # Errors
/// The checkpoint is damaged, incomplete, or of an unknown architecture; a file cannot be read or written; the progress
/// said stop. The message is one line and names the file, key or tensor, or says what the folder holds in place of a
/// checkpoint; `out` is not touched and no `.part` file is left in any of these cases.
pub fn convert(
    checkpoint: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, ConvertError> {
    convert::run(checkpoint, out, options, progress).map_err(|error| foreign::explained(checkpoint, error))
}
