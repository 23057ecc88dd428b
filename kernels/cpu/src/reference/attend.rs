//! Attention of one token over the tiles of the key/value cache.

use super::math::{exp, fma, tree16};
use crate::{KvRef, TILE};

/// Merges one tile into the states of g query rows of one kv head: `q [g, D]`, already multiplied by
/// 1/sqrt(D); `m [g]`, `l [g]`, `o [g, D]` start as -infinity, 0, 0. The first `valid` (1..=64) positions of
/// the tile are visible. Per row:
///
/// - s_j: from 0, over ascending d, `s = fma(q_d, k_dj, s)`;
/// - m_t = the largest s_j (from -infinity, `if s_j > m { s_j } else { m }`); p_j = exp(s_j - m_t), 0 for
///   invisible positions;
/// - l_t: [`tree16`] of sixteen lanes from 0, lane j % 16 += p_j in ascending order of j;
/// - o_t: per d, from 0, over ascending visible j, `o = fma(p_j, v_jd, o)`;
///
/// and then [`merge`].
pub fn attend_tile(
    q: &[f32],
    d: usize,
    k: KvRef,
    v: KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    for row in 0..m.len() {
        let q = &q[row * d..][..d];
        let mut s = [0.0f32; TILE];
        let mut m_t = f32::NEG_INFINITY;
        for j in 0..valid {
            for i in 0..d {
                s[j] = fma(q[i], key(&k, i, j), s[j]);
            }
            m_t = if s[j] > m_t { s[j] } else { m_t };
        }
        let mut p = [0.0f32; TILE];
        let mut lanes = [0.0f32; 16];
        for j in 0..valid {
            p[j] = exp(s[j] - m_t);
            lanes[j % 16] += p[j];
        }
        let mut o_t = vec![0.0f32; d];
        for i in 0..d {
            for j in 0..valid {
                o_t[i] = fma(p[j], value(&v, d, i, j), o_t[i]);
            }
        }
        let part = (&[m_t][..], &[tree16(&lanes)][..], &o_t[..]);
        merge(part, &mut m[row..row + 1], &mut l[row..row + 1], &mut o[row * d..][..d]);
    }
}

/// Merges a tile's (m_t `[g]`, l_t `[g]`, o_t `[g, D]`) into states. An empty state (l == 0) becomes the
/// tile's. Else, with `M = if m_t > m { m_t } else { m }`, a = exp(m - M), b = exp(m_t - M):
/// `l = fma(l_t, b, l * a)`, `o = fma(o_t, b, o * a)`, m = M.
///
/// Emptiness is judged by l, which is at least 1 or NaN after any tile, so that a NaN is never lost.
pub fn merge(part: (&[f32], &[f32], &[f32]), m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    let (m_t, l_t, o_t) = part;
    let d = o.len() / m.len().max(1);
    for row in 0..m.len() {
        let empty = l[row] == 0.0;
        let max = if m_t[row] > m[row] { m_t[row] } else { m[row] };
        let (a, b) = (exp(m[row] - max), exp(m_t[row] - max));
        for i in row * d..(row + 1) * d {
            o[i] = if empty { o_t[i] } else { fma(o_t[i], b, o[i] * a) };
        }
        l[row] = if empty { l_t[row] } else { fma(l_t[row], b, l[row] * a) };
        m[row] = if empty { m_t[row] } else { max };
    }
}

/// The output of a finished state: `o / l`, element by element.
pub fn finish(l: &[f32], o: &mut [f32]) {
    let d = o.len() / l.len();
    for (head, l) in l.iter().enumerate() {
        for o in &mut o[head * d..][..d] {
            *o /= l;
        }
    }
}

/// Element `i` of the key at position `j` of a tile `[D, 64]`.
pub fn key(k: &KvRef, i: usize, j: usize) -> f32 {
    match k {
        KvRef::F32(k) => k[i * TILE + j],
        KvRef::F16(k) => k[i * TILE + j].to_f32(),
        KvRef::Q8_0 { codes, scales } => scales[i / 32 * TILE + j].to_f32() * f32::from(codes[i * TILE + j]),
    }
}

/// Element `i` of the value at position `j` of a tile `[64, D]`.
pub fn value(v: &KvRef, d: usize, i: usize, j: usize) -> f32 {
    match v {
        KvRef::F32(v) => v[j * d + i],
        KvRef::F16(v) => v[j * d + i].to_f32(),
        KvRef::Q8_0 { codes, scales } => scales[j * (d / 32) + i / 32].to_f32() * f32::from(codes[j * d + i]),
    }
}
