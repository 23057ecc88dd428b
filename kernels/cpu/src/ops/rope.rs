//! Rotary position embedding over all heads of all tokens.

use super::{Cancel, Cpu, SharedOut, for_each_row, rows_of};
use crate::pool::Cancelled;

/// Rotates `x [n, heads, D]` in place; `cos`, `sin` `[n, n_rot / 2]` belong to the positions of the tokens.
///
/// # Errors
/// If cancelled; some tokens are then rotated and some are not.
pub fn rope_rows(
    cpu: &Cpu,
    x: &mut [f32],
    heads: usize,
    d: usize,
    cos: &[f32],
    sin: &[f32],
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let row = heads * d;
    let n = rows_of(x.len(), row);
    let half = cos.len().checked_div(n).unwrap_or(0);
    assert!(cos.len() == n * half && sin.len() == n * half && half * 2 <= d, "angles for {n} tokens");
    let x = SharedOut::new(x);
    for_each_row(cpu, n, row, cancel, &|t| {
        // SAFETY: the row of token t; `for_each_row` visits each t once.
        let x = unsafe { x.slice(t * row..(t + 1) * row) };
        let at = t * half..(t + 1) * half;
        for head in x.chunks_exact_mut(d) {
            (cpu.kernels.rope)(head, &cos[at.clone()], &sin[at.clone()]);
        }
    })
}
