//! Matrix times activations: each row is unpacked once and multiplied with every token.

use super::math::{add_products, fma};
use crate::reference::math::tree16;
use crate::{Acts, Matrix, Scratch};
use qwip_quant::{TensorType, decode_row, unpack_groups};
use std::ops::Range;

/// [`reference::linear_q`](crate::reference::linear::linear_q) for every quantized type.
///
/// # Panics
/// If the type has no groups or the slices are shorter than the shapes say.
pub fn linear_q(w: &Matrix, rows: Range<usize>, x: &Acts, out: &mut [f32], scratch: &mut Scratch) {
    let group = w.ty.group_len().unwrap_or_else(|| panic!("{} has no groups", w.ty.name()));
    let (cols, groups) = (w.cols, w.cols / group);
    scratch.codes.resize(cols, 0);
    scratch.scales.resize(groups, 0.0);
    scratch.mins.resize(groups, 0.0);
    let width = rows.len();
    for (column, r) in rows.enumerate() {
        let (codes, scales, mins) = (&mut scratch.codes, &mut scratch.scales, &mut scratch.mins);
        unpack_groups(w.ty, w.row(r), codes, scales, mins).unwrap_or_else(|e| panic!("row {r}: {e}"));
        let mins = w.ty.has_min().then_some(&mins[..]);
        for t in 0..x.n {
            let x_codes = &x.codes[t * cols..][..cols];
            let x_scales = &x.scales[t * (cols / 32)..][..cols / 32];
            let x_sums = &x.sums[t * (cols / 16)..][..cols / 16];
            out[t * width + column] = if group == 16 {
                chain::<16>(codes, scales, mins, x_codes, x_scales, x_sums)
            } else {
                chain::<32>(codes, scales, mins, x_codes, x_scales, x_sums)
            };
        }
    }
}

/// One output element: a row in groups of `G` codes times one token.
fn chain<const G: usize>(
    codes: &[i8],
    scales: &[f32],
    mins: Option<&[f32]>,
    x_codes: &[i8],
    x_scales: &[f32],
    x_sums: &[i32],
) -> f32 {
    let pairs = codes.as_chunks::<G>().0.iter().zip(x_codes.as_chunks::<G>().0);
    let mut acc = 0.0f32;
    for (g, (w, x)) in pairs.enumerate() {
        // A product is at most 128 * 127, so it fits 16 bits; their sum is at most 32 times that.
        let dot: i32 = w.iter().zip(x).map(|(&w, &x)| i32::from(i16::from(w) * i16::from(x))).sum();
        let d_x = x_scales[g * G / 32];
        acc = fma(scales[g] * d_x, dot as f32, acc);
        if let Some(mins) = mins {
            let sum: i32 = x_sums[g * G / 16..(g + 1) * G / 16].iter().sum();
            acc = fma(-(mins[g] * d_x), sum as f32, acc);
        }
    }
    acc
}

/// Columns of a row that are widened to f32 at a time.
const PIECE: usize = 256;
/// Tokens that share one widening.
const TOKENS: usize = 8;

/// [`reference::linear_f`](crate::reference::linear::linear_f) for F32, F16 and BF16.
///
/// # Panics
/// If the type is another one or the slices are shorter than the shapes say.
pub fn linear_f(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, out: &mut [f32]) {
    let size = match w.ty {
        TensorType::F32 => 4,
        TensorType::F16 | TensorType::Bf16 => 2,
        ty => panic!("{} is not a float type", ty.name()),
    };
    let (cols, width) = (w.cols, rows.len());
    let mut wide = [0.0f32; PIECE];
    for (column, r) in rows.enumerate() {
        let row = w.row(r);
        for first in (0..n).step_by(TOKENS) {
            let tokens = first..n.min(first + TOKENS);
            let mut lanes = [[0.0f32; 16]; TOKENS];
            for start in (0..cols).step_by(PIECE) {
                let len = PIECE.min(cols - start);
                decode_row(w.ty, &row[start * size..][..len * size], &mut wide[..len])
                    .unwrap_or_else(|e| panic!("row {r}: {e}"));
                for t in tokens.clone() {
                    add_products(&wide[..len], &x[t * cols + start..][..len], &mut lanes[t - first]);
                }
            }
            for t in tokens {
                out[t * width + column] = tree16(&lanes[t - first]);
            }
        }
    }
}
