//! A model file in memory: mapped, read, or embedded in the program, in one part or several.
//!
//! The file is the memory: weights are never copied out of these bytes. The one exception to "nothing that
//! comes in can abort the host" lives here: a mapped file that somebody truncates while we compute raises
//! SIGBUS, and one that somebody rewrites in place changes the weights under us. [`OpenOptions::mmap`] = false reads the
//! file instead and is safe from both.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qwip_quant::gguf::{Gguf, TensorInfo, split};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// How a model file is brought into memory.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Map the file (default) instead of reading it.
    pub mmap: bool,
    /// Ask the system to keep the mapped pages in memory; failing that is a note, not an error.
    pub mlock: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { mmap: true, mlock: false }
    }
}

/// The bytes of one GGUF file.
#[derive(Debug)]
pub enum Bytes {
    /// Mapped read-only.
    Map(memmap2::Mmap),
    /// Read into memory.
    Owned(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Map(map) => map,
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes,
        }
    }
}

/// One GGUF file: its header and its bytes.
#[derive(Debug)]
pub struct Part {
    /// The parsed header.
    pub header: Gguf,
    /// The whole file, shared with the tokenizer's tables.
    pub bytes: Arc<Bytes>,
}

/// A model file of one part, or all parts of a split one.
#[derive(Debug)]
pub struct ModelFile {
    path: PathBuf,
    parts: Vec<Part>,
    notes: Vec<String>,
}

/// Where a tensor lies: its description and the part that holds it.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    /// Name, dimensions, type.
    pub info: &'a TensorInfo,
    /// Index of the part.
    pub part: usize,
}

impl ModelFile {
    /// Opens a GGUF file; of a split model, the first part (its siblings are found beside it).
    pub fn open(path: &Path, options: OpenOptions) -> Result<ModelFile> {
        let mut notes = Vec::new();
        let first = open_part(path, options, &mut notes)?;
        let count = split::count(&first.header).map_err(|source| at(path, source))?;
        if count == 1 {
            return Ok(ModelFile { path: path.into(), parts: vec![first], notes });
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let names = split::shard_names(&name, count).map_err(|source| at(path, source))?;
        let mut parts = vec![first];
        for sibling in &names[1..] {
            parts.push(open_part(&path.with_file_name(sibling), options, &mut notes)?);
        }
        let headers: Vec<&Gguf> = parts.iter().map(|p| &p.header).collect();
        split::check(&headers).map_err(|source| at(path, source))?;
        Ok(ModelFile { path: path.into(), parts, notes })
    }

    /// Takes bytes that the host already has in memory.
    pub fn from_bytes(bytes: Bytes) -> Result<ModelFile> {
        let path = PathBuf::from("<memory>");
        let header = Gguf::parse(bytes.as_ref()).map_err(|source| at(&path, source))?;
        Ok(ModelFile { path, parts: vec![Part { header, bytes: Arc::new(bytes) }], notes: Vec::new() })
    }

    /// The path it was opened from, `<memory>` if none.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header with the model's metadata (that of the first part).
    pub fn header(&self) -> &Gguf {
        &self.parts[0].header
    }

    /// All parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Things worth telling the user that did not stop the file from opening.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Total size in bytes of all parts.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|p| (*p.bytes).as_ref().len() as u64).sum()
    }

    /// True for a file without a byte, which does not parse: never in practice.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that files with other weights or other metadata do not share: a hash (XXH3) of everything before the
    /// weights and of a little of each tensor, at its beginning, in its middle and at its end. Takes milliseconds, since
    /// most of the file is not read; whoever wants to deceive it can.
    pub fn fingerprint(&self) -> u128 {
        const SAMPLE: usize = 512;
        let mut hash = Xxh3::new();
        for part in &self.parts {
            let bytes: &[u8] = (*part.bytes).as_ref();
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes[..bytes.len().min(part.header.data_start as usize)]);
            for tensor in &part.header.tensors {
                let bytes = part.header.tensor_bytes(tensor, bytes);
                for start in [0, bytes.len() / 2, bytes.len().saturating_sub(SAMPLE)] {
                    hash.update(&bytes[start..bytes.len().min(start + SAMPLE)]);
                }
            }
        }
        hash.digest128()
    }

    /// Every tensor of every part.
    pub fn tensors(&self) -> impl Iterator<Item = TensorRef<'_>> {
        self.parts
            .iter()
            .enumerate()
            .flat_map(|(part, p)| p.header.tensors.iter().map(move |info| TensorRef { info, part }))
    }

    /// Finds a tensor by name.
    pub fn tensor(&self, name: &str) -> Option<TensorRef<'_>> {
        self.parts
            .iter()
            .enumerate()
            .find_map(|(part, p)| p.header.tensor(name).map(|info| TensorRef { info, part }))
    }

    /// The bytes of a tensor.
    pub fn tensor_bytes(&self, tensor: TensorRef<'_>) -> &[u8] {
        let part = &self.parts[tensor.part];
        part.header.tensor_bytes(tensor.info, (*part.bytes).as_ref())
    }
}

fn at(path: &Path, source: qwip_quant::gguf::Error) -> Error {
    Error::Format { path: path.into(), source }
}

fn open_part(path: &Path, options: OpenOptions, notes: &mut Vec<String>) -> Result<Part> {
    let io = |source| Error::Io { path: path.into(), source };
    // Asked before opening: a pipe would make us wait, and Windows does not open folders.
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        let hint = match meta.is_dir() && path.join("config.json").exists() {
            true => "; it looks like a checkpoint: make a GGUF of it with `qwip convert DIR -o OUT.gguf`",
            false => "",
        };
        return Err(Error::NotAFile { path: path.into(), hint });
    }
    let mut file = File::open(path).map_err(io)?;
    let bytes = if options.mmap && meta.len() > 0 {
        // SAFETY: the map is read-only and nothing in this process writes to the file. It is shared with other
        // processes, though: one that writes to the file in place changes these bytes while they are read, and one
        // that truncates it can raise SIGBUS. We cannot rule that out; the module documentation states it.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        lock(&map, path, options, notes);
        Bytes::Map(map)
    } else {
        let mut bytes = Vec::new();
        let len = usize::try_from(meta.len()).unwrap_or(usize::MAX);
        bytes
            .try_reserve_exact(len)
            .map_err(|_| Error::Memory { what: "the model file", bytes: meta.len() })?;
        file.read_to_end(&mut bytes).map_err(io)?;
        Bytes::Owned(bytes)
    };
    let header = Gguf::parse(bytes.as_ref()).map_err(|source| at(path, source))?;
    Ok(Part { header, bytes: Arc::new(bytes) })
}

#[cfg(unix)]
fn lock(map: &memmap2::Mmap, path: &Path, options: OpenOptions, notes: &mut Vec<String>) {
    if options.mlock
        && let Err(e) = map.lock()
    {
        notes.push(format!("{}: the pages could not be locked in memory: {e}", path.display()));
    }
}

#[cfg(not(unix))]
fn lock(_: &memmap2::Mmap, path: &Path, options: OpenOptions, notes: &mut Vec<String>) {
    if options.mlock {
        notes.push(format!("{}: locking pages in memory is not available here", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(ModelFile::open(&path, OpenOptions::default()).map(drop)));
        let result = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("an answer");
        assert!(matches!(result, Err(Error::NotAFile { .. })), "{result:?}");
    }
}
