//! Downloads that were broken off, ours and those of the hubs' own tools.

use std::fs::{OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::journal;
use super::layout::{self, entries, repo_dir, split_folder};
use super::name::{Hub, is_word};

/// How our files end, and those of others.
const OURS: &str = ".qwip.incomplete";
const ANY: &str = ".incomplete";

/// A file of which only a part is here.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    pub(crate) hub: Hub,
    pub(crate) owner: String,
    pub(crate) repo: String,
    /// What the cache will call its bytes.
    pub(crate) blob: String,
    pub(crate) data: PathBuf,
    /// What goes with it.
    beside: Vec<PathBuf>,
    lock: PathBuf,
    pub(crate) have: u64,
    /// Where that is known.
    pub(crate) total: Option<u64>,
}

impl Unfinished {
    /// Whether a process is fetching it right now.
    pub(crate) fn is_busy(&self) -> bool {
        let Ok(file) = OpenOptions::new().write(true).open(&self.lock) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Throws it away.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.data)?;
        for path in &self.beside {
            // It may not be there.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

/// Everything unfinished in the caches of both hubs.
pub(crate) fn unfinished() -> Vec<Unfinished> {
    let mut found = Vec::new();
    if let Some(root) = layout::root(Hub::HuggingFace) {
        for (owner, repo) in entries(&root).iter().filter_map(|name| split_folder(name)) {
            let dir = repo_dir(&root, Hub::HuggingFace, &owner, &repo);
            let locks = root.join(".locks").join(dir.file_name().unwrap_or_default());
            add(&dir.join("blobs"), &locks, (Hub::HuggingFace, &owner, &repo), &mut found);
        }
    }
    if let Some(root) = layout::root(Hub::ModelScope) {
        let temporary = root.join("models").join("._____temp");
        for owner in entries(&temporary) {
            for repo in entries(&temporary.join(&owner)) {
                let dir = temporary.join(&owner).join(&repo);
                add(&dir, &dir, (Hub::ModelScope, &owner, &repo), &mut found);
            }
        }
    }
    found
}

fn add(dir: &Path, locks: &Path, (hub, owner, repo): (Hub, &str, &str), found: &mut Vec<Unfinished>) {
    if !is_word(owner) || !is_word(repo) {
        return;
    }
    for name in entries(dir) {
        let Some(stem) = name.strip_suffix(ANY) else { continue };
        let data = dir.join(&name);
        let Ok(metadata) = std::fs::symlink_metadata(&data) else { continue };
        if !metadata.is_file() {
            continue;
        }
        // Ours has its full length from the start; how much of it is there stands in the journal.
        let (blob, have, total, beside) = match name.strip_suffix(OURS) {
            Some(blob) => {
                let journal = dir.join(format!("{blob}.qwip.parts"));
                let have = journal::read(&journal, &data, metadata.len()).total();
                (blob, have, Some(metadata.len()), vec![journal])
            }
            // Some of the hub's tools put a word of chance behind the hash.
            None => (stem.split('.').next().unwrap_or(stem), metadata.len(), None, Vec::new()),
        };
        let (blob, lock) = (blob.to_string(), locks.join(format!("{blob}.lock")));
        let (owner, repo) = (owner.to_string(), repo.to_string());
        found.push(Unfinished { hub, owner, repo, blob, data, beside, lock, have, total });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfinished_is_found_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("aa.qwip.incomplete", &[0; 100]);
        write("aa.qwip.parts", b"qwip-parts 1 100\n0 10\n50 60\n");
        write("bb.1f2e.incomplete", &[0; 7]);
        write("cc", &[0; 9]);
        write("dd.qwip.incomplete", &[0; 100]);
        let mut found = Vec::new();
        add(dir.path(), dir.path(), (Hub::HuggingFace, "o", "r"), &mut found);
        let seen: Vec<_> = found.iter().map(|u| (u.blob.as_str(), u.have, u.total)).collect();
        assert_eq!(seen, [("aa", 20, Some(100)), ("bb", 7, None), ("dd", 0, Some(100))]);
        write("aa.lock", b"");
        assert!(!found[0].is_busy());
        let held = std::fs::File::open(dir.path().join("aa.lock")).unwrap();
        held.try_lock().unwrap();
        assert!(found[0].is_busy());
        found[0].remove().unwrap();
        assert!(
            !dir.path().join("aa.qwip.parts").exists() && !dir.path().join("aa.qwip.incomplete").exists()
        );
    }
}
