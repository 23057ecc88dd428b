//! Attention over a tile of 64 positions: positions in lanes for the scores, dimensions in lanes for the
//! values. Up to six query rows share every load and conversion of a key or value.

use super::Simd;
use super::math::exp;
use crate::{KvRef, TILE};
use half::f16;

/// A tile in one storage format, as f32.
trait Tile: Copy {
    /// Dimension i of positions `j..j + LANES` of the keys `[D, 64]`.
    ///
    /// # Safety
    /// The tile has them.
    unsafe fn keys<S: Simd>(self, s: S, i: usize, j: usize) -> S::F;
    /// Dimensions `i..i + LANES` (inside one block of 32) of position j of the values `[64, D]`.
    ///
    /// # Safety
    /// The tile has them.
    unsafe fn value<S: Simd>(self, s: S, d: usize, i: usize, j: usize) -> S::F;
}

impl Tile for *const f32 {
    #[inline(always)]
    unsafe fn keys<S: Simd>(self, s: S, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(self.add(i * TILE + j)) }
    }
    #[inline(always)]
    unsafe fn value<S: Simd>(self, s: S, d: usize, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(self.add(j * d + i)) }
    }
}

impl Tile for *const f16 {
    #[inline(always)]
    unsafe fn keys<S: Simd>(self, s: S, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_f16(self.add(i * TILE + j)) }
    }
    #[inline(always)]
    unsafe fn value<S: Simd>(self, s: S, d: usize, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_f16(self.add(j * d + i)) }
    }
}

/// Codes and scales.
impl Tile for (*const i8, *const f16) {
    #[inline(always)]
    unsafe fn keys<S: Simd>(self, s: S, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.mul(s.load_f16(self.1.add(i / 32 * TILE + j)), s.load_i8(self.0.add(i * TILE + j))) }
    }
    #[inline(always)]
    unsafe fn value<S: Simd>(self, s: S, d: usize, i: usize, j: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe {
            let scale = i32::from((*self.1.add(j * (d / 32) + i / 32)).to_bits());
            s.mul(s.lower_halves(s.splat_i32(scale)), s.load_i8(self.0.add(j * d + i)))
        }
    }
}

/// See `reference::attend::attend_tile`. K vectors of positions (or dimensions) are worked on at a time.
pub(super) fn attend_tile<S: Simd, const P: usize, const K: usize>(
    s: S,
    q: &[f32],
    d: usize,
    k: KvRef,
    v: KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    const { assert!(TILE.is_multiple_of(K * S::LANES) && 32 % S::LANES == 0) };
    let rows = m.len();
    assert!((1..=TILE).contains(&valid), "{valid} visible positions of {TILE}");
    assert!(q.len() == rows * d && l.len() == rows && o.len() == rows * d, "{rows} rows of {d}");
    for kv in [&k, &v] {
        let (len, scales) = match kv {
            KvRef::F32(kv) => (kv.len(), None),
            KvRef::F16(kv) => (kv.len(), None),
            KvRef::Q8_0 { codes, scales } => (codes.len(), Some(scales.len())),
        };
        assert!(len >= d * TILE, "a tile of {len} values for {d} dimensions");
        assert!(
            scales.is_none_or(|s| d.is_multiple_of(32) && s >= d / 32 * TILE),
            "scales of {d} dimensions"
        );
    }
    if !d.is_multiple_of(16) {
        return crate::scalar::attend::attend_tile(q, d, k, v, valid, m, l, o);
    }
    let mut row = 0;
    while row < rows {
        let count = [6, 4, 2].into_iter().find(|&n| rows - row >= n).unwrap_or(1);
        let part = row * d..(row + count) * d;
        let (q, o) = (&q[part.clone()], &mut o[part]);
        let (m, l) = (&mut m[row..row + count], &mut l[row..row + count]);
        match count {
            6 => some_rows::<S, P, K, 6>(s, q, d, k, v, valid, m, l, o),
            4 => some_rows::<S, P, K, 4>(s, q, d, k, v, valid, m, l, o),
            2 => some_rows::<S, P, K, 2>(s, q, d, k, v, valid, m, l, o),
            _ => some_rows::<S, P, K, 1>(s, q, d, k, v, valid, m, l, o),
        }
        row += count;
    }
}

