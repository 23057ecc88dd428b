//! Q6_K, 256 codes - 32: low nibbles[128]; upper bit pairs[64]; i8 scales[16]; f16 d. In each half of 128
//! codes, 64 bytes of nibbles have codes 0..64 below and 64..128 above, and byte l of 32 bytes of bit pairs
//! has those of codes l, 32 + l, 64 + l, 96 + l.

use super::{Blocks, Narrow, Rows, Simd, Step};

pub(in crate::simd) struct Q6K;

/// d, and the 16 factors of a block in bytes.
pub(in crate::simd) struct Head<S: Simd> {
    d: S::F,
    scales: [S::I; 4],
}

impl<S: Simd, const R: usize> Blocks<S, R, 2, 0, 4> for Q6K {
    type Codes = Narrow<6, 32>;
    const BYTES: usize = 210;
    const PARTS: usize = 2;
    type Head = Head<S>;

    #[inline(always)]
    unsafe fn head(s: S, rows: Rows) -> Head<S> {
        // SAFETY: the last 18 bytes of a block, as the caller promises.
        let (scales, end) = unsafe { (s.words4(rows, 192), s.words4(rows, 194)) };
        Head { d: s.lower_halves(s.shr(end[3], 16)), scales }
    }

    #[inline(always)]
    unsafe fn part(s: S, rows: Rows, head: &Head<S>, part: usize, out: &mut [Step<R, 2, 0>; 4]) {
        for group in 0..8 {
            // Byte i of the word, with its sign: up to the top, then down again.
            let up = 24 - 8 * (group as u32 % 4);
            let scale = s.sar(s.shl(head.scales[2 * part + group / 4], up), 24);
            out[group / 2].put_scale(s, group % 2, s.mul(head.d, s.to_float(scale)));
        }
        let (low, upper) = (s.splat_u8(15), s.splat_u8(0x30));
        let join = |nibbles, pairs| s.or(s.and(nibbles, low), s.and(pairs, upper));
        for half in 0..2 {
            let at = 64 * part + 16 * half;
            // SAFETY: bytes 0..128 of a block are nibbles, 128..192 bit pairs.
            let [a, b, bits] = unsafe {
                [s.words4(rows, at), s.words4(rows, at + 32), s.words4(rows, 128 + 32 * part + 16 * half)]
            };
            for i in 0..4 {
                let j = half * 4 + i;
                s.put_codes(&mut out[0].codes[j], join(a[i], s.shl(bits[i], 4)));
                s.put_codes(&mut out[1].codes[j], join(b[i], s.shl(bits[i], 2)));
                s.put_codes(&mut out[2].codes[j], join(s.shr(a[i], 4), bits[i]));
                s.put_codes(&mut out[3].codes[j], join(s.shr(b[i], 4), s.shr(bits[i], 2)));
            }
        }
    }
}
