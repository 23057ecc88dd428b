//! What files of ModelScope hash to: its cache has no place for that, so it stands in a small file of ours beside them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::layout::is_sha256;
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

/// The files on record, by their paths in the repository. A record that cannot be read is an empty one.
pub(crate) fn read(dir: &Path) -> BTreeMap<String, Known> {
    let path = dir.join(FILE);
    let short = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
    let text = if short { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let Ok(Value::Object(files)) = serde_json::from_slice(&text) else { return BTreeMap::new() };
    let known = files.into_iter().filter_map(|(path, value)| {
        let sha256 = value["sha256"].as_str().filter(|hash| is_sha256(hash))?.to_string();
        Some((path, Known { size: value["size"].as_u64()?, sha256 }))
    });
    known.collect()
}

/// Puts a file on record.
pub(crate) fn add(dir: &Path, path: &str, known: Known) -> io::Result<()> {
    let mut files = read(dir);
    files.insert(path.to_string(), known);
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
        std::fs::write(dir.path().join(FILE), "{\"a\": 1, \"b\"").unwrap();
        assert!(read(dir.path()).is_empty());
    }
}
