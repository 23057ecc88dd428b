//! Q4_K, 256 codes: f16 d; f16 dmin; 6-bit scales and minimums[12]; nibbles[128], in pairs of groups: 32
//! bytes have one group in their low and the next in their high nibbles.

use super::rows::{LANES, lower_halves, put, put_codes, words4};
use crate::x86_64::linear_q::{Blocks, Codes, Rows, Step};
use std::arch::x86_64::*;

/// Codes 0..=15 as stored.
pub(super) struct Q4K;

impl Codes for Q4K {
    const OFFSET: i32 = 0;
    const FOLD: usize = 8;
}

/// Scales and minimums of a block: d, dmin, and the 6-bit factors of groups 0..4 and 4..8 in bytes.
#[derive(Clone, Copy)]
pub(super) struct Head {
    d: __m256,
    d_min: __m256,
    scales: [__m256i; 2],
    mins: [__m256i; 2],
}

impl Blocks<LANES, 1, 1, 2> for Q4K {
    const BYTES: usize = 144;
    const PARTS: usize = 4;
    type Head = Head;

    /// After d and dmin come three words s. Groups 0..4 have the lower six bits of the bytes of s0 (scales)
    /// and s1 (minimums); groups 4..8 have the nibbles of s2, and the upper two bits of s0 and s1 above them.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn head(rows: Rows) -> Head {
        // SAFETY: the first 16 bytes of a block, as the caller promises.
        let [d, s0, s1, s2] = unsafe { words4(rows, 0) };
        let and = |a, byte| _mm256_and_si256(a, _mm256_set1_epi8(byte));
        let upper = |s| and(_mm256_srli_epi32::<2>(s), 0x30);
        let low = and(s2, 15);
        let high = and(_mm256_srli_epi32::<4>(s2), 15);
        Head {
            d: lower_halves(d),
            d_min: lower_halves(_mm256_srli_epi32::<16>(d)),
            scales: [and(s0, 63), _mm256_or_si256(low, upper(s0))],
            mins: [and(s1, 63), _mm256_or_si256(high, upper(s1))],
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn part(rows: Rows, head: &Head, part: usize, out: &mut [Step<LANES, 1, 1>; 2]) {
        for i in 0..2 {
            let group = 2 * part + i;
            let shift = _mm256_set1_epi32(8 * (group as i32 % 4));
            let factor = |v| {
                let byte = _mm256_and_si256(_mm256_srlv_epi32(v, shift), _mm256_set1_epi32(255));
                _mm256_cvtepi32_ps(byte)
            };
            put(&mut out[i].scales[0], _mm256_mul_ps(head.d, factor(head.scales[group / 4])));
            put(&mut out[i].mins[0], _mm256_mul_ps(head.d_min, factor(head.mins[group / 4])));
        }
        let low = _mm256_set1_epi8(15);
        for half in 0..2 {
            // SAFETY: bytes 16..144 of a block.
            let nibbles = unsafe { words4(rows, 16 + 32 * part + 16 * half) };
            for i in 0..4 {
                let j = half * 4 + i;
                put_codes(&mut out[0].codes[j], _mm256_and_si256(nibbles[i], low));
                put_codes(&mut out[1].codes[j], _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles[i]), low));
            }
        }
    }
}
