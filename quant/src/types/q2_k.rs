//! Q2_K: 256 codes of 2 bits; 16 groups with a 4-bit scale and a 4-bit minimum each.

use half::f16;

use super::block::{Block, Encode, Spread, field, half_at, pack_two_bit_codes, two_bit_codes};
use super::search::{AffineSearch, affine, multiples, nearest_in};

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

/// Numbers that are not negative as multiples, 0..16, of a 15th of the largest.
fn four_bits(v: &[f32; 16]) -> (f16, [u8; 16]) {
    let max = v.iter().fold(0.0f32, |m, &v| m.max(v));
    let inverse = if max > 0.0 { 15.0 / max } else { 0.0 };
    (f16::from_f32(max / 15.0), v.map(|v| nearest_in(inverse * v, 0.0, 15.0) as u8))
}

impl Q2K {
    /// Chooses scale and minimum of each group, rounds them to what is stored, and then chooses the codes anew.
    fn choose(
        x: &[f32],
        search: &AffineSearch,
        weigh: impl Fn(usize, &[f32; 16]) -> [f32; 16],
        round: impl Fn(&[f32; 16], &[f32; 16]) -> (f16, [u8; 16]),
    ) -> Self {
        let mut codes = [0; 256];
        let (mut scales, mut mins, mut weights) = ([0f32; 16], [0f32; 16], [0f32; 16]);
        let groups = x.as_chunks::<16>().0;
        for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<16>().0).enumerate() {
            let w = weigh(j, x);
            let found = affine(x, &w, search);
            (scales[j], mins[j], *codes) = (found.scale, found.min, found.codes.map(|l| l as u8));
            weights[j] = w.iter().sum();
        }
        let (d, sc) = round(&scales, &weights);
        let (dmin, mn) = round(&mins, &weights);
        for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<16>().0).enumerate() {
            let scale = d.to_f32() * f32::from(sc[j]);
            let min = dmin.to_f32() * f32::from(mn[j]);
            if scale != 0.0 {
                *codes = x.map(|x| nearest_in((x + min) / scale, 0.0, 3.0) as u8);
            }
        }
        Self { scales: std::array::from_fn(|j| sc[j] | mn[j] << 4), qs: pack_two_bit_codes(&codes), d, dmin }
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
        Self::choose(x, &search, |_, x| x.map(f32::abs), |v, _| four_bits(v))
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        let groups = w.as_chunks::<16>().0;
        Self::choose(
            x,
            &AffineSearch::fine(3.0),
            |j, _| groups[j],
            |v, w| {
                let (d, codes) = multiples(v, w, 15.0);
                (f16::from_f32(d), codes.map(|code| code as u8))
            },
        )
    }
}
