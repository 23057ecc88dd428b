//! TQ2_0: 256 codes of 2 bits around 1, of which encoders use three, and one scale.

use half::f16;

use super::block::{Block, Encode, field, half_at, pack_two_bit_codes, two_bit_codes};
use super::q8_0::round_away;
use super::search::{inverse, signed_max};

/// A block of 256 elements: `d * (q - 1)`.
#[derive(Clone, Copy, Debug)]
pub struct Tq2_0 {
    /// Codes, 4 to a byte.
    pub qs: [u8; 64],
    /// Scale.
    pub d: f16,
}

/// The largest magnitude of `x` `[N]`, and each element as the nearest of -1, 0 and 1 times that, plus 1.
pub(super) fn ternary_codes<const N: usize>(x: &[f32]) -> (f16, [u8; N]) {
    let d = signed_max(x).abs();
    let id = inverse(d);
    (f16::from_f32(d), std::array::from_fn(|i| (round_away((x[i] * id).clamp(-1.0, 1.0)) + 1) as u8))
}

impl Block for Tq2_0 {
    const LEN: usize = 256;
    const BYTES: usize = 66;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { qs: field(bytes, 0), d: half_at(bytes, 64) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (code, q) in codes.iter_mut().zip(two_bit_codes(&self.qs)) {
            *code = q as i8 - 1;
        }
        scales.fill(self.d.to_f32());
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Tq2_0 {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..64].copy_from_slice(&self.qs);
        bytes[64..].copy_from_slice(&self.d.to_le_bytes());
    }

    fn encode(x: &[f32]) -> Self {
        let (d, q) = ternary_codes(x);
        Self { qs: pack_two_bit_codes(&q), d }
    }
}
