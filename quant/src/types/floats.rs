//! F32, F16 and BF16: one number per element.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// How many half floats are converted at a time: enough for the vector instructions that do it.
const CHUNK: usize = 64;

/// Reads F32 `bytes` `[4 * out.len()]`.
pub(crate) fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (b, x) in bytes.as_chunks::<4>().0.iter().zip(out) {
        *x = f32::from_le_bytes(*b);
    }
}

/// Reads F16 `bytes` `[2 * out.len()]`.
pub(crate) fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    let mut chunk = [f16::ZERO; CHUNK];
    for (bytes, out) in bytes.chunks(2 * CHUNK).zip(out.chunks_mut(CHUNK)) {
        for (b, h) in bytes.as_chunks::<2>().0.iter().zip(&mut chunk) {
            *h = f16::from_le_bytes(*b);
        }
        chunk[..out.len()].convert_to_f32_slice(out);
    }
}

/// Reads BF16 `bytes` `[2 * out.len()]`: the upper half of an F32.
pub(crate) fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (b, x) in bytes.as_chunks::<2>().0.iter().zip(out) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
    }
}

/// Writes `x` as F32.
pub(crate) fn encode_f32(x: &[f32], out: &mut [u8]) {
    for (x, b) in x.iter().zip(out.as_chunks_mut::<4>().0) {
        *b = x.to_le_bytes();
    }
}

/// Writes `x` as F16, rounding to the nearest, ties to even; what is too large becomes infinite.
pub(crate) fn encode_f16(x: &[f32], out: &mut [u8]) {
    let mut chunk = [f16::ZERO; CHUNK];
    for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(2 * CHUNK)) {
        let chunk = &mut chunk[..x.len()];
        chunk.convert_from_f32_slice(x);
        for (h, b) in chunk.iter().zip(out.as_chunks_mut::<2>().0) {
            *b = h.to_le_bytes();
        }
    }
}

/// Writes `x` as BF16, rounding to the nearest, ties to even; a NaN stays one.
pub(crate) fn encode_bf16(x: &[f32], out: &mut [u8]) {
    for (x, b) in x.iter().zip(out.as_chunks_mut::<2>().0) {
        *b = bf16::from_f32(*x).to_le_bytes();
    }
}
