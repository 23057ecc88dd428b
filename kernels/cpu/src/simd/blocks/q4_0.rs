//! Q4_0: f16 d; nibbles[16], code - 8; the low nibbles come first.

use super::{Blocks, Narrow, Rows, Simd, Step, put_nibbles};

pub(in crate::simd) struct Q4_0;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 1> for Q4_0 {
    type Codes = Narrow<4, 8>;
    const BYTES: usize = 18;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 0>; 1]) {
        // SAFETY: 2 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (s.words4(rows, 0), s.words4(rows, 2)) };
        out[0].put_scale(s, 0, s.lower_halves(head[0]));
        put_nibbles(s, nibbles, &mut out[0], |_, codes| codes);
    }
}
