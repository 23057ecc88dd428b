//! The searches that choose scales and codes when a block is encoded.
//!
//! They follow the reference quantizers of the format operation by operation, in f32, so that the blocks come
//! out the same to the bit: sums run in the order of the elements and products are taken in the order written.
//! Codes are whole numbers kept as f32, which lets the compiler use vectors for everything but the sums.

/// A group whose largest magnitude is below this is taken to be zero.
pub(crate) const NEGLIGIBLE: f32 = 1e-15;

/// The element of largest magnitude, with its sign; the first of equals.
pub(crate) fn signed_max(x: &[f32]) -> f32 {
    x.iter().fold(0.0f32, |m, &v| if v.abs() > m.abs() { v } else { m })
}

/// The smallest and the largest element, the first of equals; `x` is not empty.
pub(crate) fn range(x: &[f32]) -> (f32, f32) {
    x.iter()
        .fold((x[0], x[0]), |(min, max), &v| (if v < min { v } else { min }, if v > max { v } else { max }))
}

/// `1 / d`, or 0 for 0.
pub(crate) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The whole number nearest to `x`, ties to even, in `low..=high`, which are whole and below 2^22 in magnitude.
///
/// Adding 1.5 * 2^23 pushes the fraction out of the mantissa, which takes no instruction that old machines lack.
pub(crate) fn nearest_in(x: f32, low: f32, high: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    x.clamp(low, high) + SHIFT - SHIFT
}

/// The sums that give the best scale for fixed codes `l`, `xl / ll`, and its gain, `xl^2 / ll`: the error is a
/// constant less the gain.
#[derive(Clone, Copy)]
struct Fit {
    xl: f32,
    ll: f32,
}

impl Fit {
    fn of<const N: usize>(x: &[f32; N], w: &[f32; N], l: &[f32; N]) -> Self {
        let (mut xl, mut ll) = (0.0, 0.0);
        for i in 0..N {
            xl += w[i] * x[i] * l[i];
            ll += w[i] * l[i] * l[i];
        }
        Self { xl, ll }
    }

    /// Whether the gain is more than that of `other`.
    fn beats(self, other: Self) -> bool {
        self.ll > 0.0 && other.ll > 0.0 && self.xl * self.xl * other.ll > other.xl * other.xl * self.ll
    }

    fn scale(self) -> f32 {
        if self.ll > 0.0 { self.xl / self.ll } else { 0.0 }
    }
}

/// The weights that take the place of importance where there is none: the squares.
pub(crate) fn squares<const N: usize>(x: &[f32; N]) -> [f32; N] {
    x.map(|v| v * v)
}

/// Chooses the scale for codes in `-nmax..nmax` around zero, whose errors weigh `w`: tries the one that makes the extreme
/// element fit and 18 others close to it. Returns the codes too, since they stand if the scale is later rounded to zero.
pub(crate) fn symmetric<const N: usize>(x: &[f32; N], w: &[f32; N], nmax: f32) -> (f32, [f32; N]) {
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return (0.0, [-nmax; N]);
    }
    let codes_for = |iscale: f32| x.map(|v| nearest_in(iscale * v, -nmax, nmax - 1.0));
    let mut codes = codes_for(-nmax / max);
    let fit = Fit::of(x, w, &codes);
    let mut scale = fit.scale();
    let mut best = scale * fit.xl;
    for k in (-9..=9).filter(|&k| k != 0) {
        let trial = codes_for(-(nmax + 0.1 * k as f32) / max);
        let fit = Fit::of(x, w, &trial);
        if fit.ll > 0.0 && fit.xl * fit.xl > best * fit.ll {
            codes = trial;
            scale = fit.scale();
            best = scale * fit.xl;
        }
    }
    (scale, codes)
}

