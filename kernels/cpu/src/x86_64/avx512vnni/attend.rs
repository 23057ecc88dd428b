//! Attention over a tile of 64 positions: positions in lanes for the scores, dimensions in lanes for the
//! values. Up to four query heads share every load and conversion of a key or value.

use super::math::{exp, tree16};
use crate::{KvRef, TILE};
use half::f16;
use std::arch::x86_64::*;

/// Vectors that hold the positions of a tile.
const PARTS: usize = TILE / 16;

/// A tile in one storage format, as f32.
trait Tile: Copy {
    /// What a block of 32 dimensions needs.
    type Scales: Copy;
    /// The scales of all positions for dimensions 32b..32b + 32 of the keys.
    ///
    /// # Safety
    /// The CPU has the features of this kernel set; the tile has that block.
    unsafe fn key_scales(self, block: usize) -> Self::Scales;
    /// Dimension i of positions 16 part.. of the keys `[D, 64]`.
    ///
    /// # Safety
    /// As above, and the tile has that dimension.
    unsafe fn keys(self, i: usize, part: usize, scales: Self::Scales) -> __m512;
    /// Dimensions i..i + 16 (i a multiple of 16) of position j of the values `[64, D]`.
    ///
    /// # Safety
    /// As above.
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m512;
}

impl Tile for *const f32 {
    type Scales = ();
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn key_scales(self, _: usize) {}
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn keys(self, i: usize, part: usize, _: ()) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(self.add(i * TILE + 16 * part)) }
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(self.add(j * d + i)) }
    }
}

impl Tile for *const f16 {
    type Scales = ();
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn key_scales(self, _: usize) {}
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn keys(self, i: usize, part: usize, _: ()) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { halves(self.add(i * TILE + 16 * part)) }
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { halves(self.add(j * d + i)) }
    }
}

/// Codes and scales.
impl Tile for (*const i8, *const f16) {
    type Scales = [__m512; PARTS];
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn key_scales(self, block: usize) -> [__m512; PARTS] {
        let mut scales = [_mm512_setzero_ps(); PARTS];
        for part in 0..PARTS {
            // SAFETY: the caller's promise.
            scales[part] = unsafe { halves(self.1.add(block * TILE + 16 * part)) };
        }
        scales
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn keys(self, i: usize, part: usize, scales: [__m512; PARTS]) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_mul_ps(scales[part], unsafe { bytes(self.0.add(i * TILE + 16 * part)) })
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn value(self, d: usize, i: usize, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        let (scale, codes) = unsafe { (*self.1.add(j * (d / 32) + i / 32), bytes(self.0.add(j * d + i))) };
        let scale = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(scale.to_bits())));
        _mm512_mul_ps(_mm512_broadcastss_ps(scale), codes)
    }
}

/// # Safety
/// Sixteen numbers are readable.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn halves(at: *const f16) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
}

/// # Safety
/// Sixteen bytes are readable.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn bytes(at: *const i8) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(at.cast()) }))
}

/// See `reference::attend::attend_tile`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    if !d.is_multiple_of(16) {
        return crate::scalar::attend::attend_tile(q, d, k, v, valid, m, l, o);
    }
    let mut head = 0;
    while head < heads {
        let count = [4, 2, 1].into_iter().find(|&n| heads - head >= n).unwrap_or(1);
        let range = head * d..(head + count) * d;
        let (q, o) = (&q[range.clone()], &mut o[range]);
        let (m, l) = (&mut m[head..head + count], &mut l[head..head + count]);
        match count {
            4 => some_heads::<4>(q, d, k, v, valid, m, l, o),
            2 => some_heads::<2>(q, d, k, v, valid, m, l, o),
            _ => some_heads::<1>(q, d, k, v, valid, m, l, o),
        }
        head += count;
    }
}

