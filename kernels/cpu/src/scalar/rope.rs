//! Rotary position embedding.

use super::math::fma;

/// [`reference::rope`](crate::reference::rope::rope()).
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = x.split_at_mut(cos.len());
    for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*a, *b) = (fma(-*b, *sin, *a * cos), fma(*a, *sin, *b * cos));
    }
}
