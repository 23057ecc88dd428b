//! Where the hubs' own tools keep what they fetched, so that every tool finds it.
//!
//! Hugging Face: `models--owner--repo/{blobs/<hash>, refs/main, snapshots/<commit>/<path>}`, the last being links to the
//! blobs, or the files themselves where the system has no links. ModelScope: `models/owner/repo/<path>`, the dots of
//! the repository written as `___`; since its version 1.38 it makes `models/owner--repo/snapshots/master/<path>`, and
//! goes on with the older folder where there is one, as we do.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::name::{Hub, Name, is_word};
use super::{choose, record};
use crate::places::{home, variable};

/// Folders below one repository, and entries of all of them together: a cache is not deeper or larger.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 100_000;
/// The name of a revision is shorter.
const LONGEST_REVISION: u64 = 256;

/// A GGUF file in the cache of a hub.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub(crate) hub: Hub,
    pub(crate) owner: String,
    pub(crate) repo: String,
    /// The commit at Hugging Face, `master` at ModelScope.
    pub(crate) revision: String,
    /// Whether this is the revision that was fetched last.
    pub(crate) current: bool,
    /// Its path in the repository, with `/`.
    pub(crate) file: String,
    /// Where it is opened.
    pub(crate) path: PathBuf,
    /// The file with the bytes: several revisions can share it.
    pub(crate) data: PathBuf,
    pub(crate) size: u64,
    /// What its bytes hash to, as far as that is on record.
    pub(crate) sha256: Option<String>,
}

/// The folder of a hub's cache; `None` where the user has no home.
pub(crate) fn root(hub: Hub) -> Option<PathBuf> {
    root_of(hub, &|name| variable(name).map(PathBuf::from), home())
}

