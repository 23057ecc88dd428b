//! IQ4_XS: the codes of IQ4_NL in blocks of 256; 8 groups with a 6-bit scale around 32.

use half::f16;

use super::block::{Block, Encode, Spread, field, half_at, nibbles, pack_nibbles};
use super::iq4_nl::IQ4_VALUES;
use super::search::{inverse, nearest_entries, nearest_in, signed_max, squares, table_scale};

/// A block of 256 elements: `d * (ls - 32) * IQ4_VALUES[q]`, 32 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Iq4Xs {
    /// Scale of the scales.
    pub d: f16,
    /// High two bits of the scale of group b in bits 2b and 2b + 1.
    pub scales_h: u16,
    /// Low four bits of the scales, low nibble first.
    pub scales_l: [u8; 4],
    /// Codes: 16 bytes to a group; byte j holds elements j (low) and j + 16 (high) of the group.
    pub qs: [u8; 128],
}

impl Iq4Xs {
    /// The nearest codes for the scales of the groups, once those are rounded.
    fn with_scales(x: &[f32], scales: &[f32; 8]) -> Self {
        let d = -signed_max(scales) / 32.0;
        let mut block = Self { d: f16::from_f32(d), scales_h: 0, scales_l: [0; 4], qs: [0; 128] };
        for (b, (x, qs)) in x.as_chunks::<32>().0.iter().zip(block.qs.as_chunks_mut::<16>().0).enumerate() {
            let ls = nearest_in(inverse(d) * scales[b], -32.0, 31.0);
            // The scale before it is rounded to a half float, as in the reference quantizer.
            let id = inverse(d * ls);
            *qs = pack_nibbles(&nearest_entries(x, id, &IQ4_VALUES));
            let stored = (ls + 32.0) as u8;
            block.scales_l[b / 2] |= (stored & 15) << (4 * (b % 2));
            block.scales_h |= u16::from(stored >> 4) << (2 * b);
        }
        block
    }
}

impl Block for Iq4Xs {
    const LEN: usize = 256;
    const BYTES: usize = 136;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        let scales_h = u16::from_le_bytes(field(bytes, 2));
        Self { d: half_at(bytes, 0), scales_h, scales_l: field(bytes, 4), qs: field(bytes, 8) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let d = self.d.to_f32();
        for (b, (codes, qs)) in codes.chunks_exact_mut(32).zip(self.qs.as_chunks::<16>().0).enumerate() {
            for (code, q) in codes.iter_mut().zip(nibbles(qs)) {
                *code = IQ4_VALUES[usize::from(q)];
            }
            let low = (self.scales_l[b / 2] >> (4 * (b % 2))) & 15;
            let high = ((self.scales_h >> (2 * b)) & 3) as u8;
            scales[b] = d * (f32::from(low | high << 4) - 32.0);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Iq4Xs {
    const SPREAD: Option<Spread> = Some(Spread::Block(2.0));

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.scales_h.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.scales_l);
        bytes[8..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let mut scales = [0f32; 8];
        for (scale, x) in scales.iter_mut().zip(x.as_chunks::<32>().0) {
            *scale = table_scale(x, &squares(x), &IQ4_VALUES);
        }
        Self::with_scales(x, &scales)
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        let mut scales = [0f32; 8];
        let groups = x.as_chunks::<32>().0.iter().zip(w.as_chunks::<32>().0);
        for (scale, (x, w)) in scales.iter_mut().zip(groups) {
            *scale = table_scale(x, w, &IQ4_VALUES);
        }
        Self::with_scales(x, &scales)
    }
}
