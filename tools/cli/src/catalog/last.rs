//! Which model was used or downloaded last: the one that is meant when none is named.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::places;

/// A name is shorter.
const LONGEST: u64 = 8192;

fn file() -> Option<PathBuf> {
    Some(places::data_dir()?.join("last-model.json"))
}

/// Remembers the name of a model, if it is one for answers: of others a bare `qwip` would make little. That it cannot be
/// written down costs only convenience.
pub(crate) fn remember(name: &str) {
    let Some(path) = file() else { return };
    let header = super::resolve(Path::new(name)).ok().and_then(|file| super::header(&file));
    if header.is_some_and(|header| !header.answers()) || recall().as_deref() == Some(name) {
        return;
    }
    let _ = places::write_private(&path, serde_json::json!({ "model": name }).to_string().as_bytes());
}

/// The name that was remembered.
pub(crate) fn recall() -> Option<String> {
    let mut text = Vec::new();
    std::fs::File::open(file()?).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    json["model"].as_str().filter(|name| !name.is_empty()).map(str::to_string)
}
