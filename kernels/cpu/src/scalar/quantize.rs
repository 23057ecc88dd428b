//! Quantizing activations to 8 bits.

use crate::acts::ActTileMut;

/// [`reference::quantize`](crate::reference::quantize::quantize()), in loops that vectorize. `x` becomes token
/// `t` of the tile.
pub fn quantize(x: &[f32], t: usize, tile: &mut ActTileMut) {
    for (step, x) in x.as_chunks::<32>().0.iter().enumerate() {
        let mut codes = [0; 32];
        let (scale, sums) = quantize_block(x, &mut codes);
        tile.put(step, t, &codes, scale, sums);
    }
}

/// Quantizes 32 values; gives their scale and the sums of each 16 codes.
pub(crate) fn quantize_block(x: &[f32; 32], codes: &mut [i8; 32]) -> (f32, [i32; 2]) {
    let amax_bits = x.iter().fold(0u32, |max, v| max.max(v.to_bits() & 0x7fff_ffff));
    let amax = f32::from_bits(amax_bits);
    codes.fill(0);
    if amax_bits >= 0x7f80_0000 {
        return (f32::NAN, [0; 2]);
    }
    if amax < 1e-30 {
        return (0.0, [0; 2]);
    }
    let inv = 127.0 / amax;
    for i in 0..32 {
        codes[i] = round(x[i] * inv) as i8;
    }
    let (low, high) = codes.split_at(16);
    (amax / 127.0, [low, high].map(|half| half.iter().map(|&c| i32::from(c)).sum()))
}

/// Rounds |v| < 2^22 to the nearest integer, ties to even, without a library call: adding 1.5 x 2^23 leaves
/// no bits for a fraction.
#[inline(always)]
fn round(v: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (v + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}
