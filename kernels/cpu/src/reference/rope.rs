//! Rotary position embedding.

use super::math::fma;

/// Rotates one head `x [D]` in place, pairing element i with i + h (h = `cos.len()` = n_rot / 2):
/// `x_i = fma(-x_{i+h}, sin_i, x_i * cos_i)`, `x_{i+h} = fma(x_i, sin_i, x_{i+h} * cos_i)`. Elements from
/// n_rot on stay.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let h = cos.len();
    for i in 0..h {
        let (a, b) = (x[i], x[i + h]);
        x[i] = fma(-b, sin[i], a * cos[i]);
        x[i + h] = fma(a, sin[i], b * cos[i]);
    }
}
