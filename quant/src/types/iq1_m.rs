//! IQ1_M: the codebook of IQ1_S with a shift for each entry; 16 groups with an odd scale up to 15.

use half::f16;

use super::block::{Block, field, words_at};
use super::grids::ternary;

/// A block of 256 elements: `d * (1 + 2 s) * (g + 1/8)` or `(g - 1/8)`, 16 elements to a group. Codes are whole
/// numbers: eight times what is in the last parentheses.
#[derive(Clone, Copy, Debug)]
pub struct Iq1M {
    /// Lower 8 bits of the index of each 8 elements.
    pub qs: [u8; 32],
    /// A nibble for each index, low one first: its upper 3 bits, and a bit that is set where an eighth is taken away.
    pub qh: [u8; 16],
    /// Four times s in 3 bits, and above them a quarter of the bits of d, the lowest first.
    pub scales: [u16; 4],
}

impl Iq1M {
    /// Scale of the scales.
    fn d(&self) -> f16 {
        let quarters = self.scales.iter().enumerate();
        f16::from_bits(quarters.fold(0, |bits, (i, word)| bits | (word >> 12) << (4 * i)))
    }
}

impl Block for Iq1M {
    const LEN: usize = 256;
    const BYTES: usize = 56;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        Self { qs: field(bytes, 0), qh: field(bytes, 32), scales: words_at(bytes, 48) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (k, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let nibble = self.qh[k / 2] >> (4 * (k % 2));
            let index = usize::from(self.qs[k]) | usize::from(nibble & 7) << 8;
            *codes = ternary(index, nibble & 8 != 0);
        }
        let d = self.d().to_f32();
        for (scales, word) in scales.as_chunks_mut::<4>().0.iter_mut().zip(self.scales) {
            *scales = std::array::from_fn(|j| d * f32::from(1 + 2 * (word >> (3 * j) & 7)) * 0.125);
        }
    }

    fn is_finite(&self) -> bool {
        self.d().is_finite()
    }
}
