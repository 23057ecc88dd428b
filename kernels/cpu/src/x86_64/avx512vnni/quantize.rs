//! Quantizing activations to 8 bits.

use std::arch::x86_64::*;

/// See `reference::quantize::quantize`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    let blocks = x.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
    for (((x, codes), scale), sums) in blocks.zip(scales).zip(sums.as_chunks_mut::<2>().0) {
        // SAFETY: twice sixteen of the 32 floats.
        let (low, high) = unsafe { (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x[16..].as_ptr())) };
        let magnitude = |v| _mm512_castps_si512(_mm512_abs_ps(v));
        let amax_bits = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitude(low), magnitude(high)));
        let amax = f32::from_bits(amax_bits);
        if amax_bits >= f32::INFINITY.to_bits() || amax < 1e-30 {
            *scale = if amax < 1e-30 { 0.0 } else { f32::NAN };
            codes.fill(0);
            sums.fill(0);
            continue;
        }
        *scale = amax / 127.0;
        let inv = _mm512_set1_ps(127.0 / amax);
        let (codes_low, codes_high) = codes.split_at_mut(16);
        for (v, codes, sum) in [(low, codes_low, 0), (high, codes_high, 1)] {
            const NEAREST_EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            let rounded = _mm512_cvt_roundps_epi32::<NEAREST_EVEN>(_mm512_mul_ps(v, inv));
            sums[sum] = _mm512_reduce_add_epi32(rounded);
            // SAFETY: sixteen bytes are written to sixteen bytes.
            unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(rounded)) };
        }
    }
}
