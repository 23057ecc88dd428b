//! Rotary position embedding.

/// See `reference::rope::rope`. The compiler makes vectors of this loop: `mul_add` is one instruction here,
/// and nothing in it may be reordered.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let h = cos.len();
    let (first, second) = x[..2 * h].split_at_mut(h);
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(&sin[..h]) {
        (*a, *b) = ((-*b).mul_add(*sin, *a * *cos), a.mul_add(*sin, *b * *cos));
    }
}
