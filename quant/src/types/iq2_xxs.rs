//! IQ2_XXS: 256 codes as 32 entries of a codebook of 256, with 7 signs to an entry; 8 groups with a 4-bit scale.

use half::f16;

use super::block::{Block, field, half_at};
use super::grids::{EVEN_SIGNS, IQ2_XXS, signed};

/// A block of 256 elements: `d * (s + 1/2) / 4 * code`, 32 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Iq2Xxs {
    /// Scale of the scales.
    pub d: f16,
    /// For each group four indices of a byte, then a word with four times 7 signs and, at its top, s.
    pub qs: [u8; 64],
}

impl Block for Iq2Xxs {
    const LEN: usize = 256;
    const BYTES: usize = 66;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let d = self.d.to_f32();
        let groups = codes.as_chunks_mut::<32>().0.iter_mut().zip(self.qs.as_chunks::<8>().0);
        for ((codes, q), scale) in groups.zip(scales) {
            let word = u32::from_le_bytes(field(q, 4));
            for (k, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let signs = EVEN_SIGNS[(word >> (7 * k)) as usize & 127];
                *codes = signed(IQ2_XXS[usize::from(q[k])], signs);
            }
            *scale = d * (0.5 + (word >> 28) as f32) * 0.25;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}
