//! TQ1_0: 256 codes -1, 0 or 1, five to a byte, and one scale.

use half::f16;

use super::block::{Block, Encode, field, half_at};
use super::tq2_0::ternary_codes;

/// A block of 256 elements: `d * (digit - 1)`.
///
/// A byte stands for the fraction B / 256, written with digits of base 3.
#[derive(Clone, Copy, Debug)]
pub struct Tq1_0 {
    /// Five digits to a byte: digit n of byte j is that of element 32 n + j in the first 32 bytes, of element
    /// 160 + 16 n + j in the other 16.
    pub qs: [u8; 48],
    /// Four digits to a byte: digit n of byte j is that of element 240 + 4 n + j.
    pub qh: [u8; 4],
    /// Scale.
    pub d: f16,
}

/// What brings digit n to the front.
const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

/// Reads the digits of `bytes`, all first ones, then all second ones, and so on.
fn unpack_digits<const N: usize>(bytes: &[u8; N], codes: &mut [i8]) {
    for (codes, power) in codes.as_chunks_mut::<N>().0.iter_mut().zip(POWERS) {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            // What is left of the fraction, times three: the whole part is the digit.
            *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as i8 - 1;
        }
    }
}

/// The inverse of [`unpack_digits`], for codes increased by 1.
fn pack_digits<const N: usize>(digits: &[u8]) -> [u8; N] {
    std::array::from_fn(|j| {
        let number = (0..5).fold(0, |v, n| 3 * v + digits.get(N * n + j).map_or(0, |&d| u16::from(d)));
        // Of 243rds, rounded up so that no digit is lost.
        (number * 256).div_ceil(243) as u8
    })
}

impl Block for Tq1_0 {
    const LEN: usize = 256;
    const BYTES: usize = 54;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { qs: field(bytes, 0), qh: field(bytes, 48), d: half_at(bytes, 52) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        unpack_digits::<32>(&field(&self.qs, 0), &mut codes[..160]);
        unpack_digits::<16>(&field(&self.qs, 32), &mut codes[160..240]);
        unpack_digits(&self.qh, &mut codes[240..]);
        scales.fill(self.d.to_f32());
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Tq1_0 {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..48].copy_from_slice(&self.qs);
        bytes[48..52].copy_from_slice(&self.qh);
        bytes[52..].copy_from_slice(&self.d.to_le_bytes());
    }

    fn encode(x: &[f32]) -> Self {
        let (d, digits) = ternary_codes::<256>(x);
        let (first, second) = (pack_digits::<32>(&digits[..160]), pack_digits::<16>(&digits[160..240]));
        let qs = std::array::from_fn(|j| if j < 32 { first[j] } else { second[j - 32] });
        Self { qs, qh: pack_digits(&digits[240..]), d }
    }
}
