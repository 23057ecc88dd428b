//! The exponential and the fixed-order sum, eight lanes at a time.

use crate::reference::math::{EXP_HI, EXP_LO, EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, LOG2_E};
use std::arch::x86_64::*;

/// `reference::math::exp` of every lane.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn exp(x: __m256) -> __m256 {
    // These give their second operand when either is NaN.
    let x = _mm256_min_ps(_mm256_set1_ps(EXP_HI), x);
    let x = _mm256_max_ps(_mm256_set1_ps(EXP_LO), x);
    let n = _mm256_mul_ps(x, _mm256_set1_ps(LOG2_E));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(n);
    let r = _mm256_fmadd_ps(n, _mm256_set1_ps(-LN2_HIGH), x);
    let r = _mm256_fmadd_ps(n, _mm256_set1_ps(-LN2_LOW), r);
    let mut p = _mm256_set1_ps(EXP_POLYNOMIAL[0]);
    for c in &EXP_POLYNOMIAL[1..] {
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(*c));
    }
    let y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0));
    let power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(power)))
}

/// `reference::math::tree16` of sixteen lanes in two vectors.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn tree16(a: [__m256; 2]) -> f32 {
    let b = _mm256_add_ps(a[0], a[1]);
    let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
    let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
    _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
}

/// Sixteen floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn load16(x: &[f32; 16]) -> [__m256; 2] {
    // SAFETY: twice eight of sixteen floats.
    unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
}

#[cfg(test)]
mod tests {
    use crate::Isa;
    use crate::reference::math;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    fn compare(x: [f32; 16]) {
        let lanes = super::load16(&x);
        for (half, lanes) in lanes.into_iter().enumerate() {
            let mut out = [0.0f32; 8];
            // SAFETY: eight floats.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), super::exp(lanes)) };
            for (x, out) in x[half * 8..].iter().zip(out) {
                let expected = math::exp(*x);
                assert!(out == expected || (out.is_nan() && expected.is_nan()), "exp({x}): {out} {expected}");
            }
        }
        let (sum, expected) = (super::tree16(lanes), math::tree16(&x));
        assert!(sum == expected || (sum.is_nan() && expected.is_nan()), "{x:?}: {sum} {expected}");
    }

    #[test]
    fn exp_and_tree_equal_reference() {
        if !Isa::Avx2.is_supported() {
            return;
        }
        let special =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 88.0, -87.0, 88.1, -87.1, 1e-40];
        let mut x = [0.0; 16];
        x[..special.len()].copy_from_slice(&special);
        // SAFETY: the machine has the instructions.
        unsafe { compare(x) };
        for base in 0..2000 {
            let x = std::array::from_fn(|lane| (base * 16 + lane) as f32 * 0.0061 - 98.0);
            // SAFETY: as above.
            unsafe { compare(x) };
        }
    }
}
