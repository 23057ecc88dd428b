//! Parts of a tensor: some rows of it, or the matrices of a layer's experts where one tensor has them all, gate and up
//! together, or inputs before outputs.

use crate::checkpoint::{Checkpoint, Stored};
use crate::error::Result;
use crate::names::View;
use crate::stream::Numbers;
use std::ops::Range;

/// Bytes of a transposed matrix that are in memory at once, but for a longer row.
const STRIP: u64 = 8 << 20;
/// Inputs that change places with outputs together, so that what is read stays in the cache.
const BLOCK: usize = 32;

/// Reads the bytes of a piece of the model, of rows of `cols` numbers, from the given one on.
pub(crate) type Reader<'a> = dyn FnMut(u64, &mut [u8]) -> Result<()> + 'a;

/// How the rows of a piece are read from the tensor that holds them.
pub(crate) fn reader<'a>(
    checkpoint: &'a Checkpoint,
    stored: &'a Stored,
    from: &Numbers,
    view: &View,
    cols: usize,
) -> Box<Reader<'a>> {
    match (view, from) {
        (View::Rows(wanted), Numbers::Type(ty)) => {
            let (wanted, row_bytes) = (*wanted, (cols * ty.block_bytes()) as u64);
            Box::new(move |at, bytes| {
                let wanted = wanted.iter().skip((at / row_bytes) as usize);
                let mut rows = bytes.chunks_exact_mut(row_bytes as usize).zip(wanted);
                rows.try_for_each(|(row, &i)| checkpoint.read(stored, u64::from(i) * row_bytes, row))
            })
        }
        (View::Packed { outputs, transposed }, Numbers::Type(ty)) => {
            let (outputs, transposed, number) = (outputs.clone(), *transposed, ty.block_bytes() as u64);
            let mut packed = Packed { checkpoint, stored, outputs, transposed, number, strip: Vec::new() };
            Box::new(move |at, bytes| packed.read(at, bytes))
        }
        // Numbers with scales beside them come in whole tensors only.
        (View::Whole, _) | (_, Numbers::Fp8(_)) => Box::new(|at, bytes| checkpoint.read(stored, at, bytes)),
    }
}

/// Some outputs of each matrix of a tensor, read as `[matrices, outputs, inputs]`.
struct Packed<'a> {
    checkpoint: &'a Checkpoint,
    /// `[matrices, height, width]`
    stored: &'a Stored,
    /// Which outputs: rows, or columns of a transposed matrix.
    outputs: Range<u64>,
    transposed: bool,
    /// Bytes of a number: 2 or 4.
    number: u64,
    strip: Vec<u8>,
}

impl Packed<'_> {
    /// Fills `out` with whole rows, the first of which begins at the byte `at`.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<()> {
        let (height, width) = (self.stored.shape[1], self.stored.shape[2]);
        let inputs = if self.transposed { height } else { width };
        let (row_bytes, each) = (inputs * self.number, self.outputs.end - self.outputs.start);
        let (mut row, mut rest) = (at / row_bytes, out);
        while !rest.is_empty() {
            let (matrix, first) = (row / each, row % each);
            let rows = (each - first).min(rest.len() as u64 / row_bytes);
            let (part, after) = rest.split_at_mut((rows * row_bytes) as usize);
            let first = self.outputs.start + first;
            match self.transposed {
                false => {
                    let start = (matrix * height + first) * row_bytes;
                    self.checkpoint.read(self.stored, start, part)?;
                }
                true => self.read_transposed(matrix, first..first + rows, part)?,
            }
            (row, rest) = (row + rows, after);
        }
        Ok(())
    }

    /// Some columns of a matrix `[inputs, outputs]`, as rows.
    fn read_transposed(&mut self, matrix: u64, columns: Range<u64>, out: &mut [u8]) -> Result<()> {
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
