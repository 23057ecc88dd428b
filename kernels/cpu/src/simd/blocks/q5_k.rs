//! Q5_K, 256 codes: d, dmin, scales and minimums as Q4_K; fifth bits[32], bit g of byte l for code l of group
//! g; nibbles[128] as Q4_K.

use super::q4_k::Factors;
use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q5K;

impl<S: Simd, const R: usize> Blocks<S, R, 1, 1, 2> for Q5K {
    type Codes = Narrow<5, 0>;
    const BYTES: usize = 176;
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
        let (low, fifth) = (s.splat_u8(15), s.splat_u8(16));
        for half in 0..2 {
            // SAFETY: bytes 16..48 and 48..176 of a block.
            let (bits, nibbles) =
                unsafe { (s.words4(rows, 16 + 16 * half), s.words4(rows, 48 + 32 * part + 16 * half)) };
            for i in 0..4 {
                let j = half * 4 + i;
                // Bits 2 part and 2 part + 1 of a byte, to bits 3 and 4.
                let bits = s.shl(s.shr(bits[i], 2 * part as u32), 3);
                let first = s.or(s.and(nibbles[i], low), s.and(s.shl(bits, 1), fifth));
                let second = s.or(s.and(s.shr(nibbles[i], 4), low), s.and(bits, fifth));
                s.put_codes(&mut out[0].codes[j], first);
                s.put_codes(&mut out[1].codes[j], second);
            }
        }
    }
}
