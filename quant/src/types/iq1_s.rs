//! IQ1_S: 256 numbers -1, 0 or 1 as 32 entries of a codebook of 2048, shifted by an eighth up or down; 8 groups with
//! an odd scale up to 15.

use half::f16;

use super::block::{Block, field, half_at, words_at};
use super::grids::ternary;

/// A block of 256 elements: `d * (1 + 2 s) * (g + 1/8)` or `(g - 1/8)`, 32 elements to a group. Codes are whole
/// numbers: eight times what is in the last parentheses.
#[derive(Clone, Copy, Debug)]
pub struct Iq1S {
    /// Scale of the scales.
    pub d: f16,
    /// Lower 8 bits of the index of each 8 elements.
    pub qs: [u8; 32],
    /// For each group the upper 3 bits of four indices, s in 3 bits, and a bit that is set where an eighth is taken
    /// away.
    pub qh: [u16; 8],
}

impl Block for Iq1S {
    const LEN: usize = 256;
    const BYTES: usize = 50;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2), qh: words_at(bytes, 34) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let d = self.d.to_f32();
        let groups = codes.as_chunks_mut::<32>().0.iter_mut().zip(self.qs.as_chunks::<4>().0);
        for (((codes, q), qh), scale) in groups.zip(self.qh).zip(scales) {
            for (k, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let index = usize::from(q[k]) | usize::from(qh >> (3 * k) & 7) << 8;
                *codes = ternary(index, qh >> 15 == 1);
            }
            *scale = d * f32::from(1 + 2 * (qh >> 12 & 7)) * 0.125;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}
