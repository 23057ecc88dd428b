//! Q6_K: 256 codes of 6 bits around 32; 16 groups with an 8-bit scale.

use half::f16;

use super::block::{Block, Encode, Spread, field, half_at};
use super::search::{NEGLIGIBLE, nearest_in, signed_max, squares, symmetric, weighted};

/// A block of 256 elements: `d * scale * (q - 32)`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Q6K {
    /// Low four bits of the codes.
    pub ql: [u8; 128],
    /// High two bits of the codes.
    pub qh: [u8; 64],
    /// Scales of the groups.
    pub scales: [i8; 16],
    /// Scale of the scales.
    pub d: f16,
}

impl Q6K {
    /// Puts in codes below 64, in the places that `unpack` reads.
    fn pack(&mut self, q: &[u8; 256]) {
        for (half, q) in q.as_chunks::<128>().0.iter().enumerate() {
            for l in 0..32 {
                self.ql[64 * half + l] = (q[l] & 15) | (q[l + 64] & 15) << 4;
                self.ql[64 * half + l + 32] = (q[l + 32] & 15) | (q[l + 96] & 15) << 4;
                self.qh[32 * half + l] =
                    q[l] >> 4 | (q[l + 32] >> 4) << 2 | (q[l + 64] >> 4) << 4 | (q[l + 96] >> 4) << 6;
            }
        }
    }
}

impl Q6K {
    /// Chooses the scale of each group, rounds it to what is stored, and then chooses the codes anew.
    fn choose(x: &[f32], group: impl Fn(usize, &[f32; 16]) -> (f32, [f32; 16])) -> Self {
        let mut block = Self { ql: [0; 128], qh: [0; 64], scales: [0; 16], d: f16::ZERO };
        let mut q = [0; 256];
        let mut scales = [0f32; 16];
        let groups = x.as_chunks::<16>().0;
        for (j, (x, q)) in groups.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
            let (scale, codes) = group(j, x);
            (scales[j], *q) = (scale, codes.map(|code| (code + 32.0) as u8));
        }
        let max = signed_max(&scales);
        if max.abs() < NEGLIGIBLE {
            return block;
        }
        let inverse = -128.0 / max;
        block.d = f16::from_f32(1.0 / inverse);
        block.scales = scales.map(|s| nearest_in(inverse * s, -128.0, 127.0) as i8);
        for (j, (x, q)) in groups.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
            let scale = block.d.to_f32() * f32::from(block.scales[j]);
            if scale != 0.0 {
                *q = x.map(|x| (nearest_in(x / scale, -32.0, 31.0) + 32.0) as u8);
            }
        }
        block.pack(&q);
        block
    }
}

impl Block for Q6K {
    const LEN: usize = 256;
    const BYTES: usize = 210;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        let scales = field::<16>(bytes, 192).map(|s| s as i8);
        Self { ql: field(bytes, 0), qh: field(bytes, 128), scales, d: half_at(bytes, 208) }
    }

    /// In each half of 128, byte l of 32 high bits serves the elements l, l + 32, l + 64 and l + 96, whose low
    /// bits are the low and then the high nibbles of 64 bytes.
    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (half, codes) in codes.chunks_exact_mut(128).enumerate() {
            let ql = &self.ql[64 * half..64 * half + 64];
            let qh = &self.qh[32 * half..32 * half + 32];
            for l in 0..32 {
                codes[l] = ((ql[l] & 15) | (qh[l] & 3) << 4) as i8 - 32;
                codes[l + 32] = ((ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4) as i8 - 32;
                codes[l + 64] = ((ql[l] >> 4) | (qh[l] >> 4 & 3) << 4) as i8 - 32;
                codes[l + 96] = ((ql[l + 32] >> 4) | (qh[l] >> 6) << 4) as i8 - 32;
            }
        }
        let d = self.d.to_f32();
        for (scale, s) in scales.iter_mut().zip(self.scales) {
            *scale = d * f32::from(s);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Q6K {
    const SPREAD: Option<Spread> = Some(Spread::Flat);

    fn write(&self, bytes: &mut [u8]) {
        bytes[..128].copy_from_slice(&self.ql);
        bytes[128..192].copy_from_slice(&self.qh);
        bytes[192..208].copy_from_slice(&self.scales.map(|s| s as u8));
        bytes[208..].copy_from_slice(&self.d.to_le_bytes());
    }

    fn encode(x: &[f32]) -> Self {
        Self::choose(x, |_, x| symmetric(x, &squares(x), 32.0))
    }

    fn encode_weighted(x: &[f32], w: &[f32], greedy: bool) -> Self {
        let groups = w.as_chunks::<16>().0;
        Self::choose(x, |j, x| weighted(x, &groups[j], 32.0, greedy))
    }
}
