//! What Q4_K and Q5_K share: 8 groups of 32, each with a 6-bit scale and a 6-bit minimum.

use half::f16;

use super::search::{AffineSearch, affine, multiples, nearest_in};

/// Scales and minima of the 8 groups, 6 bits each: the first four lie in the low bits of their own byte, the
/// last four are put together from nibbles and the bits left over.
pub(crate) fn unpack_pairs(s: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let scales = std::array::from_fn(|j| match j {
        0..4 => s[j] & 63,
        _ => (s[j + 4] & 15) | (s[j - 4] >> 6) << 4,
    });
    let mins = std::array::from_fn(|j| match j {
        0..4 => s[j + 4] & 63,
        _ => (s[j + 4] >> 4) | (s[j] >> 6) << 4,
    });
    (scales, mins)
}

/// The inverse of [`unpack_pairs`]; scales and minima are at most 63.
pub(crate) fn pack_pairs(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    std::array::from_fn(|k| match k {
        0..4 => scales[k] | (scales[k + 4] >> 4) << 6,
        4..8 => mins[k - 4] | (mins[k] >> 4) << 6,
        _ => (scales[k - 4] & 15) | (mins[k - 4] & 15) << 4,
    })
}

/// A block as Q4_K and Q5_K have it, before the codes are packed.
pub(crate) struct Groups {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    pub(crate) scales: [u8; 12],
    pub(crate) codes: [u8; 256],
}

/// Chooses scale and minimum of each group of `x` `[256]`, rounds them to what is stored, and then chooses the codes anew
/// for the rounded ones. An element weighs its magnitude and the root mean square of its group.
pub(crate) fn encode(x: &[f32], search: &AffineSearch) -> Groups {
    let weigh = |_: usize, x: &[f32; 32]| {
        let rms = (x.iter().fold(0.0, |sum, x| sum + x * x) / 32.0).sqrt();
        x.map(|v| rms + v.abs())
    };
    choose(x, search, weigh, |v, _| six_bits(v))
}

/// As [`encode`], with a weight for each element; scales and minima weigh what their groups do.
pub(crate) fn encode_weighted(x: &[f32], w: &[f32], nmax: f32) -> Groups {
    let groups = w.as_chunks::<32>().0;
    choose(
        x,
        &AffineSearch::fine(nmax),
        |j, _| groups[j],
        |v, w| {
            let (d, codes) = multiples(v, w, 63.0);
            (f16::from_f32(d), codes.map(|code| code as u8))
        },
    )
}

fn choose(
    x: &[f32],
    search: &AffineSearch,
    weigh: impl Fn(usize, &[f32; 32]) -> [f32; 32],
    round: impl Fn(&[f32; 8], &[f32; 8]) -> (f16, [u8; 8]),
) -> Groups {
    let mut codes = [0; 256];
    let (mut scales, mut mins, mut weights) = ([0f32; 8], [0f32; 8], [0f32; 8]);
    let groups = x.as_chunks::<32>().0;
    for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<32>().0).enumerate() {
        let w = weigh(j, x);
        let found = affine(x, &w, search);
        (scales[j], mins[j], *codes) = (found.scale, found.min, found.codes.map(|l| l as u8));
        weights[j] = w.iter().sum();
    }
    let (d, sc) = round(&scales, &weights);
    let (dmin, mn) = round(&mins, &weights);
    for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<32>().0).enumerate() {
        let scale = d.to_f32() * f32::from(sc[j]);
        let min = dmin.to_f32() * f32::from(mn[j]);
        if scale != 0.0 {
            *codes = x.map(|x| nearest_in((x + min) / scale, 0.0, search.nmax) as u8);
        }
    }
    Groups { d, dmin, scales: pack_pairs(&sc, &mn), codes }
}

/// Numbers that are not negative as multiples, 0..64, of a 63rd of the largest.
fn six_bits(v: &[f32; 8]) -> (f16, [u8; 8]) {
    let max = v.iter().fold(0.0f32, |m, &v| m.max(v));
    let inverse = if max > 0.0 { 63.0 / max } else { 0.0 };
    (f16::from_f32(max / 63.0), v.map(|v| nearest_in(inverse * v, 0.0, 63.0) as u8))
}
