//! Q8_0: f16 d; i8 codes[32].

use super::rows::{LANES, lower_halves, put, put_codes, words4};
use crate::x86_64::linear_q::{Blocks, Codes, Rows, Step};
use std::arch::x86_64::*;

/// Codes are stored with 128 added: the multiply wants them unsigned.
pub(super) struct Q8_0;

impl Codes for Q8_0 {
    const OFFSET: i32 = 128;
    const FOLD: usize = 0;
}

impl Blocks<LANES, 1, 0, 1> for Q8_0 {
    const BYTES: usize = 34;
    const PARTS: usize = 1;
    type Head = ();

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn head(_: Rows) {}

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn part(rows: Rows, _: &(), _: usize, out: &mut [Step<LANES, 1, 0>; 1]) {
        // SAFETY: 2 + 32 bytes of a block, as the caller promises.
        let (head, low, high) = unsafe { (words4(rows, 0), words4(rows, 2), words4(rows, 18)) };
        let flip = _mm512_set1_epi8(i8::MIN);
        put(&mut out[0].scales[0], lower_halves(head[0]));
        for j in 0..4 {
            put_codes(&mut out[0].codes[j], _mm512_xor_si512(low[j], flip));
            put_codes(&mut out[0].codes[j + 4], _mm512_xor_si512(high[j], flip));
        }
    }
}
