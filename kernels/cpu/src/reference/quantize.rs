//! Quantizing activations to 8 bits.

/// Quantizes one row `x [cols]`, `cols` a multiple of 32: `codes [cols]`, `scales [cols / 32]`,
/// `sums [cols / 16]`. For every 32 values, with amax the largest magnitude:
///
/// - the magnitude bits are compared as integers, so NaN > infinity > every finite number;
/// - amax not finite: scale NaN, codes 0. The NaN reaches the output; nothing turns into a wrong number;
/// - amax < 1e-30: scale 0, codes 0;
/// - else code = round_ties_even(x * (127 / amax)), always within -127..=127, and scale = amax / 127.
///
/// `sums` are the sums of 16 codes.
pub fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    for block in 0..x.len() / 32 {
        let x = &x[block * 32..][..32];
        let codes = &mut codes[block * 32..][..32];
        let mut amax_bits = 0u32;
        for v in x {
            amax_bits = amax_bits.max(v.to_bits() & 0x7fff_ffff);
        }
        let amax = f32::from_bits(amax_bits);
        if amax_bits >= 0x7f80_0000 {
            scales[block] = f32::NAN;
            codes.fill(0);
        } else if amax < 1e-30 {
            scales[block] = 0.0;
            codes.fill(0);
        } else {
            let inv = 127.0 / amax;
            scales[block] = amax / 127.0;
            for i in 0..32 {
                codes[i] = (x[i] * inv).round_ties_even() as i8;
            }
        }
        for half in 0..2 {
            sums[block * 2 + half] = codes[half * 16..][..16].iter().map(|&c| i32::from(c)).sum();
        }
    }
}
