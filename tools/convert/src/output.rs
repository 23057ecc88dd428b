//! A file that appears whole or not at all.

use crate::error::{Result, invalid, io_error};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes `NAME.part` beside the target and renames it at the end; removes it if that never happens.
pub(crate) struct Output {
    target: PathBuf,
    part: PathBuf,
    /// `None` once the file is closed: Windows neither renames nor removes what is open.
    file: Option<BufWriter<File>>,
    finished: bool,
}

impl Output {
    pub(crate) fn create(target: &Path) -> Result<Output> {
        let Some(name) = target.file_name() else {
            return invalid(format!("{} does not name a file", target.display()));
        };
        if target.is_dir() {
            return invalid(format!("{} is a folder", target.display()));
        }
        let mut part = OsString::from(name);
        part.push(".part");
        let part = target.with_file_name(part);
        // What a killed conversion left is overwritten, what a running one writes is not.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(io_error("write", &part))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return invalid(format!("{} is being written by another conversion", part.display()));
            }
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let emptied = file.set_len(0).map_err(io_error("write", &part));
        let file = Some(BufWriter::with_capacity(1 << 20, file));
        let output = Output { target: target.to_path_buf(), part, file, finished: false };
        emptied.map(|()| output)
    }

    /// For messages about a failed write.
    pub(crate) fn part(&self) -> PathBuf {
        self.part.clone()
    }

    /// On the disk first, then under its name: a power failure leaves the old file or the new one.
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            let file = file.into_inner().map_err(|e| io_error("write", &self.part)(e.into_error()))?;
            file.sync_all().map_err(io_error("write", &self.part))?;
        }
        fs::rename(&self.part, &self.target).map_err(io_error("replace", &self.target))?;
        self.finished = true;
        #[cfg(unix)]
        if let Some(folder) = self.target.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // The file is complete; a folder that cannot be synchronised is no reason to fail.
            let _ = File::open(folder).and_then(|f| f.sync_all());
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::Error::other("the file is closed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is still in the buffer is not worth writing.
            let (file, _unwritten) = file.into_parts();
            drop(file);
        }
        if !self.finished {
            let _ = fs::remove_file(&self.part);
        }
    }
}
