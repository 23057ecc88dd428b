//! IQ4_NL: f16 d; nibbles[16] that point into a table; the low nibbles come first.

use super::{Blocks, Rows, Simd, Step, Wide, put_nibbles, table};
use qwip_quant::types::iq4_nl::IQ4_VALUES;

pub(in crate::simd) struct Iq4Nl;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 1> for Iq4Nl {
    type Codes = Wide;
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
        put_nibbles(s, nibbles, &mut out[0], |s, codes| s.lookup(&const { table::<S>(IQ4_VALUES) }, codes));
    }
}
