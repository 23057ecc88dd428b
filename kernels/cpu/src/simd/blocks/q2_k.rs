//! Q2_K, 256 codes: 16 bytes with a 4-bit scale below and a 4-bit minimum above; bit pairs[64]; f16 d; f16
//! dmin. In each half of 128 codes, byte l of 32 bytes has codes l, 32 + l, 64 + l, 96 + l.

use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q2K;

/// d, dmin, and the 16 pairs of factors of a block in bytes.
pub(in crate::simd) struct Head<S: Simd> {
    d: S::F,
    d_min: S::F,
    pairs: [S::I; 4],
}

impl<S: Simd, const R: usize> Blocks<S, R, 2, 2, 4> for Q2K {
    type Codes = Narrow<2, 0>;
    const BYTES: usize = 84;
    const PARTS: usize = 2;
    type Head = Head<S>;

    #[inline(always)]
    unsafe fn head(s: S, rows: Rows) -> Head<S> {
        // SAFETY: the first and the last 16 bytes of a block, as the caller promises.
        let (pairs, end) = unsafe { (s.words4(rows, 0), s.words4(rows, 68)) };
        Head { d: s.lower_halves(end[3]), d_min: s.lower_halves(s.shr(end[3], 16)), pairs }
    }

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, head: &Head<S>, part: usize, out: &mut [Step<R, 2, 2>; 4]) {
        let low = s.splat_i32(15);
        for group in 0..8 {
            let pair = s.shr(head.pairs[2 * part + group / 4], 8 * (group as u32 % 4));
            let (scale, min) = (s.and(pair, low), s.and(s.shr(pair, 4), low));
            out[group / 2].put_scale(s, group % 2, s.mul(head.d, s.to_float(scale)));
            out[group / 2].put_min(s, group % 2, s.mul(head.d_min, s.to_float(min)));
        }
        let pair = s.splat_u8(3);
        for half in 0..2 {
            // SAFETY: bytes 16..80 of a block.
            let bits = unsafe { s.words4(rows, 16 + 32 * part + 16 * half) };
            for i in 0..4 {
                for step in 0..4 {
                    let codes = s.and(s.shr(bits[i], 2 * step as u32), pair);
                    s.put_codes(&mut out[step].codes[half * 4 + i], codes);
                }
            }
        }
    }
}
