//! Quantizing activations to 8 bits.

/// [`reference::quantize`](crate::reference::quantize::quantize()), in loops that vectorize.
pub fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    let blocks = x.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
    for (block, (x, codes)) in blocks.enumerate() {
        let amax_bits = x.iter().fold(0u32, |max, v| max.max(v.to_bits() & 0x7fff_ffff));
        let amax = f32::from_bits(amax_bits);
        let (scale, inv) = match amax {
            _ if amax_bits >= 0x7f80_0000 => (f32::NAN, 0.0),
            _ if amax < 1e-30 => (0.0, 0.0),
            _ => (amax / 127.0, 127.0 / amax),
        };
        scales[block] = scale;
        if inv == 0.0 {
            codes.fill(0);
            sums[block * 2..][..2].fill(0);
            continue;
        }
        for i in 0..32 {
            codes[i] = round(x[i] * inv) as i8;
        }
        for half in 0..2 {
            sums[block * 2 + half] = codes[half * 16..][..16].iter().map(|&c| i32::from(c)).sum();
        }
    }
}

/// Rounds |v| < 2^22 to the nearest integer, ties to even, without a library call: adding 1.5 x 2^23 leaves
/// no bits for a fraction.
#[inline(always)]
fn round(v: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (v + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}
