//! Attention over a tile of 64 positions: positions in lanes for the scores, dimensions in lanes for the
//! values. Two query heads share every load and conversion of a key or value.

use super::math::{exp, load16, tree16};
use crate::{KvRef, TILE};
use half::f16;
use std::arch::x86_64::*;

/// Vectors of positions that are in work at once, for all heads: half a tile.
const PARTS: usize = 4;

/// A tile in one storage format, as f32.
trait Tile: Copy {
    /// What a block of 32 dimensions needs.
    type Scales: Copy;
    /// The scales of 32 positions from `j` on for dimensions 32b..32b + 32 of the keys.
    ///
    /// # Safety
    /// The CPU has the features of this kernel set; the tile has that block.
    unsafe fn key_scales(self, block: usize, j: usize) -> Self::Scales;
    /// Dimension i of positions j + 8 part.. of the keys `[D, 64]`.
    ///
    /// # Safety
    /// As above, and the tile has that dimension.
    unsafe fn keys(self, i: usize, j: usize, part: usize, scales: Self::Scales) -> __m256;
    /// Dimensions i..i + 8 (i a multiple of 8) of position j of the values `[64, D]`.
    ///
    /// # Safety
    /// As above.
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m256;
}

impl Tile for *const f32 {
    type Scales = ();
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn key_scales(self, _: usize, _: usize) {}
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn keys(self, i: usize, j: usize, part: usize, _: ()) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(self.add(i * TILE + j + 8 * part)) }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(self.add(j * d + i)) }
    }
}

impl Tile for *const f16 {
    type Scales = ();
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn key_scales(self, _: usize, _: usize) {}
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn keys(self, i: usize, j: usize, part: usize, _: ()) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { halves(self.add(i * TILE + j + 8 * part)) }
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { halves(self.add(j * d + i)) }
    }
}

/// Codes and scales.
impl Tile for (*const i8, *const f16) {
    type Scales = [__m256; PARTS];
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn key_scales(self, block: usize, j: usize) -> [__m256; PARTS] {
        let mut scales = [_mm256_setzero_ps(); PARTS];
        for part in 0..PARTS {
            // SAFETY: the caller's promise.
            scales[part] = unsafe { halves(self.1.add(block * TILE + j + 8 * part)) };
        }
        scales
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn keys(self, i: usize, j: usize, part: usize, scales: [__m256; PARTS]) -> __m256 {
        // SAFETY: the caller's promise.
        _mm256_mul_ps(scales[part], unsafe { bytes(self.0.add(i * TILE + j + 8 * part)) })
    }
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m256 {
        // SAFETY: the caller's promise.
        let (scale, codes) = unsafe { (*self.1.add(j * (d / 32) + i / 32), bytes(self.0.add(j * d + i))) };
        let scale = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(scale.to_bits())));
        _mm256_mul_ps(_mm256_broadcastss_ps(scale), codes)
    }
}

/// # Safety
/// Eight numbers are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn halves(at: *const f16) -> __m256 {
    // SAFETY: the caller's promise.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

/// # Safety
/// Eight bytes are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn bytes(at: *const i8) -> __m256 {
    // SAFETY: the caller's promise.
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(at.cast()) }))
}

/// See `reference::attend::attend_tile`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn attend_tile(
    q: &[f32],
    d: usize,
    k: KvRef,
    v: KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    let heads = m.len();
    assert!((1..=TILE).contains(&valid), "{valid} visible positions of {TILE}");
    assert!(q.len() == heads * d && l.len() == heads && o.len() == heads * d, "{heads} heads of {d}");
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
    if !d.is_multiple_of(8) {
        return crate::scalar::attend::attend_tile(q, d, k, v, valid, m, l, o);
    }
    let mut head = 0;
    while head < heads {
        let count = if heads - head >= 2 { 2 } else { 1 };
        let range = head * d..(head + count) * d;
        let (q, o) = (&q[range.clone()], &mut o[range]);
        let (m, l) = (&mut m[head..head + count], &mut l[head..head + count]);
        match count {
            2 => some_heads::<2>(q, d, k, v, valid, m, l, o),
            _ => some_heads::<1>(q, d, k, v, valid, m, l, o),
        }
        head += count;
    }
}

/// N query heads; the sizes are checked.
#[target_feature(enable = "avx2,fma,f16c")]
fn some_heads<const N: usize>(
    q: &[f32],
    d: usize,
    k: KvRef,
    v: KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    let mut mix = Mix { p: [[f32::NEG_INFINITY; TILE]; N], merge: [None; N] };
    // SAFETY: attend_tile has checked that the tile has d dimensions.
    unsafe {
        match k {
            KvRef::F32(k) => mix.scores(q, d, k.as_ptr(), valid),
            KvRef::F16(k) => mix.scores(q, d, k.as_ptr(), valid),
            KvRef::Q8_0 { codes, scales } => mix.scores(q, d, (codes.as_ptr(), scales.as_ptr()), valid),
        }
    }
    for n in 0..N {
        let (m_t, l_t) = probabilities(&mut mix.p[n], valid);
        if l[n] == 0.0 {
            (m[n], l[n]) = (m_t, l_t);
        } else {
            let max = if m_t > m[n] { m_t } else { m[n] };
            let (a, b) = (crate::reference::math::exp(m[n] - max), crate::reference::math::exp(m_t - max));
            (m[n], l[n]) = (max, l_t.mul_add(b, l[n] * a));
            mix.merge[n] = Some((a, b));
        }
    }
    // SAFETY: attend_tile has checked that the tile has d dimensions.
    unsafe {
        match v {
            KvRef::F32(v) => mix.all(v.as_ptr(), d, valid, o),
            KvRef::F16(v) => mix.all(v.as_ptr(), d, valid, o),
            KvRef::Q8_0 { codes, scales } => mix.all((codes.as_ptr(), scales.as_ptr()), d, valid, o),
        }
    }
}