/// N rows; the sizes are checked.
fn some_rows<S: Simd, const P: usize, const K: usize, const N: usize>(
    s: S,
    q: &[f32],
    d: usize,
    k: KvRef,
    v: KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    let mut mix = Mix { p: [[0.0; TILE]; N], merge: [None; N] };
    let p = &mut mix.p;
    match k {
        KvRef::F32(k) => scores::<S, _, K, N>(s, q, d, k.as_ptr(), valid, p),
        KvRef::F16(k) => scores::<S, _, K, N>(s, q, d, k.as_ptr(), valid, p),
        KvRef::Q8_0 { codes, scales } => {
            scores::<S, _, K, N>(s, q, d, (codes.as_ptr(), scales.as_ptr()), valid, p);
        }
    }
    s.run(
        #[inline(always)]
        || {
            for n in 0..N {
                let (m_t, l_t) = probabilities::<S, P>(s, &mut mix.p[n], valid);
                if l[n] == 0.0 {
                    (m[n], l[n]) = (m_t, l_t);
                } else {
                    let (max, a, b) = factors(s, m[n], m_t);
                    (m[n], l[n]) = (max, l_t.mul_add(b, l[n] * a));
                    mix.merge[n] = Some((a, b));
                }
            }
        },
    );
    match v {
        KvRef::F32(v) => mix.values::<S, _, K>(s, v.as_ptr(), d, valid, o),
        KvRef::F16(v) => mix.values::<S, _, K>(s, v.as_ptr(), d, valid, o),
        KvRef::Q8_0 { codes, scales } => {
            mix.values::<S, _, K>(s, (codes.as_ptr(), scales.as_ptr()), d, valid, o);
        }
    }
}

/// The larger of two maximums, and the factors that move what belongs to each there.
#[inline(always)]
fn factors<S: Simd>(s: S, m: f32, m_t: f32) -> (f32, f32, f32) {
    let max = if m_t > m { m_t } else { m };
    let both = s.first(1, s.splat(m - max), s.splat(m_t - max));
    let mut out = [0.0f32; 16];
    // SAFETY: LANES of sixteen floats.
    unsafe { s.store(out.as_mut_ptr(), exp(s, both)) };
    (max, out[0], out[1])
}

/// The scores of N rows; what lies behind the visible ones is arbitrary. The tile has d dimensions.
fn scores<S: Simd, T: Tile, const K: usize, const N: usize>(
    s: S,
    q: &[f32],
    d: usize,
    k: T,
    valid: usize,
    p: &mut [[f32; TILE]; N],
) {
    let q: [&[f32]; N] = std::array::from_fn(|n| &q[n * d..][..d]);
    s.run(
        #[inline(always)]
        || {
            for j in (0..valid).step_by(K * S::LANES) {
                let mut sums = [[s.splat(0.0); K]; N];
                for i in 0..d {
                    let mut keys = [s.splat(0.0); K];
                    for c in 0..K {
                        // SAFETY: dimension i below d, positions below 64: K * LANES divide 64.
                        keys[c] = unsafe { k.keys(s, i, j + c * S::LANES) };
                    }
                    for n in 0..N {
                        let q = s.splat(q[n][i]);
                        for c in 0..K {
                            sums[n][c] = s.fma(q, keys[c], sums[n][c]);
                        }
                    }
                }
                for n in 0..N {
                    for c in 0..K {
                        let at = p[n][j + c * S::LANES..][..S::LANES].as_mut_ptr();
                        // SAFETY: LANES floats.
                        unsafe { s.store(at, sums[n][c]) };
                    }
                }
            }
        },
    );
}

