//! What Q4_K and Q5_K share: 8 groups of 32, each with a 6-bit scale and a 6-bit minimum.

use super::affine::Groups;
use super::search::AffineSearch;

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

/// Q4_K and Q5_K by the plain rule: an element weighs its magnitude and the root mean square of its group.
pub(crate) fn encode(x: &[f32], search: &AffineSearch) -> Groups<8> {
    Groups::plain::<32>(x, search, 63.0, |x| {
        let rms = (x.iter().fold(0.0, |sum, x| sum + x * x) / 32.0).sqrt();
        x.map(|v| rms + v.abs())
    })
}
