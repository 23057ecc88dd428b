//! IQ4_XS, 256 codes: f16 d; upper two bits of the scales, u16; their lower four bits[4], low nibble first;
//! nibbles[128] that point into the table of IQ4_NL, 16 bytes to a group.

use super::{Blocks, Rows, Simd, Step, Wide, put_nibbles, table};
use qwip_quant::types::iq4_nl::IQ4_VALUES;

pub(in crate::simd) struct Iq4Xs;

/// d, and the scales as they are stored.
pub(in crate::simd) struct Head<S: Simd> {
    d: S::F,
    upper: S::I,
    lower: S::I,
}

impl<S: Simd, const R: usize> Blocks<S, R, 1, 0, 2> for Iq4Xs {
    type Codes = Wide;
    const BYTES: usize = 136;
    const PARTS: usize = 4;
    type Head = Head<S>;

    #[inline(always)]
    unsafe fn head(s: S, rows: Rows) -> Head<S> {
        // SAFETY: the first 16 bytes of a block, as the caller promises.
        let [first, lower, _, _] = unsafe { s.words4(rows, 0) };
        Head { d: s.lower_halves(first), upper: s.shr(first, 16), lower }
    }

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, head: &Head<S>, part: usize, out: &mut [Step<R, 1, 0>; 2]) {
        for i in 0..2 {
            let group = 2 * part + i;
            let low = s.and(s.shr(head.lower, 4 * group as u32), s.splat_i32(15));
            let high = s.and(s.shl(s.shr(head.upper, 2 * group as u32), 4), s.splat_i32(0x30));
            let scale = s.add_i32(s.or(low, high), s.splat_i32(-32));
            out[i].put_scale(s, 0, s.mul(head.d, s.to_float(scale)));
            // SAFETY: bytes 8..136 of a block.
            let nibbles = unsafe { s.words4(rows, 8 + 16 * group) };
            put_nibbles(s, nibbles, &mut out[i], |s, codes| {
                s.lookup(&const { table::<S>(IQ4_VALUES) }, codes)
            });
        }
    }
}
