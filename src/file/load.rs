//! Bringing the bytes of files into memory, mapped or read, while somebody watches.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qwip_quant::gguf::Gguf;

use super::{Bytes, OpenOptions, Part, at};
use crate::error::{Error, Result};

/// Bytes that are read before somebody hears of it.
const SLICE: usize = 16 << 20;

/// The files of a model on their way into memory.
pub(super) struct Loading<'a> {
    options: OpenOptions,
    progress: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    done: u64,
    /// Of the files that are known so far.
    total: u64,
    /// The siblings count in the total already.
    expected: bool,
    pub(super) notes: Vec<String>,
}

impl Loading<'_> {
    pub(super) fn new(
        options: OpenOptions,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Loading<'_> {
        Loading { options, progress, done: 0, total: 0, expected: false, notes: Vec::new() }
    }

    /// These are to follow.
    pub(super) fn expect(&mut self, siblings: &[PathBuf]) {
        let sizes = siblings.iter().filter_map(|path| std::fs::metadata(path).ok());
        self.total = sizes.fold(self.total, |sum, meta| sum.saturating_add(meta.len()));
        self.expected = true;
    }

    /// A whole file.
    pub(super) fn file(&mut self, path: &Path) -> Result<Part> {
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
        self.bytes_of(&File::open(path).map_err(io)?, path, 0, meta.len())
    }

    /// A part of a file.
    pub(super) fn part_of(
        &mut self,
        file: &File,
        name: &Path,
        offset: u64,
        len: Option<u64>,
    ) -> Result<Part> {
        let meta = file.metadata().map_err(|source| Error::Io { path: name.into(), source })?;
        if !meta.is_file() {
            return Err(Error::NotAFile { path: name.into(), hint: "" });
        }
        let size = meta.len();
        let len = len.unwrap_or_else(|| size.saturating_sub(offset));
        match offset.checked_add(len) {
            Some(end) if end <= size => self.bytes_of(file, name, offset, len),
            _ => Err(Error::OutOfFile { path: name.into(), offset, len, size }),
        }
    }

    fn bytes_of(&mut self, file: &File, path: &Path, offset: u64, len: u64) -> Result<Part> {
        if !self.expected {
            self.total = self.total.saturating_add(len);
        }
        self.have(0)?;
        let bytes = match self.options.mmap && len > 0 {
            true => Bytes::Map(self.map(file, path, offset, len)?),
            false => Bytes::Owned(self.read(file, path, offset, len)?),
        };
        let header = Gguf::parse(bytes.as_ref()).map_err(|source| at(path, source))?;
        Ok(Part { header, bytes: Arc::new(bytes) })
    }

    fn map(&mut self, file: &File, path: &Path, offset: u64, len: u64) -> Result<memmap2::Mmap> {
        let mut map = memmap2::MmapOptions::new();
        map.offset(offset).len(in_memory(len)?);
        // SAFETY: the map is read-only and nothing in this process writes to the file. It is shared with other
        // processes, though: one that writes to the file in place changes these bytes while they are read, and one
        // that truncates it can raise SIGBUS. We cannot rule that out; the module documentation states it.
        let map = unsafe { map.map(file) }.map_err(|source| Error::Io { path: path.into(), source })?;
        match self.options.prefault {
            true => self.touch(&map)?,
            false => self.have(len)?,
        }
        if self.options.mlock {
            self.lock(&map, path);
        }
        Ok(map)
    }

    /// Reads a byte of every page.
    fn touch(&mut self, bytes: &[u8]) -> Result<()> {
        const SMALLEST_PAGE: usize = 4096;
        for slice in bytes.chunks(SLICE) {
            let pages = slice.iter().step_by(SMALLEST_PAGE).chain(slice.last());
            std::hint::black_box(pages.fold(0u8, |sum, &byte| sum.wrapping_add(byte)));
            self.have(slice.len() as u64)?;
        }
        Ok(())
    }

    fn read(&mut self, file: &File, path: &Path, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(in_memory(len)?).map_err(|_| no_memory(len))?;
        // No further than it was long when we looked, however it grows.
        let mut from = At { file, at: offset };
        while (bytes.len() as u64) < len {
            let most = (len - bytes.len() as u64).min(SLICE as u64);
            let read = from.by_ref().take(most).read_to_end(&mut bytes);
            let read = read.map_err(|source| Error::Io { path: path.into(), source })? as u64;
            self.have(read)?;
            if read < most {
                break; // It has become shorter, of which its header knows nothing.
            }
        }
        Ok(bytes)
    }

    /// So many more bytes are there.
    fn have(&mut self, more: u64) -> Result<()> {
        self.done = self.done.saturating_add(more);
        // A sibling may have grown since its size was looked at.
        self.total = self.total.max(self.done);
        match (self.progress)(self.done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    #[cfg(unix)]
    fn lock(&mut self, map: &memmap2::Mmap, path: &Path) {
        if let Err(e) = map.lock() {
            self.notes.push(format!("{}: the pages could not be locked in memory: {e}", path.display()));
        }
    }

    #[cfg(not(unix))]
    fn lock(&mut self, _: &memmap2::Mmap, path: &Path) {
        self.notes.push(format!("{}: locking pages in memory is not available here", path.display()));
    }
}

/// As many bytes as can be addressed.
fn in_memory(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| no_memory(len))
}

fn no_memory(bytes: u64) -> Error {
    Error::Memory { what: "the model file", bytes }
}

#[cfg(unix)]
pub(super) fn drop_resident(map: &memmap2::Mmap) {
    // SAFETY: the map is a shared, read-only one of a file, so a page that is taken holds nothing but what the file holds
    // and is read from there again. It is advice: that it fails, as for locked pages, changes nothing.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

#[cfg(not(unix))]
pub(super) fn drop_resident(_: &memmap2::Mmap) {}

/// Reads a file from some place on without its position, which others may share.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(self.file, bytes, self.at)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(self.file, bytes, self.at)?;
        #[cfg(not(any(unix, windows)))]
        let read = {
            let mut file = self.file;
            io::Seek::seek(&mut file, io::SeekFrom::Start(self.at))?;
            file.read(bytes)?
        };
        self.at += read as u64;
        Ok(read)
    }
}
