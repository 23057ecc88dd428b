//! Models that Ollama keeps, read-only: a manifest for each name, which points to blobs.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Entry, Source, State, folders};
use crate::places;

/// What a model's weights are called in a manifest.
const WEIGHTS: &str = "application/vnd.ollama.image.model";
/// A manifest is a few hundred bytes.
const LONGEST_MANIFEST: u64 = 1 << 20;
/// Host, namespace, model.
const DEPTH: usize = 3;

/// The folders that Ollama may use: the user's, and that of the service.
pub(super) fn roots() -> Vec<PathBuf> {
    if let Some(dir) = places::variable("OLLAMA_MODELS") {
        return vec![dir.into()];
    }
    let mut roots: Vec<PathBuf> =
        places::home().map(|home| home.join(".ollama/models")).into_iter().collect();
    if cfg!(target_os = "linux") {
        roots.push("/usr/share/ollama/.ollama/models".into());
    }
    roots
}

/// Adds the models of one such folder.
pub(super) fn add(root: &Path, entries: &mut Vec<Entry>) -> bool {
    let found = folders::files(&root.join("manifests"), DEPTH);
    let cut = found.cut;
    for (place, path) in found.files {
        if let Some(entry) = entry(root, &place, &path) {
            entries.push(entry);
        }
    }
    cut
}

/// A model by its manifest; `None` if that names no weights.
fn entry(root: &Path, place: &[String], manifest: &Path) -> Option<Entry> {
    let name = name(place)?;
    let mut text = Vec::new();
    std::fs::File::open(manifest).ok()?.take(LONGEST_MANIFEST).read_to_end(&mut text).ok()?;
    let manifest_time = std::fs::metadata(manifest).and_then(|meta| meta.modified()).ok();
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let layers = json["layers"].as_array()?;
    let layer = layers.iter().find(|layer| layer["mediaType"].as_str() == Some(WEIGHTS))?;
    // It becomes part of a path: nothing but a hash may stand there.
    let hash = layer["digest"].as_str()?.strip_prefix("sha256:")?;
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let blob = root.join("blobs").join(format!("sha256-{hash}"));
    let stated = layer["size"].as_u64();
    let (bytes, state) = match std::fs::metadata(&blob) {
        Ok(meta) if stated.is_none_or(|stated| stated == meta.len()) => (meta.len(), State::Whole),
        Ok(meta) => (meta.len(), State::Incomplete { have: meta.len(), total: stated }),
        Err(_) => (0, State::Incomplete { have: 0, total: stated }),
    };
    Some(Entry { name, source: Source::Ollama, files: vec![blob], bytes, modified: manifest_time, state })
}

/// `registry.ollama.ai/library/qwen3/4b` is what Ollama calls `qwen3:4b`.
fn name(place: &[String]) -> Option<String> {
    let [host, namespace, model, tag] = place else { return None };
    Some(match (host.as_str(), namespace.as_str()) {
        ("registry.ollama.ai", "library") => format!("ollama/{model}:{tag}"),
        ("registry.ollama.ai", _) => format!("ollama/{namespace}/{model}:{tag}"),
        _ => format!("ollama/{host}/{namespace}/{model}:{tag}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_lead_to_blobs_and_damaged_ones_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let library = root.join("manifests/registry.ollama.ai/library");
        let layer = |digest: &str, size: u64| {
            serde_json::json!({"layers": [
                {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00", "size": 1},
                {"mediaType": WEIGHTS, "digest": digest, "size": size},
            ]})
            .to_string()
        };
        let hash = "ab".repeat(32);
        let manifests = [
            ("qwen3/4b", layer(&format!("sha256:{hash}"), 4)),
            ("qwen3/half", layer(&format!("sha256:{hash}"), 9)),
            ("qwen3/lost", layer(&format!("sha256:{}", "cd".repeat(32)), 9)),
            ("bad/json", "{".into()),
            ("bad/layers", "{\"layers\": 3}".into()),
            ("bad/path", layer("sha256:../../../../etc/passwd", 4)),
            ("bad/long", "x".repeat(2 << 20)),
        ];
        for (name, text) in manifests {
            let path = library.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(root.join("blobs")).unwrap();
        std::fs::write(root.join("blobs").join(format!("sha256-{hash}")), b"GGUF").unwrap();
        let mut entries = Vec::new();
        assert!(!add(root, &mut entries));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let seen: Vec<(&str, bool)> = entries.iter().map(|e| (e.name.as_str(), e.is_whole())).collect();
        assert_eq!(
            seen,
            [("ollama/qwen3:4b", true), ("ollama/qwen3:half", false), ("ollama/qwen3:lost", false)]
        );
    }

    #[test]
    fn names_are_as_ollama_writes_them() {
        let of = |place: &str| name(&place.split('/').map(str::to_string).collect::<Vec<_>>());
        assert_eq!(of("registry.ollama.ai/library/qwen3/4b").as_deref(), Some("ollama/qwen3:4b"));
        assert_eq!(of("registry.ollama.ai/me/q/latest").as_deref(), Some("ollama/me/q:latest"));
        assert_eq!(of("hf.co/Qwen/Q-GGUF/Q8_0").as_deref(), Some("ollama/hf.co/Qwen/Q-GGUF:Q8_0"));
        assert_eq!(of("too/short"), None);
    }
}
