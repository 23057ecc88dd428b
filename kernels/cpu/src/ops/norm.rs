//! RMS norm over rows, into the input of the next matrix products, and over heads, in place.

use super::{Activations, Cancel, Cpu, ITEM, SharedOut, rows_of};
use crate::pool::Cancelled;

/// Normalizes each row of `x [n, cols]` with weights `w [cols]` (so cols is `w.len()`) into `out`,
/// quantized too where possible.
///
/// # Errors
/// If cancelled; `out` is then of no use.
pub fn rms_norm_rows(
    cpu: &Cpu,
    x: &[f32],
    w: &[f32],
    eps: f32,
    out: &mut Activations,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let cols = w.len();
    let n = rows_of(x.len(), cols);
    out.fill(cpu, n, cols, cancel, |i, out| (cpu.kernels.norm)(&x[i * cols..][..cols], w, eps, out))
}

/// Normalizes each head of `x [.., D]` in place with weights `w [D]`.
///
/// # Errors
/// If cancelled; some heads are then normalized and some are not.
pub fn rms_norm_heads(
    cpu: &Cpu,
    x: &mut [f32],
    w: &[f32],
    eps: f32,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let d = w.len();
    let heads = rows_of(x.len(), d);
    let a_time = (ITEM / d.max(1)).max(1);
    let x = SharedOut::new(x);
    cpu.pool.run(heads.div_ceil(a_time), cancel, &|worker, item| {
        let result = &mut worker.scratch.driver;
        result.resize(d, 0.0);
        for head in item * a_time..heads.min((item + 1) * a_time) {
            // SAFETY: each head belongs to one item, and each item is run once.
            let x = unsafe { x.slice(head * d..(head + 1) * d) };
            (cpu.kernels.norm)(x, w, eps, result);
            x.copy_from_slice(result);
        }
    })
}
