//! The safetensors files of a checkpoint: one, or several with an index.
//!
//! The files are read piece by piece with ordinary reads. A map would be as fast, but its pages count as ours and a
//! file that shrinks underneath it kills the process.

use crate::error::{ConvertError, Result, invalid, io_error};
use crate::fp8;
use crate::json::{Object, kind, quote};
use qwip_quant::{TensorType, decode_row};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The limit of the safetensors library itself.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes that are compared at once.
const COMPARED: usize = 1 << 20;

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    shard: usize,
    /// As the file says it; may be a type that does not convert.
    pub dtype: String,
    /// As the checkpoint says it: `[outputs, inputs]` or `[n]`.
    pub shape: Vec<u64>,
    /// From the start of the file.
    start: u64,
    len: u64,
}

/// How the numbers of a tensor are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// As one of GGUF's types.
    Type(TensorType),
    /// In bytes, with scales beside them.
    Fp8,
}

impl Stored {
    /// The format, if it is one that converts and the byte count agrees with the shape.
    pub(crate) fn format(&self, name: &str) -> Result<Format> {
        let (format, bytes) = match self.dtype.as_str() {
            "F32" => (Format::Type(TensorType::F32), 4),
            "F16" => (Format::Type(TensorType::F16), 2),
            "BF16" => (Format::Type(TensorType::Bf16), 2),
            fp8::DTYPE => (Format::Fp8, 1),
            other => {
                return invalid(format!(
                    "{} has the type {}, which does not convert (known: F32, F16, BF16, {})",
                    quote(name),
                    quote(other),
                    fp8::DTYPE
                ));
            }
        };
        let bytes = self.shape.iter().try_fold(bytes, |n: u64, &d| n.checked_mul(d));
        if bytes != Some(self.len) {
            return invalid(format!(
                "{}: shape {:?} of {} does not fill {} bytes",
                quote(name),
                self.shape,
                self.dtype,
                self.len
            ));
        }
        Ok(format)
    }
}

struct Shard {
    path: PathBuf,
    file: File,
}

/// All tensors of a checkpoint by name.
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    pub tensors: BTreeMap<String, Stored>,
}

