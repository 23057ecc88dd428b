//! Which model was used or downloaded last: the one that is meant when none is named.

use std::io::Read;
use std::path::PathBuf;

use crate::places;

/// A name is shorter.
const LONGEST: u64 = 8192;

fn file() -> Option<PathBuf> {
    Some(places::data_dir()?.join("last-model.json"))
}

/// Remembers the name of a model. That it cannot be written down costs only convenience.
pub(crate) fn remember(name: &str) {
    let Some(path) = file() else { return };
    if recall().as_deref() == Some(name) {
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
