//! Q1_0: 128 signs and one scale.

use half::f16;

use super::block::{Block, Encode, field, half_at};

/// A block of 128 elements: `d` or `-d`.
#[derive(Clone, Copy, Debug)]
pub struct Q1_0 {
    /// Scale.
    pub d: f16,
    /// A bit for each element, set where it is `d`.
    pub qs: [u8; 16],
}

impl Block for Q1_0 {
    const LEN: usize = 128;
    const BYTES: usize = 18;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (codes, byte) in codes.as_chunks_mut::<8>().0.iter_mut().zip(self.qs) {
            *codes = std::array::from_fn(|k| (byte >> k & 1) as i8 * 2 - 1);
        }
        scales.fill(self.d.to_f32());
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q1_0 {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].copy_from_slice(&self.qs);
    }

    /// The mean magnitude is the scale that errs least.
    fn encode(x: &[f32]) -> Self {
        let sum = x.iter().fold(0.0, |sum, x| sum + x.abs());
        let byte = |j: usize| (0..8).fold(0, |byte, k| byte | u8::from(x[8 * j + k] >= 0.0) << k);
        Self { d: f16::from_f32(sum / 128.0), qs: std::array::from_fn(byte) }
    }
}
