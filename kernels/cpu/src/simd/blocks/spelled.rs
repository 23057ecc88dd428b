//! Types that the decoder spells out one row after the other, before their codes are brought into lanes.
//!
//! A codebook is looked up entry by entry, for which vectors are of no use; the other small types are rare. This costs
//! little where many tokens share what was unpacked, and for one token a fraction of the speed of K-quants.

use super::{Blocks, Rows, Simd, Step, Wide};
use crate::acts::STEP;
use qwip_quant::{TensorType, unpack_groups};

/// The type with the id TYPE: blocks of LEN codes in GROUPS groups, without minimums.
pub(in crate::simd) struct Spelled<const TYPE: u32, const LEN: usize, const GROUPS: usize>;

impl<const TYPE: u32, const LEN: usize, const GROUPS: usize> Spelled<TYPE, LEN, GROUPS> {
    const TY: TensorType = match TensorType::from_id(TYPE) {
        Some(ty) if ty.block_len() == LEN && !ty.has_min() => ty,
        _ => panic!("no such type"),
    };
}

/// A block of R rows.
pub(in crate::simd) struct Head<const R: usize, const LEN: usize, const GROUPS: usize> {
    codes: [[i8; LEN]; R],
    scales: [[f32; R]; GROUPS],
}

impl<S: Simd, const R: usize, const G: usize, const TYPE: u32, const LEN: usize, const GROUPS: usize>
    Blocks<S, R, G, 0, 1> for Spelled<TYPE, LEN, GROUPS>
{
    type Codes = Wide;
    const BYTES: usize = Self::TY.block_bytes();
    const PARTS: usize = LEN / STEP;
    // The others would be code that is hardly ever used.
    const IN_PLACE: usize = 1;
    type Head = Head<R, LEN, GROUPS>;

    #[inline(always)]
    unsafe fn head(_: S, rows: Rows) -> Head<R, LEN, GROUPS> {
        const { assert!(GROUPS == G * LEN / STEP) };
        let bytes = Self::TY.block_bytes();
        let mut head = Head { codes: [[0; LEN]; R], scales: [[0.0; R]; GROUPS] };
        for r in 0..R {
            // SAFETY: a whole block of each row, as the caller promises.
            let block = unsafe { std::slice::from_raw_parts(rows.first.add(r * rows.stride), bytes) };
            let mut scales = [0.0; GROUPS];
            unpack_groups(Self::TY, block, &mut head.codes[r], &mut scales, &mut [])
                .unwrap_or_else(|e| panic!("{e}"));
            for (lanes, scale) in head.scales.iter_mut().zip(scales) {
                lanes[r] = scale;
            }
        }
        head
    }

    #[inline(always)]
    unsafe fn part(s: S, _: Rows, head: &Head<R, LEN, GROUPS>, part: usize, out: &mut [Step<R, G, 0>; 1]) {
        let rows = Rows { first: head.codes.as_ptr().cast(), stride: LEN };
        let signed = s.splat_u8(S::SIGNED as u8);
        for half in 0..2 {
            // SAFETY: LEN codes of each of R rows, of which this part has 32.
            let words = unsafe { s.words4(rows, STEP * part + 16 * half) };
            for (codes, word) in out[0].codes[4 * half..].iter_mut().zip(words) {
                // SIGNED is 0 or 128, and adding 128 flips the top bit.
                s.put_codes(codes, s.xor(word, signed));
            }
        }
        out[0].scales.copy_from_slice(&head.scales[G * part..G * (part + 1)]);
    }
}
