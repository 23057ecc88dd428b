//! Q4_1: f16 d; f16 m; nibbles[16]; the low nibbles come first. The minimum is -m.

use super::{Blocks, Narrow, Rows, Simd, Step, minus_upper_halves, put_nibbles};

pub(in crate::simd) struct Q4_1;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 1, 1> for Q4_1 {
    type Codes = Narrow<4, 0>;
    const BYTES: usize = 20;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 1>; 1]) {
        // SAFETY: 4 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (s.words4(rows, 0), s.words4(rows, 4)) };
        out[0].put_scale(s, 0, s.lower_halves(head[0]));
        out[0].put_min(s, 0, minus_upper_halves(s, head[0]));
        put_nibbles(s, nibbles, &mut out[0], |_, codes| codes);
    }
}
