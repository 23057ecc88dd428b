//! A model file in memory: mapped, read, embedded in the program or lent by the host, in one part or several.
//!
//! The file is the memory: weights are never copied out of these bytes. The one exception to "nothing that
//! comes in can abort the host" lives here: a mapped file that somebody truncates while we compute raises
//! SIGBUS, and one that somebody rewrites in place changes the weights under us. [`OpenOptions::mmap`] = false reads the
//! file instead and is safe from both.

mod load;

use std::fmt;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qwip_quant::gguf::{Gguf, TensorInfo, split};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use load::Loading;

/// How a model file is brought into memory.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Map the file (default) instead of reading it.
    pub mmap: bool,
    /// Ask the system to keep the mapped pages in memory; failing that is a note, not an error. The system then reads all
    /// of the file before the model is there.
    pub mlock: bool,
    /// Read every page of the map once, so that the first answer does not wait for the disk.
    pub prefault: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { mmap: true, mlock: false, prefault: false }
    }
}

/// The bytes of one GGUF file. They may begin at any address.
pub enum Bytes {
    /// Mapped read-only.
    Map(memmap2::Mmap),
    /// Read into memory.
    Owned(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
    /// Memory that the host owns, dropped when the last who uses it is. It must give the same bytes every time: fewer of
    /// them are a panic, others another model.
    Host(Box<dyn AsRef<[u8]> + Send + Sync>),
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Bytes::Map(_) => "Map",
            Bytes::Owned(_) => "Owned",
            Bytes::Static(_) => "Static",
            Bytes::Host(_) => "Host",
        };
        write!(f, "{kind}({} bytes)", self.as_ref().len())
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Map(map) => map,
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes,
            Bytes::Host(bytes) => (**bytes).as_ref(),
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
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::Format`]; [`Error::Memory`] if there is no room to read it into.
    pub fn open(path: &Path, options: OpenOptions) -> Result<ModelFile> {
        Self::open_watched(path, options, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`ModelFile::open`]. `progress` hears how many bytes are there, of how many: at the beginning, and after every 16
    /// MiB that are read, from the file or because of [`OpenOptions::prefault`]; a file that is only mapped is there at
    /// once. How many there are in all of a split model is known once the first file is there.
    ///
    /// # Errors
    /// As [`ModelFile::open`]; [`Error::Cancelled`] if `progress` breaks off.
    pub fn open_watched(
        path: &Path,
        options: OpenOptions,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ModelFile> {
        let mut loading = Loading::new(options, progress);
        let first = loading.file(path)?;
        let count = split::count(&first.header).map_err(|source| at(path, source))?;
        if count == 1 {
            return Ok(ModelFile { path: path.into(), parts: vec![first], notes: loading.notes });
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let names = split::shard_names(&name, count).map_err(|source| at(path, source))?;
        let siblings: Vec<PathBuf> = names[1..].iter().map(|name| path.with_file_name(name)).collect();
        loading.expect(&siblings);
        let mut parts = vec![first];
        for sibling in &siblings {
            parts.push(loading.file(sibling)?);
        }
        let headers: Vec<&Gguf> = parts.iter().map(|p| &p.header).collect();
        split::check(&headers).map_err(|source| at(path, source))?;
        Ok(ModelFile { path: path.into(), parts, notes: loading.notes })
    }

    /// Opens a model that is a part of an open file, as an asset inside an Android package is: `len` bytes (`None`: all that
    /// follow) from `offset` on, which may be any number. `name` is what messages call it. The file is not needed
    /// afterwards; where it is read, its position does not move (on Windows it does).
    ///
    /// # Errors
    /// As [`ModelFile::open`]; [`Error::OutOfFile`] if the file is shorter, [`Error::SplitModel`].
    pub fn open_at(
        file: File,
        name: &Path,
        offset: u64,
        len: Option<u64>,
        options: OpenOptions,
    ) -> Result<ModelFile> {
        Self::open_at_watched(file, name, offset, len, options, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`ModelFile::open_at`], with a `progress` as in [`ModelFile::open_watched`].
    ///
    /// # Errors
    /// As [`ModelFile::open_at`]; [`Error::Cancelled`] if `progress` breaks off.
    pub fn open_at_watched(
        file: File,
        name: &Path,
        offset: u64,
        len: Option<u64>,
        options: OpenOptions,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ModelFile> {
        let mut loading = Loading::new(options, progress);
        let part = loading.part_of(&file, name, offset, len)?;
        Self::single(name.into(), part, loading.notes)
    }

    /// Takes bytes that the host already has in memory.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::SplitModel`].
    pub fn from_bytes(bytes: Bytes) -> Result<ModelFile> {
        let path = PathBuf::from("<memory>");
        let header = Gguf::parse(bytes.as_ref()).map_err(|source| at(&path, source))?;
        Self::single(path, Part { header, bytes: Arc::new(bytes) }, Vec::new())
    }

    /// A model whose siblings, if it had some, could not be found.
    fn single(path: PathBuf, part: Part, notes: Vec<String>) -> Result<ModelFile> {
        match split::count(&part.header).map_err(|source| at(&path, source))? {
            1 => Ok(ModelFile { path, parts: vec![part], notes }),
            count => Err(Error::SplitModel { path, count }),
        }
    }

    /// Tells the system that it may take the mapped pages, which are read again when they are needed. Memory that is not
    /// mapped stays, and so does what is locked.
    pub fn drop_resident(&self) {
        for part in &self.parts {
            if let Bytes::Map(map) = &*part.bytes {
                load::drop_resident(map);
            }
        }
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
