//! The linear of F32, F16 and BF16 matrices: sixteen elements of one row in lanes, tiles of A rows x T tokens.
//!
//! Few tokens: the rows that follow are asked for while some are multiplied. Many tokens: as many rows as stay in the
//! second-level cache are multiplied with all tokens before the next ones are, and the tokens that follow are asked
//! for.

use super::Simd;
use crate::table::{Matrix, Sink};
use qwip_quant::TensorType;
use std::marker::PhantomData;
use std::ops::Range;

/// The rows that all tokens pass before the next ones: so many bytes at most.
const PANEL_BYTES: usize = 256 << 10;
/// And so many rows, whose results are handed over at once.
const PANEL_ROWS: usize = 160;

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
pub(super) fn linear_f<S: Simd, const P: usize, const A: usize, const T: usize>(
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
        TensorType::F32 => Job::<S, F32, P, A, T>::new(s, w, x, n).run(rows, sink),
        TensorType::F16 => Job::<S, F16, P, A, T>::new(s, w, x, n).run(rows, sink),
        TensorType::Bf16 => Job::<S, Bf16, P, A, T>::new(s, w, x, n).run(rows, sink),
        other => panic!("{} is not a float type", other.name()),
    }
}

/// The lanes of an output.
type Lanes = [f32; 16];

/// A matrix and activations whose sizes fit their memory. P vectors make sixteen lanes.
struct Job<'a, S, E, const P: usize, const A: usize, const T: usize> {
    s: S,
    w: &'a Matrix<'a>,
    x: &'a [f32], // [n, cols]
    n: usize,
    element: PhantomData<E>,
}

impl<'a, S: Simd, E: Element, const P: usize, const A: usize, const T: usize> Job<'a, S, E, P, A, T> {
    fn new(s: S, w: &'a Matrix, x: &'a [f32], n: usize) -> Self {
        assert!(w.bytes.len() == w.rows * w.cols * E::BYTES, "{} bytes", w.bytes.len());
        Job { s, w, x, n, element: PhantomData }
    }

    fn run(&self, rows: Range<usize>, sink: &mut Sink) {
        let row_bytes = self.w.cols * E::BYTES;
        let panel = (PANEL_BYTES / row_bytes.max(1)).clamp(A, PANEL_ROWS) / A * A;
        let mut results = [[0.0; PANEL_ROWS]; T];
        for first in rows.clone().step_by(panel) {
            let some_rows = first..rows.end.min(first + panel);
            for (t, tokens) in parts::<T>(0..self.n) {
                for (i, (r, count)) in parts::<A>(some_rows.clone()).enumerate() {
                    // The first tokens fetch the rows from memory, the others find them in the cache and each
                    // tile fetches one of the tokens that follow.
                    let ahead = match t == 0 {
                        true if r + count < rows.end => Ahead::Rows(self.row(r + count)),
                        false if i < tokens && t + T + i < self.n => Ahead::Token(self.token(t + T + i)),
                        _ => Ahead::Nothing,
                    };
                    let at = r - first;
                    match (count == A, tokens == T) {
                        (true, true) => self.multiply::<A, T>(r, t, ahead, at, &mut results),
                        (true, false) => self.multiply::<A, 1>(r, t, ahead, at, &mut results),
                        (false, true) => self.multiply::<1, T>(r, t, ahead, at, &mut results),
                        (false, false) => self.multiply::<1, 1>(r, t, ahead, at, &mut results),
                    }
                }
                for (j, results) in results[..tokens].iter().enumerate() {
                    sink(first, t + j, &results[..some_rows.len()]);
                }
            }
        }
    }

    /// The columns that fill sixteen lanes.
    fn whole(&self) -> usize {
        self.w.cols / 16 * 16
    }

    /// The elements of a row.
    fn row(&self, row: usize) -> *const u8 {
        self.w.bytes[row * self.w.cols * E::BYTES..].as_ptr()
    }

    /// The elements of a token.
    fn token(&self, t: usize) -> *const u8 {
        self.x[t * self.w.cols..].as_ptr().cast()
    }

