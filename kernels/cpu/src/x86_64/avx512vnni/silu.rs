//! The gate of a feed-forward block.

use super::math::exp;
use std::arch::x86_64::*;

/// See `reference::silu::silu_mul`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    let (gates, gate_tail) = gate.as_chunks_mut::<16>();
    let (ups, up_tail) = up.as_chunks::<16>();
    let one = _mm512_set1_ps(1.0);
    let sign = _mm512_set1_ps(-0.0);
    for (gate, up) in gates.iter_mut().zip(ups) {
        // SAFETY: sixteen floats each.
        let (g, u) = unsafe { (_mm512_loadu_ps(gate.as_ptr()), _mm512_loadu_ps(up.as_ptr())) };
        let below = _mm512_add_ps(one, exp(_mm512_xor_ps(g, sign)));
        let product = _mm512_mul_ps(_mm512_div_ps(g, below), u);
        // SAFETY: sixteen floats.
        unsafe { _mm512_storeu_ps(gate.as_mut_ptr(), product) };
    }
    crate::reference::silu::silu_mul(gate_tail, up_tail);
}
