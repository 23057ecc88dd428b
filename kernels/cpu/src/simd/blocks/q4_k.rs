//! Q4_K, 256 codes: f16 d; f16 dmin; 6-bit scales and minimums[12]; nibbles[128], in pairs of groups: 32
//! bytes have one group in their low and the next in their high nibbles.

use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q4K;

/// Scales and minimums of a block: d, dmin, and the 6-bit factors of groups 0..4 and 4..8 in bytes.
pub(in crate::simd) struct Factors<S: Simd> {
    d: S::F,
    d_min: S::F,
    scales: [S::I; 2],
    mins: [S::I; 2],
}

impl<S: Simd> Factors<S> {
    /// After d and dmin come three words s. Groups 0..4 have the lower six bits of the bytes of s0 (scales)
    /// and s1 (minimums); groups 4..8 have the nibbles of s2, and the upper two bits of s0 and s1 above them.
    #[inline(always)]
    pub(super) fn new(s: S, [d, s0, s1, s2]: [S::I; 4]) -> Self {
        let (low_six, low_four) = (s.splat_u8(63), s.splat_u8(15));
        let upper = s.splat_u8(0x30);
        let from_four = |low, above| s.or(s.and(low, low_four), s.and(s.shr(above, 2), upper));
        Factors {
            d: s.lower_halves(d),
            d_min: s.lower_halves(s.shr(d, 16)),
            scales: [s.and(s0, low_six), from_four(s2, s0)],
            mins: [s.and(s1, low_six), from_four(s.shr(s2, 4), s1)],
        }
    }

    /// Writes those of the two groups of a part.
    #[inline(always)]
    pub(super) fn put<const R: usize>(&self, s: S, part: usize, out: &mut [Step<R, 1, 1>; 2]) {
        for i in 0..2 {
            let group = 2 * part + i;
            let shift = 8 * (group as u32 % 4);
            let byte = s.splat_i32(255);
            let scale = s.to_float(s.and(s.shr(self.scales[group / 4], shift), byte));
            let min = s.to_float(s.and(s.shr(self.mins[group / 4], shift), byte));
            out[i].put_scale(s, 0, s.mul(self.d, scale));
            out[i].put_min(s, 0, s.mul(self.d_min, min));
        }
    }
}

impl<S: Simd, const R: usize> Blocks<S, R, 1, 1, 2> for Q4K {
    type Codes = Narrow<4, 0>;
    const BYTES: usize = 144;
    const PARTS: usize = 4;
    type Head = Factors<S>;

    #[inline(always)]
    unsafe fn head(s: S, rows: Rows) -> Factors<S> {
        // SAFETY: the first 16 bytes of a block, as the caller promises.
        Factors::new(s, unsafe { s.words4(rows, 0) })
    }

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, head: &Factors<S>, part: usize, out: &mut [Step<R, 1, 1>; 2]) {
        head.put(s, part, out);
        let low = s.splat_u8(15);
        for half in 0..2 {
            // SAFETY: bytes 16..144 of a block.
            let nibbles = unsafe { s.words4(rows, 16 + 32 * part + 16 * half) };
            for i in 0..4 {
                let j = half * 4 + i;
                s.put_codes(&mut out[0].codes[j], s.and(nibbles[i], low));
                s.put_codes(&mut out[1].codes[j], s.and(s.shr(nibbles[i], 4), low));
            }
        }
    }
}