    /// N rows from `r` on times M tokens from `t` on, to `at` of each token's results.
    fn multiply<const N: usize, const M: usize>(
        &self,
        r: usize,
        t: usize,
        ahead: Ahead,
        at: usize,
        results: &mut [[f32; PANEL_ROWS]; T],
    ) {
        let weights = Source { first: self.row(r), stride: self.w.cols * E::BYTES };
        let tokens = Source { first: self.token(t), stride: self.w.cols * 4 };
        // A function of its own, so that the sums stay in registers.
        let mut lanes: [[Lanes; N]; M] = self.s.run(
            #[inline(always)]
            // SAFETY: so many elements of N rows and of M tokens.
            || unsafe { tile::<S, E, P, N, M>(self.s, weights, tokens, self.whole(), ahead) },
        );
        self.s.run(
            #[inline(always)]
            || {
                for (j, (lanes, results)) in lanes.iter_mut().zip(results).enumerate() {
                    if self.whole() < self.w.cols {
                        (0..N).for_each(|i| self.tail(r + i, t + j, &mut lanes[i]));
                    }
                    let load = |p: usize, lanes: &Lanes| {
                        // SAFETY: LANES of sixteen lanes.
                        unsafe { self.s.load(lanes.as_ptr().add(p * S::LANES)) }
                    };
                    let vectors = std::array::from_fn(|i| std::array::from_fn(|p| load(p, &lanes[i])));
                    let sums: [f32; N] = self.s.trees::<P, N>(&vectors);
                    results[at..at + N].copy_from_slice(&sums);
                }
            },
        );
    }

    /// Adds the columns that fill no sixteen lanes. Lanes behind the end keep their bits: adding a product of zeros
    /// could turn -0 into 0.
    #[inline(always)]
    fn tail(&self, r: usize, t: usize, lanes: &mut Lanes) {
        let (whole, rest) = (self.whole(), self.w.cols - self.whole());
        let (mut weights, mut x) = ([0u8; 64], [0.0f32; 16]);
        let start = (r * self.w.cols + whole) * E::BYTES;
        weights[..rest * E::BYTES].copy_from_slice(&self.w.bytes[start..][..rest * E::BYTES]);
        x[..rest].copy_from_slice(&self.x[t * self.w.cols + whole..][..rest]);
        for p in 0..P {
            let at = p * S::LANES;
            // SAFETY: 64 bytes are sixteen elements of any type, and LANES of sixteen floats.
            unsafe {
                let before = self.s.load(lanes.as_ptr().add(at));
                let w = E::load(self.s, weights.as_ptr().add(at * E::BYTES));
                let sum = self.s.fma(w, self.s.load(x.as_ptr().add(at)), before);
                let sum = self.s.first(rest.saturating_sub(at), sum, before);
                self.s.store(lanes.as_mut_ptr().add(at), sum);
            }
        }
    }
}

/// Cuts rows into tiles of N and single ones: the first row of each, and how many it has.
fn parts<const N: usize>(rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.start..rows.start + rows.len() / N * N;
    let singles = tiles.end..rows.end;
    tiles.step_by(N).map(|r| (r, N)).chain(singles.map(|r| (r, 1)))
}

/// Rows of numbers.
#[derive(Clone, Copy)]
struct Source {
    first: *const u8,
    /// Bytes from row to row.
    stride: usize,
}

/// What a tile asks for while it multiplies.
#[derive(Clone, Copy)]
enum Ahead {
    /// As many rows as it has.
    Rows(*const u8),
    /// One token.
    Token(*const u8),
    Nothing,
}

/// The lanes of A rows times T tokens of `len` elements (whole sixteens).
///
/// # Safety
/// So many elements of the rows and floats of the tokens are readable.
#[inline(always)]
unsafe fn tile<S: Simd, E: Element, const P: usize, const A: usize, const T: usize>(
    s: S,
    weights: Source,
    tokens: Source,
    len: usize,
    ahead: Ahead,
) -> [[Lanes; A]; T] {
    const { assert!(P * S::LANES == 16) };
    let mut acc = [[[s.splat(0.0); P]; A]; T];
    for k in (0..len).step_by(16) {
        match ahead {
            Ahead::Rows(next) => {
                for line in (0..16 * A * E::BYTES).step_by(64) {
                    s.prefetch(next.wrapping_add(k * A * E::BYTES + line));
                }
            }
            Ahead::Token(next) => s.prefetch(next.wrapping_add(k * 4)),
            Ahead::Nothing => {}
        }
        for p in 0..P {
            let at = k + p * S::LANES;
            let mut w = [s.splat(0.0); A];
            for i in 0..A {
                // SAFETY: elements k..k + 16 of a row.
                w[i] = unsafe { E::load(s, weights.first.add(i * weights.stride + at * E::BYTES)) };
            }
            for t in 0..T {
                // SAFETY: elements k..k + 16 of a token.
                let x = unsafe { s.load(tokens.first.add(t * tokens.stride + at * 4).cast()) };
                for i in 0..A {
                    acc[t][i][p] = s.fma(w[i], x, acc[t][i][p]);
                }
            }
        }
    }
    let mut lanes = [[[0.0; 16]; A]; T];
    for t in 0..T {
        for i in 0..A {
            for p in 0..P {
                // SAFETY: LANES of sixteen lanes.
                unsafe { s.store(lanes[t][i].as_mut_ptr().add(p * S::LANES), acc[t][i][p]) };
            }
        }
    }
    lanes
}
