//! Q5_K: 256 codes of 5 bits; 8 groups with a 6-bit scale and a 6-bit minimum each.

use half::f16;

use super::affine::Groups;
use super::block::{Block, Encode, Spread, field, half_at};
use super::search::AffineSearch;
use super::six_bit;

/// A block of 256 elements: `d * sc * q - dmin * mn`, 32 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Q5K {
    /// Scale of the scales.
    pub d: f16,
    /// Scale of the minima.
    pub dmin: f16,
    /// Scales and minima of the groups, 6 bits each.
    pub scales: [u8; 12],
    /// Fifth bit of the code of element i: bit i / 32 of byte i mod 32.
    pub qh: [u8; 32],
    /// Low four bits: each 32 bytes hold a group in their low nibbles and the next one in their high nibbles.
    pub qs: [u8; 128],
}

impl Q5K {
    fn pack(Groups { d, dmin, scales, mins, codes }: Groups<8>) -> Self {
        let qh = std::array::from_fn(|l| (0..8).fold(0, |byte, j| byte | (codes[32 * j + l] >> 4) << j));
        let qs = std::array::from_fn(|k| {
            let low = 64 * (k / 32) + k % 32;
            (codes[low] & 15) | (codes[low + 32] & 15) << 4
        });
        Self { d, dmin, scales: six_bit::pack_pairs(&scales, &mins), qh, qs }
    }
}

impl Block for Q5K {
    const LEN: usize = 256;
    const BYTES: usize = 176;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn read(bytes: &[u8]) -> Self {
        let (d, dmin) = (half_at(bytes, 0), half_at(bytes, 2));
        Self { d, dmin, scales: field(bytes, 4), qh: field(bytes, 16), qs: field(bytes, 48) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
        for (pair, (codes, qs)) in codes.chunks_exact_mut(64).zip(self.qs.chunks_exact(32)).enumerate() {
            for l in 0..32 {
                let high = self.qh[l] >> (2 * pair);
                codes[l] = ((qs[l] & 15) | (high & 1) << 4) as i8;
                codes[l + 32] = ((qs[l] >> 4) | (high & 2) << 3) as i8;
            }
        }
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        let (sc, mn) = six_bit::unpack_pairs(&self.scales);
        for j in 0..8 {
            scales[j] = d * f32::from(sc[j]);
            mins[j] = dmin * f32::from(mn[j]);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }
}

impl Encode for Q5K {
    const SPREAD: Option<Spread> = Some(Spread::Block(2.0));

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.dmin.to_le_bytes());
        bytes[4..16].copy_from_slice(&self.scales);
        bytes[16..48].copy_from_slice(&self.qh);
        bytes[48..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let search = AffineSearch { nmax: 31.0, first: -0.5, step: 0.1, steps: 15, absolute: false };
        Self::pack(six_bit::encode(x, &search))
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        Self::pack(Groups::weighted::<32>(x, w, 31.0, 63.0))
    }
}
