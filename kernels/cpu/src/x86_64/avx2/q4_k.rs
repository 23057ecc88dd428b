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

impl Blocks<LANES, 1, 1, 8> for Q4K {
    const BYTES: usize = 144;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn unpack(rows: Rows, out: &mut [Step<LANES, 1, 1>; 8]) {
        // SAFETY: the first 16 bytes of a block, as the caller promises.
        scales(unsafe { words4(rows, 0) }, out);
        let low = _mm256_set1_epi8(15);
        for pair in 0..4 {
            for half in 0..2 {
                // SAFETY: bytes 16..144 of a block.
                let nibbles = unsafe { words4(rows, 16 + 32 * pair + 16 * half) };
                for i in 0..4 {
                    let j = half * 4 + i;
                    put_codes(&mut out[2 * pair].codes[j], _mm256_and_si256(nibbles[i], low));
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles[i]), low);
                    put_codes(&mut out[2 * pair + 1].codes[j], high);
                }
            }
        }
    }
}

/// Scales and minimums from the head of the block: d and dmin, then three words s. Groups 0..4 have the
/// lower six bits of the bytes of s0 (scales) and s1 (minimums); groups 4..8 have the nibbles of s2, with
/// the upper two bits of s0 and s1 above them.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn scales([d, s0, s1, s2]: [__m256i; 4], out: &mut [Step<LANES, 1, 1>; 8]) {
    let (six, four, two) = (_mm256_set1_epi8(63), _mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    let and = |a, b| _mm256_and_si256(a, b);
    let upper = |s| and(_mm256_srli_epi32::<2>(s), two);
    let scales = [and(s0, six), _mm256_or_si256(and(s2, four), upper(s0))];
    let mins = [and(s1, six), _mm256_or_si256(and(_mm256_srli_epi32::<4>(s2), four), upper(s1))];
    let (d, d_min) = (lower_halves(d), lower_halves(_mm256_srli_epi32::<16>(d)));
    let byte = |v, i: usize| {
        let shifted = _mm256_srlv_epi32(v, _mm256_set1_epi32(8 * i as i32));
        _mm256_cvtepi32_ps(and(shifted, _mm256_set1_epi32(255)))
    };
    for group in 0..8 {
        put(&mut out[group].scales[0], _mm256_mul_ps(d, byte(scales[group / 4], group % 4)));
        put(&mut out[group].mins[0], _mm256_mul_ps(d_min, byte(mins[group / 4], group % 4)));
    }
}
