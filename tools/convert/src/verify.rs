//! Reads files again that have been written, before they get their names.

use crate::error::{ConvertError, Result, invalid};
use crate::output::OutputFile;
use crate::source::Shard;
use crate::{Portion, Progress};
use qwip_quant::TensorType;
use qwip_quant::types::check_row;
use std::hash::{DefaultHasher, Hasher};

/// Bytes that are checked at once.
const BYTES: usize = 4 << 20;

/// A tensor as it must be found.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: Vec<u64>,
    pub(crate) ty: TensorType,
}

/// Checks that a complete file, which will be called as `portion` says, holds the tensors `wanted` with the bytes that
/// were handed over, every scale and number among them finite.
pub(crate) fn verify<'a>(
    output: &OutputFile,
    portion: &Portion,
    wanted: impl Iterator<Item = (Wanted<'a>, u64)>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let called = portion.path.display();
    let shard = Shard::open(output.part())?;
    let mut buffer = Vec::new();
    for (Wanted { name, dims, ty }, written) in wanted {
        let Some(t) = shard.header.tensor(name).filter(|t| (t.ty, &t.dims) == (ty, &dims)) else {
            return invalid(format!("{called}: {name} is not as it was written"));
        };
        let cols = t.cols() as usize;
        let row_bytes = (t.len / t.rows().max(1)) as usize;
        let slab_rows = (BYTES / row_bytes.max(1)).max(1) as u64;
        let mut hasher = DefaultHasher::new();
        for row in (0..t.rows()).step_by(slab_rows as usize) {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            buffer.resize(slab_rows.min(t.rows() - row) as usize * row_bytes, 0);
            shard.read(t, row * row_bytes as u64, &mut buffer)?;
            hasher.write(&buffer);
            if ty.is_decodable() {
                let bad = buffer.chunks_exact(row_bytes).find_map(|bytes| check_row(ty, bytes, cols).err());
                if let Some(e) = bad {
                    return invalid(format!("{called}: {name}: {e}"));
                }
            }
            progress.advance(buffer.len() as u64, name);
        }
        if hasher.finish() != written {
            return invalid(format!("{called}: {name} reads back with other bytes than were written"));
        }
    }
    Ok(())
}
