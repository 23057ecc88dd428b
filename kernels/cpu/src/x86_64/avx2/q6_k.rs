//! Q6_K, 256 codes - 32: low nibbles[128]; upper bit pairs[64]; i8 scales[16]; f16 d. In each half of 128
//! codes, 64 bytes of nibbles have codes 0..64 below and 64..128 above, and byte l of 32 bytes of bit pairs
//! has those of codes l, 32 + l, 64 + l, 96 + l.

use super::rows::{LANES, lower_halves, put, put_codes, words4};
use crate::x86_64::linear_q::{Blocks, Codes, Rows, Step};
use std::arch::x86_64::*;

/// Codes 0..=63 as stored.
pub(super) struct Q6K;

impl Codes for Q6K {
    const OFFSET: i32 = 32;
    const FOLD: usize = 2;
}

/// d, and the 16 factors of a block in bytes.
#[derive(Clone, Copy)]
pub(super) struct Head {
    d: __m256,
    scales: [__m256i; 4],
}

impl Blocks<LANES, 2, 0, 4> for Q6K {
    const BYTES: usize = 210;
    const PARTS: usize = 2;
    type Head = Head;

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn head(rows: Rows) -> Head {
        // SAFETY: the last 18 bytes of a block, as the caller promises.
        let (scales, end) = unsafe { (words4(rows, 192), words4(rows, 194)) };
        Head { d: lower_halves(_mm256_srli_epi32::<16>(end[3])), scales }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn part(rows: Rows, head: &Head, part: usize, out: &mut [Step<LANES, 2, 0>; 4]) {
        for group in 0..8 {
            // Byte i of the word, with its sign: up to the top, then down again.
            let up = _mm256_set1_epi32(24 - 8 * (group as i32 % 4));
            let scale = _mm256_srai_epi32::<24>(_mm256_sllv_epi32(head.scales[2 * part + group / 4], up));
            put(&mut out[group / 2].scales[group % 2], _mm256_mul_ps(head.d, _mm256_cvtepi32_ps(scale)));
        }
        let (low, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
        let join =
            |nibbles, pairs| _mm256_or_si256(_mm256_and_si256(nibbles, low), _mm256_and_si256(pairs, upper));
        for half in 0..2 {
            let at = 64 * part + 16 * half;
            // SAFETY: bytes 0..128 of a block are nibbles, 128..192 bit pairs.
            let [a, b, bits] = unsafe {
                [words4(rows, at), words4(rows, at + 32), words4(rows, 128 + 32 * part + 16 * half)]
            };
            for i in 0..4 {
                let j = half * 4 + i;
                put_codes(&mut out[0].codes[j], join(a[i], _mm256_slli_epi16::<4>(bits[i])));
                put_codes(&mut out[1].codes[j], join(b[i], _mm256_slli_epi16::<2>(bits[i])));
                put_codes(&mut out[2].codes[j], join(_mm256_srli_epi16::<4>(a[i]), bits[i]));
                put_codes(
                    &mut out[3].codes[j],
                    join(_mm256_srli_epi16::<4>(b[i]), _mm256_srli_epi16::<2>(bits[i])),
                );
            }
        }
    }
}
