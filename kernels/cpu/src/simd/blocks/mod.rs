//! How the blocks of each quantized type become unsigned codes and scales with rows in lanes.

mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod spelled;

pub(super) use iq4_nl::Iq4Nl;
pub(super) use iq4_xs::Iq4Xs;
pub(super) use mxfp4::Mxfp4;
pub(super) use q2_k::Q2K;
pub(super) use q3_k::Q3K;
pub(super) use q4_0::Q4_0;
pub(super) use q4_1::Q4_1;
pub(super) use q4_k::Q4K;
pub(super) use q5_0::Q5_0;
pub(super) use q5_1::Q5_1;
pub(super) use q5_k::Q5K;
pub(super) use q6_k::Q6K;
pub(super) use q8_0::Q8_0;
pub(super) use spelled::Spelled;

use super::Simd;
use super::linear_q::{Blocks, Narrow, Rows, Step, Wide};

/// The low nibbles of four vectors become codes 0..16 of a step, the high ones codes 16..32.
#[inline(always)]
fn put_nibbles<S: Simd, const R: usize, const G: usize, const M: usize>(
    s: S,
    nibbles: [S::I; 4],
    out: &mut Step<R, G, M>,
    map: impl Fn(S, S::I) -> S::I,
) {
    let low = s.splat_u8(15);
    for j in 0..4 {
        s.put_codes(&mut out.codes[j], map(s, s.and(nibbles[j], low)));
        s.put_codes(&mut out.codes[j + 4], map(s, s.and(s.shr(nibbles[j], 4), low)));
    }
}

/// The half precision numbers in the upper halves of the lanes, with the opposite sign.
#[inline(always)]
fn minus_upper_halves<S: Simd>(s: S, v: S::I) -> S::F {
    s.lower_halves(s.xor(s.shr(v, 16), s.splat_i32(0x8000)))
}

/// A table of signed codes as `multiply` wants them.
const fn table<S: Simd>(values: [i8; 16]) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (values[i] as i32 + S::SIGNED) as u8;
        i += 1;
    }
    table
}
