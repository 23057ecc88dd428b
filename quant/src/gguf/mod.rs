//! The GGUF container: metadata, tensor descriptions, and where the bytes of each tensor lie.

mod cursor;
mod error;
mod reader;
pub mod split;
#[cfg(test)]
mod tests;
mod value;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use error::Error;
pub use reader::{Gguf, TensorInfo};
pub use value::{Array, Strings, Value, ValueType};
pub use writer::{DataWriter, Set, Writer};

/// The four bytes that every file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Alignment of the tensors in a file that does not say.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// The key that says otherwise.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// The largest alignment that is accepted.
pub const MAX_ALIGNMENT: u64 = 1 << 20;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: u64 = 65_535;
/// The longest text value or array element, in bytes; chat templates are the largest in use.
pub const MAX_STRING_BYTES: u64 = 16 << 20;
/// The longest tensor name, in bytes.
pub const MAX_NAME_BYTES: u64 = 63;
/// The most elements in an array.
pub const MAX_ARRAY_LEN: u64 = 1 << 30;

/// `n` rounded up to a multiple of `alignment`, a power of two; `None` if it does not fit.
fn round_up(n: u64, alignment: u64) -> Option<u64> {
    Some(n.checked_add(alignment - 1)? & !(alignment - 1))
}
