//! Takes a model out of a hub's cache: what points to its bytes, the bytes if nothing else points to them, and the
//! folders that are empty then.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::hubs::Held;
use crate::hub::Hub;
use crate::hub::layout::{self, Cached};
use crate::hub::unfinished::Unfinished;

/// Snapshots are not deeper or larger.
const DEPTH: usize = 10;
const MOST: usize = 200_000;

/// Fails if a file of a model lies elsewhere than its path says: behind a link to a folder there can be files of the
/// user's own, which are not ours to remove.
pub(crate) fn check_inside(held: &Held) -> anyhow::Result<()> {
    let Some(root) = layout::root(held.hub) else { return Ok(()) };
    for file in &held.all {
        let repo = layout::repo_dir(&root, held.hub, &file.owner, &file.repo);
        // The folder with all repositories may be a link to another disk; what is below it may not.
        let up = match held.hub {
            Hub::HuggingFace => 1,
            Hub::ModelScope if repo.ends_with(Path::new("snapshots").join(&file.revision)) => 3,
            Hub::ModelScope => 2,
        };
        let base = repo.ancestors().nth(up).unwrap_or(&root);
        let real = std::fs::canonicalize(base).with_context(|| base.display().to_string())?;
        let blobs = Some(repo.join("blobs")).filter(|blobs| held.hub == Hub::HuggingFace && blobs.exists());
        for folder in file.path.parent().map(Path::to_path_buf).into_iter().chain(blobs) {
            let found = std::fs::canonicalize(&folder).with_context(|| folder.display().to_string())?;
            let is_inside = folder.strip_prefix(base).is_ok_and(|below| real.join(below) == found);
            if !is_inside {
                bail!(
                    "{}: it lies outside the cache, in {}: rm removes only what is in the caches of the hubs",
                    file.path.display(),
                    found.display()
                );
            }
        }
    }
    Ok(())
}

/// Removes every file of a model in every revision. Returns how many bytes became free.
pub(crate) fn remove(held: &Held) -> anyhow::Result<u64> {
    check_inside(held)?;
    let Some(root) = layout::root(held.hub) else { return Ok(0) };
    let Some(first) = held.all.first() else { return Ok(0) };
    let repo = layout::repo_dir(&root, held.hub, &first.owner, &first.repo);
    let mut left =
        Left { going: held.all.iter().map(|file| file.path.as_path()).collect(), ..Left::default() };
    left.walk(&repo.join("snapshots"), DEPTH);
    let mut freed = 0;
    for file in &held.all {
        match std::fs::read_link(&file.path) {
            // Before the link: a blob that cannot be removed, since somebody has it open, is still listed then.
            Ok(target) => {
                let folder = file.path.parent().unwrap_or(&repo);
                freed += remove_blob(&repo, &folder.join(target), &left)?;
            }
            Err(_) => freed += file.size,
        }
        gone(std::fs::remove_file(&file.path)).with_context(|| file.path.display().to_string())?;
    }
    layout::forget(&repo, &held.all);
    for file in &held.all {
        remove_empty_folders(&file.path, &repo);
    }
    match held.hub {
        Hub::HuggingFace => clear_repository(&repo),
        Hub::ModelScope => clear_folder(&repo, held),
    }
    Ok(freed)
}

/// Throws an unfinished download away. Returns how many bytes became free.
pub(crate) fn remove_rest(rest: &Unfinished) -> anyhow::Result<u64> {
    rest.remove().with_context(|| rest.data.display().to_string())?;
    if let (Some(root), Hub::HuggingFace) = (layout::root(rest.hub), rest.hub) {
        clear_repository(&layout::repo_dir(&root, rest.hub, &rest.owner, &rest.repo));
    }
    Ok(rest.have)
}

