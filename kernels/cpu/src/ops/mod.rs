//! Parallel drivers over the kernels: the operations that the runtime calls.
//!
//! Each is one region of the pool (or none, if the work is small). Results do not depend on the number of
//! threads, on how rows are cut into chunks or on how many tokens are computed together: an output element
//! is always one chain of the number contract, computed by one thread.
//!
//! Slices whose lengths do not fit the shapes are a mistake of the caller and panic.

pub mod attend;
pub mod delta;
pub mod linear;
pub mod moe;
pub mod norm;
pub mod rope;
pub mod silu;

use crate::Kernels;
use crate::acts::{self, ActTileMut, Acts, ActsBuffer, STEP, nth_tile, tile_count};
use crate::pool::{Cancelled, Pool};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The flag that stops an operation between two work items.
pub type Cancel<'a> = Option<&'a AtomicBool>;

/// What every driver needs: kernels and threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The kernels of the instruction set in use.
    pub kernels: &'static Kernels,
    /// The threads.
    pub pool: Arc<Pool>,
}

/// The input of matrix products: n rows of floats and, when their length is a multiple of 32, the same rows
/// quantized. Buffers are reused, so one that has been large enough before is not allocated again.
#[derive(Clone, Default, Debug)]
pub struct Activations {
    n: usize,
    cols: usize,
    x: Vec<Line>, // [n, cols]
    quantized: ActsBuffer,
}

/// Floats that a vector loads from one cache line.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Activations {
    /// No rows yet.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// Bytes that a row of `cols` values takes, quantized too.
    pub fn bytes(cols: usize) -> usize {
        (cols + acts::words(1, cols)) * size_of::<f32>()
    }

    /// Rows (tokens).
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values per row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The rows as they were loaded, `[n, cols]`.
    pub fn x(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.x)[..self.n * self.cols]
    }

    /// The quantized rows; `None` if `cols` is not a multiple of 32.
    pub fn quantized(&self) -> Option<Acts<'_>> {
        self.cols.is_multiple_of(STEP).then(|| self.quantized.acts())
    }

    fn input(&self) -> Input<'_> {
        Input { n: self.n, x: self.x(), quantized: self.quantized() }
    }

    /// The rows `first..first + n`, which have been filled as tiles of their own.
    fn part(&self, first: usize, n: usize) -> Input<'_> {
        let quantized = self.cols.is_multiple_of(STEP).then(|| self.quantized.part(first, n));
        Input { n, x: &self.x()[first * self.cols..(first + n) * self.cols], quantized }
    }

    /// Copies `x [n, cols]` and quantizes it.
    ///
    /// # Errors
    /// If cancelled; the contents are then of no use.
    pub fn load(&mut self, cpu: &Cpu, x: &[f32], cols: usize, cancel: Cancel) -> Result<(), Cancelled> {
        let n = rows_of(x.len(), cols);
        self.fill(cpu, n, cols, cancel, |row, out| out.copy_from_slice(&x[row * cols..][..cols]))
    }

    /// Makes `n` rows of `cols` values: `row(i, out)` writes row i (for any i, on any worker), which is then
    /// quantized.
    pub(crate) fn fill(
        &mut self,
        cpu: &Cpu,
        n: usize,
        cols: usize,
        cancel: Cancel,
        row: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<(), Cancelled> {
        let widest = cpu.kernels.tokens;
        let tile = |item| nth_tile(n, widest, item).unwrap_or_default();
        self.fill_tiles(cpu, [n, cols], tile_count(n, widest), tile, cancel, row)
    }

    /// As [`Activations::fill`] with so many tiles, of which `tile` tells the first row and the width. A work item is a
    /// tile of tokens, whose codes are interleaved.
    fn fill_tiles(
        &mut self,
        cpu: &Cpu,
        [n, cols]: [usize; 2],
        tiles: usize,
        tile: impl Fn(usize) -> (usize, usize) + Sync,
        cancel: Cancel,
        row: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<(), Cancelled> {
        let kernels = cpu.kernels;
        (self.n, self.cols) = (n, cols);
        self.x.resize((n * cols).div_ceil(16), Line([0.0; 16]));
        let x = SharedOut::new(bytemuck::cast_slice_mut(&mut self.x));
        if !cols.is_multiple_of(STEP) {
            return for_each_row(cpu, n, cols, cancel, &|i| {
                // SAFETY: `for_each_row` visits each row once.
                row(i, unsafe { x.slice(i * cols..(i + 1) * cols) });
            });
        }
        self.quantized.resize(n, cols, kernels.tokens);
        let words = SharedOut::new(self.quantized.words_mut());
        cpu.pool.run(tiles, cancel, &|_, item| {
            let (first, width) = tile(item);
            let token = acts::words(1, cols);
            // SAFETY: tiles have their own rows and words, and each is visited once.
            let words = unsafe { words.slice(first * token..(first + width) * token) };
            let mut tile = ActTileMut::new(width, words);
            for t in 0..width {
                let i = first + t;
                // SAFETY: as above.
                let x = unsafe { x.slice(i * cols..(i + 1) * cols) };
                row(i, x);
                (kernels.quantize)(x, t, &mut tile);
            }
        })
    }
}

/// The rows that matrices are multiplied with.
#[derive(Clone, Copy)]
struct Input<'a> {
    n: usize,
    x: &'a [f32], // [n, cols]
    /// Where the length of rows is a multiple of 32.
    quantized: Option<Acts<'a>>,
}

/// How many rows of `cols` values make `len` values; panics if they do not.
fn rows_of(len: usize, cols: usize) -> usize {
    let n = len.checked_div(cols).unwrap_or(0);
    assert_eq!(n * cols, len, "values in whole rows of {cols}, values given");
    n
}

/// Values below which a work item of an element-wise operation is not worth handing out.
const ITEM: usize = 8192;

/// Calls `f` once for each row below `n`, of `cols` values each, in parallel if there is enough to do.
fn for_each_row(
    cpu: &Cpu,
    n: usize,
    cols: usize,
    cancel: Cancel,
    f: &(dyn Fn(usize) + Sync),
) -> Result<(), Cancelled> {
    let rows = (ITEM / cols.max(1)).max(1);
    cpu.pool.run(n.div_ceil(rows), cancel, &|_, item| (item * rows..n.min((item + 1) * rows)).for_each(f))
}

/// A slice of which several threads write disjoint parts.
struct SharedOut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` handed out in parts; `slice`'s contract keeps the parts disjoint, and sending
// disjoint `&mut [T]` to other threads is what `T: Send` allows.
unsafe impl<T: Send> Sync for SharedOut<'_, T> {}

impl<'a, T> SharedOut<'a, T> {
    fn new(slice: &'a mut [T]) -> SharedOut<'a, T> {
        SharedOut { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The part `range`; panics if it is not inside.
    ///
    /// # Safety
    /// While the part is in use, no overlapping part may be.
    #[expect(clippy::mut_from_ref, reason = "disjoint parts of one exclusive borrow, see Safety")]
    unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the slice that this was made of, which is exclusively borrowed for 'a; the caller
        // keeps parts disjoint.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The part `range`, to look at; panics if it is not inside.
    ///
    /// # Safety
    /// While the part is in use, no overlapping part of [`slice`](SharedOut::slice) may be.
    unsafe fn read(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the slice that this was made of; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}
