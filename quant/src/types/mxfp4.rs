//! MXFP4: 32 four-bit floats (E2M1) and one power of two.

use super::block::{Block, Encode, field, nibbles, pack_nibbles};
use super::search::signed_max;

/// Twice the value of each four-bit float, which makes them integers.
pub const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A block of 32 elements: `2^(e - 128) * E2M1_DOUBLED[q]`.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4 {
    /// Exponent; 255 is not a number.
    pub e: u8,
    /// Codes: byte j holds elements j (low) and j + 16 (high).
    pub qs: [u8; 16],
}

/// `2^(e - 128)`; the two smallest are subnormal numbers.
fn scale(e: u8) -> f32 {
    f32::from_bits(match e {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        _ => u32::from(e - 1) << 23,
    })
}

/// The exponent with which the largest code, 12, has the binary magnitude of `amax`.
fn exponent(amax: f32) -> u8 {
    // The exponent field of an f32 is floor(log2) + 127, and 0 for zero and subnormal numbers.
    ((amax.to_bits() >> 23) as u8).saturating_sub(2)
}

/// The code whose value is nearest to `x`; the first of equals.
pub(super) fn nearest_code(d: f32, x: f32) -> u8 {
    let distances = E2M1_DOUBLED.map(|value| (d * f32::from(value) - x).abs());
    (1..16).fold(0, |best, q| if distances[q] < distances[best] { q } else { best }) as u8
}

impl Block for Mxfp4 {
    const LEN: usize = 32;
    const BYTES: usize = 17;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { e: bytes[0], qs: field(bytes, 1) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (code, q) in codes.iter_mut().zip(nibbles(&self.qs)) {
            *code = E2M1_DOUBLED[usize::from(q)];
        }
        scales[0] = scale(self.e);
    }

    fn is_finite(&self) -> bool {
        self.e != 255
    }
}

impl Encode for Mxfp4 {
    const LIMIT: f32 = f32::MAX;

    fn write(&self, bytes: &mut [u8]) {
        bytes[0] = self.e;
        bytes[1..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let e = exponent(signed_max(x).abs());
        let d = scale(e);
        let q = std::array::from_fn(|i| nearest_code(d, x[i]));
        Self { e, qs: pack_nibbles(&q) }
    }
}
