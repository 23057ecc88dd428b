//! Weights on their way to the device: from the mapped file through a little memory of our own.

use std::collections::HashMap;
use std::sync::Mutex;

use qwip_quant::TensorType;

use crate::buffer::Span;
use crate::device::{Gpu, lock};
use crate::error::{GpuError, Result};
use crate::layout::{self, Layout};
use crate::matrix::GpuMatrix;

/// Bytes of a file that are converted at a time.
const PIECE: usize = 4 << 20;
/// After so many bytes it is waited until the device has taken them, since the driver keeps them until then.
const IN_FLIGHT: u64 = 32 << 20;

/// Codebooks that are on the device already.
#[derive(Debug, Default)]
pub(crate) struct Grids(Mutex<HashMap<TensorType, Span>>);

/// Brings matrices to a device.
#[derive(Debug)]
pub struct Uploader<'a> {
    gpu: &'a Gpu,
    in_flight: u64,
    codes: Vec<u8>,
    scales: Vec<u8>,
}

impl<'a> Uploader<'a> {
    /// Nothing on its way yet.
    pub fn new(gpu: &'a Gpu) -> Uploader<'a> {
        Uploader { gpu, in_flight: 0, codes: Vec::new(), scales: Vec::new() }
    }

    /// Fills the rows of `matrix` from `first_row` on with those that `bytes` are, as they lie in a file.
    ///
    /// # Errors
    /// The bytes are no whole rows, or more than there are; the device was lost.
    pub fn rows(&mut self, matrix: &GpuMatrix, first_row: usize, bytes: &[u8]) -> Result<()> {
        let GpuMatrix { ty, cols, .. } = *matrix;
        let row_bytes = ty.row_bytes(cols).unwrap_or(0);
        let rows = bytes.len().checked_div(row_bytes).unwrap_or(0);
        let Some(layout) =
            Layout::of(ty).filter(|_| rows * row_bytes == bytes.len() && first_row + rows <= matrix.rows)
        else {
            let (rows, expected) = (matrix.rows, matrix.rows * row_bytes);
            return Err(GpuError::MatrixBytes { ty: ty.name(), rows, cols, expected, found: bytes.len() });
        };
        let blocks = matrix.row_blocks();
        // A piece begins where a run of blocks does.
        let step = if blocks.is_multiple_of(layout.run()) { 1 } else { layout.run() };
        debug_assert!((first_row * blocks).is_multiple_of(layout.run()));
        let piece = (PIECE / row_bytes).max(1).next_multiple_of(step);
        for slice in &matrix.slices {
            let (from, to) =
                (slice.first_row.max(first_row), (slice.first_row + slice.rows).min(first_row + rows));
            for start in (from..to.max(from)).step_by(piece) {
                let n = piece.min(to - start);
                let part = &bytes[(start - first_row) * row_bytes..][..n * row_bytes];
                let at = (start - slice.first_row) * blocks;
                self.split(&layout, matrix, part, n * blocks);
                self.write(&slice.codes, layout.code_bytes(at), Which::Codes)?;
                if !self.scales.is_empty() {
                    self.write(&slice.scales, layout.scale_bytes(at), Which::Scales)?;
                }
            }
        }
        Ok(())
    }

    /// Splits whole rows.
    fn split(&mut self, layout: &Layout, matrix: &GpuMatrix, bytes: &[u8], blocks: usize) {
        self.codes.clear();
        self.codes.resize(layout.code_bytes(blocks), 0);
        self.scales.clear();
        self.scales.resize(layout.scale_bytes(blocks), 0);
        if matrix.ragged() {
            // Rows of plain numbers, with zeros behind each.
            let size = matrix.ty.block_bytes();
            let (row, stored) = (matrix.cols * size, matrix.units() * 32 * size);
            for (from, to) in bytes.chunks_exact(row).zip(self.codes.chunks_exact_mut(stored)) {
                to[..row].copy_from_slice(from);
            }
        } else {
            layout::split(matrix.ty, bytes, &mut self.codes, &mut self.scales);
        }
    }

    fn write(&mut self, span: &Span, at: usize, which: Which) -> Result<()> {
        let data = match which {
            Which::Codes => &self.codes,
            Which::Scales => &self.scales,
        };
        self.gpu.queue.write_buffer(&span.buffer.raw, span.offset + at as u64, data);
        self.in_flight += data.len() as u64;
        match self.in_flight > IN_FLIGHT {
            true => self.finish(),
            false => Ok(()),
        }
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// The device was lost.
    pub fn finish(&mut self) -> Result<()> {
        self.gpu.queue.submit([]);
        self.in_flight = 0;
        self.gpu.wait()
    }
}

#[derive(Clone, Copy)]
enum Which {
    Codes,
    Scales,
}

impl Gpu {
    /// Numbers in device memory.
    ///
    /// # Errors
    /// Memory is short.
    pub fn floats(&self, what: &str, numbers: &[f32]) -> Result<Span> {
        let span = self.buffer(what, (numbers.len() * 4) as u64)?.whole();
        self.write(&span, bytemuck::cast_slice(numbers));
        Ok(span)
    }

    /// What the codes of a type point into, if they do.
    pub(crate) fn grid_of(&self, ty: TensorType) -> Result<Option<Span>> {
        let mut grids = lock(&self.grids.0);
        if let Some(span) = grids.get(&ty) {
            return Ok(Some(span.clone()));
        }
        let Some(words) = Layout::grid(ty) else { return Ok(None) };
        let span = self.buffer("a codebook", (words.len() * 4) as u64)?.whole();
        self.write(&span, bytemuck::cast_slice(&words));
        grids.insert(ty, span.clone());
        Ok(Some(span))
    }
}
