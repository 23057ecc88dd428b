//! Q4_0: 32 codes of 4 bits around 8 and one scale.

use half::f16;

use super::block::{Block, Encode, Spread, array, field, half_at, nibbles, pack_nibbles};
use super::search::{inverse, signed_max, weighted};

/// A block of 32 elements: `d * (q - 8)`.
#[derive(Clone, Copy, Debug)]
pub struct Q4_0 {
    /// Scale.
    pub d: f16,
    /// Codes, in the order of all 32-element blocks: byte j holds elements j (low) and j + 16 (high).
    pub qs: [u8; 16],
}

impl Block for Q4_0 {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (code, q) in codes.iter_mut().zip(nibbles(&self.qs)) {
            *code = q as i8 - 8;
        }
        scales[0] = self.d.to_f32();
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q4_0 {
    const SPREAD: Option<Spread> = Some(Spread::Row);
    const PLAIN: bool = true;

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].copy_from_slice(&self.qs);
    }

    /// The element of largest magnitude, with its sign, becomes code 0, so that one end of the range is exact.
    fn encode(x: &[f32]) -> Self {
        let d = signed_max(x) / -8.0;
        let id = inverse(d);
        let q = std::array::from_fn(|i| ((x[i] * id + 8.5) as u8).min(15));
        Self { d: f16::from_f32(d), qs: pack_nibbles(&q) }
    }

    fn encode_weighted(x: &[f32], w: &[f32], greedy: bool) -> Self {
        let (d, codes) = weighted::<32>(&array(x), &array(w), 8.0, greedy);
        Self { d: f16::from_f32(d), qs: pack_nibbles(&codes.map(|code| (code + 8.0) as u8)) }
    }
}
