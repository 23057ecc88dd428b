//! IQ3_S: 256 codes as 64 entries of a codebook of 512, each with its own sign; 8 groups with an odd scale up to 31.

use half::f16;

use super::block::{Block, field, half_at};
use super::grids::{SIGNS, iq3_s, signed};

/// A block of 256 elements: `d * (1 + 2 s) * code`, 32 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Iq3S {
    /// Scale of the scales.
    pub d: f16,
    /// Lower 8 bits of the index of each 4 elements.
    pub qs: [u8; 64],
    /// Ninth bits of the indices.
    pub qh: [u8; 8],
    /// A sign for each element.
    pub signs: [u8; 32],
    /// The scales s, low nibble first.
    pub scales: [u8; 4],
}

impl Block for Iq3S {
    const LEN: usize = 256;
    const BYTES: usize = 110;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self {
            d: half_at(bytes, 0),
            qs: field(bytes, 2),
            qh: field(bytes, 66),
            signs: field(bytes, 74),
            scales: field(bytes, 106),
        }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (k, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let ninth = usize::from(self.qh[k / 4] >> (2 * (k % 4)));
            let low = usize::from(self.qs[2 * k]) | (ninth & 1) << 8;
            let high = usize::from(self.qs[2 * k + 1]) | (ninth >> 1 & 1) << 8;
            *codes = signed(iq3_s(low, high), SIGNS[usize::from(self.signs[k])]);
        }
        let d = self.d.to_f32();
        for (pair, s) in scales.as_chunks_mut::<2>().0.iter_mut().zip(self.scales) {
            *pair = [s & 15, s >> 4].map(|s| d * f32::from(1 + 2 * s));
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}
