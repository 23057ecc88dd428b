//! Matrix times activations.

use super::math::{dot16, fma};
use crate::Matrix;
use qwip_quant::{decode_row, unpack_groups};
use std::ops::Range;

/// Quantized activations of `n` tokens, as [`quantize`](super::quantize::quantize) makes them.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a> {
    /// Tokens.
    pub n: usize,
    /// Values per token, a multiple of 32.
    pub cols: usize,
    /// Codes, -127..=127.
    pub codes: &'a [i8], // [n, cols]
    /// Scale of every 32 values.
    pub scales: &'a [f32], // [n, cols / 32]
}

/// The given rows of a quantized matrix times n tokens; `out [n, rows.len()]`.
///
/// A row is seen as groups of 16 or 32 codes with an f32 scale d_w and, for some types, an f32 minimum m_w
/// (what `qwip_quant::unpack_groups` gives: value = d_w * code - m_w). With d_x the scale of the activation
/// block that the group lies in, from `acc = 0`, for each group in ascending order:
///
/// - `acc = fma(d_w * d_x, dot, acc)`, dot the exact integer sum of code products (below 2^24, so exact as
///   f32);
/// - if the type has minimums: `acc = fma(-(m_w * d_x), sum, acc)`, sum the sum of the group's activation
///   codes.
pub fn linear_q(w: &Matrix, rows: Range<usize>, x: &Quantized, out: &mut [f32]) {
    let group = w.ty.group_len().unwrap_or_else(|| panic!("{} has no groups", w.ty.name()));
    let (cols, groups) = (w.cols, w.cols / group);
    let mut codes = vec![0i8; cols];
    let mut scales = vec![0.0f32; groups];
    let mut mins = vec![0.0f32; groups];
    let width = rows.len();
    for (column, r) in rows.enumerate() {
        unpack_groups(w.ty, w.row(r), &mut codes, &mut scales, &mut mins)
            .unwrap_or_else(|e| panic!("row {r}: {e}"));
        for t in 0..x.n {
            let x_codes = &x.codes[t * cols..][..cols];
            let x_scales = &x.scales[t * (cols / 32)..][..cols / 32];
            let mut acc = 0.0f32;
            for g in 0..groups {
                let (mut dot, mut sum) = (0i32, 0i32);
                for i in g * group..(g + 1) * group {
                    dot += i32::from(codes[i]) * i32::from(x_codes[i]);
                    sum += i32::from(x_codes[i]);
                }
                let d_x = x_scales[g * group / 32];
                acc = fma(scales[g] * d_x, dot as f32, acc);
                if w.ty.has_min() {
                    acc = fma(-(mins[g] * d_x), sum as f32, acc);
                }
            }
            out[t * width + column] = acc;
        }
    }
}

/// The given rows of an F32, F16 or BF16 matrix times `x [n, cols]`; `out [n, rows.len()]`: each output is
/// the [`dot16`] of the row, widened to f32, with the token.
pub fn linear_f(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, out: &mut [f32]) {
    let cols = w.cols;
    let mut row = vec![0.0f32; cols];
    let width = rows.len();
    for (column, r) in rows.enumerate() {
        decode_row(w.ty, w.row(r), &mut row).unwrap_or_else(|e| panic!("row {r}: {e}"));
        for t in 0..n {
            out[t * width + column] = dot16(&row, &x[t * cols..][..cols]);
        }
    }
}

/// What follows the chain of an output: the factor of the matrix (1 if it has none), then bias, then residual.
/// `y [rows]`; `bias [rows]`; `residual [rows]`.
pub fn epilogue(y: &mut [f32], scale: f32, bias: Option<&[f32]>, residual: Option<&[f32]>) {
    for i in 0..y.len() {
        y[i] *= scale;
        if let Some(bias) = bias {
            y[i] += bias[i];
        }
        if let Some(residual) = residual {
            y[i] += residual[i];
        }
    }
}
