//! The gate of a feed-forward block.

use super::math::exp;

/// [`reference::silu_mul`](crate::reference::silu::silu_mul).
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = (*g / (1.0 + exp(-*g))) * *u;
    }
}
