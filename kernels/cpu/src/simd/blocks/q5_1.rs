//! Q5_1: f16 d; f16 m; u32 fifth bits; nibbles[16]; the low nibbles come first. The minimum is -m.

use super::q5_0::put_five_bits;
use super::{Blocks, Narrow, Rows, Simd, Step, minus_upper_halves};

pub(in crate::simd) struct Q5_1;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 1, 1> for Q5_1 {
    type Codes = Narrow<5, 0>;
    const BYTES: usize = 24;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 1>; 1]) {
        // SAFETY: 2 + 2 + 4 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (s.words4(rows, 0), s.words4(rows, 8)) };
        out[0].put_scale(s, 0, s.lower_halves(head[0]));
        out[0].put_min(s, 0, minus_upper_halves(s, head[0]));
        put_five_bits(s, nibbles, head[1], &mut out[0]);
    }
}
