//! The gate of a feed-forward block.

use super::{Activations, Cancel, Cpu, ITEM, SharedOut, rows_of};
use crate::pool::Cancelled;

/// `gate = silu(gate) * up` for equally long slices (`[n, f]`, say).
///
/// # Errors
/// If cancelled; part of `gate` is then the product and part is not.
pub fn silu_mul_rows(cpu: &Cpu, gate: &mut [f32], up: &[f32], cancel: Cancel) -> Result<(), Cancelled> {
    let len = gate.len();
    assert_eq!(len, up.len(), "gate and up are equally long");
    let gate = SharedOut::new(gate);
    cpu.pool.run(len.div_ceil(ITEM), cancel, &|_, item| {
        let range = item * ITEM..len.min((item + 1) * ITEM);
        // SAFETY: items cut the slice into disjoint ranges, and each is run once.
        let gate = unsafe { gate.slice(range.clone()) };
        (cpu.kernels.silu_mul)(gate, &up[range]);
    })
}

/// The product of [`silu_mul_rows`] for `gate`, `up` `[n, cols]`, written to and quantized in `out`, in one
/// region.
///
/// # Errors
/// If cancelled; `out` is then of no use.
pub fn silu_mul_load(
    cpu: &Cpu,
    gate: &[f32],
    up: &[f32],
    cols: usize,
    out: &mut Activations,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    assert_eq!(gate.len(), up.len(), "gate and up are equally long");
    let n = rows_of(gate.len(), cols);
    out.fill(cpu, n, cols, cancel, |i, out| {
        let row = i * cols..(i + 1) * cols;
        out.copy_from_slice(&gate[row.clone()]);
        (cpu.kernels.silu_mul)(out, &up[row]);
    })
}