/// Scores become probabilities, 0 behind the visible ones; gives their largest score and their sum.
#[inline(always)]
fn probabilities<S: Simd, const P: usize>(s: S, p: &mut [f32; TILE], valid: usize) -> (f32, f32) {
    p[valid..].fill(f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for part in p.chunks_exact(S::LANES) {
        // SAFETY: LANES floats.
        max = s.larger(unsafe { s.load(part.as_ptr()) }, max);
    }
    let m_t = s.largest(max);
    for part in p.chunks_exact_mut(S::LANES) {
        // SAFETY: LANES floats.
        let scores = unsafe { s.load(part.as_ptr()) };
        // SAFETY: LANES floats.
        unsafe { s.store(part.as_mut_ptr(), exp(s, s.sub(scores, s.splat(m_t)))) };
    }
    p[valid..].fill(0.0);
    let mut lanes = [s.splat(0.0); P];
    for part in p.as_chunks::<16>().0 {
        for c in 0..P {
            // SAFETY: LANES of sixteen floats.
            lanes[c] = s.add(lanes[c], unsafe { s.load(part.as_ptr().add(c * S::LANES)) });
        }
    }
    (m_t, s.tree16(&lanes))
}

/// The probabilities of N rows, and how each merges into its state: `None` takes the place of an empty one,
/// else the factors of the old and the new part.
struct Mix<const N: usize> {
    p: [[f32; TILE]; N],
    merge: [Option<(f32, f32)>; N],
}

impl<const N: usize> Mix<N> {
    /// Adds the values, weighted; the tile has d dimensions, a multiple of 16.
    fn values<S: Simd, T: Tile, const K: usize>(&self, s: S, v: T, d: usize, valid: usize, o: &mut [f32]) {
        assert!(o.len() == N * d && valid <= TILE);
        s.run(
            #[inline(always)]
            || {
                let mut i = 0;
                while i < d {
                    // SAFETY: dimensions i.. of d.
                    unsafe {
                        if d - i >= K * S::LANES {
                            self.part::<S, T, K>(s, v, d, valid, o, i);
                            i += K * S::LANES;
                        } else {
                            self.part::<S, T, 1>(s, v, d, valid, o, i);
                            i += S::LANES;
                        }
                    }
                }
            },
        );
    }

    /// Dimensions i..i + C * LANES.
    ///
    /// # Safety
    /// The dimensions exist, in the tile and N times in `o`.
    #[inline(always)]
    unsafe fn part<S: Simd, T: Tile, const C: usize>(
        &self,
        s: S,
        v: T,
        d: usize,
        valid: usize,
        o: &mut [f32],
        i: usize,
    ) {
        let mut acc = [[s.splat(0.0); C]; N];
        for j in 0..valid {
            let mut values = [s.splat(0.0); C];
            for c in 0..C {
                // SAFETY: the caller's promise.
                values[c] = unsafe { v.value(s, d, i + c * S::LANES, j) };
            }
            for n in 0..N {
                let p = s.splat(self.p[n][j]);
                for c in 0..C {
                    acc[n][c] = s.fma(p, values[c], acc[n][c]);
                }
            }
        }
        for n in 0..N {
            for c in 0..C {
                // SAFETY: the caller's promise.
                let at = unsafe { o.as_mut_ptr().add(n * d + i + c * S::LANES) };
                let merged = match self.merge[n] {
                    None => acc[n][c],
                    Some((a, b)) => {
                        // SAFETY: as above.
                        let old = s.mul(unsafe { s.load(at) }, s.splat(a));
                        s.fma(acc[n][c], s.splat(b), old)
                    }
                };
                // SAFETY: as above.
                unsafe { s.store(at, merged) };
            }
        }
    }
}

/// See `reference::attend::merge`.
pub(super) fn merge<S: Simd>(
    s: S,
    part: (&[f32], &[f32], &[f32]),
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    let (m_t, l_t, o_t) = part;
    let d = o.len() / m.len().max(1);
    s.run(
        #[inline(always)]
        || {
            for n in 0..m.len() {
                let (o, o_t) = (&mut o[n * d..][..d], &o_t[n * d..][..d]);
                if l[n] == 0.0 {
                    (m[n], l[n]) = (m_t[n], l_t[n]);
                    o.copy_from_slice(o_t);
                    continue;
                }
                let (max, a, b) = factors(s, m[n], m_t[n]);
                (m[n], l[n]) = (max, l_t[n].mul_add(b, l[n] * a));
                for (o, o_t) in o.iter_mut().zip(o_t) {
                    *o = o_t.mul_add(b, *o * a);
                }
            }
        },
    );
}
