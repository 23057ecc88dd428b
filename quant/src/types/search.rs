//! The searches that choose scales and codes when a block is encoded.
//!
//! They follow the reference quantizers of the format operation by operation, in f32, so that their output is
//! the same to the bit. `w` are the weights of the squared errors, always as many as there are elements.

/// A group whose largest magnitude is below this is taken to be zero.
pub(crate) const NEGLIGIBLE: f32 = 1e-15;

/// The element of largest magnitude, with its sign; the first of equals.
pub(crate) fn signed_max(x: &[f32]) -> f32 {
    x.iter().fold(0.0f32, |m, &v| if v.abs() > m.abs() { v } else { m })
}

/// The smallest and the largest element; `x` is not empty.
pub(crate) fn range(x: &[f32]) -> (f32, f32) {
    x.iter().fold((x[0], x[0]), |(min, max), &v| (min.min(v), max.max(v)))
}

/// `1 / d`, or 0 for 0.
pub(crate) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The nearest integer, ties to even.
///
/// Adding 1.5 * 2^23 pushes the fraction out of the mantissa; it is exact for what the clamp lets through and
/// needs no instruction that the oldest machines lack.
pub(crate) fn nearest(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (x.clamp(-4_194_303.0, 4_194_303.0) + SHIFT - SHIFT) as i32
}

/// The nearest integer in `low..=high`.
pub(crate) fn nearest_in(x: f32, low: i32, high: i32) -> i32 {
    nearest(x).clamp(low, high)
}

/// The two sums that give the best scale for fixed codes `l`, `xl / ll`, and its gain, `xl^2 / ll`: the error
/// is a constant less the gain.
#[derive(Clone, Copy)]
struct Fit {
    xl: f32,
    ll: f32,
}

impl Fit {
    fn of(pairs: impl Iterator<Item = (f32, f32, f32)>) -> Self {
        pairs.fold(Self { xl: 0.0, ll: 0.0 }, |fit, (x, w, l)| Self {
            xl: fit.xl + w * x * l,
            ll: fit.ll + w * l * l,
        })
    }

    fn scale(self) -> f32 {
        if self.ll == 0.0 { 0.0 } else { self.xl / self.ll }
    }
}

/// The scale for codes in `-nmax..nmax`, which are written to `codes`: tries the scale that makes the extreme
/// element fit, and 18 others close to it, with the squares of `x` as weights.
pub(crate) fn symmetric_scale(x: &[f32], nmax: i32, codes: &mut [i32]) -> f32 {
    codes.fill(0);
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let code = |iscale: f32, v: f32| nearest_in(iscale * v, -nmax, nmax - 1);
    let fit = |iscale: f32| Fit::of(x.iter().map(|&v| (v, v * v, code(iscale, v) as f32)));
    let mut chosen = -nmax as f32 / max;
    let start = fit(chosen);
    let mut scale = start.scale();
    let mut best = scale * start.xl;
    for k in (-9..=9).filter(|&k| k != 0) {
        let iscale = -(nmax as f32 + 0.1 * k as f32) / max;
        let fit = fit(iscale);
        if fit.ll > 0.0 && fit.xl * fit.xl > best * fit.ll {
            chosen = iscale;
            scale = fit.scale();
            best = scale * fit.xl;
        }
    }
    for (l, &v) in codes.iter_mut().zip(x) {
        *l = code(chosen, v);
    }
    scale
}

