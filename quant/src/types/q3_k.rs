//! Q3_K: 256 codes of 3 bits around 4; 16 groups with a 6-bit scale around 32.

use half::f16;

use super::block::{Block, Encode, Spread, field, half_at, pack_two_bit_codes, two_bit_codes};
use super::search::{nearest_in, signed_max, symmetric, three_bits, weighted};

/// A block of 256 elements: `d * (S - 32) * (q - 4)`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Q3K {
    /// Third bit of the code of element i: bit i / 32 of byte i mod 32.
    pub hmask: [u8; 32],
    /// Low two bits of the codes.
    pub qs: [u8; 64],
    /// Scales: 16 low nibbles in bytes 0..8, then the two high bits of four scales to a byte.
    pub scales: [u8; 12],
    /// Scale of the scales.
    pub d: f16,
}

/// The 16 scales, 0..64.
fn unpack_scales(s: &[u8; 12]) -> [u8; 16] {
    std::array::from_fn(|j| {
        let low = if j < 8 { s[j] & 15 } else { s[j - 8] >> 4 };
        low | ((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4
    })
}

/// The inverse of [`unpack_scales`].
fn pack_scales(scales: &[u8; 16]) -> [u8; 12] {
    std::array::from_fn(|k| match k {
        0..8 => (scales[k] & 15) | (scales[k + 8] & 15) << 4,
        _ => (0..4).fold(0, |byte, g| byte | (scales[k - 8 + 4 * g] >> 4) << (2 * g)),
    })
}

impl Q3K {
    /// Chooses the scale of each group, rounds it to what is stored, and then chooses the codes anew.
    fn choose(
        x: &[f32],
        group: impl Fn(usize, &[f32; 16]) -> (f32, [f32; 16]),
        inverse: impl Fn(&[f32; 16]) -> f32,
    ) -> Self {
        let mut q = [0; 256];
        let mut scales = [0f32; 16];
        let groups = x.as_chunks::<16>().0;
        for (j, (x, q)) in groups.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
            let (scale, codes) = group(j, x);
            (scales[j], *q) = (scale, codes.map(|code| (code + 4.0) as u8));
        }
        // Of the scale of the scales; infinite if that is zero.
        let inverse = inverse(&scales);
        let (d, sc) = if inverse.is_infinite() {
            (f16::ZERO, [0; 16])
        } else {
            (
                f16::from_f32(1.0 / inverse),
                scales.map(|s| (nearest_in(inverse * s, -32.0, 31.0) + 32.0) as u8),
            )
        };
        for (j, (x, q)) in groups.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
            let scale = d.to_f32() * (f32::from(sc[j]) - 32.0);
            if scale != 0.0 {
                *q = x.map(|x| (nearest_in(x / scale, -4.0, 3.0) + 4.0) as u8);
            }
        }
        let hmask = std::array::from_fn(|l| (0..8).fold(0, |byte, j| byte | (q[32 * j + l] >> 2) << j));
        Self { hmask, qs: pack_two_bit_codes(&q.map(|q| q & 3)), scales: pack_scales(&sc), d }
    }
}

impl Block for Q3K {
    const LEN: usize = 256;
    const BYTES: usize = 110;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        let d = half_at(bytes, 108);
        Self { hmask: field(bytes, 0), qs: field(bytes, 32), scales: field(bytes, 96), d }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let low = two_bit_codes(&self.qs);
        for (j, (codes, low)) in codes.chunks_exact_mut(32).zip(low.chunks_exact(32)).enumerate() {
            for l in 0..32 {
                codes[l] = (low[l] | ((self.hmask[l] >> j) & 1) << 2) as i8 - 4;
            }
        }
        let d = self.d.to_f32();
        for (scale, s) in scales.iter_mut().zip(unpack_scales(&self.scales)) {
            *scale = d * (f32::from(s) - 32.0);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q3K {
    const SPREAD: Option<Spread> = Some(Spread::Block(2.0));

    fn write(&self, bytes: &mut [u8]) {
        bytes[..32].copy_from_slice(&self.hmask);
        bytes[32..96].copy_from_slice(&self.qs);
        bytes[96..108].copy_from_slice(&self.scales);
        bytes[108..].copy_from_slice(&self.d.to_le_bytes());
    }

    fn encode(x: &[f32]) -> Self {
        Self::choose(x, |_, x| three_bits(x), |scales| -32.0 / signed_max(scales))
    }

    fn encode_weighted(x: &[f32], w: &[f32], greedy: bool) -> Self {
        let groups = w.as_chunks::<16>().0;
        let weights: [f32; 16] = std::array::from_fn(|j| groups[j].iter().sum());
        Self::choose(
            x,
            |j, x| weighted(x, &groups[j], 4.0, greedy),
            |scales| 1.0 / symmetric(scales, &weights, 32.0).0,
        )
    }
}
