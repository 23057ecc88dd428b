//! IQ2_S: 256 codes as 32 entries of a codebook of 1024, each with its own sign; 16 groups with a 4-bit scale.

use half::f16;

use super::block::{Block, field, half_at};
use super::grids::{IQ2_S, SIGNS, signed};

/// A block of 256 elements: `d * (s + 1/2) / 4 * code`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Iq2S {
    /// Scale of the scales.
    pub d: f16,
    /// Lower 8 bits of the index of each 8 elements.
    pub qs: [u8; 32],
    /// A sign for each element.
    pub signs: [u8; 32],
    /// Upper 2 bits of the indices, four to a byte.
    pub qh: [u8; 8],
    /// The scales s, low nibble first.
    pub scales: [u8; 8],
}

impl Block for Iq2S {
    const LEN: usize = 256;
    const BYTES: usize = 82;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        Self {
            d: half_at(bytes, 0),
            qs: field(bytes, 2),
            signs: field(bytes, 34),
            qh: field(bytes, 66),
            scales: field(bytes, 74),
        }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (k, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let high = usize::from(self.qh[k / 4] >> (2 * (k % 4)) & 3);
            let index = usize::from(self.qs[k]) | high << 8;
            *codes = signed(IQ2_S[index], SIGNS[usize::from(self.signs[k])]);
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
