//! Sums of the squares of what meets the columns of matrices, for an importance matrix.

use crate::buffer::Span;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// Floats of the sums for so many matrices.
pub fn sums_len(experts: usize, cols: usize) -> usize {
    experts * (cols + 1)
}

/// Adds: `sums [experts, cols]` of the squares of rows of `x`, then `[experts]` how many rows each matrix met. With `ids` these
/// are `rows` slots, each of an expert, `used` of which share a row of `x`; else all rows meet the only matrix.
pub fn squares(
    rec: &mut Recording,
    x: &Span,
    ids: Option<(&Span, usize)>,
    sums: &Span,
    [experts, cols, rows]: [usize; 3],
) {
    let (options, used) = match ids {
        Some((_, used)) => (&[("EXPERTS", 1)][..], used),
        None => (&[][..], 1),
    };
    let mut spans = vec![x, sums];
    spans.extend(ids.map(|(ids, _)| ids));
    let params = [cols, rows, used, experts].map(|size| size as u32);
    rec.dispatch(Kernel::Squares, options, &spans, &params, [cols.div_ceil(64) as u32, experts as u32, 1]);
}
