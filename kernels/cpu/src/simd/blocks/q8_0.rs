//! Q8_0: f16 d; i8 codes[32].

use super::{Blocks, Rows, Simd, Step, Wide};

pub(in crate::simd) struct Q8_0;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 1> for Q8_0 {
    type Codes = Wide;
    const BYTES: usize = 34;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 0>; 1]) {
        // SAFETY: 2 + 32 bytes of a block, as the caller promises.
        let (head, low, high) = unsafe { (s.words4(rows, 0), s.words4(rows, 2), s.words4(rows, 18)) };
        // Adding 128 to a byte flips its upper bit.
        let flip = s.splat_u8(S::SIGNED as u8);
        out[0].put_scale(s, 0, s.lower_halves(head[0]));
        for j in 0..4 {
            s.put_codes(&mut out[0].codes[j], s.xor(low[j], flip));
            s.put_codes(&mut out[0].codes[j + 4], s.xor(high[j], flip));
        }
    }
}
