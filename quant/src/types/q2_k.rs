//! Q2_K: 256 codes of 2 bits; 16 groups with a 4-bit scale and a 4-bit minimum each.

use half::f16;

use super::affine::Groups;
use super::block::{Block, Encode, Spread, field, half_at, pack_two_bit_codes, two_bit_codes};
use super::search::AffineSearch;

/// A block of 256 elements: `d * (scales & 15) * q - dmin * (scales >> 4)`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Q2K {
    /// Scale (low nibble) and minimum (high nibble) of each group.
    pub scales: [u8; 16],
    /// Codes, 4 to a byte.
    pub qs: [u8; 64],
    /// Scale of the scales.
    pub d: f16,
    /// Scale of the minima.
    pub dmin: f16,
}

impl Q2K {
    fn pack(Groups { d, dmin, scales, mins, codes }: Groups<16>) -> Self {
        let scales = std::array::from_fn(|j| scales[j] | mins[j] << 4);
        Self { scales, qs: pack_two_bit_codes(&codes), d, dmin }
    }
}

impl Block for Q2K {
    const LEN: usize = 256;
    const BYTES: usize = 84;
    const GROUP: usize = 16;
    const HAS_MIN: bool = true;

    fn read(bytes: &[u8]) -> Self {
        let (d, dmin) = (half_at(bytes, 80), half_at(bytes, 82));
        Self { scales: field(bytes, 0), qs: field(bytes, 16), d, dmin }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
        for (code, q) in codes.iter_mut().zip(two_bit_codes(&self.qs)) {
            *code = q as i8;
        }
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (j, pair) in self.scales.iter().enumerate() {
            scales[j] = d * f32::from(pair & 15);
            mins[j] = dmin * f32::from(pair >> 4);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }
}

impl Encode for Q2K {
    const SPREAD: Option<Spread> = Some(Spread::Block(1.0));

    fn write(&self, bytes: &mut [u8]) {
        bytes[..16].copy_from_slice(&self.scales);
        bytes[16..80].copy_from_slice(&self.qs);
        bytes[80..82].copy_from_slice(&self.d.to_le_bytes());
        bytes[82..].copy_from_slice(&self.dmin.to_le_bytes());
    }

    fn encode(x: &[f32]) -> Self {
        let search = AffineSearch { nmax: 3.0, first: -0.5, step: 0.1, steps: 15, absolute: true };
        Self::pack(Groups::plain::<16>(x, &search, 15.0, |x| x.map(f32::abs)))
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        Self::pack(Groups::weighted::<16>(x, w, 3.0, 15.0))
    }
}
