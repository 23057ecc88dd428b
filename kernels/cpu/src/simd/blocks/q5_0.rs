//! Q5_0: f16 d; u32 fifth bits; nibbles[16], code - 16; the low nibbles come first.

use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q5_0;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 1> for Q5_0 {
    type Codes = Narrow<5, 16>;
    const BYTES: usize = 22;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 0>; 1]) {
        // SAFETY: 2 + 4 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (s.words4(rows, 0), s.words4(rows, 6)) };
        let fifth = s.or(s.shr(head[0], 16), s.shl(head[1], 16));
        out[0].put_scale(s, 0, s.lower_halves(head[0]));
        put_five_bits(s, nibbles, fifth, &mut out[0]);
    }
}

/// Codes of nibbles and a fifth bit of each.
#[inline(always)]
pub(super) fn put_five_bits<S: Simd, const R: usize, const M: usize>(
    s: S,
    nibbles: [S::I; 4],
    fifth: S::I,
    out: &mut Step<R, 1, M>,
) {
    let low = s.splat_u8(15);
    for j in 0..4 {
        let first = s.and(nibbles[j], low);
        let second = s.and(s.shr(nibbles[j], 4), low);
        s.put_codes(&mut out.codes[j], s.or(first, s.fifth_bits(fifth, 4 * j as u32)));
        s.put_codes(&mut out.codes[j + 4], s.or(second, s.fifth_bits(fifth, 16 + 4 * j as u32)));
    }
}
