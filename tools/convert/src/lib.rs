//! Hugging Face checkpoint to GGUF, for Qwen1.5, Qwen2, Qwen2.5 and the dense Qwen3.
//!
//! [`convert`] checks the whole checkpoint before it writes a byte, then streams: a few MiB of weights are in memory
//! at a time. The output appears under its name when it is complete, or not at all. Nothing is printed.

mod checkpoint;
mod config;
mod convert;
mod error;
mod json;
mod metadata;
mod names;
mod output;
mod pre;
mod vocab;

pub use error::ConvertError;
pub use output::OutputFile;
use qwip_quant::types::FileType;
use std::path::Path;
use std::str::FromStr;

/// What the weights become. Norms and biases are F32 in every case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputType {
    /// 32 bits; exact for every source.
    F32,
    /// 16 bits with 11 significant; weights beyond 65504 become infinite, which a note reports.
    F16,
    /// 16 bits with 8 significant; exact for the checkpoints as they are released.
    Bf16,
    /// 8.5 bits.
    Q8_0,
    /// 4.5 bits; the output matrix, or the embeddings that stand in for it, Q6_K or Q8_0.
    Q4_0,
}

impl OutputType {
    /// Every type, in order of size.
    pub const ALL: [OutputType; 5] =
        [OutputType::F32, OutputType::F16, OutputType::Bf16, OutputType::Q8_0, OutputType::Q4_0];

    /// As people write it: `f32`, `f16`, `bf16`, `q8_0`, `q4_0`.
    pub const fn name(self) -> &'static str {
        match self {
            OutputType::F32 => "f32",
            OutputType::F16 => "f16",
            OutputType::Bf16 => "bf16",
            OutputType::Q8_0 => "q8_0",
            OutputType::Q4_0 => "q4_0",
        }
    }

    /// The label of such files: its id is `general.file_type`, its base the type of ordinary matrices.
    fn label(self) -> FileType {
        FileType::from_name(self.name()).expect("GGUF has a label for each of them")
    }
}

impl FromStr for OutputType {
    type Err = ConvertError;

    /// Reads a name in upper or lower case; the error lists the names.
    fn from_str(text: &str) -> Result<OutputType, ConvertError> {
        match Self::ALL.iter().find(|ty| ty.name().eq_ignore_ascii_case(text)) {
            Some(ty) => Ok(*ty),
            None => {
                let known = Self::ALL.map(OutputType::name).join(", ");
                error::invalid(format!("unknown output type {} (known: {known})", json::quote(text)))
            }
        }
    }
}

/// What [`convert`] may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the weights become.
    pub ty: OutputType,
    /// How many threads encode; `None` is one a core.
    pub threads: Option<usize>,
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
    /// Everything that [`Progress::note`] was told.
    pub notes: Vec<String>,
}

/// Converts the checkpoint in the folder `checkpoint` to the GGUF file `out`, replacing it if it exists.
///
/// The weights are read from `model.safetensors` or the files of `model.safetensors.index.json`. The file is written
/// under another name, which ends in `.part`, and renamed when it is safely on the disk; see [`OutputFile`].
///
/// # Errors
/// The checkpoint is damaged, incomplete, or of an unknown architecture; a file cannot be read or written; the progress
/// said stop. The message is one line and names the file, key or tensor; `out` is not touched and
/// no `.part` file is left in any of these cases.
pub fn convert(
    checkpoint: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, ConvertError> {
    convert::run(checkpoint, out, options, progress)
}
