//! Q5_0: 32 codes of 5 bits around 16 and one scale.

use half::f16;

use super::block::{Block, Encode, Spread, add_fifth_bits, array, field, half_at, nibbles, split_fifth_bits};
use super::search::{inverse, signed_max, weighted};

/// A block of 32 elements: `d * (q - 16)`.
#[derive(Clone, Copy, Debug)]
pub struct Q5_0 {
    /// Scale.
    pub d: f16,
    /// Fifth bit of the code of element i in bit i.
    pub qh: u32,
    /// Low four bits of the codes: byte j holds elements j (low) and j + 16 (high).
    pub qs: [u8; 16],
}

impl Block for Q5_0 {
    const LEN: usize = 32;
    const BYTES: usize = 22;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qh: u32::from_le_bytes(field(bytes, 2)), qs: field(bytes, 6) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let mut q = nibbles(&self.qs);
        add_fifth_bits(&mut q, self.qh);
        for (code, q) in codes.iter_mut().zip(q) {
            *code = q as i8 - 16;
        }
        scales[0] = self.d.to_f32();
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q5_0 {
    const SPREAD: Option<Spread> = Some(Spread::Row);
    const PLAIN: bool = true;

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.qh.to_le_bytes());
        bytes[6..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let d = signed_max(x) / -16.0;
        let id = inverse(d);
        let q = std::array::from_fn(|i| ((x[i] * id + 16.5) as u8).min(31));
        let (qs, qh) = split_fifth_bits(&q);
        Self { d: f16::from_f32(d), qh, qs }
    }

    fn encode_weighted(x: &[f32], w: &[f32], greedy: bool) -> Self {
        let (d, codes) = weighted::<32>(&array(x), &array(w), 16.0, greedy);
        let (qs, qh) = split_fifth_bits(&codes.map(|code| (code + 16.0) as u8));
        Self { d: f16::from_f32(d), qh, qs }
    }
}