fn root_of(hub: Hub, variable: &dyn Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let cache = || home.as_ref().map(|home| home.join(".cache"));
    let path = match hub {
        Hub::HuggingFace => variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(variable("HF_HOME")?.join("hub")))
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface").join("hub")))
            .or_else(|| Some(cache()?.join("huggingface").join("hub"))),
        Hub::ModelScope => {
            variable("MODELSCOPE_CACHE").or_else(|| Some(cache()?.join("modelscope").join("hub")))
        }
    }?;
    // The hubs' tools read a tilde there, which no shell has seen.
    match (path.strip_prefix("~"), &home) {
        (Ok(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(path),
    }
}

/// The folder of a repository; of ModelScope the one with the files of its branch.
pub(crate) fn repo_dir(root: &Path, hub: Hub, owner: &str, repo: &str) -> PathBuf {
    if hub == Hub::HuggingFace {
        return root.join(format!("models--{owner}--{repo}"));
    }
    let usual = root.join("models").join(owner).join(repo.replace('.', "___"));
    if !entries(&usual).is_empty() {
        return usual;
    }
    let newer = newer_models(root).into_iter().map(|models| {
        models.join(format!("{owner}--{repo}")).join("snapshots").join(super::modelscope::REVISION)
    });
    newer.into_iter().find(|dir| !entries(dir).is_empty()).unwrap_or(usual)
}

/// Where ModelScope's tool of today has its repositories: without a folder `hub`, if nobody chose another place.
fn newer_models(root: &Path) -> Vec<PathBuf> {
    let above = root.parent().filter(|_| root.ends_with("hub"));
    [Some(root), above].into_iter().flatten().map(|base| base.join("models")).collect()
}

/// Every GGUF file in the caches of both hubs.
pub(crate) fn cached() -> Vec<Cached> {
    let mut found = Vec::new();
    for hub in [Hub::HuggingFace, Hub::ModelScope] {
        let Some(root) = root(hub) else { continue };
        let repos: Vec<(String, String)> = match hub {
            Hub::HuggingFace => entries(&root).iter().filter_map(|name| split_folder(name)).collect(),
            Hub::ModelScope => {
                let models = root.join("models");
                let repos = |owner: String| {
                    let names = entries(&models.join(&owner));
                    names.into_iter().map(move |name| (owner.clone(), name.replace("___", ".")))
                };
                let older = entries(&models).into_iter().flat_map(repos);
                let newer = newer_models(&root).into_iter().flat_map(|models| entries(&models));
                let newer = newer.filter_map(|name| {
                    let (owner, repo) = name.split_once("--")?;
                    Some((owner.to_string(), repo.to_string()))
                });
                let mut repos: Vec<(String, String)> = older.chain(newer).collect();
                repos.sort();
                repos.dedup();
                repos
            }
        };
        for (owner, repo) in repos {
            if is_word(&owner) && is_word(&repo) && found.len() < MAX_ENTRIES {
                found.extend(files(&root, hub, &owner, &repo));
            }
        }
    }
    found
}

pub(super) fn split_folder(name: &str) -> Option<(String, String)> {
    let (owner, repo) = name.strip_prefix("models--")?.split_once("--")?;
    Some((owner.into(), repo.into()))
}

/// The path of the first file of a model in a cache. Nothing is fetched.
pub(crate) fn find(name: &Name) -> Option<PathBuf> {
    Some(find_all(name)?.remove(0).path)
}

/// As [`find`]: all files of the model, at least one, in the order of the parts.
pub(crate) fn find_all(name: &Name) -> Option<Vec<Cached>> {
    let hubs = name.hub.map_or(vec![Hub::HuggingFace, Hub::ModelScope], |hub| vec![hub]);
    hubs.into_iter().find_map(|hub| {
        let found = files(&root(hub)?, hub, &name.owner, &name.repo);
        let mut revisions: Vec<(bool, &str)> = Vec::new();
        for file in &found {
            if !revisions.contains(&(file.current, &file.revision)) {
                revisions.push((file.current, &file.revision));
            }
        }
        revisions.sort_by_key(|(current, _)| !current);
        revisions.iter().find_map(|(_, revision)| {
            let of: Vec<&Cached> = found.iter().filter(|file| file.revision == *revision).collect();
            let paths: Vec<&str> = of.iter().map(|file| file.file.as_str()).collect();
            let chosen = choose::choose(&paths, name.quant.as_deref()).ok()?;
            Some(chosen.into_iter().map(|at| of[at].clone()).collect())
        })
    })
}

/// The GGUF files of one repository.
fn files(root: &Path, hub: Hub, owner: &str, repo: &str) -> Vec<Cached> {
    let dir = repo_dir(root, hub, owner, repo);
    let revisions = match hub {
        Hub::HuggingFace => {
            let main = main_of(&dir);
            let snapshots = dir.join("snapshots");
            let of = |name: String| (snapshots.join(&name), name == main.trim(), name);
            entries(&snapshots).into_iter().map(of).collect()
        }
        Hub::ModelScope => vec![(dir.clone(), true, "master".to_string())],
    };
    let hashes = record::read(&dir);
    let mut found = Vec::new();
    for (top, current, revision) in revisions {
        let mut paths = Vec::new();
        walk(&top, "", MAX_DEPTH, &mut paths);
        for file in paths {
            let path = file.split('/').fold(top.clone(), |path, word| path.join(word));
            // A link whose blob is gone is no file.
            let Ok(data) = std::fs::canonicalize(&path) else { continue };
            let Ok(metadata) = std::fs::metadata(&data) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let known = || hashes.get(&record::key(hub, &revision, &file));
            let sha256 = match hub {
                // A commit has one content for a path, so that another size is damage and not another file.
                Hub::HuggingFace => {
                    let blob = blob_of(&path).filter(|name| is_sha256(name));
                    blob.or_else(|| Some(known()?.sha256.clone()))
                }
                Hub::ModelScope => {
                    known().filter(|known| known.size == metadata.len()).map(|known| known.sha256.clone())
                }
            };
            found.push(Cached {
                hub,
                owner: owner.into(),
                repo: repo.into(),
                revision: revision.clone(),
                current,
                file,
                path,
                data,
                size: metadata.len(),
                sha256,
            });
        }
    }
    found
}

/// The revision that was fetched last.
fn main_of(dir: &Path) -> String {
    let path = dir.join("refs").join("main");
    let mut text = String::new();
    // Opening a pipe would wait for a writer.
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file())
        && let Ok(file) = std::fs::File::open(&path)
        && file.take(LONGEST_REVISION).read_to_string(&mut text).is_err()
    {
        text.clear();
    }
    text
}

/// Takes files of a repository off the record of hashes: left there, they would be those of no file, or of another one.
pub(crate) fn forget(dir: &Path, files: &[Cached]) {
    let keys: Vec<String> = files.iter().map(|f| record::key(f.hub, &f.revision, &f.file)).collect();
    // Where the files could be removed, so can this; a hash too many costs a false alarm of `doctor` at most.
    let _ = record::remove(dir, keys.iter().map(String::as_str));
}

/// Takes the whole record of a repository away.
pub(crate) fn forget_all(dir: &Path) {
    record::clear(dir);
}

