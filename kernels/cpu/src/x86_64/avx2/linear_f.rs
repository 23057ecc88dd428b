//! The linear of F32, F16 and BF16 matrices: sixteen elements of one row in the
//! lanes of two vectors, tiles of 2 rows x 2 tokens.

use super::math::{load16, tree16};
use crate::Matrix;
use qwip_quant::TensorType;
use std::arch::x86_64::*;
use std::ops::Range;

/// Rows and tokens of a tile: sixteen sums, so that the eight multiply-adds in flight have their own.
const TILE: usize = 4;
/// The rows that all tokens pass before the next ones: they should stay in the second-level cache.
const PANEL_BYTES: usize = 256 << 10;

/// How weights lie in memory.
trait Element {
    const BYTES: usize;
    /// Eight elements as f32.
    ///
    /// # Safety
    /// They are readable, and the CPU has the features of this kernel set.
    unsafe fn load(at: *const u8) -> __m256;
}

struct F32;
impl Element for F32 {
    const BYTES: usize = 4;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(at.cast()) }
    }
}

struct F16;
impl Element for F16 {
    const BYTES: usize = 2;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
    }
}

struct Bf16;
impl Element for Bf16 {
    const BYTES: usize = 2;
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        let bits = unsafe { _mm_loadu_si128(at.cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    }
}

/// Sixteen elements as f32.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load<E: Element>(at: *const u8) -> [__m256; 2] {
    // SAFETY: the caller's promise.
    unsafe { [E::load(at), E::load(at.add(8 * E::BYTES))] }
}

/// See `reference::linear::linear_f`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn linear_f(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, out: &mut [f32]) {
    assert!(rows.start <= rows.end && rows.end <= w.rows, "rows {rows:?} of {}", w.rows);
    assert!(x.len() == n * w.cols, "{} activations for {n} x {}", x.len(), w.cols);
    assert!(out.len() == n * rows.len(), "{} results for {n} x {}", out.len(), rows.len());
    match w.ty {
        TensorType::F32 => all::<F32>(w, rows, x, n, out),
        TensorType::F16 => all::<F16>(w, rows, x, n, out),
        TensorType::Bf16 => all::<Bf16>(w, rows, x, n, out),
        other => panic!("{} is not a float type", other.name()),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn all<E: Element>(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, out: &mut [f32]) {
    let width = rows.len();
    let panel = (PANEL_BYTES / (w.cols * E::BYTES).max(1)).max(TILE) / TILE * TILE;
    for first in rows.clone().step_by(panel) {
        let end = (first + panel).min(rows.end);
        let mut t = 0;
        while t < n {
            let tokens = if n - t >= TILE { TILE } else { 1 };
            let mut r = first;
            while r < end {
                let count = if end - r >= TILE { TILE } else { 1 };
                let results = &mut out[t * width + (r - rows.start)..];
                match (count, tokens) {
                    (TILE, TILE) => block::<E, TILE, TILE>(w, r, &x[t * w.cols..], width, results),
                    (TILE, _) => block::<E, TILE, 1>(w, r, &x[t * w.cols..], width, results),
                    (_, TILE) => block::<E, 1, TILE>(w, r, &x[t * w.cols..], width, results),
                    _ => block::<E, 1, 1>(w, r, &x[t * w.cols..], width, results),
                }
                r += count;
            }
            t += tokens;
        }
    }
}

/// R rows from `r` on times the first T tokens of `x`; `out [T, width]`.
#[target_feature(enable = "avx2,fma,f16c")]
fn block<E: Element, const R: usize, const T: usize>(
    w: &Matrix,
    r: usize,
    x: &[f32],
    width: usize,
    out: &mut [f32],
) {
    let (cols, whole) = (w.cols, w.cols / 16 * 16);
    let stride = cols * E::BYTES;
    let rows: [&[u8]; R] = std::array::from_fn(|i| &w.bytes[(r + i) * stride..][..stride]);
    let tokens: [&[f32]; T] = std::array::from_fn(|t| &x[t * cols..][..cols]);
    let mut acc = tile::<E, R, T>(rows, tokens);
    if whole < cols {
        acc = tail::<E, R, T>(acc, rows.map(|r| &r[whole * E::BYTES..]), tokens.map(|t| &t[whole..]));
    }
    for i in 0..R {
        for t in 0..T {
            out[t * width + i] = tree16(acc[i][t]);
        }
    }
}

/// The lanes of R rows times T tokens, as far as sixteen elements are left. A function of its own, with
/// nothing else in it, so that the compiler keeps the sums in registers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline(never)]
fn tile<E: Element, const R: usize, const T: usize>(
    rows: [&[u8]; R],
    tokens: [&[f32]; T],
) -> [[[__m256; 2]; T]; R] {
    let mut acc = [[[_mm256_setzero_ps(); 2]; T]; R];
    for k in (0..tokens[0].len() / 16 * 16).step_by(16) {
        let mut weights = [[_mm256_setzero_ps(); 2]; R];
        for i in 0..R {
            // SAFETY: elements k..k + 16 of a row.
            weights[i] = unsafe { load::<E>(rows[i].as_ptr().add(k * E::BYTES)) };
        }
        for t in 0..T {
            // SAFETY: elements k..k + 16 of a token.
            let x = unsafe { load::<F32>(tokens[t].as_ptr().add(k).cast()) };
            for i in 0..R {
                for half in 0..2 {
                    acc[i][t][half] = _mm256_fmadd_ps(weights[i][half], x[half], acc[i][t][half]);
                }
            }
        }
    }
    acc
}

/// The elements that fill no vector. Lanes behind the end keep their bits: adding a product of zeros could
/// turn -0 into 0.
#[target_feature(enable = "avx2,fma,f16c")]
fn tail<E: Element, const R: usize, const T: usize>(
    mut acc: [[[__m256; 2]; T]; R],
    rows: [&[u8]; R],
    tokens: [&[f32]; T],
) -> [[[__m256; 2]; T]; R] {
    let mut behind = [-1.0; 16];
    behind[..tokens[0].len()].fill(0.0);
    let behind = load16(&behind);
    for i in 0..R {
        let mut bytes = [0u8; 64];
        bytes[..rows[i].len()].copy_from_slice(rows[i]);
        // SAFETY: 64 bytes are sixteen elements of any type.
        let weights = unsafe { load::<E>(bytes.as_ptr()) };
        for t in 0..T {
            let mut last = [0.0; 16];
            last[..tokens[t].len()].copy_from_slice(tokens[t]);
            let x = load16(&last);
            for half in 0..2 {
                let old = acc[i][t][half];
                let new = _mm256_fmadd_ps(weights[half], x[half], old);
                acc[i][t][half] = _mm256_blendv_ps(new, old, behind[half]);
            }
        }
    }
    acc
}
