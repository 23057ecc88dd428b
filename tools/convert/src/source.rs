//! The GGUF file, or the files of a split one, that weights come from.
//!
//! They are read, not mapped: resident memory stays small, and a file that shrinks underneath us is an error.

use crate::error::{ConvertError, Result, invalid, io_error};
use qwip_quant::gguf::{Error, Gguf, TensorInfo, split};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The first try at reading a header; vocabularies take a few MiB.
const FIRST_READ: u64 = 16 << 20;
/// No model has more metadata than this.
const MAX_HEADER: u64 = 1 << 30;

/// A file and what it says about itself.
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) header: Gguf,
    /// The bytes that were parsed, in which arrays of the metadata lie.
    pub(crate) start: Vec<u8>,
    file: File,
}

/// All files of a model, in order.
pub(crate) struct Source {
    pub(crate) shards: Vec<Shard>,
}

impl Source {
    /// Opens a model by its only or its first file.
    pub(crate) fn open(path: &Path) -> Result<Source> {
        let first = Shard::open(path)?;
        let count = split::count(&first.header).map_err(at(path))?;
        let mut shards = vec![first];
        if count > 1 {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            for name in split::shard_names(name, count).map_err(at(path))?.iter().skip(1) {
                shards.push(Shard::open(&path.with_file_name(name))?);
            }
        }
        let headers: Vec<&Gguf> = shards.iter().map(|s| &s.header).collect();
        split::check(&headers).map_err(at(path))?;
        Ok(Source { shards })
    }

    /// The first file's header, which has the metadata.
    pub(crate) fn header(&self) -> &Gguf {
        &self.shards[0].header
    }
}

impl Shard {
    /// Opens one file.
    pub(crate) fn open(path: &Path) -> Result<Shard> {
        let mut file = File::open(path).map_err(io_error("read", path))?;
        let metadata = file.metadata().map_err(io_error("read", path))?;
        if !metadata.is_file() {
            return invalid(format!("{} is not a file", path.display()));
        }
        let len = metadata.len();
        let (mut start, mut wanted) = (Vec::new(), FIRST_READ);
        loop {
            let more = wanted.min(len).saturating_sub(start.len() as u64);
            (&mut file).take(more).read_to_end(&mut start).map_err(io_error("read", path))?;
            match Gguf::parse_start(&start, len) {
                Ok(header) => return Ok(Shard { path: path.to_path_buf(), header, start, file }),
                Err(Error::Truncated { .. }) if wanted < len && wanted < MAX_HEADER => wanted *= 4,
                Err(e) => return Err(at(path)(e)),
            }
        }
    }

    /// Fills `out` with the bytes of a tensor of this file from `offset` on; the caller stays inside of it.
    pub(crate) fn read(&self, t: &TensorInfo, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut file = &self.file;
        let start = self.header.data_start + t.offset + offset;
        file.seek(SeekFrom::Start(start)).map_err(io_error("read", &self.path))?;
        file.read_exact(out).map_err(io_error("read", &self.path))
    }
}

/// Says which file an error is about.
fn at(path: &Path) -> impl FnOnce(Error) -> ConvertError {
    let path = path.display().to_string();
    move |e| ConvertError::Invalid(format!("{path}: {e}"))
}
