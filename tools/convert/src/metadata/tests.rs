//! `general.*` against the goldens of gguf-py (`tests/fixtures/metadata/`), and cards from people who mean harm.

use super::general::general;
use crate::config::Config;
use qwip_quant::gguf::{Gguf, Value, Writer};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Keys with the type and the value that each has in the file.
type Keys = BTreeMap<String, serde_json::Value>;

/// Writes a checkpoint's small files.
fn checkpoint(
    root: &Path,
    folder: &str,
    card: Option<&[u8]>,
    config: &serde_json::Value,
    generation: &serde_json::Value,
) -> PathBuf {
    let dir = root.join(folder);
    fs::create_dir_all(&dir).unwrap();
    let mut all = json!({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 320, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "head_dim": 16});
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    fs::write(dir.join("config.json"), all.to_string()).unwrap();
    fs::write(dir.join("generation_config.json"), generation.to_string()).unwrap();
    if let Some(card) = card {
        fs::write(dir.join("README.md"), card).unwrap();
    }
    dir
}

/// What [`general`] writes, the keys aside that all files have, and its notes.
fn written(dir: &Path, parameters: u64) -> (Keys, Vec<String>) {
    let config = Config::read(dir).unwrap();
    let (mut writer, mut notes) = (Writer::new(), Vec::new());
    general(&mut writer, dir, &config, parameters, 7, &mut notes).unwrap();
    let bytes = writer.start(Vec::new()).unwrap().finish().unwrap();
    let file = Gguf::parse(&bytes).unwrap();
    let mut keys = Keys::new();
    for (key, value) in &file.metadata {
        let value = match value {
            Value::Str(text) => json!(["string", text]),
            Value::U32(n) => json!(["uint32", n]),
            Value::I32(n) => json!(["int32", n]),
            Value::F32(x) => json!(["float32", f64::from(*x)]),
            Value::Array(array) => {
                let texts = array.strings(&bytes).unwrap();
                let texts: Vec<&str> = texts.map(|text| std::str::from_utf8(text).unwrap()).collect();
                json!(["array of string", texts])
            }
            other => panic!("{key} has the type {:?}", other.value_type()),
        };
        keys.insert(key.clone(), value);
    }
    for (key, value) in [
        ("architecture", json!(["string", "qwen3"])),
        ("type", json!(["string", "model"])),
        ("quantization_version", json!(["uint32", 2])),
        ("file_type", json!(["uint32", 7])),
    ] {
        assert_eq!(keys.remove(&format!("general.{key}")), Some(value));
    }
    (keys, notes)
}

#[test]
fn as_gguf_py_writes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metadata/goldens.json");
    let goldens: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(goldens.len() > 80);
    let root = tempfile::tempdir().unwrap();
    for (i, golden) in goldens.iter().enumerate() {
        let (folder, card) = (golden["folder"].as_str().unwrap(), golden["card"].as_str());
        let at = root.path().join(i.to_string());
        let dir = checkpoint(&at, folder, card.map(str::as_bytes), &golden["config"], &golden["generation"]);
        let (keys, notes) = written(&dir, golden["parameters"].as_u64().unwrap());
        let mut expected: Keys = serde_json::from_value(golden["expected"].clone()).unwrap();
        for pair in expected.values_mut().filter(|pair| pair[0] == "float32") {
            pair[1] = json!(f64::from(pair[1].as_f64().unwrap() as f32));
        }
        assert_eq!(keys, expected, "case {i}, {folder}: {card:?}");
        match golden["note"].as_str() {
            Some(part) => assert!(notes.iter().any(|note| note.contains(part)), "case {i}: {notes:?}"),
            None => assert_eq!(notes, Vec::<String>::new(), "case {i}"),
        }
    }
}

