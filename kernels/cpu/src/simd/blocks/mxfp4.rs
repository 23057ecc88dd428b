//! MXFP4: u8 exponent e; nibbles[16], four-bit floats. The table has twice their values, the scale is
//! 2^(e - 128).

use super::{Blocks, Rows, Simd, Step, Wide, put_nibbles, table};
use qwip_quant::types::mxfp4::E2M1_DOUBLED;

pub(in crate::simd) struct Mxfp4;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 1> for Mxfp4 {
    type Codes = Wide;
    const BYTES: usize = 17;
    const PARTS: usize = 1;
    type Head = ();

    #[inline(always)]
    unsafe fn head(_: S, _: Rows) {}

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, _: &(), _: usize, out: &mut [Step<R, 1, 0>; 1]) {
        // SAFETY: 1 + 16 bytes of a block, as the caller promises.
        let (head, nibbles) = unsafe { (s.words4(rows, 0), s.words4(rows, 1)) };
        let e = s.and(head[0], s.splat_i32(255));
        // From 2 on an exponent field of e - 1; the subnormal 2^-128 and 2^-127 are larger than that as integers,
        // and behind them the other way round.
        let normal = s.shl(s.add_i32(e, s.splat_i32(-1)), 23);
        let subnormal = s.shl(s.add_i32(e, s.splat_i32(1)), 21);
        out[0].put_scale(s, 0, s.floats(s.max_i32(normal, subnormal)));
        put_nibbles(s, nibbles, &mut out[0], |s, codes| s.lookup(&const { table::<S>(E2M1_DOUBLED) }, codes));
    }
}
