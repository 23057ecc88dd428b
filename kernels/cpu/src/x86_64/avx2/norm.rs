//! RMS norm.

use super::math::{load16, tree16};
use std::arch::x86_64::*;

/// See `reference::norm::rms_norm`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let (chunks, tail) = x.as_chunks::<16>();
    let mut last = [0.0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let mut lanes = [_mm256_setzero_ps(); 2];
    // Squares are never -0, so adding the zeros behind the end keeps the bits of their lanes.
    for chunk in chunks.iter().chain([&last]) {
        let v = load16(chunk);
        for half in 0..2 {
            lanes[half] = _mm256_fmadd_ps(v[half], v[half], lanes[half]);
        }
    }
    let r = 1.0 / (tree16(lanes) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
        *out = (x * r) * w;
    }
}
