//! Attention over one tile: keys in lanes, then values over ascending positions. A few query heads share
//! every widening of the keys and values.

use super::math::{exp, fma};
use crate::reference::math::tree16;
use crate::{KvRef, TILE};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Query heads that go through a tile together.
const HEADS: usize = 8;
/// Dimensions of the values that are summed at a time.
const DIMS: usize = 64;

/// [`reference::attend_tile`](crate::reference::attend::attend_tile).
///
/// # Panics
/// If `valid` is more than a tile or the slices are shorter than the shapes say.
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
    for first in (0..m.len()).step_by(HEADS) {
        let heads = first..m.len().min(first + HEADS);
        let (q, o) = (&q[heads.start * d..heads.end * d], &mut o[heads.start * d..heads.end * d]);
        attend_heads(q, d, &k, &v, valid, &mut m[heads.clone()], &mut l[heads], o);
    }
}

fn attend_heads(
    q: &[f32],
    d: usize,
    k: &KvRef,
    v: &KvRef,
    valid: usize,
    m: &mut [f32],
    l: &mut [f32],
    o: &mut [f32],
) {
    let heads = m.len();
    let mut p = [[0.0f32; TILE]; HEADS]; // first scores, then probabilities
    for i in 0..d {
        let keys = key_row(k, i);
        for head in 0..heads {
            let q = q[head * d + i];
            for (s, key) in p[head].iter_mut().zip(&keys) {
                *s = fma(q, *key, *s);
            }
        }
    }

    let mut empty = [false; HEADS];
    let mut old_scale = [0.0f32; HEADS]; // a of the contract
    let mut new_scale = [0.0f32; HEADS]; // b
    for head in 0..heads {
        let p = &mut p[head];
        let m_t = p[..valid].iter().fold(f32::NEG_INFINITY, |m, &s| if s > m { s } else { m });
        let mut lanes = [0.0f32; 16];
        for j in 0..valid {
            p[j] = exp(p[j] - m_t);
            lanes[j % 16] += p[j];
        }
        let l_t = tree16(&lanes);
        if l[head] == 0.0 {
            empty[head] = true;
            (m[head], l[head]) = (m_t, l_t);
        } else {
            let max = if m_t > m[head] { m_t } else { m[head] };
            (old_scale[head], new_scale[head]) = (exp(m[head] - max), exp(m_t - max));
            m[head] = max;
            l[head] = fma(l_t, new_scale[head], l[head] * old_scale[head]);
        }
    }

    for first in (0..d).step_by(DIMS) {
        let len = DIMS.min(d - first);
        let mut sums = [[0.0f32; DIMS]; HEADS];
        for j in 0..valid {
            let values = value_row(v, d, j, first, len);
            for head in 0..heads {
                let p = p[head][j];
                for (sum, value) in sums[head].iter_mut().zip(&values) {
                    *sum = fma(p, *value, *sum);
                }
            }
        }
        for head in 0..heads {
            let (a, b) = (old_scale[head], new_scale[head]);
            for (o, sum) in o[head * d + first..][..len].iter_mut().zip(&sums[head]) {
                *o = if empty[head] { *sum } else { fma(*sum, b, *o * a) };
            }
        }
    }
}

/// Dimension `i` of the 64 keys of a tile.
fn key_row(k: &KvRef, i: usize) -> [f32; TILE] {
    let mut keys = [0.0f32; TILE];
    match k {
        KvRef::F32(k) => keys.copy_from_slice(&k[i * TILE..][..TILE]),
        KvRef::F16(k) => k[i * TILE..][..TILE].convert_to_f32_slice(&mut keys),
        KvRef::Q8_0 { codes, scales } => {
            scales[i / 32 * TILE..][..TILE].convert_to_f32_slice(&mut keys);
            for (key, &code) in keys.iter_mut().zip(&codes[i * TILE..][..TILE]) {
                *key *= f32::from(code);
            }
        }
    }
    keys
}

/// Dimensions `first..first + len` of the value at position `j`; the rest of the array is 0. `first` is a
/// multiple of [`DIMS`].
fn value_row(v: &KvRef, d: usize, j: usize, first: usize, len: usize) -> [f32; DIMS] {
    let mut values = [0.0f32; DIMS];
    let at = j * d + first;
    match v {
        KvRef::F32(v) => values[..len].copy_from_slice(&v[at..][..len]),
        KvRef::F16(v) => v[at..][..len].convert_to_f32_slice(&mut values[..len]),
        KvRef::Q8_0 { codes, scales } => {
            let scales: &[f16] = &scales[(j * d + first) / 32..];
            for (i, (value, &code)) in values.iter_mut().zip(&codes[at..][..len]).enumerate() {
                *value = scales[i / 32].to_f32() * f32::from(code);
            }
        }
    }
    values
}

/// [`reference::merge`](crate::reference::attend::merge).
pub fn merge(part: (&[f32], &[f32], &[f32]), m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    let (m_t, l_t, o_t) = part;
    let d = o.len() / m.len().max(1);
    for row in 0..m.len() {
        let (o, o_t) = (&mut o[row * d..][..d], &o_t[row * d..][..d]);
        if l[row] == 0.0 {
            (m[row], l[row]) = (m_t[row], l_t[row]);
            o.copy_from_slice(o_t);
            continue;
        }
        let max = if m_t[row] > m[row] { m_t[row] } else { m[row] };
        let (a, b) = (exp(m[row] - max), exp(m_t[row] - max));
        m[row] = max;
        l[row] = fma(l_t[row], b, l[row] * a);
        for (o, o_t) in o.iter_mut().zip(o_t) {
            *o = fma(*o_t, b, *o * a);
        }
    }
}
