//! The gate of a feed-forward block.

use super::Simd;
use super::math::exp;

/// See `reference::silu::silu_mul`.
pub(super) fn silu_mul<S: Simd>(s: S, gate: &mut [f32], up: &[f32]) {
    assert!(up.len() >= gate.len(), "{} gates, {} values", gate.len(), up.len());
    let whole = gate.len() / S::LANES * S::LANES;
    s.run(
        #[inline(always)]
        || {
            let (one, sign) = (s.splat(1.0), s.splat_i32(i32::MIN));
            for i in (0..whole).step_by(S::LANES) {
                let at = gate[i..i + S::LANES].as_mut_ptr();
                // SAFETY: LANES floats each.
                let (g, u) = unsafe { (s.load(at), s.load(up[i..i + S::LANES].as_ptr())) };
                let minus = s.floats(s.xor(s.bits(g), sign));
                let product = s.mul(s.div(g, s.add(one, exp(s, minus))), u);
                // SAFETY: LANES floats.
                unsafe { s.store(at, product) };
            }
        },
    );
    crate::reference::silu::silu_mul(&mut gate[whole..], &up[whole..]);
}
