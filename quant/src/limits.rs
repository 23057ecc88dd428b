//! How large the numbers of a model may be. The runtime refuses what is beyond, so that no product of them overflows;
//! the converter refuses the same, so that whatever it writes can be run.

use std::ops::RangeInclusive;

/// Layers.
pub const MAX_LAYERS: usize = 1024;
/// Width of the residual stream.
pub const MAX_EMBEDDING: usize = 1 << 16;
/// Width of the feed-forward part.
pub const MAX_FFN: usize = 1 << 20;
/// Experts of a layer.
pub const MAX_EXPERTS: usize = 1 << 12;
/// Heads, and key/value heads.
pub const MAX_HEADS: usize = 1 << 10;
/// Elements of a head.
pub const MAX_HEAD_DIM: usize = 1 << 10;
/// Tokens that a convolution sees.
pub const MAX_CONVOLUTION: usize = 1 << 3;
/// A value head of a delta net has a multiple of so many elements.
pub const VALUE_HEAD_STEP: usize = 32;
/// Numbers that the delta nets of all layers remember: some ten times those of the largest released model.
pub const MAX_DELTA_NUMBERS: u64 = 1 << 29;
/// Positions of a sequence.
pub const MAX_CONTEXT: usize = 1 << 24;
/// Rows of the embedding, and tokens: two ids and the rank of a merge share 64 bits in the tokenizer.
pub const MAX_VOCAB: usize = (1 << 21) - 1;
/// Merges of a tokenizer.
pub const MAX_MERGES: usize = (1 << 22) - 1;
/// Base of the rotary frequencies.
pub const ROPE_BASE: RangeInclusive<f32> = 1.0..=1e12;
/// Factor by which a context is extended.
pub const ROPE_FACTOR: RangeInclusive<f32> = 1e-3..=1e6;
/// Rotations at the ends of YaRN's ramp.
pub const YARN_BETA: RangeInclusive<f32> = 1e-3..=1e6;
