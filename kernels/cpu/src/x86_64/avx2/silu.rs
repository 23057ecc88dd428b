//! The gate of a feed-forward block.

use super::math::exp;
use std::arch::x86_64::*;

/// See `reference::silu::silu_mul`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    let (gates, gate_tail) = gate.as_chunks_mut::<8>();
    let (ups, up_tail) = up.as_chunks::<8>();
    let one = _mm256_set1_ps(1.0);
    let sign = _mm256_set1_ps(-0.0);
    for (gate, up) in gates.iter_mut().zip(ups) {
        // SAFETY: eight floats each.
        let (g, u) = unsafe { (_mm256_loadu_ps(gate.as_ptr()), _mm256_loadu_ps(up.as_ptr())) };
        let below = _mm256_add_ps(one, exp(_mm256_xor_ps(g, sign)));
        let product = _mm256_mul_ps(_mm256_div_ps(g, below), u);
        // SAFETY: eight floats.
        unsafe { _mm256_storeu_ps(gate.as_mut_ptr(), product) };
    }
    crate::reference::silu::silu_mul(gate_tail, up_tail);
}
