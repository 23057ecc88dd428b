//! The matrices of a layer's experts where one tensor has them all with inputs before outputs.

use crate::checkpoint::{Checkpoint, Stored};
use crate::error::Result;
use std::ops::Range;

/// Bytes of a transposed matrix that are in memory at once, but for a longer row.
const STRIP: u64 = 8 << 20;
/// Inputs that change places with outputs together, so that what is read stays in the cache.
const BLOCK: usize = 32;

/// A tensor `[matrices, inputs, outputs]`, read as `[matrices, outputs, inputs]`.
pub(crate) struct Transposed<'a> {
    checkpoint: &'a Checkpoint,
    stored: &'a Stored,
    /// Bytes of a number: 2 or 4.
    number: u64,
    strip: Vec<u8>,
}

impl<'a> Transposed<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, stored: &'a Stored, number: u64) -> Transposed<'a> {
        Transposed { checkpoint, stored, number, strip: Vec::new() }
    }

    /// Fills `out` with whole rows, the first of which begins at the byte `at`.
    pub(crate) fn read(&mut self, at: u64, out: &mut [u8]) -> Result<()> {
        let (inputs, outputs) = (self.stored.shape[1], self.stored.shape[2]);
        let row_bytes = inputs * self.number;
        let (mut row, mut rest) = (at / row_bytes, out);
        while !rest.is_empty() {
            let (matrix, first) = (row / outputs, row % outputs);
            let rows = (outputs - first).min(rest.len() as u64 / row_bytes);
            let (part, after) = rest.split_at_mut((rows * row_bytes) as usize);
            self.read_columns(matrix, first..first + rows, part)?;
            (row, rest) = (row + rows, after);
        }
        Ok(())
    }

    /// Some columns of a matrix `[inputs, outputs]`, as rows.
    fn read_columns(&mut self, matrix: u64, columns: Range<u64>, out: &mut [u8]) -> Result<()> {
        let (inputs, width) = (self.stored.shape[1], self.stored.shape[2]);
        let at_once = (STRIP / (width * self.number)).max(1);
        for start in (0..inputs).step_by(at_once as usize) {
            let rows = at_once.min(inputs - start);
            self.strip.resize((rows * width * self.number) as usize, 0);
            self.checkpoint.read(
                self.stored,
                (matrix * inputs + start) * width * self.number,
                &mut self.strip,
            )?;
            let turn = if self.number == 2 { turn::<2> } else { turn::<4> };
            turn(&self.strip, width as usize, columns.start as usize, out, inputs as usize, start as usize);
        }
        Ok(())
    }
}

/// Writes the columns of `from [.., width]`, from the column `column` on, as rows of `to [.., length]`, from the place
/// `start` of each row on. A number has `N` bytes.
fn turn<const N: usize>(
    from: &[u8],
    width: usize,
    column: usize,
    to: &mut [u8],
    length: usize,
    start: usize,
) {
    let (from, to) = (from.as_chunks::<N>().0, to.as_chunks_mut::<N>().0);
    let rows = from.len() / width;
    for first in (0..rows).step_by(BLOCK) {
        let block = first..rows.min(first + BLOCK);
        for (c, to) in to.chunks_exact_mut(length).enumerate() {
            for row in block.clone() {
                to[start + row] = from[row * width + column + c];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        let from: Vec<u8> = (0..2 * 3 * 2).collect();
        let mut to = vec![0; 2 * 4 * 2];
        // Two rows of three numbers; the last two columns, behind the first place of rows of four.
        turn::<2>(&from, 3, 1, &mut to, 4, 1);
        assert_eq!(to, [0, 0, 2, 3, 8, 9, 0, 0, 0, 0, 4, 5, 10, 11, 0, 0]);
    }
}
