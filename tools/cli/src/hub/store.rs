//! Putting a fetched file where the hub's own tools would have put it, and seeing whether it is there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::hash;
use super::layout::{is_sha256, repo_dir};
use super::name::{Hub, Name};
use super::record::{self, Known};
use super::{Remote, modelscope};
use crate::output::{self, Ending, note};
use crate::{interrupt, places};

/// Where one file goes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of the repository.
    pub(crate) repo: PathBuf,
    /// Its path in the repository.
    pub(crate) file: String,
    pub(crate) size: u64,
    sha256: Option<String>,
    /// What it is called on record.
    key: String,
    /// Where it is opened.
    pub(crate) path: PathBuf,
    /// Where its bytes are, if that is another place.
    blob: Option<PathBuf>,
    /// What is not finished. Not the name that the hubs' tools use: they would take a file with holes for the beginning
    /// of a whole one.
    pub(crate) unfinished: PathBuf,
    pub(crate) journal: PathBuf,
    lock: PathBuf,
    symlink: fn(&str, &Path) -> io::Result<()>,
}

impl Place {
    pub(crate) fn new(
        root: &Path,
        hub: Hub,
        name: &Name,
        revision: &str,
        remote: &Remote,
    ) -> anyhow::Result<Place> {
        check_path(&remote.path).with_context(|| format!("{name}"))?;
        let repo = repo_dir(root, hub, &name.owner, &name.repo);
        let words = |top: PathBuf| remote.path.split('/').fold(top, |path, word| path.join(word));
        let blob = remote.blob.as_str();
        let (path, at, blobs, locks) = match hub {
            Hub::HuggingFace => {
                let blobs = repo.join("blobs");
                let locks = root.join(".locks").join(repo.file_name().unwrap_or_default());
                (words(repo.join("snapshots").join(revision)), Some(blobs.join(blob)), blobs, locks)
            }
            Hub::ModelScope => {
                let temporary = root.join("models").join("._____temp").join(&name.owner).join(&name.repo);
                (words(repo.clone()), None, temporary.clone(), temporary)
            }
        };
        Ok(Place {
            file: remote.path.clone(),
            size: remote.size,
            sha256: remote.sha256.clone(),
            key: record::key(hub, revision, &remote.path),
            unfinished: blobs.join(format!("{blob}.qwip.incomplete")),
            journal: blobs.join(format!("{blob}.qwip.parts")),
            lock: locks.join(format!("{blob}.lock")),
            blob: at,
            path,
            repo,
            symlink,
        })
    }

