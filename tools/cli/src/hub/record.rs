//! What files hash to where the cache has no place for that, so that it stands in a small file of ours beside them: at
//! ModelScope, and in the cache of Hugging Face on a system without links.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::layout::is_sha256;
use super::name::Hub;
use crate::places::write_private;

/// In the folder of a repository.
const FILE: &str = ".qwip-hashes.json";
const MAX_BYTES: u64 = 16 << 20;

/// What was known about a file when it was fetched or read last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// What a file is called on record: its path in the repository, at Hugging Face behind the revision.
pub(crate) fn key(hub: Hub, revision: &str, path: &str) -> String {
    match hub {
        Hub::HuggingFace => format!("{revision}/{path}"),
        Hub::ModelScope => path.to_string(),
    }
}

/// The files on record, by their [`key`]s. A record that cannot be read is an empty one.
pub(crate) fn read(dir: &Path) -> BTreeMap<String, Known> {
    let path = dir.join(FILE);
    // Opening a pipe would wait for a writer.
    let short = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
    let text = if short { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let Ok(Value::Object(files)) = serde_json::from_slice(&text) else { return BTreeMap::new() };
    let known = files.into_iter().filter_map(|(path, value)| {
        let sha256 = value["sha256"].as_str().filter(|hash| is_sha256(hash))?.to_string();
        Some((path, Known { size: value["size"].as_u64()?, sha256 }))
    });
    known.collect()
}

/// Puts a file on record.
pub(crate) fn add(dir: &Path, key: &str, known: Known) -> io::Result<()> {
    let mut files = read(dir);
    files.insert(key.to_string(), known);
    write(dir, files)
}

/// Takes files off the record, and the record away when it is empty.
pub(crate) fn remove<'k>(dir: &Path, keys: impl IntoIterator<Item = &'k str>) -> io::Result<()> {
    let mut files = read(dir);
    let before = files.len();
    for key in keys {
        files.remove(key);
    }
    match files.len() {
        0 if before > 0 => std::fs::remove_file(dir.join(FILE)),
        now if now < before => write(dir, files),
        _ => Ok(()),
    }
}

/// Removes the record as a whole.
pub(crate) fn clear(dir: &Path) {
    // There may be none.
    let _ = std::fs::remove_file(dir.join(FILE));
}

fn write(dir: &Path, files: BTreeMap<String, Known>) -> io::Result<()> {
    let files: serde_json::Map<String, Value> =
        files.into_iter().map(|(path, k)| (path, json!({"size": k.size, "sha256": k.sha256}))).collect();
    write_private(&dir.join(FILE), Value::Object(files).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_grows_and_a_broken_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let known = |size| Known { size, sha256: "0f".repeat(32) };
        add(dir.path(), "a.gguf", known(1)).unwrap();
        add(dir.path(), "b/c.gguf", known(2)).unwrap();
        let found = read(dir.path());
        assert_eq!((found.len(), &found["b/c.gguf"]), (2, &known(2)));
        remove(dir.path(), ["b/c.gguf", "none"]).unwrap();
        assert_eq!(read(dir.path()).into_keys().collect::<Vec<_>>(), ["a.gguf"]);
        remove(dir.path(), ["a.gguf"]).unwrap();
        assert!(!dir.path().join(FILE).exists());
        remove(dir.path(), ["a.gguf"]).unwrap();
        std::fs::write(dir.path().join(FILE), "{\"a\": 1, \"b\"").unwrap();
        assert!(read(dir.path()).is_empty());
    }
}