/// N query heads; the sizes are checked.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    // SAFETY: attend_tile has checked that the tile has d dimensions.
    let scores = unsafe {
        match k {
            KvRef::F32(k) => scores::<_, N>(q, d, k.as_ptr()),
            KvRef::F16(k) => scores::<_, N>(q, d, k.as_ptr()),
            KvRef::Q8_0 { codes, scales } => scores::<_, N>(q, d, (codes.as_ptr(), scales.as_ptr())),
        }
    };
    let visible = u64::MAX >> (TILE - valid);
    let mut mix = Mix { p: [[0.0; TILE]; N], merge: [None; N] };
    for n in 0..N {
        let mask = |part: usize| (visible >> (16 * part)) as u16;
        let mut max = _mm512_set1_ps(f32::NEG_INFINITY);
        for part in 0..PARTS {
            // The second operand where the first is NaN.
            max = _mm512_mask_max_ps(max, mask(part), scores[n][part], max);
        }
        let m_t = _mm512_reduce_max_ps(max);
        let mut lanes = _mm512_setzero_ps();
        for part in 0..PARTS {
            let p = exp(_mm512_sub_ps(scores[n][part], _mm512_set1_ps(m_t)));
            let p = _mm512_maskz_mov_ps(mask(part), p);
            lanes = _mm512_add_ps(lanes, p);
            // SAFETY: positions 16 part.. of 64.
            unsafe { _mm512_storeu_ps(mix.p[n].as_mut_ptr().add(16 * part), p) };
        }
        let l_t = tree16(lanes);
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

/// The scores of N heads for all positions of the tile; what lies behind the visible ones is arbitrary.
///
/// # Safety
/// The CPU has the features of this kernel set; the tile has d dimensions.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn scores<K: Tile, const N: usize>(q: &[f32], d: usize, k: K) -> [[__m512; PARTS]; N] {
    let mut s = [[_mm512_setzero_ps(); PARTS]; N];
    let q: [&[f32]; N] = std::array::from_fn(|n| &q[n * d..][..d]);
    for block in 0..d.div_ceil(32) {
        // SAFETY: the caller's promise.
        let scales = unsafe { k.key_scales(block) };
        for i in block * 32..d.min(block * 32 + 32) {
            let mut keys = [_mm512_setzero_ps(); PARTS];
            for part in 0..PARTS {
                // SAFETY: the caller's promise.
                keys[part] = unsafe { k.keys(i, part, scales) };
            }
            for n in 0..N {
                let q = _mm512_set1_ps(q[n][i]);
                for part in 0..PARTS {
                    s[n][part] = _mm512_fmadd_ps(q, keys[part], s[n][part]);
                }
            }
        }
    }
    s
}

/// The probabilities of N heads, and how each merges into its state: `None` takes the place of an empty one,
/// else the factors of the old and the new part.
struct Mix<const N: usize> {
    p: [[f32; TILE]; N],
    merge: [Option<(f32, f32)>; N],
}

impl<const N: usize> Mix<N> {
    /// # Safety
    /// The CPU has the features of this kernel set; the tile has d dimensions, `o` has N x d.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn all<V: Tile>(&self, v: V, d: usize, valid: usize, o: &mut [f32]) {
        let mut i = 0;
        while i < d {
            // SAFETY: dimensions i.. of d, a multiple of 16.
            unsafe {
                if d - i >= 64 {
                    self.part::<V, 4>(v, d, valid, o, i);
                    i += 64;
                } else {
                    self.part::<V, 1>(v, d, valid, o, i);
                    i += 16;
                }
            }
        }
    }

    /// Dimensions i..i + 16 C.
    ///
    /// # Safety
    /// As for `all`, and the dimensions exist.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn part<V: Tile, const C: usize>(&self, v: V, d: usize, valid: usize, o: &mut [f32], i: usize) {
        let mut acc = [[_mm512_setzero_ps(); C]; N];
        for j in 0..valid {
            let mut values = [_mm512_setzero_ps(); C];
            for c in 0..C {
                // SAFETY: the caller's promise.
                values[c] = unsafe { v.value(d, i + 16 * c, j) };
            }
            for n in 0..N {
                let p = _mm512_set1_ps(self.p[n][j]);
                for c in 0..C {
                    acc[n][c] = _mm512_fmadd_ps(p, values[c], acc[n][c]);
                }
            }
        }
        for n in 0..N {
            for c in 0..C {
                let at = o[n * d + i + 16 * c..][..16].as_mut_ptr();
                let merged = match self.merge[n] {
                    None => acc[n][c],
                    Some((a, b)) => {
                        // SAFETY: sixteen floats.
                        let old = _mm512_mul_ps(unsafe { _mm512_loadu_ps(at) }, _mm512_set1_ps(a));
                        _mm512_fmadd_ps(acc[n][c], _mm512_set1_ps(b), old)
                    }
                };
                // SAFETY: sixteen floats.
                unsafe { _mm512_storeu_ps(at, merged) };
            }
        }
    }
}
