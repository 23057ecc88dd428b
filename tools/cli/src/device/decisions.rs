//! What `auto` has decided, in a file of the user's cache folder. A broken one, or one that cannot be written, only makes
//! it measure again.

use std::path::{Path, PathBuf};

use qwip::backend::gpu::AdapterReport;
use qwip::{CONTRACT_VERSION, ModelFile};
use serde_json::{Map, Value, json};

use super::measure::Choice;
use crate::places;

const NAME: &str = "devices.json";
/// The oldest go.
const MOST: usize = 200;

/// What a decision depends on.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Key(Map<String, Value>);

impl Key {
    pub(super) fn new(file: &ModelFile, adapter: &AdapterReport, layers: usize) -> Key {
        Self::of(file.len(), header_hash(file), adapter, layers)
    }

    fn of(bytes: u64, hash: u64, adapter: &AdapterReport, layers: usize) -> Key {
        let fields = [
            ("model", json!(format!("{bytes}-{hash:016x}"))),
            ("adapter", json!(adapter.name)),
            ("backend", json!(adapter.backend)),
            ("driver", json!(adapter.driver)),
            ("layers", if layers == usize::MAX { json!("all") } else { json!(layers) }),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("contract", json!(CONTRACT_VERSION)),
        ];
        Key(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    fn is_of(&self, decision: &Value) -> bool {
        self.0.iter().all(|(name, value)| decision.get(name) == Some(value))
    }
}

/// FNV-1a of all that stands before the weights.
fn header_hash(file: &ModelFile) -> u64 {
    let header = |part: &qwip::file::Part| {
        let bytes: &[u8] = (*part.bytes).as_ref();
        bytes.len().min(part.header.data_start as usize)
    };
    let bytes = file.parts().iter().flat_map(|part| &(*part.bytes).as_ref()[..header(part)]);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The decisions so far.
pub(super) struct Decisions {
    path: Option<PathBuf>,
    all: Vec<Value>,
}

impl Decisions {
    /// Those of a folder.
    pub(super) fn read(dir: Option<PathBuf>) -> Decisions {
        let path = dir.map(|dir| dir.join(NAME));
        let all = path.as_deref().map(read).unwrap_or_default();
        Decisions { path, all }
    }

    /// Whether the GPU computes, if that is decided.
    pub(super) fn find(&self, key: &Key) -> Option<bool> {
        let found = self.all.iter().rfind(|decision| key.is_of(decision))?;
        match found.get("device")?.as_str()? {
            "gpu" => Some(true),
            "cpu" => Some(false),
            _ => None,
        }
    }

    /// Remembers a decision about the model of that name.
    pub(super) fn add(&mut self, key: &Key, name: &str, choice: &Choice) {
        let Some(path) = &self.path else { return };
        // Another process may have decided something meanwhile.
        self.all = read(path);
        self.all.retain(|decision| !key.is_of(decision));
        let mut decision = key.0.clone();
        decision.insert("name".into(), json!(name));
        decision.insert("device".into(), json!(if choice.gpu { "gpu" } else { "cpu" }));
        decision.insert("reason".into(), json!(choice.reason));
        self.all.push(Value::Object(decision));
        self.all.drain(..self.all.len().saturating_sub(MOST));
        let text = format!("{:#}\n", json!({"decisions": self.all}));
        let part = path.with_extension(format!("json.part{}", std::process::id()));
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if written
            .and_then(|()| std::fs::write(&part, text))
            .and_then(|()| std::fs::rename(&part, path))
            .is_err()
        {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn read(path: &Path) -> Vec<Value> {
    // Nobody has that many decisions.
    const LONGEST: u64 = 4 << 20;
    if !std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= LONGEST) {
        return Vec::new();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole: Value = serde_json::from_str(&text).unwrap_or_default();
    whole.get("decisions").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A line for each decision, the newest last.
pub(crate) fn remembered() -> Vec<String> {
    let all = Decisions::read(places::cache_dir()).all;
    let line = |decision: &Value| {
        let word = |name| decision.get(name).and_then(Value::as_str);
        let layers = match decision.get("layers")?.as_u64() {
            Some(layers) => format!(", -ngl {layers}"),
            None => String::new(),
        };
        Some(format!("{}{layers}: {}, since {}", word("name")?, word("device")?, word("reason")?))
    };
    all.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver: &str) -> AdapterReport {
        AdapterReport {
            name: "X".into(),
            backend: "Vulkan".into(),
            kind: "discrete",
            driver: driver.into(),
            software: false,
            binding_bytes: 0,
            buffer_bytes: 0,
            subgroup: None,
            f16: false,
            unusable: None,
        }
    }

    fn choice(gpu: bool) -> Choice {
        Choice { gpu, reason: "it is so".into() }
    }

    #[test]
    fn a_decision_is_for_one_model_adapter_driver_and_number_of_layers() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Decisions::read(Some(dir.path().join("new")));
        let key = Key::of(100, 7, &adapter("1"), usize::MAX);
        read().add(&key, "m.gguf", &choice(true));
        let others = [
            Key::of(101, 7, &adapter("1"), usize::MAX),
            Key::of(100, 8, &adapter("1"), usize::MAX),
            Key::of(100, 7, &adapter("2"), usize::MAX),
            Key::of(100, 7, &adapter("1"), 5),
        ];
        assert_eq!(read().find(&key), Some(true));
        for other in &others {
            assert_eq!(read().find(other), None, "{other:?}");
            read().add(other, "m.gguf", &choice(false));
        }
        assert_eq!(read().find(&key), Some(true));
        read().add(&key, "m.gguf", &choice(false));
        assert_eq!(read().find(&key), Some(false), "the last word counts");
        assert_eq!(read().all.len(), 5);
        let names: Vec<_> = std::fs::read_dir(dir.path().join("new")).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left behind: {names:?}");
    }

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let key = |i: u64| Key::of(i, 0, &adapter("1"), 1);
        let mut decisions = Decisions::read(Some(dir.path().into()));
        (0..MOST as u64 + 3).for_each(|i| decisions.add(&key(i), "m", &choice(true)));
        assert_eq!((decisions.find(&key(2)), decisions.find(&key(3))), (None, Some(true)));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_no_decision() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::of(1, 1, &adapter("1"), 1);
        let whole = Value::Object(key.0.clone()).to_string();
        let texts = ["", "{", "[]", "{\"decisions\": 3}", "{\"decisions\": [3, null, {}]}", "\u{0}\u{1}"];
        let without_device = format!("{{\"decisions\": [{whole}]}}");
        for text in texts.into_iter().chain([&without_device[..]]) {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            let mut decisions = Decisions::read(Some(dir.path().into()));
            assert_eq!(decisions.find(&key), None, "{text}");
            decisions.add(&key, "m", &choice(true));
            assert_eq!(Decisions::read(Some(dir.path().into())).find(&key), Some(true), "{text}");
        }
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let key = Key::of(1, 1, &adapter("1"), 1);
        for dir in [None, Some(file.join("below"))] {
            Decisions::read(dir.clone()).add(&key, "m", &choice(true));
            assert_eq!(Decisions::read(dir).find(&key), None);
        }
    }
}
