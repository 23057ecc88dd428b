//! IQ4_NL: 32 codes of 4 bits that point into a table of uneven steps, and one scale.

use half::f16;

use super::block::{Block, Encode, Spread, array, field, half_at, nibbles, pack_nibbles};
use super::search::{inverse, nearest_entries, squares, table_scale};

/// What the codes of IQ4_NL and IQ4_XS stand for: steps that are finer near zero.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// A block of 32 elements: `d * IQ4_VALUES[q]`.
#[derive(Clone, Copy, Debug)]
pub struct Iq4Nl {
    /// Scale.
    pub d: f16,
    /// Codes: byte j holds elements j (low) and j + 16 (high).
    pub qs: [u8; 16],
}

impl Iq4Nl {
    /// The nearest codes for a scale.
    fn with_scale(x: &[f32; 32], d: f32) -> Self {
        let q = nearest_entries(x, inverse(d), &IQ4_VALUES);
        Self { d: f16::from_f32(d), qs: pack_nibbles(&q) }
    }
}

impl Block for Iq4Nl {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;

    fn read(bytes: &[u8]) -> Self {
        Self { d: half_at(bytes, 0), qs: field(bytes, 2) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        for (code, q) in codes.iter_mut().zip(nibbles(&self.qs)) {
            *code = IQ4_VALUES[usize::from(q)];
        }
        scales[0] = self.d.to_f32();
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Encode for Iq4Nl {
    const SPREAD: Option<Spread> = Some(Spread::Block(2.0));

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let x = array(x);
        Self::with_scale(&x, table_scale(&x, &squares(&x), &IQ4_VALUES))
    }

    fn encode_weighted(x: &[f32], w: &[f32], _: bool) -> Self {
        let x = array(x);
        Self::with_scale(&x, table_scale(&x, &array(w), &IQ4_VALUES))
    }
}
