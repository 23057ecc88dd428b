//! IQ2_XS: 256 codes as 32 entries of a codebook of 512, with 7 signs to an entry; 16 groups with a 4-bit scale.

use half::f16;

use super::block::{Block, field, half_at, words_at};
use super::grids::{EVEN_SIGNS, IQ2_XS, signed};

/// A block of 256 elements: `d * (s + 1/2) / 4 * code`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Iq2Xs {
    /// Scale of the scales.
    pub d: f16,
    /// Index, 9 bits, and above it 7 signs, for each 8 elements.
    pub qs: [u16; 32],
    /// The scales s, low nibble first.
    pub scales: [u8; 8],
}

impl Block for Iq2Xs {
    const LEN: usize = 256;
    const BYTES: usize = 74;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: words_at(bytes, 2), scales: field(bytes, 66) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (codes, q) in codes.as_chunks_mut::<8>().0.iter_mut().zip(self.qs) {
            *codes = signed(IQ2_XS[usize::from(q & 511)], EVEN_SIGNS[usize::from(q >> 9)]);
        }
        let d = self.d.to_f32();
        for (pair, s) in scales.as_chunks_mut::<2>().0.iter_mut().zip(self.scales) {
            *pair = [s & 15, s >> 4].map(|s| d * (0.5 + f32::from(s)) * 0.25);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}
