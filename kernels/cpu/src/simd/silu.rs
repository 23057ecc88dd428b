//! The gate of a feed-forward block.

use super::Simd;
use super::math::exp;

/// `x / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let minus = s.floats(s.xor(s.bits(x), s.splat_i32(i32::MIN)));
    s.div(x, s.add(s.splat(1.0), exp(s, minus)))
}

/// See `reference::silu::silu_mul`.
pub(super) fn silu_mul<S: Simd>(s: S, gate: &mut [f32], up: &[f32]) {
    assert!(up.len() >= gate.len(), "{} gates, {} values", gate.len(), up.len());
    let whole = gate.len() / S::LANES * S::LANES;
    s.run(
        #[inline(always)]
        || {
            for i in (0..whole).step_by(S::LANES) {
                let at = gate[i..i + S::LANES].as_mut_ptr();
                // SAFETY: LANES floats each.
                let (g, u) = unsafe { (s.load(at), s.load(up[i..i + S::LANES].as_ptr())) };
                // SAFETY: LANES floats.
                unsafe { s.store(at, s.mul(silu(s, g), u)) };
            }
        },
    );
    crate::reference::silu::silu_mul(&mut gate[whole..], &up[whole..]);
}
