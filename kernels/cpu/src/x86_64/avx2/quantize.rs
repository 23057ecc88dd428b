//! Quantizing activations to 8 bits.

use super::math::load16;
use std::arch::x86_64::*;

/// See `reference::quantize::quantize`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    let blocks = x.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
    for (((x, codes), scale), sums) in blocks.zip(scales).zip(sums.as_chunks_mut::<2>().0) {
        let halves = x.as_chunks::<16>().0;
        let v = [load16(&halves[0]), load16(&halves[1])];
        let mut largest = _mm256_setzero_si256();
        for v in v.as_flattened() {
            let magnitude = _mm256_and_si256(_mm256_castps_si256(*v), _mm256_set1_epi32(i32::MAX));
            largest = _mm256_max_epu32(largest, magnitude);
        }
        let amax_bits = max_lane(largest);
        let amax = f32::from_bits(amax_bits);
        if amax_bits >= f32::INFINITY.to_bits() || amax < 1e-30 {
            *scale = if amax < 1e-30 { 0.0 } else { f32::NAN };
            codes.fill(0);
            sums.fill(0);
            continue;
        }
        *scale = amax / 127.0;
        let inv = _mm256_set1_ps(127.0 / amax);
        for ((v, codes), sum) in v.into_iter().zip(codes.as_chunks_mut::<16>().0).zip(sums) {
            let [low, high] = v;
            let words =
                _mm256_packs_epi32(rounded(_mm256_mul_ps(low, inv)), rounded(_mm256_mul_ps(high, inv)));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let pairs = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
            *sum = sum_lanes(pairs);
            let low = _mm256_castsi256_si128(words);
            let bytes = _mm_packs_epi16(low, _mm256_extracti128_si256::<1>(words));
            // SAFETY: sixteen bytes are written to sixteen bytes.
            unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), bytes) };
        }
    }
}

/// To the nearest integer, ties to even.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn rounded(v: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn max_lane(v: __m256i) -> u32 {
    let v = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let v = _mm_max_epu32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
    let v = _mm_max_epu32(v, _mm_shuffle_epi32::<0b10_11_00_01>(v));
    _mm_cvtsi128_si32(v) as u32
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum_lanes(v: __m256i) -> i32 {
    let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
    let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b10_11_00_01>(v));
    _mm_cvtsi128_si32(v)
}
