//! What the K-quants with minimums share: 256 codes in groups, whose scales and minimums are small multiples of two
//! numbers.

use half::f16;

use super::search::{AffineSearch, affine, multiples, nearest_in};

/// A block of K groups, before its parts are packed.
pub(crate) struct Groups<const K: usize> {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    /// Multiples of `d`.
    pub(crate) scales: [u8; K],
    /// Multiples of `dmin`.
    pub(crate) mins: [u8; K],
    pub(crate) codes: [u8; 256],
}

impl<const K: usize> Groups<K> {
    /// By the plain rule of the format: elements of a group of N weigh what `weigh` says, and the largest scale and
    /// minimum become `most`.
    pub(crate) fn plain<const N: usize>(
        x: &[f32],
        search: &AffineSearch,
        most: f32,
        weigh: impl Fn(&[f32; N]) -> [f32; N],
    ) -> Self {
        Self::choose(x, search, |_, x| weigh(x), |v, _| of_the_largest(v, most))
    }

    /// With a weight for each element; scales and minimums weigh what their groups of N do.
    pub(crate) fn weighted<const N: usize>(x: &[f32], w: &[f32], nmax: f32, most: f32) -> Self {
        let groups = w.as_chunks::<N>().0;
        let round = |v: &[f32; K], w: &[f32; K]| {
            let (d, codes) = multiples(v, w, most);
            (f16::from_f32(d), codes.map(|code| code as u8))
        };
        Self::choose(x, &AffineSearch::fine(nmax), |j, _| groups[j], round)
    }

    /// Chooses scale and minimum of each group, rounds them to what is stored, and then chooses the codes anew for the
    /// rounded ones.
    fn choose<const N: usize>(
        x: &[f32],
        search: &AffineSearch,
        weigh: impl Fn(usize, &[f32; N]) -> [f32; N],
        round: impl Fn(&[f32; K], &[f32; K]) -> (f16, [u8; K]),
    ) -> Self {
        let mut codes = [0; 256];
        let (mut scales, mut mins, mut weights) = ([0f32; K], [0f32; K], [0f32; K]);
        let groups = x.as_chunks::<N>().0;
        for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<N>().0).enumerate() {
            let w = weigh(j, x);
            let found = affine(x, &w, search);
            (scales[j], mins[j], *codes) = (found.scale, found.min, found.codes.map(|l| l as u8));
            weights[j] = w.iter().sum();
        }
        let (d, scales) = round(&scales, &weights);
        let (dmin, mins) = round(&mins, &weights);
        for (j, (x, codes)) in groups.iter().zip(codes.as_chunks_mut::<N>().0).enumerate() {
            let scale = d.to_f32() * f32::from(scales[j]);
            let min = dmin.to_f32() * f32::from(mins[j]);
            if scale != 0.0 {
                *codes = x.map(|x| nearest_in((x + min) / scale, 0.0, search.nmax) as u8);
            }
        }
        Self { d, dmin, scales, mins, codes }
    }
}

/// Numbers that are not negative as multiples of what makes the largest `most`.
fn of_the_largest<const K: usize>(v: &[f32; K], most: f32) -> (f16, [u8; K]) {
    let max = v.iter().fold(0.0f32, |m, &v| m.max(v));
    let inverse = if max > 0.0 { most / max } else { 0.0 };
    (f16::from_f32(max / most), v.map(|v| nearest_in(inverse * v, 0.0, most) as u8))
}
