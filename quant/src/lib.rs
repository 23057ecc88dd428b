//! What the bytes of a GGUF file mean: the container ([`gguf`]), the block types of its tensors ([`types`]), each with
//! its layout, decoder and encoder, and the alphabet of its tokens ([`byte_map`]).
//!
//! Everything here works on plain byte slices: no files, no threads, no unsafe code. Input is taken to be
//! hostile; whatever the bytes, the result is a value or an error that names the thing at fault.
#![forbid(unsafe_code)]

pub mod byte_map;
pub mod gguf;
pub mod imatrix;
pub mod limits;
pub mod mix;
pub mod pooling;
pub mod types;

pub use types::{TensorType, TypeError, decode_row, encode_row, encode_row_searched, unpack_groups};