/// Removes a blob of this repository to which no snapshot points any more.
fn remove_blob(repo: &Path, blob: &Path, left: &Left<'_>) -> anyhow::Result<u64> {
    // A link could lead anywhere; what is not among this repository's blobs is not ours to remove.
    let (Ok(folder), Some(name)) = (std::fs::canonicalize(repo.join("blobs")), blob.file_name()) else {
        return Ok(0);
    };
    if blob.parent().and_then(|parent| std::fs::canonicalize(parent).ok()).as_ref() != Some(&folder) {
        return Ok(0);
    }
    let blob = folder.join(name);
    if left.cut || left.targets.contains(&blob) {
        return Ok(0);
    }
    // What a blob links to in turn is shared with other repositories and stays.
    let bytes =
        std::fs::symlink_metadata(&blob).map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 });
    gone(std::fs::remove_file(&blob)).with_context(|| blob.display().to_string())?;
    Ok(bytes)
}

/// That a file is not there is what removing it wants.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Where the links of the snapshots lead that stay.
#[derive(Default)]
struct Left<'a> {
    /// The links that do not.
    going: BTreeSet<&'a Path>,
    targets: BTreeSet<PathBuf>,
    seen: usize,
    /// There are more than are looked at, or some that cannot be, so that no blob can be known to be unused.
    cut: bool,
}

impl Left<'_> {
    fn walk(&mut self, folder: &Path, depth: usize) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            // In what cannot be read there may be a link to any blob.
            Err(error) => return self.cut |= error.kind() != io::ErrorKind::NotFound,
        };
        for entry in entries {
            let Ok(entry) = entry else { return self.cut = true };
            self.seen += 1;
            if self.seen > MOST {
                self.cut = true;
                return;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(_) if self.going.contains(path.as_path()) => {}
                Ok(kind) if kind.is_symlink() => match one_step(folder, &path) {
                    Ok(target) => self.targets.extend(target),
                    Err(error) => self.cut |= error.kind() != io::ErrorKind::NotFound,
                },
                Ok(kind) if kind.is_dir() && depth > 0 => self.walk(&path, depth - 1),
                Ok(kind) if kind.is_dir() => self.cut = true,
                Ok(_) => {}
                Err(_) => self.cut = true,
            }
        }
    }
}

/// Where a link leads, without the links that may follow; `None` if that can be no blob.
fn one_step(folder: &Path, link: &Path) -> io::Result<Option<PathBuf>> {
    let target = folder.join(std::fs::read_link(link)?);
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Ok(None) };
    Ok(Some(std::fs::canonicalize(parent)?.join(name)))
}

/// Removes the folders above `file` that are empty, up to the repository's.
fn remove_empty_folders(file: &Path, repo: &Path) {
    let above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(repo) && *folder != repo);
    for folder in above {
        // Fails where something is left, which is the end of it.
        if std::fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// What is left of a repository of Hugging Face's cache without a snapshot: names of revisions, and nothing.
fn clear_repository(repo: &Path) {
    for entry in std::fs::read_dir(repo.join("blobs")).into_iter().flatten().flatten() {
        // The journal of a download whose file is gone.
        let path = entry.path();
        let is_journal = path.to_string_lossy().ends_with(".qwip.parts");
        if is_journal && !path.with_extension("incomplete").exists() {
            let _ = std::fs::remove_file(path);
        }
    }
    let _ = std::fs::remove_dir(repo.join("blobs"));
    if repo.join("snapshots").exists() || repo.join("blobs").exists() {
        return;
    }
    layout::forget_all(repo);
    for folder in ["refs", ".no_exist"] {
        let _ = std::fs::remove_dir_all(repo.join(folder));
    }
    let _ = std::fs::remove_dir(repo);
}

/// The list of files that ModelScope's own tool keeps and believes: a file that is on it is not fetched again.
const INDEX: &str = ".msc";

/// A folder of ModelScope's cache goes once only the notes of its tools are left, which are hidden files.
fn clear_folder(repo: &Path, held: &Held) {
    // The tool makes it again. There may be none.
    let _ = std::fs::remove_file(repo.join(INDEX));
    let Ok(entries) = std::fs::read_dir(repo) else { return };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let removed: Vec<&Cached> = held.all.iter().filter(|file| file.path.exists()).collect();
    if removed.is_empty() && names.iter().all(|name| name.to_string_lossy().starts_with('.')) {
        let _ = std::fs::remove_dir_all(repo);
        let _ = repo.parent().map(std::fs::remove_dir);
    }
}
