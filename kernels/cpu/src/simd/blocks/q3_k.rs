//! Q3_K, 256 codes - 4: third bits[32], bit g of byte l for code 32 g + l; bit pairs[64] as Q2_K; 6-bit scales
//! - 32 [12]; f16 d.

use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q3K;

/// d, and the 16 factors + 32 of a block in bytes.
pub(in crate::simd) struct Head<S: Simd> {
    d: S::F,
    scales: [S::I; 4],
}

impl<S: Simd, const R: usize> Blocks<S, R, 2, 0, 4> for Q3K {
    type Codes = Narrow<3, 4>;
    const BYTES: usize = 110;
    const PARTS: usize = 2;
    type Head = Head<S>;

    /// Words s0 and s1 have the lower four bits of scales 0..8 in their low and of 8..16 in their high nibbles;
    /// byte i of s2 has the upper two bits of scales i, 4 + i, 8 + i, 12 + i.
    #[inline(always)]
    unsafe fn head(s: S, rows: Rows) -> Head<S> {
        // SAFETY: the last 18 bytes of a block, as the caller promises.
        let ([_, s0, s1, s2], end) = unsafe { (s.words4(rows, 92), s.words4(rows, 94)) };
        let (low, upper) = (s.splat_u8(15), s.splat_u8(0x30));
        let join = |low_bits, upper_bits| s.or(s.and(low_bits, low), s.and(upper_bits, upper));
        Head {
            d: s.lower_halves(s.shr(end[3], 16)),
            scales: [
                join(s0, s.shl(s2, 4)),
                join(s1, s.shl(s2, 2)),
                join(s.shr(s0, 4), s2),
                join(s.shr(s1, 4), s.shr(s2, 2)),
            ],
        }
    }

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, head: &Head<S>, part: usize, out: &mut [Step<R, 2, 0>; 4]) {
        for group in 0..8 {
            let byte = s.shr(head.scales[2 * part + group / 4], 8 * (group as u32 % 4));
            let scale = s.add_i32(s.and(byte, s.splat_i32(255)), s.splat_i32(-32));
            out[group / 2].put_scale(s, group % 2, s.mul(head.d, s.to_float(scale)));
        }
        let (pair, third) = (s.splat_u8(3), s.splat_u8(4));
        for half in 0..2 {
            // SAFETY: bytes 0..32 and 32..96 of a block.
            let (thirds, bits) =
                unsafe { (s.words4(rows, 16 * half), s.words4(rows, 32 + 32 * part + 16 * half)) };
            for i in 0..4 {
                // Bit 4 part + step of a byte, to bit 2.
                let thirds = s.shl(s.shr(thirds[i], 4 * part as u32), 2);
                for step in 0..4 {
                    let low = s.and(s.shr(bits[i], 2 * step as u32), pair);
                    let codes = s.or(low, s.and(s.shr(thirds, step as u32), third));
                    s.put_codes(&mut out[step].codes[half * 4 + i], codes);
                }
            }
        }
    }
}
