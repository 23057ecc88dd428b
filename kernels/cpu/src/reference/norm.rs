//! RMS norm.

use super::math::dot16;

/// `out_i = (x_i * r) * w_i` with `r = 1 / sqrt(dot16(x, x) / n + eps)`; `x`, `w`, `out` have n elements.
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (dot16(x, x) / x.len() as f32 + eps).sqrt();
    for i in 0..x.len() {
        out[i] = (x[i] * r) * w[i];
    }
}
