//! Q4_0: f16 d; nibbles[16], code - 8; the low nibbles come first.

use super::rows::{LANES, lower_halves, put, put_codes, words4};
use crate::x86_64::linear_q::{Blocks, Codes, Rows, Step};
use std::arch::x86_64::*;

/// Codes 0..=15 as stored.
pub(super) struct Q4_0;

impl Codes for Q4_0 {
    const OFFSET: i32 = 8;
    const FOLD: usize = 8;
}

impl Blocks<LANES, 1, 0, 1> for Q4_0 {
    const BYTES: usize = 18;
    const PARTS: usize = 1;
    type Head = ();

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn head(_: Rows) {}

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn part(rows: Rows, _: &(), _: usize, out: &mut [Step<LANES, 1, 0>; 1]) {
        // SAFETY: 2 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (words4(rows, 0), words4(rows, 2)) };
        let low = _mm256_set1_epi8(15);
        put(&mut out[0].scales[0], lower_halves(head[0]));
        for j in 0..4 {
            put_codes(&mut out[0].codes[j], _mm256_and_si256(nibbles[j], low));
            put_codes(&mut out[0].codes[j + 4], _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles[j]), low));
        }
    }
}
