//! A file that appears whole or not at all.

use crate::error::{Result, invalid, io_error};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes under a name of its own beside the target (`TARGET.NUMBER-NUMBER.part`) and renames that at the end. Dropped
/// before [`OutputFile::finish`], it leaves nothing behind. Of several writers to one target the last to finish wins.
#[derive(Debug)]
pub struct OutputFile {
    target: PathBuf,
    part: PathBuf,
    /// `None` once the file is closed: Windows neither renames nor removes what is open.
    file: Option<BufWriter<File>>,
    finished: bool,
}

impl OutputFile {
    /// Starts the file `target`, which may exist; a symbolic link stays one, and what it points to is replaced.
    ///
    /// # Errors
    /// As [`OutputFile::check`]; or the folder takes no file.
    pub fn create(target: &Path) -> Result<OutputFile> {
        let target = resolve(target)?;
        let (part, file) = create_beside(&target)?;
        Ok(OutputFile { target, part, file: Some(BufWriter::with_capacity(1 << 20, file)), finished: false })
    }

    /// For callers with much to do before they write: what [`OutputFile::create`] would refuse at once.
    ///
    /// # Errors
    /// `target` names no file, or something that is there and no regular file (a folder, a device, a pipe), or is in a
    /// folder that does not exist.
    pub fn check(target: &Path) -> Result<()> {
        resolve(target).map(drop)
    }

    /// Brings everything to the disk, still under the other name. Nothing can be written any more; a file that waits for
    /// others costs neither memory nor a handle.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn close(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(|e| io_error("write", &self.target)(e.into_error()))?;
        file.sync_all().map_err(io_error("write", &self.target))
    }

    /// The name that it has until it is finished.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// As [`OutputFile::check`] for what is made of the files `inputs`.
    ///
    /// # Errors
    /// As there; or `target` is one of `inputs`.
    pub fn check_beside(target: &Path, inputs: &[&Path]) -> Result<()> {
        OutputFile::check(target)?;
        let same = |input: &&&Path| matches!((input.canonicalize(), target.canonicalize()), (Ok(a), Ok(b)) if a == b);
        match inputs.iter().find(same) {
            Some(input) => invalid(format!("{} is the input: give the output another name", input.display())),
            None => Ok(()),
        }
    }

    /// On the disk first, then under its name: a power failure leaves the old file or the new one.
    ///
    /// # Errors
    /// The disk is full or gone; the target is then as it was.
    pub fn finish(mut self) -> Result<()> {
        self.close()?;
        fs::rename(&self.part, &self.target).map_err(io_error("replace", &self.target))?;
        self.finished = true;
        #[cfg(unix)]
        {
            // The file is complete; a folder that cannot be synchronised is no reason to fail.
            let _ = File::open(folder_of(&self.target)).and_then(|f| f.sync_all());
        }
        Ok(())
    }
}

/// The file that `target` means, behind all symbolic links; it need not exist.
fn resolve(target: &Path) -> Result<PathBuf> {
    const MOST_LINKS: usize = 40;
    let mut path = target.to_path_buf();
    for _ in 0..MOST_LINKS {
        let ends_in_separator = path
            .as_os_str()
            .as_encoded_bytes()
            .last()
            .is_some_and(|b| std::path::is_separator(char::from(*b)));
        if path.file_name().is_none() || ends_in_separator {
            return invalid(format!("{} does not name a file", target.display()));
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let link = fs::read_link(&path).map_err(io_error("write", target))?;
                path = folder_of(&path).join(link);
            }
            Ok(found) if found.is_file() => return Ok(path),
            Ok(found) if found.is_dir() => return invalid(format!("{} is a folder", target.display())),
            Ok(_) => return invalid(format!("{} is a device or a pipe, not a file", target.display())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return match fs::metadata(folder_of(&path)) {
                    Ok(_) => Ok(path),
                    Err(e) => Err(io_error("write", target)(e)),
                };
            }
            Err(e) => return Err(io_error("write", target)(e)),
        }
    }
    invalid(format!("{} leads through more than {MOST_LINKS} symbolic links", target.display()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file with a name that nobody else has. What a killed program left there is not touched.
fn create_beside(target: &Path) -> Result<(PathBuf, File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    const ATTEMPTS: usize = 1000;
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for _ in 0..ATTEMPTS {
        let mut name = OsString::from(target.file_name().unwrap_or_default());
        name.push(format!(".{}-{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let part = target.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((part, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(io_error("write", target)(e)),
        }
    }
    Err(io_error("write", target)(last))
}

impl Write for OutputFile {
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

impl Drop for OutputFile {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(target: &Path, text: &str) -> Result<()> {
        let mut output = OutputFile::create(target)?;
        output.write_all(text.as_bytes()).unwrap();
        output.finish()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_writers_do_not_disturb_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let (mut a, mut b) = (OutputFile::create(&target).unwrap(), OutputFile::create(&target).unwrap());
        a.write_all(b"first").unwrap();
        b.write_all(b"second").unwrap();
        a.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"first");
        b.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn an_unfinished_file_disappears() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        fs::write(&target, "old").unwrap();
        OutputFile::create(&target).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_and_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("far")).unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        link("one", "two");
        link("two", "far/file");
        link("self", "self");
        link("null", "/dev/null");
        let one = dir.path().join("one");
        for text in ["new", "newer"] {
            write(&one, text).unwrap();
            assert!(fs::symlink_metadata(&one).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(dir.path().join("far/file")).unwrap(), text);
        }
        assert_eq!(names(&dir.path().join("far")), ["file"]);
        for (name, part) in [("self", "40 symbolic links"), ("null", "not a file"), ("far", "is a folder")] {
            let message = write(&dir.path().join(name), "x").unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
        assert!(OutputFile::check(Path::new("/dev/null")).is_err());
        assert!(OutputFile::check(Path::new("..")).is_err());
    }
}