/// The name of the blob that a link of a snapshot leads to. The blob may be a link itself, into a store that several
/// repositories share, so only the first step counts.
fn blob_of(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_string())
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Paths of GGUF files below `dir`, with `/`. Links to folders are not followed.
fn walk(dir: &Path, below: &str, depth: usize, out: &mut Vec<String>) {
    for name in entries(dir) {
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if out.len() >= MAX_ENTRIES {
            return;
        }
        if name.to_ascii_lowercase().ends_with(".gguf") {
            out.push(path);
        } else if depth > 0 && dir.join(&name).symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            walk(&dir.join(&name), &path, depth - 1, out);
        }
    }
}

/// Names in a folder, sorted, without hidden ones; none if it cannot be read.
pub(super) fn entries(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_follow_the_environment_in_order() {
        let of = |hub, set: &[(&str, &str)]| {
            let set: Vec<(String, PathBuf)> = set.iter().map(|(n, v)| (n.to_string(), v.into())).collect();
            let variable = |name: &str| set.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
            root_of(hub, &variable, Some("/home/a".into())).unwrap()
        };
        let all = [
            ("HF_HUB_CACHE", "/1"),
            ("HUGGINGFACE_HUB_CACHE", "/2"),
            ("HF_HOME", "/3"),
            ("XDG_CACHE_HOME", "/4"),
        ];
        let want = ["/1", "/2", "/3/hub", "/4/huggingface/hub", "/home/a/.cache/huggingface/hub"];
        for (from, want) in want.iter().enumerate() {
            assert_eq!(of(Hub::HuggingFace, &all[from..]), Path::new(want));
        }
        assert_eq!(of(Hub::HuggingFace, &[("HF_HOME", "~/x")]), Path::new("/home/a/x/hub"));
        assert_eq!(of(Hub::ModelScope, &all), Path::new("/home/a/.cache/modelscope/hub"));
        assert_eq!(of(Hub::ModelScope, &[("MODELSCOPE_CACHE", "/m")]), Path::new("/m"));
    }

    #[test]
    fn files_of_both_layouts_are_listed_and_links_without_a_blob_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (root, hash) = (dir.path(), "ab".repeat(32));
        let repo = repo_dir(root, Hub::HuggingFace, "o", "r");
        let snapshot = repo.join("snapshots/c1/sub");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repo.join("refs")).unwrap();
        std::fs::create_dir_all(repo.join("blobs")).unwrap();
        std::fs::write(repo.join("refs/main"), "c1").unwrap();
        std::fs::write(repo.join("blobs").join(&hash), "12345").unwrap();
        std::fs::write(snapshot.join("plain-Q8_0.gguf"), "123").unwrap();
        #[cfg(unix)]
        {
            let link = |to: String, name| std::os::unix::fs::symlink(to, snapshot.join(name)).unwrap();
            link(format!("../../../blobs/{hash}"), "m-Q4_0.gguf");
            link("../../../blobs/none".into(), "gone-Q4_K_M.gguf");
            let found = files(root, Hub::HuggingFace, "o", "r");
            let names: Vec<&str> = found.iter().map(|file| file.file.as_str()).collect();
            assert_eq!(names, ["sub/m-Q4_0.gguf", "sub/plain-Q8_0.gguf"]);
            assert_eq!((found[0].size, found[0].current, &found[0].sha256), (5, true, &Some(hash)));
            assert_eq!((found[1].size, &found[1].sha256), (3, &None));
        }
        let scope = repo_dir(root, Hub::ModelScope, "o", "r-1.5");
        assert!(scope.ends_with("models/o/r-1___5"));
        std::fs::create_dir_all(&scope).unwrap();
        std::fs::write(scope.join("m-q4_0.gguf"), "1").unwrap();
        assert_eq!(files(root, Hub::ModelScope, "o", "r-1.5")[0].revision, "master");
        // As its tool does today, below a chosen place and beside the usual one.
        for (top, root) in [(root.to_path_buf(), root.to_path_buf()), (root.to_path_buf(), root.join("hub"))]
        {
            let newer = top.join("models/o--new.1/snapshots/master/sub");
            std::fs::create_dir_all(&newer).unwrap();
            std::fs::write(newer.join("n-q4_0.gguf"), "12").unwrap();
            let found = files(&root, Hub::ModelScope, "o", "new.1");
            assert_eq!((found[0].file.as_str(), found[0].size), ("sub/n-q4_0.gguf", 2));
        }
    }
}
