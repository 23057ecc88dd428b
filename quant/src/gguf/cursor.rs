//! A position in untrusted bytes that cannot run past the end.

use super::error::Error;

/// Reads little-endian numbers one after the other.
pub(crate) struct Cursor<'a> {
    /// The file, or as much of it as has been read.
    file: &'a [u8],
    /// Bytes of the file.
    len: u64,
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a file of `len` bytes, `file` of which have been read.
    pub(crate) fn new(file: &'a [u8], len: u64) -> Self {
        Self { file, len, pos: 0 }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn left(&self) -> u64 {
        self.len.saturating_sub(self.pos as u64)
    }

    /// The next `n` bytes; `what` is for the message.
    pub(crate) fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], Error> {
        let rest = &self.file[self.pos..];
        let taken = usize::try_from(n).ok().and_then(|n| rest.get(..n));
        let taken = taken.ok_or(Error::Truncated { what, needed: n, left: self.left() })?;
        self.pos += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let left = self.left();
        let taken = self.file[self.pos..].first_chunk::<N>();
        let taken = taken.ok_or(Error::Truncated { what, needed: N as u64, left })?;
        self.pos += N;
        Ok(*taken)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }
}
