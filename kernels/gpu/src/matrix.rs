//! Matrices in device memory.

use qwip_quant::TensorType;

use crate::buffer::Span;
use crate::device::Gpu;
use crate::error::{GpuError, Result};
use crate::layout::Layout;

/// A matrix, cut into slices of rows that a kernel can bind.
#[derive(Clone, Debug)]
pub struct GpuMatrix {
    /// How its blocks are stored.
    pub ty: TensorType,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// All rows, in order.
    pub slices: Vec<MatrixSlice>,
    /// What the codes of its type point into, if they do.
    pub grid: Option<Span>,
}

/// Some rows of a matrix.
#[derive(Clone, Debug)]
pub struct MatrixSlice {
    /// The first of them.
    pub first_row: usize,
    /// How many.
    pub rows: usize,
    /// Their codes.
    pub codes: Span,
    /// Their scales; the codes once more where the type has none.
    pub scales: Span,
}

impl MatrixSlice {
    /// The part of the matrix's bias `[rows]` that belongs to these rows.
    pub(crate) fn bias_of(&self, bias: &Span) -> Span {
        bias.buffer.span(bias.offset + (self.first_row * 4) as u64, (self.rows * 4) as u64)
    }
}

impl GpuMatrix {
    /// Units of 32 columns in a row.
    pub fn units(&self) -> usize {
        self.cols.div_ceil(32)
    }

    /// Whether its rows are no whole number of units.
    pub fn ragged(&self) -> bool {
        !self.cols.is_multiple_of(32)
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> u64 {
        let scales = |slice: &MatrixSlice| match slice.scales.buffer.id == slice.codes.buffer.id {
            true => 0,
            false => slice.scales.bytes,
        };
        self.slices.iter().map(|slice| slice.codes.bytes + scales(slice)).sum()
    }

    /// Blocks in a row, as they are stored.
    pub(crate) fn row_blocks(&self) -> usize {
        match self.ty.is_quantized() {
            true => self.cols / self.ty.block_len(),
            false => self.units() * 32,
        }
    }
}

impl Gpu {
    /// Room for a matrix; what it holds is zero. It is cut only between groups of `together` rows.
    ///
    /// # Errors
    /// A type that cannot be decoded, columns that are no whole blocks, memory, or a group larger than a binding.
    pub fn matrix(&self, ty: TensorType, rows: usize, cols: usize, together: usize) -> Result<GpuMatrix> {
        let layout = Layout::of(ty).ok_or(GpuError::Shape {
            what: "a tensor's type id",
            found: ty.id() as usize,
            want: "those that can be decoded",
        })?;
        if rows == 0 || cols == 0 || !cols.is_multiple_of(ty.block_len()) {
            return Err(GpuError::Shape { what: "a row", found: cols, want: "whole blocks" });
        }
        let mut matrix = GpuMatrix { ty, rows, cols, slices: Vec::new(), grid: None };
        let blocks = matrix.row_blocks();
        // Cuts lie where runs of blocks begin, and where a bias can be bound from.
        let step = match together {
            1 => 64,
            together => together * layout.run(),
        };
        let fits = |rows: usize| {
            layout.code_bytes(rows * blocks).max(layout.scale_bytes(rows * blocks)) as u64
                <= self.binding_bytes().min(self.buffer_bytes())
        };
        let mut most = rows;
        if !fits(rows) {
            let (mut low, mut high) = (0, rows / step + 1);
            while high - low > 1 {
                let middle = (low + high) / 2;
                *if fits(middle * step) { &mut low } else { &mut high } = middle;
            }
            most = low * step;
        }
        if most == 0 {
            let (adapter, limit) = (self.name().into(), self.binding_bytes());
            let needed = layout.code_bytes(step * blocks) as u64;
            return Err(GpuError::Limit { adapter, what: format!("{step} rows of a matrix"), needed, limit });
        }
        for first_row in (0..rows).step_by(most) {
            let rows = most.min(rows - first_row);
            let codes = self.buffer("a matrix", layout.code_bytes(rows * blocks) as u64)?.whole();
            let scales = match layout.scale_bytes(rows * blocks) as u64 {
                0 => codes.clone(),
                bytes => self.buffer("the scales of a matrix", bytes)?.whole(),
            };
            matrix.slices.push(MatrixSlice { first_row, rows, codes, scales });
        }
        matrix.grid = self.grid_of(ty)?;
        Ok(matrix)
    }
}
