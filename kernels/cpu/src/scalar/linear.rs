//! Matrix times activations: each row is unpacked once and multiplied with every token.

use super::math::{add_products, fma};
use crate::acts::{ActTile, Acts, STEP};
use crate::reference::math::tree16;
use crate::{Matrix, Scratch, Sink};
use qwip_quant::{TensorType, decode_row, unpack_groups};
use std::ops::Range;

/// [`reference::linear_q`](crate::reference::linear::linear_q) for every quantized type.
///
/// # Panics
/// If the type has no groups or the slices are shorter than the shapes say.
pub fn linear_q(w: &Matrix, rows: Range<usize>, x: &Acts, sink: &mut Sink, scratch: &mut Scratch) {
    let group = w.ty.group_len().unwrap_or_else(|| panic!("{} has no groups", w.ty.name()));
    let (cols, groups) = (w.cols, w.cols / group);
    assert!(x.cols() == cols, "{cols} columns times {} activations", x.cols());
    scratch.codes.resize(cols, 0);
    scratch.scales.resize(groups, 0.0);
    scratch.mins.resize(groups, 0.0);
    for r in rows {
        let (codes, scales, mins) = (&mut scratch.codes, &mut scratch.scales, &mut scratch.mins);
        unpack_groups(w.ty, w.row(r), codes, scales, mins).unwrap_or_else(|e| panic!("row {r}: {e}"));
        let mins = w.ty.has_min().then_some(&mins[..]);
        for tile in x.tiles() {
            for t in 0..tile.width {
                let y = if group == 16 {
                    chain::<16>(codes, scales, mins, &tile, t)
                } else {
                    chain::<32>(codes, scales, mins, &tile, t)
                };
                sink(r, tile.first + t, &[y]);
            }
        }
    }
}

/// One output element: a row in groups of `G` codes times one token.
fn chain<const G: usize>(
    codes: &[i8],
    scales: &[f32],
    mins: Option<&[f32]>,
    tile: &ActTile,
    t: usize,
) -> f32 {
    let mut acc = 0.0f32;
    for (step, w) in codes.as_chunks::<STEP>().0.iter().enumerate() {
        let (x, d_x, sums) = (tile.codes(step, t), tile.scale(step, t), tile.half_sums(step, t));
        for (i, (w, x)) in w.as_chunks::<G>().0.iter().zip(x.as_chunks::<G>().0).enumerate() {
            let g = step * (STEP / G) + i;
            // A product is at most 128 * 127, so it fits 16 bits; their sum is at most 32 times that.
            let dot: i32 = w.iter().zip(x).map(|(&w, &x)| i32::from(i16::from(w) * i16::from(x))).sum();
            acc = fma(scales[g] * d_x, dot as f32, acc);
            if let Some(mins) = mins {
                let sum = if G == 16 { sums[i] } else { sums[0] + sums[1] };
                acc = fma(-(mins[g] * d_x), sum as f32, acc);
            }
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
pub fn linear_f(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, sink: &mut Sink) {
    let size = match w.ty {
        TensorType::F32 => 4,
        TensorType::F16 | TensorType::Bf16 => 2,
        ty => panic!("{} is not a float type", ty.name()),
    };
    let cols = w.cols;
    let mut wide = [0.0f32; PIECE];
    for r in rows {
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
                sink(r, t, &[tree16(&lanes[t - first])]);
            }
        }
    }
}
