//! Reads a file again that has been written.

use crate::Progress;
use crate::error::{ConvertError, Result, invalid};
use crate::source::Source;
use qwip_quant::TensorType;
use qwip_quant::types::check_row;
use std::path::Path;

/// Bytes that are checked at once.
const BYTES: usize = 4 << 20;

/// A tensor as it must be found.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: Vec<u64>,
    pub(crate) ty: TensorType,
}

/// Checks that the model whose only or first file is `first` has the tensors `wanted`, with finite scales and numbers.
pub(crate) fn verify<'a>(
    first: &Path,
    wanted: impl Iterator<Item = Wanted<'a>>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let written = Source::open(first)?;
    let mut buffer = Vec::new();
    for Wanted { name, dims, ty } in wanted {
        let found = written.shards.iter().find_map(|s| s.header.tensor(name).map(|t| (s, t)));
        let Some((shard, t)) = found.filter(|(_, t)| (t.ty, &t.dims) == (ty, &dims)) else {
            return invalid(format!("{}: {name} is not as it was written", first.display()));
        };
        let cols = t.cols() as usize;
        let row_bytes = (t.len / t.rows().max(1)) as usize;
        let slab_rows = (BYTES / row_bytes.max(1)).max(1) as u64;
        for row in (0..t.rows()).step_by(slab_rows as usize) {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            buffer.resize(slab_rows.min(t.rows() - row) as usize * row_bytes, 0);
            shard.read(t, row * row_bytes as u64, &mut buffer)?;
            if ty.is_decodable() {
                let bad = buffer.chunks_exact(row_bytes).find_map(|bytes| check_row(ty, bytes, cols).err());
                if let Some(e) = bad {
                    return invalid(format!("{}: {name}: {e}", shard.path.display()));
                }
            }
            progress.advance(buffer.len() as u64, name);
        }
    }
    Ok(())
}
