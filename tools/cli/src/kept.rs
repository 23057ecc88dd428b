//! What conversations have read, kept on disk so that a long document is not read twice: one file each, all of them
//! together no more than a limit. What is missing, damaged or of another model only costs reading again.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use qwip::session::SavedError;
use qwip::{Cancel, Error, Session};
use sha2::{Digest, Sha256};

use crate::places;

/// Fewer tokens are read again in no time.
const WORTH_KEEPING: usize = 256;
const ENDING: &str = "kv";
/// Files that are being written; those of a process that was killed are removed by the next one.
const UNFINISHED: &str = ".kv-part";
const ABANDONED: Duration = Duration::from_secs(3600);
const BUFFER: usize = 1 << 20;

/// The folder of such files.
pub(crate) struct Kept {
    dir: PathBuf,
    most: u64,
}

/// What came of looking for a conversation.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The session has these tokens now.
    Tokens(usize),
    /// There is something, but it is not of use here.
    Useless(String),
    Nothing,
}

impl Kept {
    /// The user's, with at most `most` bytes; `None` if there is to be none.
    pub(crate) fn open(most: u64) -> Option<Kept> {
        let dir = places::cache_dir().filter(|_| most > 0)?.join("sessions");
        Some(Kept { dir, most })
    }

    /// The file of the conversation in `transcript`.
    fn path(&self, transcript: &Path) -> PathBuf {
        let whole = std::path::absolute(transcript).unwrap_or_else(|_| transcript.into());
        let hash = Sha256::digest(whole.as_os_str().as_encoded_bytes());
        let name: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name).with_extension(ENDING)
    }

    /// Keeps what `session` has read for the conversation in `transcript`; the oldest others go where it gets too much.
    /// The bytes it takes, `None` if it is not worth it, on a device, or more than there may be at all.
    pub(crate) fn store(
        &self,
        transcript: &Path,
        session: &mut Session,
        cancel: &Cancel,
    ) -> anyhow::Result<Option<u64>> {
        let path = self.path(transcript);
        if session.tokens().len() < WORTH_KEEPING || session.kv_bytes() > self.most {
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        let place = || self.dir.display().to_string();
        fs::create_dir_all(&self.dir).with_context(place)?;
        // Of mode 0600 where there are such modes, and gone if this fails.
        let file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.dir).with_context(place)?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        match session.save(&mut out, cancel) {
            Err(Error::Saved(SavedError::OnDevice)) => return Ok(None),
            other => other.with_context(place)?,
        }
        out.flush().with_context(place)?;
        let file = out.into_inner().map_err(|error| error.into_error()).with_context(place)?;
        let bytes = file.as_file().metadata().with_context(place)?.len();
        if bytes > self.most {
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        file.persist(&path).with_context(place)?;
        self.shrink();
        Ok(Some(bytes))
    }

    /// Gives `session` what was kept for the conversation in `transcript`.
    pub(crate) fn restore(
        &self,
        transcript: &Path,
        session: &mut Session,
        cancel: &Cancel,
    ) -> anyhow::Result<Found> {
        let path = self.path(transcript);
        let Ok(file) = File::open(&path) else { return Ok(Found::Nothing) };
        match session.restore(&mut BufReader::with_capacity(BUFFER, &file), cancel) {
            Ok(()) => {
                // What was used last goes last; if that cannot be noted, nothing is lost.
                let _ =
                    File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
                Ok(Found::Tokens(session.tokens().len()))
            }
            Err(Error::Saved(SavedError::OnDevice)) => Ok(Found::Nothing),
            Err(Error::Saved(why)) => Ok(Found::Useless(why.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes of all that is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.files().iter().map(|(_, _, bytes)| bytes).sum()
    }

    /// The most that may be kept.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The kept files with their sizes, the one that was used last at the end.
    fn files(&self) -> Vec<(SystemTime, PathBuf, u64)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let entry = |entry: fs::DirEntry| {
            let (path, meta) = (entry.path(), entry.metadata().ok()?);
            let ours = meta.is_file() && path.extension().is_some_and(|ending| ending == ENDING);
            ours.then(|| (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), path, meta.len()))
        };
        let mut files: Vec<_> = entries.flatten().filter_map(entry).collect();
        files.sort();
        files
    }

    fn shrink(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let is_old = |meta: fs::Metadata| {
                meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|t| t > ABANDONED))
            };
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) && entry.metadata().is_ok_and(is_old)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        let files = self.files();
        let mut total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in files {
            if total <= self.most {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn session() -> Session {
        let file = qwip::ModelFile::from_bytes(qwip::file::Bytes::Static(crate::builtin::bytes())).unwrap();
        let model = Arc::new(qwip::Model::load(Arc::new(file)).unwrap());
        let options = qwip::SessionOptions { context: 512, ..Default::default() };
        Session::new(model, qwip::cpu(1).unwrap(), &options).unwrap()
    }

    fn read(tokens: &[u32]) -> Session {
        let mut session = session();
        session.prompt(tokens, &Cancel::new(), &mut |_| {}).unwrap();
        session
    }

    #[test]
    fn what_was_read_is_found_again_by_its_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { dir: dir.path().join("sessions"), most: 1 << 30 };
        let (a, b) = (Path::new("/talks/a.json"), Path::new("/talks/b.json"));
        let cancel = Cancel::new();
        let tokens: Vec<u32> = (0..300).map(|i| i % 1000).collect();
        let bytes = kept.store(a, &mut read(&tokens), &cancel).unwrap().unwrap();
        assert_eq!((kept.bytes(), fs::read_dir(&kept.dir).unwrap().count()), (bytes, 1));

        let mut again = session();
        assert_eq!(kept.restore(a, &mut again, &cancel).unwrap(), Found::Tokens(300));
        assert_eq!(again.tokens(), tokens);
        assert_eq!(again.prompt(&[&tokens[..], &[5]].concat(), &cancel, &mut |_| {}).unwrap(), 1);
        assert_eq!(kept.restore(b, &mut again, &cancel).unwrap(), Found::Nothing);

        // A short one is not worth a file, and takes the place of what was there.
        assert_eq!(kept.store(a, &mut read(&tokens[..10]), &cancel).unwrap(), None);
        assert_eq!(kept.bytes(), 0);
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let tokens: Vec<u32> = (0..300).collect();
        let one = Kept { dir: dir.path().into(), most: 1 << 30 };
        let names = ["/a", "/b", "/c"].map(Path::new);
        let cancel = Cancel::new();
        let bytes = one.store(names[0], &mut read(&tokens), &cancel).unwrap().unwrap();
        let old = |name: &Path, seconds| {
            let file = File::options().append(true).open(one.path(name)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(seconds)).unwrap();
        };
        one.store(names[1], &mut read(&tokens), &cancel).unwrap();
        old(names[0], 200);
        old(names[1], 100);
        // Used now.
        assert_eq!(one.restore(names[0], &mut session(), &cancel).unwrap(), Found::Tokens(300));
        let two = Kept { dir: dir.path().into(), most: 2 * bytes };
        two.store(names[2], &mut read(&tokens), &cancel).unwrap();
        let found = names.map(|name| two.restore(name, &mut session(), &cancel).unwrap());
        assert_eq!(found, [Found::Tokens(300), Found::Nothing, Found::Tokens(300)]);
        let none = Kept { dir: dir.path().into(), most: bytes - 1 };
        assert_eq!(none.store(names[0], &mut read(&tokens), &cancel).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_costs_reading_again() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { dir: dir.path().into(), most: 1 << 30 };
        let cancel = Cancel::new();
        let name = Path::new("/a");
        kept.store(name, &mut read(&(0..300).collect::<Vec<u32>>()), &cancel).unwrap();
        let path = kept.path(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let found = kept.restore(name, &mut session(), &cancel).unwrap();
        assert!(matches!(&found, Found::Useless(why) if why.contains("checksum")), "{found:?}");
    }
}
