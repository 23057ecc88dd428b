//! The linear of F32, F16 and BF16 matrices: sixteen elements of one row in lanes, tiles of W rows x W tokens.

use super::Simd;
use crate::table::{Matrix, Sink};
use qwip_quant::TensorType;
use std::ops::Range;

/// The rows that all tokens pass before the next ones: they should stay in the second-level cache.
const PANEL_BYTES: usize = 256 << 10;

/// How weights lie in memory.
trait Element {
    const BYTES: usize;
    /// `LANES` elements as f32.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::F;
}

struct F32;
impl Element for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(at.cast()) }
    }
}

struct F16;
impl Element for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_f16(at.cast()) }
    }
}

struct Bf16;
impl Element for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_bf16(at) }
    }
}

/// See `reference::linear::linear_f`.
pub(super) fn linear_f<S: Simd, const R: usize, const P: usize, const W: usize>(
    s: S,
    w: &Matrix,
    rows: Range<usize>,
    x: &[f32],
    n: usize,
    sink: &mut Sink,
) {
    assert!(rows.start <= rows.end && rows.end <= w.rows, "rows {rows:?} of {}", w.rows);
    assert!(x.len() == n * w.cols, "{} activations for {n} x {}", x.len(), w.cols);
    match w.ty {
        TensorType::F32 => all::<S, F32, P, W>(s, w, rows, x, n, sink),
        TensorType::F16 => all::<S, F16, P, W>(s, w, rows, x, n, sink),
        TensorType::Bf16 => all::<S, Bf16, P, W>(s, w, rows, x, n, sink),
        other => panic!("{} is not a float type", other.name()),
    }
}

fn all<S: Simd, E: Element, const P: usize, const W: usize>(
    s: S,
    w: &Matrix,
    rows: Range<usize>,
    x: &[f32],
    n: usize,
    sink: &mut Sink,
) {
    assert!(w.bytes.len() == w.rows * w.cols * E::BYTES, "{} bytes", w.bytes.len());
    let panel = (PANEL_BYTES / (w.cols * E::BYTES).max(1)).max(W) / W * W;
    for first in rows.clone().step_by(panel) {
        let end = (first + panel).min(rows.end);
        let mut t = 0;
        while t < n {
            let tokens = if n - t >= W { W } else { 1 };
            let mut r = first;
            while r < end {
                let count = if end - r >= W { W } else { 1 };
                match (count == W, tokens == W) {
                    (true, true) => block::<S, E, P, W, W>(s, w, r, x, t, sink),
                    (true, false) => block::<S, E, P, W, 1>(s, w, r, x, t, sink),
                    (false, true) => block::<S, E, P, 1, W>(s, w, r, x, t, sink),
                    (false, false) => block::<S, E, P, 1, 1>(s, w, r, x, t, sink),
                }
                r += count;
            }
            t += tokens;
        }
    }
}

/// A rows from `r` on times T tokens from `t` on.
fn block<S: Simd, E: Element, const P: usize, const A: usize, const T: usize>(
    s: S,
    w: &Matrix,
    r: usize,
    x: &[f32],
    t: usize,
    sink: &mut Sink,
) {
    let cols = w.cols;
    let stride = cols * E::BYTES;
    let rows: [&[u8]; A] = std::array::from_fn(|i| &w.bytes[(r + i) * stride..][..stride]);
    let tokens: [&[f32]; T] = std::array::from_fn(|i| &x[(t + i) * cols..][..cols]);
    let results = s.run(
        #[inline(always)]
        || {
            let acc = tail::<S, E, P, A, T>(s, tile::<S, E, P, A, T>(s, rows, tokens), rows, tokens);
            let mut results = [[0.0f32; A]; T];
            for i in 0..A {
                for t in 0..T {
                    results[t][i] = s.tree16(&acc[i][t]);
                }
            }
            results
        },
    );
    for (i, results) in results.iter().enumerate() {
        sink(r, t + i, results);
    }
}

/// The lanes of A rows times T tokens, as far as sixteen elements are left.
#[inline(always)]
fn tile<S: Simd, E: Element, const P: usize, const A: usize, const T: usize>(
    s: S,
    rows: [&[u8]; A],
    tokens: [&[f32]; T],
) -> [[[S::F; P]; T]; A] {
    let mut acc = [[[s.splat(0.0); P]; T]; A];
    for k in (0..tokens[0].len() / 16 * 16).step_by(16) {
        for p in 0..P {
            let at = k + p * S::LANES;
            let mut weights = [s.splat(0.0); A];
            for i in 0..A {
                // SAFETY: elements k..k + 16 of a row.
                weights[i] = unsafe { E::load(s, rows[i].as_ptr().add(at * E::BYTES)) };
            }
            for t in 0..T {
                // SAFETY: elements k..k + 16 of a token.
                let x = unsafe { s.load(tokens[t].as_ptr().add(at)) };
                for i in 0..A {
                    acc[i][t][p] = s.fma(weights[i], x, acc[i][t][p]);
                }
            }
        }
    }
    acc
}

/// The elements that fill no sixteen lanes. Lanes behind the end keep their bits: adding a product of zeros
/// could turn -0 into 0.
#[inline(always)]
fn tail<S: Simd, E: Element, const P: usize, const A: usize, const T: usize>(
    s: S,
    mut acc: [[[S::F; P]; T]; A],
    rows: [&[u8]; A],
    tokens: [&[f32]; T],
) -> [[[S::F; P]; T]; A] {
    let whole = tokens[0].len() / 16 * 16;
    let rest = tokens[0].len() - whole;
    if rest == 0 {
        return acc;
    }
    for i in 0..A {
        let mut bytes = [0u8; 64];
        bytes[..rest * E::BYTES].copy_from_slice(&rows[i][whole * E::BYTES..]);
        for t in 0..T {
            let mut last = [0.0f32; 16];
            last[..rest].copy_from_slice(&tokens[t][whole..]);
            for p in 0..P {
                let at = p * S::LANES;
                // SAFETY: 64 bytes are sixteen elements of any type, and LANES of sixteen floats.
                let (weights, x) =
                    unsafe { (E::load(s, bytes.as_ptr().add(at * E::BYTES)), s.load(last.as_ptr().add(at))) };
                let sum = s.fma(weights, x, acc[i][t][p]);
                acc[i][t][p] = s.first(rest.saturating_sub(at), sum, acc[i][t][p]);
            }
        }
    }
    acc
}