    /// Whether the file is there, by whomever it was fetched; only a link to it may have been missing.
    pub(crate) fn present(&self) -> anyhow::Result<bool> {
        let is_whole = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == self.size)
        };
        let Some(blob) = &self.blob else { return Ok(is_whole(&self.path) && self.is_as_stated()?) };
        if is_whole(&self.path) {
            match std::fs::read_link(&self.path) {
                // Where there are no links, the commit in the path is what says which file it is.
                Err(_) => return Ok(true),
                Ok(target) if target.file_name() == blob.file_name() => return Ok(true),
                Ok(_) => {}
            }
        }
        if !is_whole(blob) {
            return Ok(false);
        }
        self.link(blob, false)?;
        let hash = blob.file_name().unwrap_or_default().to_string_lossy();
        if is_sha256(&hash) {
            self.note_copy(hash.into_owned());
        }
        Ok(true)
    }

    /// Whether a file of ModelScope's cache is what the hub states. One that its own tool fetched is read once.
    fn is_as_stated(&self) -> anyhow::Result<bool> {
        let Some(stated) = &self.sha256 else { return Ok(true) };
        if let Some(known) = record::read(&self.repo).get(&self.key).filter(|known| known.size == self.size) {
            return Ok(known.sha256 == *stated);
        }
        let sha256 = hash::of_file(&self.path, &self.file)?;
        let is_same = sha256 == *stated;
        if is_same {
            self.put_on_record(sha256);
        }
        Ok(is_same)
    }

    fn put_on_record(&self, sha256: String) {
        // Without it the file is read once more at the next time.
        let _ = record::add(&self.repo, &self.key, Known { size: self.size, sha256 });
    }

    /// Where the system has no links, no name of a blob says what a snapshot's file hashes to.
    fn note_copy(&self, sha256: String) {
        if std::fs::read_link(&self.path).is_err() {
            self.put_on_record(sha256);
        }
    }

    /// Makes the folders.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        for file in [&self.path, &self.unfinished, &self.lock] {
            let dir = file.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(dir).map_err(|error| unwritable(error, dir))?;
        }
        Ok(())
    }

    /// Keeps other processes from fetching the same file, the hub's own tools among them. Waits for one that does.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        let file = open.map_err(|error| unwritable(error, &self.lock))?;
        let mut said = false;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                // A file system without locks: two processes at once are unlikely, and the hash would tell.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
            }
            if !said {
                note(format_args!("qwip: note: another process is fetching {}; waiting for it", self.file));
                said = true;
            }
            if interrupt::flag().is_cancelled() {
                return Err(Ending::Interrupted.into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Puts the finished file into its place. `sha256` is what was computed.
    pub(crate) fn publish(&self, sha256: String) -> anyhow::Result<()> {
        let moved = |to: &Path| std::fs::rename(&self.unfinished, to).map_err(|error| unwritable(error, to));
        match &self.blob {
            Some(blob) => {
                moved(blob)?;
                self.link(blob, true)?;
                self.note_copy(sha256);
            }
            None => {
                moved(&self.path)?;
                self.put_on_record(sha256);
            }
        }
        // A journal without its file means nothing.
        let _ = std::fs::remove_file(&self.journal);
        Ok(())
    }

    /// Makes the path of the snapshot lead to the blob. Where the system has no links, a new blob is moved there, and
    /// one that another snapshot may use is copied.
    fn link(&self, blob: &Path, is_new: bool) -> anyhow::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(|error| unwritable(error, dir))?;
        let up = "../".repeat(self.file.split('/').count() + 1);
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_extension(format!("qwip-link{}", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        let made = match (self.symlink)(&format!("{up}blobs/{name}"), &beside) {
            Ok(()) => std::fs::rename(&beside, &self.path),
            Err(_) if is_new => std::fs::rename(blob, &self.path),
            Err(_) => std::fs::copy(blob, &beside).and_then(|_| std::fs::rename(&beside, &self.path)),
        };
        made.map_err(|error| unwritable(error, &self.path))
    }
}

/// The hub's last revision, for everybody who asks without the net.
pub(crate) fn set_main(repo: &Path, hub: Hub, revision: &str) -> anyhow::Result<()> {
    if hub == Hub::ModelScope {
        debug_assert_eq!(revision, modelscope::REVISION);
        return Ok(());
    }
    let path = repo.join("refs").join("main");
    // A cache that one may only read can hold everything already.
    if std::fs::read_to_string(&path).is_ok_and(|found| found == revision) {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(repo.join("refs"))?;
        let next = repo.join("refs").join(format!("main.qwip{}", std::process::id()));
        std::fs::write(&next, revision)?;
        std::fs::rename(&next, &path)
    };
    write().map_err(|error| unwritable(error, &path))
}

fn unwritable(error: io::Error, path: &Path) -> anyhow::Error {
    let what = format!(
        "the cache cannot be written: {} (HF_HUB_CACHE or MODELSCOPE_CACHE names another folder)",
        path.display()
    );
    anyhow::Error::new(error).context(what)
}

/// A path in a repository that stays in the folder it is put into, on every system.
fn check_path(path: &str) -> anyhow::Result<()> {
    let is_sound = |word: &str| {
        !word.is_empty()
            && word.len() <= 255
            && !word.starts_with("..")
            && word != "."
            && !word.chars().any(|c| c.is_control() || "\\:<>\"|?*".contains(c))
    };
    if path.len() > 1024 || path.split('/').count() > 8 || !path.split('/').all(is_sound) {
        bail!("the hub lists the file '{}', which has no place in a cache", output::visible(path));
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    // Only developers and administrators may.
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the environment forbids the net.
pub(crate) fn is_offline() -> bool {
    let value = places::variable("HF_HUB_OFFLINE").map(|value| value.to_string_lossy().to_ascii_uppercase());
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, hub: Hub, path: &str) -> anyhow::Result<Place> {
        let name = Name::parse("o/r.1").unwrap();
        let blob = "ab".repeat(32);
        let remote = Remote { path: path.into(), size: 3, sha256: Some(blob.clone()), blob };
        Place::new(root, hub, &name, "c0ffee", &remote)
    }

    #[test]
    fn a_file_goes_where_the_hubs_own_tools_look() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path(), Hub::HuggingFace, "sub/m.gguf").unwrap();
        place.prepare().unwrap();
        let _lock = place.lock().unwrap();
        std::fs::write(&place.unfinished, "abc").unwrap();
        assert!(!place.present().unwrap());
        place.publish("ab".repeat(32)).unwrap();
        let repo = dir.path().join("models--o--r.1");
        assert_eq!(std::fs::read(repo.join("snapshots/c0ffee/sub/m.gguf")).unwrap(), b"abc");
        #[cfg(unix)]
        {
            let target = std::fs::read_link(&place.path).unwrap();
            assert_eq!(target, Path::new(&format!("../../../blobs/{}", "ab".repeat(32))));
            // A link that is gone is made again.
            std::fs::remove_file(&place.path).unwrap();
        }
        assert!(place.present().unwrap() && place.path.exists());
        set_main(&repo, Hub::HuggingFace, "c0ffee").unwrap();
        assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), "c0ffee");
    }

    #[test]
    fn without_links_the_hash_of_a_file_stands_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = place(dir.path(), Hub::HuggingFace, "sub/m.gguf").unwrap();
        place.symlink = |_, _| Err(io::ErrorKind::Unsupported.into());
        place.prepare().unwrap();
        std::fs::write(&place.unfinished, "abc").unwrap();
        let known = || record::read(&place.repo).get("c0ffee/sub/m.gguf").cloned();
        place.publish("ab".repeat(32)).unwrap();
        assert!(place.path.symlink_metadata().unwrap().is_file() && place.present().unwrap());
        assert_eq!(known(), Some(Known { size: 3, sha256: "ab".repeat(32) }));
        // A copy of what another snapshot has.
        record::remove(&place.repo, ["c0ffee/sub/m.gguf"]).unwrap();
        std::fs::rename(&place.path, place.blob.as_ref().unwrap()).unwrap();
        assert!(known().is_none() && place.present().unwrap() && known().is_some());
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let dir = Path::new("/nowhere");
        for path in
            ["../m.gguf", "a/../../m.gguf", "/m.gguf", "a\\b.gguf", "c:m.gguf", "a//b.gguf", "a/\n.gguf", ""]
        {
            for hub in [Hub::HuggingFace, Hub::ModelScope] {
                assert!(place(dir, hub, path).is_err(), "{path}");
            }
        }
    }
}
