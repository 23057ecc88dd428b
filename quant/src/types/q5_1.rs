//! Q5_1: 32 codes of 5 bits, a scale and an offset.

use half::f16;

use super::block::{Block, Encode, Spread, add_fifth_bits, array, field, half_at, nibbles, split_fifth_bits};
use super::search::{AffineSearch, affine, inverse, range};

/// A block of 32 elements: `d * q + m`.
#[derive(Clone, Copy, Debug)]
pub struct Q5_1 {
    /// Scale.
    pub d: f16,
    /// Value of code 0.
    pub m: f16,
    /// Fifth bit of the code of element i in bit i.
    pub qh: u32,
    /// Low four bits of the codes: byte j holds elements j (low) and j + 16 (high).
    pub qs: [u8; 16],
}

impl Block for Q5_1 {
    const LEN: usize = 32;
    const BYTES: usize = 24;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn read(bytes: &[u8]) -> Self {
        let qh = u32::from_le_bytes(field(bytes, 4));
        Self { d: half_at(bytes, 0), m: half_at(bytes, 2), qh, qs: field(bytes, 8) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
        let mut q = nibbles(&self.qs);
        add_fifth_bits(&mut q, self.qh);
        for (code, q) in codes.iter_mut().zip(q) {
            *code = q as i8;
        }
        scales[0] = self.d.to_f32();
        mins[0] = -self.m.to_f32();
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.m.is_finite()
    }
}

impl Encode for Q5_1 {
    const SPREAD: Option<Spread> = Some(Spread::Row);
    const PLAIN: bool = true;

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.m.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.qh.to_le_bytes());
        bytes[8..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let (min, max) = range(x);
        let d = (max - min) / 31.0;
        let id = inverse(d);
        let q = std::array::from_fn(|i| (((x[i] - min) * id + 0.5) as u8).min(31));
        let (qs, qh) = split_fifth_bits(&q);
        Self { d: f16::from_f32(d), m: f16::from_f32(min), qh, qs }
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        let found = affine::<32>(&array(x), &array(w), &AffineSearch::fine(31.0));
        let (qs, qh) = split_fifth_bits(&found.codes.map(|code| code as u8));
        Self { d: f16::from_f32(found.scale), m: f16::from_f32(-found.min), qh, qs }
    }
}
