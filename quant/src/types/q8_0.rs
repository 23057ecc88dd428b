//! Q8_0: 32 codes of 8 bits and one scale.

use half::f16;

use super::block::{Block, Encode, field, half_at};
use super::search::{inverse, signed_max};

/// A block of 32 elements: `d * q`.
#[derive(Clone, Copy, Debug)]
pub struct Q8_0 {
    /// Scale.
    pub d: f16,
    /// Codes.
    pub qs: [i8; 32],
}

impl Block for Q8_0 {
    const LEN: usize = 32;
    const BYTES: usize = 34;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field::<32>(bytes, 2).map(|q| q as i8) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        codes.copy_from_slice(&self.qs);
        scales[0] = self.d.to_f32();
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q8_0 {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].copy_from_slice(&self.qs.map(|q| q as u8));
    }

    fn encode(x: &[f32]) -> Self {
        let d = signed_max(x).abs() / 127.0;
        let id = inverse(d);
        Self { d: f16::from_f32(d), qs: std::array::from_fn(|i| round_away(x[i] * id) as i8) }
    }
}

/// The nearest whole number, ties away from zero, unlike everywhere else in the format; |x| is below 2^22.
///
/// Adds the largest number below a half and cuts off the fraction: a tie is carried over by the rounding of the
/// sum, and nothing below one is. `f32::round` calls a function per element on machines without SSE4.1.
pub(super) fn round_away(x: f32) -> i32 {
    (x + 0.5f32.next_down().copysign(x)) as i32
}

#[cfg(test)]
mod tests {
    use super::round_away;

    #[test]
    fn rounding_agrees_with_the_standard_library() {
        for k in -260..=260 {
            let tie = k as f32 / 2.0;
            for x in [tie.next_down(), tie, tie.next_up(), tie + 0.2, tie - 0.3] {
                assert_eq!(round_away(x), x.round() as i32, "{x}");
            }
        }
    }
}
