//! Weights in FP8: E4M3 numbers (no infinities, one pattern of bits that is no number) with a scale for the tensor, for
//! each row or for each tile, as Qwen's own `-FP8` checkpoints, fbgemm and compressed-tensors store them.

use crate::checkpoint::Checkpoint;
use crate::error::{Result, invalid};
use crate::json::{Object, quote};

/// The name of the format in safetensors.
pub(crate) const DTYPE: &str = "F8_E4M3";
/// Tiles of Qwen's checkpoints, where config.json says nothing else.
const TILE: [u64; 2] = [128, 128];
/// Both names hold the factor of the weight.
const SCALE_NAMES: [&str; 2] = ["weight_scale_inv", "weight_scale"];

/// The tile `[rows, columns]` of each scale if `quantization` (of config.json) describes FP8, or `None`.
pub(crate) fn tile(quantization: &Object) -> Result<Option<[u64; 2]>> {
    let sizes = match quantization.str("quant_method")? {
        Some("fp8" | "fbgemm_fp8") => quantization.array("weight_block_size")?.cloned(),
        Some("compressed-tensors") => match quantization.str("format")? {
            // Of integers too; their type is refused where the tensors are read.
            Some("float-quantized" | "naive-quantized") => block_structure(quantization)?,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let Some(sizes) = sizes else { return Ok(Some(TILE)) };
    match sizes.iter().map(|n| n.as_u64().filter(|n| *n > 0)).collect::<Option<Vec<u64>>>().as_deref() {
        Some(&[rows, cols]) => Ok(Some([rows, cols])),
        _ => invalid(format!("{}: the block size must be two positive numbers", quantization.place)),
    }
}

/// `config_groups.*.weights.block_structure` of compressed-tensors.
fn block_structure(quantization: &Object) -> Result<Option<Vec<serde_json::Value>>> {
    let Some(groups) = quantization.object("config_groups")? else { return Ok(None) };
    let structure =
        |group: &serde_json::Value| group.get("weights")?.get("block_structure")?.as_array().cloned();
    Ok(groups.entries().find_map(|(_, group)| structure(group)))
}

/// Whether a tensor is a companion of an FP8 weight: its scales, or those of activations and of the cache.
pub(crate) fn is_scale(name: &str) -> bool {
    const OTHERS: [&str; 5] = ["input_scale", "output_scale", "k_scale", "v_scale", "input_scale_ub"];
    let packed = ["_proj_scale_inv", "_proj_scale"];
    let is = |last: &str| SCALE_NAMES.contains(&last) || OTHERS.contains(&last);
    name.rsplit('.').next().is_some_and(is) || packed.iter().any(|end| name.ends_with(end))
}

/// The scales of a matrix, or of several of one shape.
#[derive(Debug)]
pub(crate) struct Scales {
    /// `[matrices, row tiles, tiles_across]`
    scales: Vec<f32>,
    tiles_across: usize,
    /// Rows after which tiles begin anew.
    matrix_rows: u64,
    tile_rows: u64,
    tile_cols: usize,
}

impl Scales {
    /// Reads those of `weight`, whose shape is `[rows, cols]` or `[matrices, rows, cols]`.
    pub(crate) fn read(
        checkpoint: &Checkpoint,
        weight: &str,
        shape: &[u64],
        [tile_rows, tile_cols]: [u64; 2],
    ) -> Result<Scales> {
        let names = match weight.strip_suffix("weight") {
            Some(stem) => SCALE_NAMES.map(|last| format!("{stem}{last}")),
            // The experts in one tensor have no module of their own.
            None => ["_scale_inv", "_scale"].map(|end| format!("{weight}{end}")),
        };
        let Some((name, stored)) = names.iter().find_map(|name| Some((name, checkpoint.tensors.get(name)?)))
        else {
            return invalid(format!("{} is FP8, but there is no {}", quote(weight), names.join(" or ")));
        };
        let (cols, of_all) = (shape[shape.len() - 1], shape[..shape.len() - 1].iter().product());
        let (matrices, rows) = match shape {
            [matrices, rows, _] => (Some(*matrices), *rows),
            _ => (None, of_all),
        };
        let tiles = [rows.div_ceil(tile_rows), cols.div_ceil(tile_cols)];
        let wanted: Vec<u64> = matrices.into_iter().chain(tiles).collect();
        let (tiles_across, matrix_rows, tile_rows, tile_cols) = match stored.shape.as_slice() {
            found if found.iter().product::<u64>() == 1 => (1, of_all, of_all, cols),
            found if found == wanted => (tiles[1], rows, tile_rows, tile_cols),
            &[found] | &[found, 1] if matrices.is_none() && found == rows => (1, rows, 1, cols),
            found => {
                return invalid(format!(
                    "{name} has shape {found:?}, which is neither one number nor {rows} rows nor {wanted:?} tiles of \
                     {tile_rows} x {tile_cols}"
                ));
            }
        };
        let scales = checkpoint.read_numbers(name, stored)?;
        // At most the number of columns, which fits.
        let (tiles_across, tile_cols) = (tiles_across as usize, tile_cols as usize);
        Ok(Scales { scales, tiles_across, matrix_rows, tile_rows, tile_cols })
    }

    /// The numbers of a row.
    pub(crate) fn decode_row(&self, row: u64, bytes: &[u8], out: &mut [f32]) {
        let tiles_down = self.matrix_rows.div_ceil(self.tile_rows);
        let down = row / self.matrix_rows * tiles_down + row % self.matrix_rows / self.tile_rows;
        let first = down as usize * self.tiles_across;
        let tiles = bytes.chunks(self.tile_cols).zip(out.chunks_mut(self.tile_cols));
        for ((bytes, out), scale) in tiles.zip(&self.scales[first..]) {
            for (byte, out) in bytes.iter().zip(out) {
                *out = E4M3[usize::from(*byte)] * scale;
            }
        }
    }
}

/// Every number of the format by its bits: sign, 4 bits of exponent with a bias of 7, 3 bits of mantissa.
static E4M3: [f32; 256] = {
    let mut all = [0f32; 256];
    let mut byte = 0;
    while byte < 256 {
        let (exponent, mantissa) = ((byte >> 3) & 15, (byte & 7) as f32);
        let magnitude = match (exponent, byte & 127) {
            (_, 127) => f32::NAN,
            (0, _) => mantissa / 512.0,
            // 2^exponent is exact, and so is every step.
            _ => (1.0 + mantissa / 8.0) * (1u32 << exponent) as f32 / 128.0,
        };
        all[byte] = if byte < 128 { magnitude } else { -magnitude };
        byte += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_numbers_of_the_format() {
        for (bits, number) in [
            (0x00, 0.0),
            (0x01, 1.0 / 512.0),
            (0x07, 7.0 * 1.0 / 512.0),
            (0x08, 1.0 / 64.0),
            (0x38, 1.0),
            (0x3c, 1.5),
            (0x7e, 448.0),
            (0xb8, -1.0),
            (0xfe, -448.0),
        ] {
            assert_eq!(E4M3[bits], number, "{bits:#x}");
        }
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan());
        assert_eq!(E4M3.iter().filter(|n| n.is_finite()).count(), 254);
    }

    #[test]
    fn tiles_at_the_edge_are_smaller() {
        let scales = (1..=8).map(|n| n as f32).collect();
        let scales = Scales { scales, tiles_across: 2, matrix_rows: 3, tile_rows: 2, tile_cols: 3 };
        // Two matrices of three rows: the second tile of each has one row.
        for (row, [left, right]) in [(1, [1.0, 2.0]), (2, [3.0, 4.0]), (3, [5.0, 6.0]), (5, [7.0, 8.0])] {
            let mut out = [0f32; 4];
            scales.decode_row(row, &[0x38; 4], &mut out);
            assert_eq!(out, [left, left, left, right]);
        }
    }
}
