//! Matrix products: all the matrices that share an input in one region.

use super::{Activations, Cancel, Cpu, Input, SharedOut};
use crate::pool::Cancelled;
use crate::{Matrix, Scratch, Sink};
use std::ops::Range;

/// One matrix and where its product goes.
#[derive(Debug)]
pub struct LinearJob<'a> {
    /// The weights, `[rows, cols]`; cols are those of the activations.
    pub w: Matrix<'a>,
    /// Multiplies every token's product.
    pub scale: f32,
    /// Added to that.
    pub bias: Option<&'a [f32]>, // [rows]
    /// Residual: add the result to what `out` holds instead of replacing it.
    pub add: bool,
    /// The result.
    pub out: &'a mut [f32], // [n, rows]
}

/// Jobs that share a region; more take several.
const JOBS: usize = 8;

/// Computes `out = scale * (x w^T) (+ bias)` or `out = out + (scale * (x w^T) (+ bias))` for every job, in one region
/// for up to eight jobs. Allocates nothing once the workers' buffers have grown to size.
///
/// # Errors
/// If cancelled; part of the outputs is then computed and part is not.
///
/// # Panics
/// If shapes do not fit, or a matrix has a type that we do not compute with (see
/// [`supports`]).
pub fn linear(cpu: &Cpu, x: &Activations, jobs: &mut [LinearJob], cancel: Cancel) -> Result<(), Cancelled> {
    jobs.chunks_mut(JOBS).try_for_each(|jobs| linear_region(cpu, x, jobs, cancel))
}

/// Whether [`linear`] computes with matrices of this type.
pub fn supports(cpu: &Cpu, ty: qwip_quant::TensorType) -> bool {
    ty.is_decodable() && (ty.group_len().is_none() || cpu.kernels.linear_q(ty).is_some())
}

/// A job as the workers see it.
struct Part<'a> {
    w: Matrix<'a>,
    scale: f32,
    bias: Option<&'a [f32]>,
    add: bool,
    out: SharedOut<'a, f32>,
    /// Rows of a work item.
    chunk: usize,
    /// The first work item behind this job's.
    end: usize,
}

fn linear_region(
    cpu: &Cpu,
    x: &Activations,
    jobs: &mut [LinearJob],
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let input = x.input();
    let mut parts: [Option<Part>; JOBS] = [const { None }; JOBS];
    let mut items = 0;
    for (part, job) in parts.iter_mut().zip(jobs) {
        let LinearJob { w, scale, bias, add, out } = job;
        let name = w.ty.name();
        assert!(supports(cpu, w.ty), "no kernel for {name}");
        assert_eq!(w.cols, x.cols(), "columns of the matrix, activations");
        assert_eq!(out.len(), x.n() * w.rows, "output of {} tokens and {} rows", x.n(), w.rows);
        assert!(bias.is_none_or(|bias| bias.len() == w.rows), "bias of {} rows", w.rows);
        let chunk = chunk_rows(w, x.n(), w.rows.div_ceil(cpu.pool.threads() * 4));
        items += w.rows.div_ceil(chunk);
        let out = SharedOut::new(out);
        *part = Some(Part { w: *w, scale: *scale, bias: *bias, add: *add, out, chunk, end: items });
    }
    cpu.pool.run(items, cancel, &|worker, item| {
        let mut first = 0;
        for part in parts.iter().flatten() {
            if item < part.end {
                let start = (item - first) * part.chunk;
                let rows = start..part.w.rows.min(start + part.chunk);
                // SAFETY: items have disjoint rows of disjoint outputs, and each item is run once.
                unsafe { part.compute(cpu, &input, rows, worker.scratch) };
                return;
            }
            first = part.end;
        }
    })
}

/// Rows of a work item: a multiple of 16, the lanes of the widest kernels. `share` is a quarter of what a thread has to
/// do in all.
///
/// A few tokens: the time goes to reading weights, so an item is at least 16 KiB of them (hardware prefetchers
/// follow long runs) and at most the share, or 256 KiB, so that threads finish together.
/// Many tokens: an item's rows are unpacked once and multiplied with every token, so that all activations pass by
/// for an item: the more rows the better, up to what a kernel unpacks at a time. But nothing is cancelled within an item,
/// so there is a limit to its products: some milliseconds of a fast core, some tens of a slow one.
pub(super) fn chunk_rows(w: &Matrix, n: usize, share: usize) -> usize {
    const FEW: usize = 4;
    const MANY: usize = 320;
    // Floats take several times as long, and a kernel has fewer rows of them at a time.
    const PRODUCTS: usize = 512 << 20;
    const FLOAT_PRODUCTS: usize = 128 << 20;
    let rows = if n <= FEW {
        let row = w.row_bytes().max(1);
        let least = (16 << 10) / row;
        share.clamp(least, ((256 << 10) / row).max(least))
    } else {
        let most = if w.ty.group_len().is_some() { PRODUCTS } else { FLOAT_PRODUCTS };
        share.min(MANY).min(most / (w.cols * n).max(1))
    };
    rows.next_multiple_of(16).max(16)
}

impl Part<'_> {
    /// Computes the given rows for all tokens.
    ///
    /// # Safety
    /// Nobody else may use these rows of the output at the same time.
    unsafe fn compute(&self, cpu: &Cpu, x: &Input, rows: Range<usize>, scratch: &mut Scratch) {
        let mut sink = |row: usize, t: usize, y: &[f32]| {
            let at = t * self.w.rows + row;
            // SAFETY: kernels hand over each result of the given rows once; that nobody else uses them is the
            // caller's promise.
            let out = unsafe { self.out.slice(at..at + y.len()) };
            // Nearly always 1, by which a product is exact.
            let y = y.iter().map(|y| self.scale * y);
            match (self.bias.map(|bias| &bias[row..row + out.len()]), self.add) {
                (None, false) => out.iter_mut().zip(y).for_each(|(out, y)| *out = y),
                (None, true) => out.iter_mut().zip(y).for_each(|(out, y)| *out += y),
                (Some(bias), false) => {
                    out.iter_mut().zip(y).zip(bias).for_each(|((out, y), bias)| *out = y + *bias);
                }
                (Some(bias), true) => {
                    out.iter_mut().zip(y).zip(bias).for_each(|((out, y), bias)| *out += y + *bias);
                }
            }
        };
        multiply(cpu, &self.w, rows, x, &mut sink, scratch);
    }
}

/// Multiplies the given rows of a matrix with all of `x`; every result goes to the sink once.
pub(super) fn multiply(
    cpu: &Cpu,
    w: &Matrix,
    rows: Range<usize>,
    x: &Input,
    sink: &mut Sink,
    scratch: &mut Scratch,
) {
    match (cpu.kernels.linear_q(w.ty), &x.quantized) {
        (Some(kernel), Some(acts)) => kernel(w, rows, acts, sink, scratch),
        // Whole blocks of 32 in a row: quantized weights imply quantized activations.
        _ => (cpu.kernels.linear_f)(w, rows, x.x, x.n, sink),
    }
}