impl Checkpoint {
    /// The tensors of one file.
    pub(crate) fn of_file(dir: &Path, name: &str) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint { shards: Vec::new(), tensors: BTreeMap::new() };
        checkpoint.add_shard(dir, name)?;
        Ok(checkpoint)
    }

    pub(crate) fn open(dir: &Path) -> Result<Checkpoint> {
        if dir.join(SINGLE).is_file() {
            return Checkpoint::of_file(dir, SINGLE);
        }
        let Some(index) = Object::read(dir, INDEX)? else {
            return invalid(format!("there is no {SINGLE} or {INDEX} in {}", dir.display()));
        };
        let mut checkpoint = Checkpoint { shards: Vec::new(), tensors: BTreeMap::new() };
        let map = index.need("weight_map", index.object("weight_map"))?;
        let mut files = BTreeSet::new();
        for (tensor, file) in map.entries() {
            match file.as_str() {
                // The index is somebody else's: it must not lead out of the folder.
                Some(name) if !name.is_empty() && !name.contains(['/', '\\', ':']) && name != ".." => {
                    files.insert(name);
                }
                _ => {
                    return invalid(format!(
                        "{}: {} must name a file in the folder, found {}",
                        map.place,
                        quote(tensor),
                        kind(file)
                    ));
                }
            }
        }
        for file in &files {
            checkpoint.add_shard(dir, file)?;
        }
        for (tensor, file) in map.entries() {
            let found = checkpoint.tensors.get(tensor).map(|t| checkpoint.file_name(t));
            if found.as_deref() != file.as_str() {
                let found = found.unwrap_or_else(|| "no file".into());
                return invalid(format!(
                    "{INDEX} says that {} is in {}, but it is in {found}",
                    quote(tensor),
                    kind(file)
                ));
            }
        }
        if let Some((name, t)) = checkpoint.tensors.iter().find(|(name, _)| map.get(name).is_none()) {
            let file = checkpoint.file_name(t);
            return invalid(format!("{file} holds {}, which {INDEX} does not name", quote(name)));
        }
        Ok(checkpoint)
    }

    /// Gives tensors the names that `canonical` makes of theirs; no two may get the same.
    pub(crate) fn rename(&mut self, canonical: impl Fn(&str) -> String) -> Result<()> {
        let mut renamed = BTreeMap::new();
        for (name, t) in std::mem::take(&mut self.tensors) {
            let new = canonical(&name);
            if renamed.insert(new.clone(), t).is_some() {
                return invalid(format!("{} is there twice, with and without a prefix", quote(&new)));
            }
        }
        self.tensors = renamed;
        Ok(())
    }

    fn file_name(&self, t: &Stored) -> String {
        self.shards[t.shard].path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    fn add_shard(&mut self, dir: &Path, name: &str) -> Result<()> {
        let path = dir.join(name);
        let mut file = File::open(&path).map_err(io_error("read", &path))?;
        let size = file.metadata().map_err(io_error("read", &path))?.len();
        let mut start = [0; 8];
        if size < 8 {
            return invalid(format!("{name} has {size} bytes, too few for a safetensors file"));
        }
        file.read_exact(&mut start).map_err(io_error("read", &path))?;
        let header = u64::from_le_bytes(start);
        if header > MAX_HEADER || header > size - 8 {
            return invalid(format!(
                "{name}: a header of {header} bytes does not fit a file of {size} bytes"
            ));
        }
        let mut text = vec![0; header as usize];
        file.read_exact(&mut text).map_err(io_error("read", &path))?;
        let mut entries = match serde_json::from_slice::<Header>(&text) {
            Ok(Header(entries)) => entries,
            Err(e) => return invalid(format!("{name}: the header is not safetensors: {e}")),
        };
        // Tensors must fill the file without gaps, as the format demands: whatever is cut off or shifted shows here.
        entries.sort_by_key(|(_, e)| e.data_offsets);
        let mut end = 0;
        for (tensor, e) in &entries {
            let [from, to] = e.data_offsets;
            if from != end || to < from {
                return invalid(format!(
                    "{name}: {} lies at {from}..{to}, but the tensor before it ends at {end}",
                    quote(tensor)
                ));
            }
            end = to;
        }
        let data = size - 8 - header;
        if end != data {
            return invalid(format!("{name}: the tensors have {end} bytes, the file holds {data}"));
        }
        for (tensor, e) in entries {
            let shard = self.shards.len();
            let [from, to] = e.data_offsets;
            let stored =
                Stored { shard, dtype: e.dtype, shape: e.shape, start: 8 + header + from, len: to - from };
            if let Some(first) = self.tensors.get(&tensor) {
                // A name twice in one header is caught while it is read.
                let first = self.file_name(first);
                return invalid(format!("{} is both in {first} and in {name}", quote(&tensor)));
            }
            self.tensors.insert(tensor, stored);
        }
        self.shards.push(Shard { path, file });
        Ok(())
    }

    /// Fills `out` with the bytes of a tensor from `offset` on; the caller stays inside of it.
    pub(crate) fn read(&self, t: &Stored, offset: u64, out: &mut [u8]) -> Result<()> {
        let shard = &self.shards[t.shard];
        let mut file = &shard.file;
        file.seek(SeekFrom::Start(t.start + offset)).map_err(io_error("read", &shard.path))?;
        file.read_exact(out).map_err(io_error("read", &shard.path))
    }

    /// All numbers of a small tensor, every one of them finite.
    pub(crate) fn read_numbers(&self, name: &str, t: &Stored) -> Result<Vec<f32>> {
        let Format::Type(ty) = t.format(name)? else {
            return invalid(format!(
                "{} has the type {}, where no scales belong to it",
                quote(name),
                t.dtype
            ));
        };
        let mut bytes = vec![0; t.len as usize];
        self.read(t, 0, &mut bytes)?;
        let mut numbers = vec![0f32; bytes.len() / ty.block_bytes()];
        let named = |e| ConvertError::Invalid(format!("{}: {e}", quote(name)));
        decode_row(ty, &bytes, &mut numbers).map_err(named)?;
        match numbers.iter().position(|n| !n.is_finite()) {
            None => Ok(numbers),
            Some(at) => invalid(format!("{}: number {at} is {}", quote(name), numbers[at])),
        }
    }

    /// Whether two tensors are alike, byte by byte.
    pub(crate) fn same(&self, a: &Stored, b: &Stored) -> Result<bool> {
        if (&a.dtype, &a.shape, a.len) != (&b.dtype, &b.shape, b.len) {
            return Ok(false);
        }
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for at in (0..a.len).step_by(COMPARED) {
            let len = (a.len - at).min(COMPARED as u64) as usize;
            left.resize(len, 0);
            right.resize(len, 0);
            self.read(a, at, &mut left)?;
            self.read(b, at, &mut right)?;
            if left != right {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header of a safetensors file: entries in file order, no name twice.
struct Header(Vec<(String, Entry)>);

impl<'de> serde::Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Header, M::Error> {
                let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let entry = map.next_value()?;
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format_args!(
                            "{} is there twice",
                            quote(&name)
                        )));
                    }
                    all.push((name, entry));
                }
                Ok(Header(all))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
