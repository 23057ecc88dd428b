//! The gate of a feed-forward block.

use super::math::exp;

/// `gate = (gate / (1 + exp(-gate))) * up`, element by element.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = (*g / (1.0 + exp(-*g))) * *u;
    }
}
