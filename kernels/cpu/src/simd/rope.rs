//! Rotary position embedding.

use super::Simd;

/// See `reference::rope::rope`. The compiler makes vectors of this loop: `mul_add` is one instruction here,
/// and nothing in it may be reordered.
pub(super) fn rope<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    s.run(
        #[inline(always)]
        || {
            let h = cos.len();
            let (first, second) = x[..2 * h].split_at_mut(h);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(&sin[..h]) {
                (*a, *b) = ((-*b).mul_add(*sin, *a * *cos), a.mul_add(*sin, *b * *cos));
            }
        },
    );
}
