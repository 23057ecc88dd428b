//! RMS norm.

use super::math::dot16;

/// [`reference::rms_norm`](crate::reference::norm::rms_norm).
pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (dot16(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
        *out = (x * r) * w;
    }
}