/// The notes that a card gives; all of them on one line, short, and after a short time.
fn notes_of(card: &[u8]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let dir = checkpoint(root.path(), "model", Some(card), &json!({}), &json!({}));
    let started = Instant::now();
    let (keys, notes) = written(&dir, 1000);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(keys["general.name"], json!(["string", "Model"]));
    for note in &notes {
        assert!(note.starts_with("README.md: ") && note.len() < 200, "{note:?}");
        assert!(!note.contains(char::is_control), "{note:?}");
    }
    notes
}

fn note_of(yaml: &str) -> String {
    let mut notes = notes_of(format!("---\n{yaml}\n---\n").as_bytes());
    assert_eq!(notes.len(), 1, "{notes:?}");
    notes.remove(0)
}

#[test]
fn a_hostile_card_gives_a_note() {
    let has = |note: String, part: &str| assert!(note.contains(part), "{note:?} does not say {part:?}");
    let huge = 100_000;
    has(note_of(&"- ".repeat(1000)), "too deep");
    has(note_of(&format!("a: {}", "[".repeat(1000))), "left out: line 2: ");
    has(note_of(&"? ".repeat(1000)), "left out: line 2: ");
    has(note_of(&"{".repeat(huge)), "left out: line 2: ");
    has(note_of(&"[".repeat(huge)), "left out: line 2: ");
    has(note_of(&format!("tags: [{}]", "x,".repeat(huge * 5))), "longer than 262144 bytes");
    has(note_of(&"x".repeat(1 << 20)), "longer than 262144 bytes");
    has(note_of("[a]: b"), "a key is a list");
    has(note_of("*a : b"), "line 2");
    has(note_of("license: mit\nname: \"\u{1}\u{7}"), "line ");
    has(note_of("license: *nowhere"), "line 2");
    has(note_of("{---"), "left out");
    has(note_of("tags: [a, [b], [c]]"), "tags: a list is left out");
    has(note_of("base_model: [{name: [x]}, {name: y}]"), "base_model: name: a list is left out");

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
    for i in 1..30 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "));
    }
    has(note_of(&format!("{bomb}tags: *a29")), "tags: an alias is left out");

    assert_eq!(
        notes_of(b"---\nlicense: m\xfft\n---\n"),
        ["README.md: its front matter is left out: it is not UTF-8 at byte 14"]
    );
    let body = [b"---\nlicense: mit\n---\n".as_slice(), &[0xff; 1 << 20]].concat();
    assert_eq!(notes_of(&body), Vec::<String>::new(), "what follows the front matter is not read");

    let sources = format!("base_model:\n{}", "- x/y\n".repeat(20_000));
    has(note_of(&sources), "base_model has 20000 entries; those after the first 1000 are left out");
}

#[test]
fn no_card_is_too_strange() {
    // Pieces of cards, and YAML's odder corners.
    let pieces = [
        "license:",
        " mit",
        "\n",
        "\n  ",
        "- ",
        "\ntags:",
        "[",
        "]",
        "{",
        "}",
        ",",
        ": ",
        "? ",
        "&a ",
        "*a",
        "'",
        "\"",
        "#",
        " # ",
        "!!str ",
        "!",
        "%YAML 1.2\n",
        "\n...\n",
        "\n---\n",
        "--- ",
        "---",
        "> ",
        ">-\n",
        "|",
        "|2\n",
        "\\",
        "\\x",
        "\\u",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\r",
        "\t",
        "@",
        "`",
        "<<: ",
        "base_model",
        ": a/b",
        "~",
        "null",
        "\0",
        "é",
        "😀",
        "0x",
        "- - ",
        "-",
        ":",
        " ",
    ];
    let mut seed = 1u64;
    let mut below = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for _ in 0..20_000 {
        let card: String = (0..1 + below(12)).map(|_| pieces[below(pieces.len())]).collect();
        if let Err(wrong) = super::yaml::parse(&card) {
            assert!(!wrong.contains(char::is_control), "{card:?}: {wrong:?}");
        }
    }
}
