//! RMS norm.

use super::math::tree16;
use std::arch::x86_64::*;

/// See `reference::norm::rms_norm`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let (chunks, tail) = x.as_chunks::<16>();
    let mut lanes = _mm512_setzero_ps();
    for chunk in chunks {
        // SAFETY: sixteen floats.
        let v = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        lanes = _mm512_fmadd_ps(v, v, lanes);
    }
    if !tail.is_empty() {
        let mut last = [0.0; 16];
        last[..tail.len()].copy_from_slice(tail);
        // SAFETY: sixteen floats.
        let v = unsafe { _mm512_loadu_ps(last.as_ptr()) };
        // Squares are never -0, so the lanes behind the end keep their bits.
        lanes = _mm512_fmadd_ps(v, v, lanes);
    }
    let r = 1.0 / (tree16(lanes) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
        *out = (x * r) * w;
    }
}
