//! Quantizing activations to 8 bits.

use super::Simd;
use crate::acts::ActTileMut;

/// See `reference::quantize::quantize`. `x` becomes token `t` of the tile.
pub(super) fn quantize<S: Simd, const P: usize>(s: S, x: &[f32], t: usize, tile: &mut ActTileMut) {
    s.run(
        #[inline(always)]
        || {
            for (step, x) in x.as_chunks::<32>().0.iter().enumerate() {
                let mut v = [[s.splat(0.0); P]; 2];
                let mut magnitude = s.splat_i32(0);
                for half in 0..2 {
                    for p in 0..P {
                        // SAFETY: LANES of 32 floats.
                        v[half][p] = unsafe { s.load(x.as_ptr().add(16 * half + p * S::LANES)) };
                        magnitude = s.max_i32(magnitude, s.and(s.bits(v[half][p]), s.splat_i32(i32::MAX)));
                    }
                }
                let amax_bits = s.largest_i32(magnitude) as u32;
                let amax = f32::from_bits(amax_bits);
                let mut codes = [0i8; 32];
                let mut sums = [0i32; 2];
                if amax_bits >= f32::INFINITY.to_bits() || amax < 1e-30 {
                    tile.put(step, t, &codes, if amax < 1e-30 { 0.0 } else { f32::NAN }, sums);
                    continue;
                }
                let inv = s.splat(127.0 / amax);
                for half in 0..2 {
                    let mut sum = s.splat_i32(0);
                    for p in 0..P {
                        let rounded = s.to_int(s.round(s.mul(v[half][p], inv)));
                        sum = s.add_i32(sum, rounded);
                        // SAFETY: LANES of 32 bytes.
                        unsafe { s.store_i8(codes.as_mut_ptr().add(16 * half + p * S::LANES), rounded) };
                    }
                    sums[half] = s.sum_i32(sum);
                }
                tile.put(step, t, &codes, amax / 127.0, sums);
            }
        },
    );
}
