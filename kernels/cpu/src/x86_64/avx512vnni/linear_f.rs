//! The linear of F32, F16 and BF16 matrices: sixteen elements of one row in lanes, tiles of 4 rows x 4 tokens.

use super::math::tree16;
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
    /// Sixteen elements as f32.
    ///
    /// # Safety
    /// They are readable, and the CPU has the features of this kernel set.
    unsafe fn load(at: *const u8) -> __m512;
}

struct F32;
impl Element for F32 {
    const BYTES: usize = 4;
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(at.cast()) }
    }
}

struct F16;
impl Element for F16 {
    const BYTES: usize = 2;
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
    }
}

struct Bf16;
impl Element for Bf16 {
    const BYTES: usize = 2;
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        let bits = unsafe { _mm256_loadu_si256(at.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }
}

/// See `reference::linear::linear_f`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline(never)]
fn tile<E: Element, const R: usize, const T: usize>(
    rows: [&[u8]; R],
    tokens: [&[f32]; T],
) -> [[__m512; T]; R] {
    let mut acc = [[_mm512_setzero_ps(); T]; R];
    for k in (0..tokens[0].len() / 16 * 16).step_by(16) {
        let mut weights = [_mm512_setzero_ps(); R];
        for i in 0..R {
            // SAFETY: elements k..k + 16 of a row.
            weights[i] = unsafe { E::load(rows[i].as_ptr().add(k * E::BYTES)) };
        }
        for t in 0..T {
            // SAFETY: elements k..k + 16 of a token.
            let x = unsafe { F32::load(tokens[t].as_ptr().add(k).cast()) };
            for i in 0..R {
                acc[i][t] = _mm512_fmadd_ps(weights[i], x, acc[i][t]);
            }
        }
    }
    acc
}

/// The elements that fill no vector. Lanes behind the end keep their bits: adding a product of zeros could
/// turn -0 into 0.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tail<E: Element, const R: usize, const T: usize>(
    mut acc: [[__m512; T]; R],
    rows: [&[u8]; R],
    tokens: [&[f32]; T],
) -> [[__m512; T]; R] {
    let mask = (1u16 << tokens[0].len()) - 1;
    for i in 0..R {
        let mut bytes = [0u8; 64];
        bytes[..rows[i].len()].copy_from_slice(rows[i]);
        // SAFETY: 64 bytes are sixteen elements of any type.
        let weights = unsafe { E::load(bytes.as_ptr()) };
        for t in 0..T {
            // SAFETY: only the elements of the mask are read.
            let x = unsafe { _mm512_maskz_loadu_ps(mask, tokens[t].as_ptr()) };
            acc[i][t] = _mm512_mask3_fmadd_ps(weights, x, acc[i][t], mask);
        }
    }
    acc
}
