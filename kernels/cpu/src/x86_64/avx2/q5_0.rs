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

impl Blocks<LANES, 1, 0, 1> for Q5_0 {
    const BYTES: usize = 22;
    const PARTS: usize = 1;
    type Head = ();

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn head(_: Rows) {}

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn part(rows: Rows, _: &(), _: usize, out: &mut [Step<LANES, 1, 0>; 1]) {
        // SAFETY: 2 + 4 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (words4(rows, 0), words4(rows, 6)) };
        let fifth = _mm256_or_si256(_mm256_srli_epi32::<16>(head[0]), _mm256_slli_epi32::<16>(head[1]));
        let low = _mm256_set1_epi8(15);
        put(&mut out[0].scales[0], lower_halves(head[0]));
        for j in 0..4 {
            let first = _mm256_and_si256(nibbles[j], low);
            let second = _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles[j]), low);
            put_codes(&mut out[0].codes[j], _mm256_or_si256(first, fifth_of(fifth, j)));
            put_codes(&mut out[0].codes[j + 4], _mm256_or_si256(second, fifth_of(fifth, j + 4)));
        }
    }
}

/// Bits 4j..4j + 4 of every lane, to bit 4 of its four bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fifth_of(fifth: __m256i, j: usize) -> __m256i {
    // The byte that has them, four times in every lane.
    let byte = (j / 2) as i32 * 0x0101_0101;
    let lanes = _mm_setr_epi32(byte, byte + 0x0404_0404, byte + 0x0808_0808, byte + 0x0c0c_0c0c);
    let bytes = _mm256_shuffle_epi8(fifth, _mm256_broadcastsi128_si256(lanes));
    let bits = _mm256_set1_epi32(if j.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
    let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
    _mm256_and_si256(is_set, _mm256_set1_epi8(16))
}