/// Scores become probabilities, 0 behind the visible ones; gives their largest score and their sum.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn probabilities(p: &mut [f32; TILE], valid: usize) -> (f32, f32) {
    let mut m_t = f32::NEG_INFINITY;
    for s in &p[..valid] {
        m_t = if *s > m_t { *s } else { m_t };
    }
    for p in p.as_chunks_mut::<8>().0 {
        // SAFETY: eight floats.
        let s = unsafe { _mm256_loadu_ps(p.as_ptr()) };
        // SAFETY: eight floats.
        unsafe { _mm256_storeu_ps(p.as_mut_ptr(), exp(_mm256_sub_ps(s, _mm256_set1_ps(m_t)))) };
    }
    p[valid..].fill(0.0);
    let mut lanes = [_mm256_setzero_ps(); 2];
    for p in p.as_chunks::<16>().0 {
        let p = load16(p);
        for half in 0..2 {
            lanes[half] = _mm256_add_ps(lanes[half], p[half]);
        }
    }
    (m_t, tree16(lanes))
}

/// The scores, then probabilities of N heads, and how each merges into its state: `None` takes the place of
/// an empty one, else the factors of the old and the new part.
struct Mix<const N: usize> {
    p: [[f32; TILE]; N],
    merge: [Option<(f32, f32)>; N],
}

impl<const N: usize> Mix<N> {
    /// The scores of N heads; what lies behind the visible ones is arbitrary.
    ///
    /// # Safety
    /// The CPU has the features of this kernel set; the tile has d dimensions.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn scores<K: Tile>(&mut self, q: &[f32], d: usize, k: K, valid: usize) {
        let q: [&[f32]; N] = std::array::from_fn(|n| &q[n * d..][..d]);
        for j in (0..valid).step_by(8 * PARTS) {
            let mut s = [[_mm256_setzero_ps(); PARTS]; N];
            for block in 0..d.div_ceil(32) {
                // SAFETY: the caller's promise.
                let scales = unsafe { k.key_scales(block, j) };
                for i in block * 32..d.min(block * 32 + 32) {
                    let mut keys = [_mm256_setzero_ps(); PARTS];
                    for part in 0..PARTS {
                        // SAFETY: the caller's promise.
                        keys[part] = unsafe { k.keys(i, j, part, scales) };
                    }
                    for n in 0..N {
                        let q = _mm256_set1_ps(q[n][i]);
                        for part in 0..PARTS {
                            s[n][part] = _mm256_fmadd_ps(q, keys[part], s[n][part]);
                        }
                    }
                }
            }
            for n in 0..N {
                for part in 0..PARTS {
                    let at = self.p[n][j + 8 * part..][..8].as_mut_ptr();
                    // SAFETY: eight floats.
                    unsafe { _mm256_storeu_ps(at, s[n][part]) };
                }
            }
        }
    }

    /// # Safety
    /// The CPU has the features of this kernel set; the tile has d dimensions, `o` has N x d.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn all<V: Tile>(&self, v: V, d: usize, valid: usize, o: &mut [f32]) {
        let mut i = 0;
        while i < d {
            // SAFETY: dimensions i.. of d, a multiple of 8.
            unsafe {
                if d - i >= 32 {
                    self.part::<V, 4>(v, d, valid, o, i);
                    i += 32;
                } else {
                    self.part::<V, 1>(v, d, valid, o, i);
                    i += 8;
                }
            }
        }
    }

    /// Dimensions i..i + 8 C.
    ///
    /// # Safety
    /// As for `all`, and the dimensions exist.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn part<V: Tile, const C: usize>(&self, v: V, d: usize, valid: usize, o: &mut [f32], i: usize) {
        let mut acc = [[_mm256_setzero_ps(); C]; N];
        for j in 0..valid {
            let mut values = [_mm256_setzero_ps(); C];
            for c in 0..C {
                // SAFETY: the caller's promise.
                values[c] = unsafe { v.value(d, i + 8 * c, j) };
            }
            for n in 0..N {
                let p = _mm256_set1_ps(self.p[n][j]);
                for c in 0..C {
                    acc[n][c] = _mm256_fmadd_ps(p, values[c], acc[n][c]);
                }
            }
        }
        for n in 0..N {
            for c in 0..C {
                let at = o[n * d + i + 8 * c..][..8].as_mut_ptr();
                let merged = match self.merge[n] {
                    None => acc[n][c],
                    Some((a, b)) => {
                        // SAFETY: eight floats.
                        let old = _mm256_mul_ps(unsafe { _mm256_loadu_ps(at) }, _mm256_set1_ps(a));
                        _mm256_fmadd_ps(acc[n][c], _mm256_set1_ps(b), old)
                    }
                };
                // SAFETY: eight floats.
                unsafe { _mm256_storeu_ps(at, merged) };
            }
        }
    }
}