/// The scale for codes in `-4..4`, found by moving one code at a time while that lowers the error. The codes
/// themselves are written to `codes`, since they stand if the scale is later rounded to zero.
pub(crate) fn three_bit_scale(x: &[f32], codes: &mut [i32]) -> f32 {
    codes.fill(0);
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return 0.0;
    }
    for (l, &v) in codes.iter_mut().zip(x) {
        *l = nearest_in(-4.0 / max * v, -4, 3);
    }
    let mut fit = Fit::of(x.iter().zip(&*codes).map(|(&v, &l)| (v, v * v, l as f32)));
    for _ in 0..5 {
        let mut changed = false;
        for (l, &v) in codes.iter_mut().zip(x) {
            let w = v * v;
            let old = *l as f32;
            let mut other = Fit { xl: fit.xl - w * v * old, ll: fit.ll - w * old * old };
            if other.xl <= 0.0 {
                continue;
            }
            let new = nearest_in(v * other.ll / other.xl, -4, 3);
            if new == *l {
                continue;
            }
            other.xl += w * v * new as f32;
            other.ll += w * new as f32 * new as f32;
            if other.ll > 0.0 && other.xl * other.xl * fit.ll > fit.xl * fit.xl * other.ll {
                *l = new;
                fit = other;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    fit.scale()
}

/// What [`affine`] may try.
pub(crate) struct AffineSearch {
    /// Largest code.
    pub(crate) nmax: u8,
    /// The first range tried is `nmax + first`, in codes, and each further one is 0.1 wider.
    pub(crate) first: f32,
    /// How many steps of 0.1 follow the first one.
    pub(crate) steps: u32,
    /// Whether errors count by their magnitude rather than by their square.
    pub(crate) absolute: bool,
}

/// Chooses `scale` and `min`, both at least 0 in sense (`min` exactly), such that `scale * code - min` is near
/// `x`, and writes the codes. Returns `(scale, min)`.
pub(crate) fn affine(x: &[f32], w: &[f32], search: &AffineSearch, codes: &mut [u8]) -> (f32, f32) {
    let nmax = f32::from(search.nmax);
    let (min, max) = range(x);
    let mut min = min.min(0.0);
    if max == min {
        codes.fill(0);
        return (0.0, -min);
    }
    let (lowest, width) = (min, max - min);
    let sum_w = w.iter().fold(0.0, |sum, w| sum + w);
    let sum_x = x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + w * x);
    let quantize = |iscale: f32, codes: &mut [u8]| {
        for (l, x) in codes.iter_mut().zip(x) {
            *l = nearest_in(iscale * (x - lowest), 0, i32::from(search.nmax)) as u8;
        }
    };
    let error = |codes: &[u8], scale: f32, min: f32| {
        x.iter().zip(w).zip(codes).fold(0.0, |sum, ((x, w), &l)| {
            let diff = scale * f32::from(l) + min - x;
            sum + w * if search.absolute { diff.abs() } else { diff * diff }
        })
    };

    let mut scale = 1.0 / (nmax / width);
    quantize(nmax / width, codes);
    let mut best = error(codes, scale, min);
    let mut trial = [0u8; 32];
    let trial = &mut trial[..x.len()];
    for k in 0..=search.steps {
        quantize((search.first + 0.1 * k as f32 + nmax) / width, trial);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((x, w), &l) in x.iter().zip(w).zip(&*trial) {
            let l = f32::from(l);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut new_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if new_min > 0.0 {
            new_min = 0.0;
            new_scale = sum_xl / sum_l2;
        }
        let new_error = error(trial, new_scale, new_min);
        if new_error < best {
            codes.copy_from_slice(trial);
            (best, scale, min) = (new_error, new_scale, new_min);
        }
    }
    (scale, -min)
}

/// The index of the entry of a rising `table` that is nearest to `x`; the upper one of a tie.
pub(crate) fn nearest_entry(table: &[i8; 16], x: f32) -> u8 {
    let above = table.partition_point(|&t| f32::from(t) <= x);
    match above {
        0 => 0,
        16 => 15,
        _ if x - f32::from(table[above - 1]) < f32::from(table[above]) - x => above as u8 - 1,
        _ => above as u8,
    }
}

/// The scale for codes that stand for the entries of a rising `table` whose first entry is its most extreme:
/// first with the extreme element at the positive end, then at 15 places near the negative end, with the
/// squares of `x` as weights.
pub(crate) fn table_scale(x: &[f32], table: &[i8; 16]) -> f32 {
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let first = f32::from(table[0]);
    let fit = |id: f32| {
        Fit::of(x.iter().map(|&v| (v, v * v, f32::from(table[usize::from(nearest_entry(table, id * v))]))))
    };
    let start = fit(1.0 / (-max / first));
    let mut scale = start.scale();
    let mut best = scale * start.xl;
    for k in -7..=7 {
        let fit = fit((k as f32 + first) / max);
        if fit.ll > 0.0 && fit.xl * fit.xl > best * fit.ll {
            scale = fit.scale();
            best = scale * fit.xl;
        }
    }
    scale
}
