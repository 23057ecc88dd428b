//! Q2_0: 64 codes of 2 bits around 1, of which encoders use three, and one scale.

use half::f16;

use super::block::{Block, Encode, field, half_at};
use super::tq2_0::ternary_codes;

/// A block of 64 elements: `d * (q - 1)`.
#[derive(Clone, Copy, Debug)]
pub struct Q2_0 {
    /// Scale.
    pub d: f16,
    /// Codes in the order of the elements, 4 to a byte, lowest bits first.
    pub qs: [u8; 16],
}

impl Block for Q2_0 {
    const LEN: usize = 64;
    const BYTES: usize = 18;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (codes, byte) in codes.as_chunks_mut::<4>().0.iter_mut().zip(self.qs) {
            *codes = std::array::from_fn(|k| (byte >> (2 * k) & 3) as i8 - 1);
        }
        scales.fill(self.d.to_f32());
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q2_0 {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let (d, q) = ternary_codes::<64>(x);
        let byte = |j: usize| (0..4).fold(0, |byte, k| byte | q[4 * j + k] << (2 * k));
        Self { d, qs: std::array::from_fn(byte) }
    }
}