/// Moves one code by one step at a time, the one whose step promises most, while that lowers the error; returns the
/// best scale for the codes. (I. Kawrakow's way, ik_llama.cpp 295: nearly the best codes there are.)
pub(crate) fn ascend<const N: usize>(x: &[f32; N], w: &[f32; N], nmax: f32, codes: &mut [f32; N]) -> f32 {
    let mut fit = Fit::of(x, w, codes);
    // Each step lowers the error, so there is an end; the bound is for sums that are rounded.
    for _ in 0..8 * N {
        let scale = fit.scale();
        let mut promise = 0.0;
        let mut step = None;
        for i in 0..N {
            let gradient = w[i] * (x[i] - scale * codes[i]);
            let delta = if (gradient > 0.0) == (scale > 0.0) { 1.0 } else { -1.0 };
            let new = codes[i] + delta;
            if gradient.abs() > promise && new >= -nmax && new <= nmax - 1.0 {
                promise = gradient.abs();
                step = Some((i, delta));
            }
        }
        let Some((i, delta)) = step else { break };
        let moved =
            Fit { xl: fit.xl + w[i] * x[i] * delta, ll: fit.ll + w[i] * (2.0 * codes[i] * delta + 1.0) };
        if !moved.beats(fit) {
            break;
        }
        codes[i] += delta;
        fit = moved;
    }
    fit.scale()
}

/// [`symmetric`], and then with `greedy` [`ascend`].
pub(crate) fn weighted<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    nmax: f32,
    greedy: bool,
) -> (f32, [f32; N]) {
    let (mut scale, mut codes) = symmetric(x, w, nmax);
    if greedy && scale != 0.0 {
        scale = ascend(x, w, nmax, &mut codes);
    }
    (scale, codes)
}

/// Numbers that are not negative as multiples, up to `nmax`, of a scale: tries the one that makes the largest fit and 8
/// others close to it, and then moves one multiple at a time while that lowers the error. Errors weigh `w`.
pub(crate) fn multiples<const N: usize>(v: &[f32; N], w: &[f32; N], nmax: f32) -> (f32, [f32; N]) {
    let max = v.iter().fold(0.0f32, |m, &v| m.max(v));
    if max < NEGLIGIBLE {
        return (0.0, [0.0; N]);
    }
    let codes_for = |iscale: f32| v.map(|v| nearest_in(iscale * v, 0.0, nmax));
    let mut codes = codes_for(nmax / max);
    let mut fit = Fit::of(v, w, &codes);
    for k in (-4..=4).filter(|&k| k != 0) {
        let trial = codes_for((nmax + 0.1 * k as f32) / max);
        let found = Fit::of(v, w, &trial);
        if found.beats(fit) {
            (codes, fit) = (trial, found);
        }
    }
    for _ in 0..5 {
        let mut changed = false;
        for i in 0..N {
            let without =
                Fit { xl: fit.xl - w[i] * v[i] * codes[i], ll: fit.ll - w[i] * codes[i] * codes[i] };
            if without.xl <= 0.0 || without.ll <= 0.0 {
                continue;
            }
            let new = nearest_in(v[i] * without.ll / without.xl, 0.0, nmax);
            let moved = Fit { xl: without.xl + w[i] * v[i] * new, ll: without.ll + w[i] * new * new };
            if new != codes[i] && moved.beats(fit) {
                (codes[i], fit, changed) = (new, moved, true);
            }
        }
        if !changed {
            break;
        }
    }
    (fit.scale(), codes)
}

