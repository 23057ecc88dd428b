//! Q5_0: f16 d; u32 fifth bits; nibbles[16], code - 16; the low nibbles come first.

use super::rows::{LANES, lower_halves, put, put_codes, words4};
use crate::x86_64::linear_q::{Blocks, Codes, Rows, Step};
use std::arch::x86_64::*;

/// Codes 0..=31 as stored.
pub(super) struct Q5_0;

impl Codes for Q5_0 {
    const OFFSET: i32 = 16;
    const FOLD: usize = 4;
}

/// Four bits to bit 4 of four bytes.
const SPREAD: [i32; 16] = {
    let mut table = [0; 16];
    let mut n = 0;
    while n < 16 {
        let mut bit = 0;
        while bit < 4 {
            table[n] |= (((n >> bit) & 1) as i32) << (8 * bit + 4);
            bit += 1;
        }
        n += 1;
    }
    table
};

impl Blocks<LANES, 1, 0, 1> for Q5_0 {
    const BYTES: usize = 22;
    const PARTS: usize = 1;
    type Head = ();

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn head(_: Rows) {}

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn part(rows: Rows, _: &(), _: usize, out: &mut [Step<LANES, 1, 0>; 1]) {
        // SAFETY: 2 + 4 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (words4(rows, 0), words4(rows, 6)) };
        let fifth = _mm512_or_si512(_mm512_srli_epi32::<16>(head[0]), _mm512_slli_epi32::<16>(head[1]));
        // SAFETY: the table is one vector long.
        let spread = unsafe { _mm512_loadu_si512(SPREAD.as_ptr().cast()) };
        // The permutation looks at the lowest four bits of its index only.
        let fifth_of = |shift: u32| {
            _mm512_permutexvar_epi32(_mm512_srlv_epi32(fifth, _mm512_set1_epi32(shift as i32)), spread)
        };
        let low = _mm512_set1_epi8(15);
        put(&mut out[0].scales[0], lower_halves(head[0]));
        for j in 0..4 {
            let first = _mm512_and_si512(nibbles[j], low);
            let second = _mm512_and_si512(_mm512_srli_epi16::<4>(nibbles[j]), low);
            put_codes(&mut out[0].codes[j], _mm512_or_si512(first, fifth_of(4 * j as u32)));
            put_codes(&mut out[0].codes[j + 4], _mm512_or_si512(second, fifth_of(16 + 4 * j as u32)));
        }
    }
}
