//! The exponential and the fixed-order sum, sixteen lanes at a time.

use crate::reference::math::{EXP_HI, EXP_LO, EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, LOG2_E};
use std::arch::x86_64::*;

/// `reference::math::exp` of every lane.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn exp(x: __m512) -> __m512 {
    // These give their second operand when either is NaN.
    let x = _mm512_min_ps(_mm512_set1_ps(EXP_HI), x);
    let x = _mm512_max_ps(_mm512_set1_ps(EXP_LO), x);
    let n = _mm512_mul_ps(x, _mm512_set1_ps(LOG2_E));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(n);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-LN2_HIGH), x);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-LN2_LOW), r);
    let mut p = _mm512_set1_ps(EXP_POLYNOMIAL[0]);
    for c in &EXP_POLYNOMIAL[1..] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*c));
    }
    let y = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0));
    let power = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    _mm512_mul_ps(y, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(power)))
}

/// `reference::math::tree16` of the lanes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn tree16(a: __m512) -> f32 {
    let b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
    let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
    let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
    _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
}

#[cfg(test)]
mod tests {
    use crate::Isa;
    use crate::reference::math;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn compare(x: [f32; 16]) {
        let mut out = [0.0f32; 16];
        // SAFETY: sixteen floats each.
        let lanes = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        // SAFETY: sixteen floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), super::exp(lanes)) };
        for (x, out) in x.iter().zip(out) {
            let expected = math::exp(*x);
            assert!(out == expected || (out.is_nan() && expected.is_nan()), "exp({x}): {out} {expected}");
        }
        let (sum, expected) = (super::tree16(lanes), math::tree16(&x));
        assert!(sum == expected || (sum.is_nan() && expected.is_nan()), "{x:?}: {sum} {expected}");
    }

    #[test]
    fn exp_and_tree_equal_reference() {
        if !Isa::Avx512Vnni.is_supported() {
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
