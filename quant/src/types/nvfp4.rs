//! NVFP4: 64 four-bit floats (E2M1); 4 groups with an eight-bit float (E4M3, not negative) as scale.
//!
//! Files may hold a further factor for a whole matrix, as a tensor of its own; that is no business of the blocks.

use super::block::{Block, Encode, field};
use super::mxfp4::{E2M1_DOUBLED, nearest_code};
use super::search::signed_max;

/// A block of 64 elements: `scale(d) * E2M1_DOUBLED[q]`, 16 elements to a group.
#[derive(Clone, Copy, Debug)]
pub struct Nvfp4 {
    /// Scales.
    pub d: [u8; 4],
    /// Codes: 8 bytes to a group; byte j holds elements j (low) and j + 8 (high) of the group.
    pub qs: [u8; 32],
}

/// The code that is no number, and stands for zero here.
const NOT_A_NUMBER: u8 = 0x7f;
/// The largest number that a scale can be.
const LARGEST: f32 = 448.0;

/// Half of what the code stands for, as the values of the elements are doubled. The top bit is ignored.
fn scale(d: u8) -> f32 {
    if d == NOT_A_NUMBER {
        return 0.0;
    }
    let (exponent, mantissa) = (u32::from(d >> 3 & 15), d & 7);
    let eighths = if exponent == 0 { mantissa } else { 8 + mantissa };
    // 2^(exponent - 7), an eighth and a half of it.
    f32::from(eighths) * f32::from_bits((exponent.max(1) + 127 - 11) << 23)
}

/// The code nearest to `x`, which is not negative, ties up; as in the reference quantizer nothing between 240 and 448
/// is chosen.
fn nearest_scale(x: f32) -> u8 {
    let x = x.min(LARGEST);
    let exponent = (x.to_bits() >> 23) as i32 - 127 + 7;
    if exponent <= 0 {
        return ((x * 512.0 + 0.5) as u8).min(7);
    }
    // Three bits of mantissa, rounded by the next: a carry goes to the exponent.
    let code = (x.to_bits() >> 19).div_ceil(2) - (127 - 7) * 8;
    if exponent >= 15 || code >= 15 * 8 { NOT_A_NUMBER - 1 } else { code as u8 }
}

impl Block for Nvfp4 {
    const LEN: usize = 64;
    const BYTES: usize = 36;
    const GROUP: usize = 16;

    fn read(bytes: &[u8]) -> Self {
        Self { d: field(bytes, 0), qs: field(bytes, 4) }
    }

    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], _mins: &mut [f32]) {
        let groups = codes.as_chunks_mut::<16>().0.iter_mut().zip(self.qs.as_chunks::<8>().0);
        for (((codes, qs), d), out) in groups.zip(self.d).zip(scales) {
            for (j, q) in qs.iter().enumerate() {
                codes[j] = E2M1_DOUBLED[usize::from(q & 15)];
                codes[j + 8] = E2M1_DOUBLED[usize::from(q >> 4)];
            }
            *out = scale(d);
        }
    }

    fn is_finite(&self) -> bool {
        true
    }
}

impl Encode for Nvfp4 {
    /// The largest scale times the largest element.
    const LIMIT: f32 = LARGEST * 6.0;

    fn write(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.d);
        bytes[4..].copy_from_slice(&self.qs);
    }

    fn encode(x: &[f32]) -> Self {
        let mut block = Self { d: [0; 4], qs: [0; 32] };
        let groups = x.as_chunks::<16>().0.iter().zip(block.qs.as_chunks_mut::<8>().0);
        for ((x, qs), d) in groups.zip(&mut block.d) {
            *d = nearest_scale(signed_max(x).abs() / 6.0);
            let s = scale(*d);
            *qs = std::array::from_fn(|j| nearest_code(s, x[j]) | nearest_code(s, x[j + 8]) << 4);
        }
        block
    }
}