/// Chooses the scale for 16 codes in `-4..4` by moving one code at a time while that lowers the error, and
/// returns it with the codes.
pub(crate) fn three_bits(x: &[f32; 16]) -> (f32, [f32; 16]) {
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return (0.0, [-4.0; 16]);
    }
    let mut codes = x.map(|v| nearest_in(-4.0 / max * v, -4.0, 3.0));
    let mut fit = Fit::of(x, &squares(x), &codes);
    for _ in 0..5 {
        let mut changed = false;
        for (l, &v) in codes.iter_mut().zip(x) {
            let w = v * v;
            let mut moved = Fit { xl: fit.xl - w * v * *l, ll: fit.ll - w * *l * *l };
            if moved.xl <= 0.0 {
                continue;
            }
            let new = nearest_in(v * moved.ll / moved.xl, -4.0, 3.0);
            if new == *l {
                continue;
            }
            moved.xl += w * v * new;
            moved.ll += w * new * new;
            if moved.ll > 0.0 && moved.xl * moved.xl * fit.ll > fit.xl * fit.xl * moved.ll {
                *l = new;
                fit = moved;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    (fit.scale(), codes)
}

/// What [`affine`] may try.
pub(crate) struct AffineSearch {
    /// Largest code.
    pub(crate) nmax: f32,
    /// The first range tried is `nmax + first` codes, and each further one is `step` wider.
    pub(crate) first: f32,
    pub(crate) step: f32,
    /// How many steps follow the first one.
    pub(crate) steps: u32,
    /// Whether errors count by their magnitude rather than by their square.
    pub(crate) absolute: bool,
}

impl AffineSearch {
    /// A finer search, for weights that are to be trusted.
    pub(crate) const fn fine(nmax: f32) -> Self {
        Self { nmax, first: -0.9, step: 0.05, steps: 36, absolute: false }
    }
}

/// A group as `scale * code - min`, with `min` not negative.
pub(crate) struct Affine<const N: usize> {
    pub(crate) scale: f32,
    pub(crate) min: f32,
    pub(crate) codes: [f32; N],
}

/// Chooses scale, minimum and codes for `x`, whose errors weigh `w`: for each range tried, the best scale and
/// minimum for the codes that follow from it.
pub(crate) fn affine<const N: usize>(x: &[f32; N], w: &[f32; N], search: &AffineSearch) -> Affine<N> {
    let nmax = search.nmax;
    let (min, max) = range(x);
    let mut min = if min > 0.0 { 0.0 } else { min };
    if max == min {
        return Affine { scale: 0.0, min: -min, codes: [0.0; N] };
    }
    let sum_w = w.iter().fold(0.0, |sum, w| sum + w);
    let sum_x = x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + w * x);
    let codes_for = |iscale: f32, min: f32| x.map(|v| nearest_in(iscale * (v - min), 0.0, nmax));
    let error = |codes: &[f32; N], scale: f32, min: f32| {
        let mut sum = 0.0;
        for i in 0..N {
            let diff = scale * codes[i] + min - x[i];
            sum += w[i] * if search.absolute { diff.abs() } else { diff * diff };
        }
        sum
    };

    let iscale = nmax / (max - min);
    let mut scale = 1.0 / iscale;
    let mut codes = codes_for(iscale, min);
    let mut best = error(&codes, scale, min);
    for k in 0..=search.steps {
        // The minimum is the best one so far, so that each success shifts the ranges that follow.
        let trial = codes_for((search.first + search.step * k as f32 + nmax) / (max - min), min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for i in 0..N {
            sum_l += w[i] * trial[i];
            sum_l2 += w[i] * trial[i] * trial[i];
            sum_xl += w[i] * trial[i] * x[i];
        }
        let determinant: f32 = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut new_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if new_min > 0.0 {
            new_min = 0.0;
            new_scale = sum_xl / sum_l2;
        }
        let new_error = error(&trial, new_scale, new_min);
        if new_error < best {
            (best, scale, min, codes) = (new_error, new_scale, new_min, trial);
        }
    }
    Affine { scale, min: -min, codes }
}

/// For each element the index of the entry of the rising `table` that is nearest to `id` times it, the upper one
/// of a tie.
pub(crate) fn nearest_entries(x: &[f32; 32], id: f32, table: &[i8; 16]) -> [u8; 32] {
    let mut above = [0; 32];
    for pair in table.windows(2) {
        let middle = (f32::from(pair[0]) + f32::from(pair[1])) / 2.0;
        for i in 0..32 {
            above[i] += u8::from(id * x[i] >= middle);
        }
    }
    above
}

/// The scale for 32 codes that stand for the entries of a rising `table` whose first entry is its most extreme:
/// first with the extreme element at the positive end, then at 15 places near the negative end. Errors weigh `w`.
pub(crate) fn table_scale(x: &[f32; 32], w: &[f32; 32], table: &[i8; 16]) -> f32 {
    let max = signed_max(x);
    if max.abs() < NEGLIGIBLE {
        return 0.0;
    }
    let first = f32::from(table[0]);
    let fit = |id: f32| {
        let (mut xl, mut ll) = (0.0, 0.0);
        for (i, index) in nearest_entries(x, id, table).into_iter().enumerate() {
            let l = f32::from(table[usize::from(index & 15)]);
            xl += w[i] * l * x[i];
            ll += w[i] * l * l;
        }
        Fit { xl, ll }
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
