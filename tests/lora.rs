//! Adapters merged by our converter against PEFT: every way of training has a fixture with the logits of its merged model.

mod common;

use std::path::{Path, PathBuf};

use common::{error, fixture_tokens, load_with, logits, read_npy};
use qwip::KvType;
use qwip_convert::{Lora, Options, file_type};

const ADAPTERS: [&str; 10] = [
    "patterns",
    "rslora",
    "dora",
    "biases",
    "modules-to-save",
    "resized",
    "resized-untied",
    "embedding",
    "embedding-tied",
    "tokens",
];

fn adapter(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lora").join(name)
}

/// Logits after the first tokens of the adapter's model, merged as strongly as `scale` says.
fn merged(dir: &Path, name: &str, scale: Option<f32>) -> Vec<f32> {
    let base = std::fs::read_to_string(adapter(name).join("base")).expect("base");
    let lora = scale.map(|scale| Lora { dir: adapter(name), scale });
    let options = Options { lora, ..Options::new(file_type("f32").expect("a type")) };
    let model = load_with(dir, base.trim(), options);
    let cpu = qwip::cpu(2).expect("a CPU");
    logits(&model, &cpu, KvType::F32, &fixture_tokens(base.trim())[..16], 512)
}

#[test]
fn merged_adapters_give_the_logits_of_peft() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ADAPTERS {
        let want = read_npy(&adapter(name).join("logits.npy"));
        let error = error(&merged(dir.path(), name, Some(1.0)), &want);
        println!("{name}: {error:.2e} of the logits' range");
        assert!(error <= 2e-4, "{name}: {error}");
    }
}

#[test]
fn an_adapter_of_no_strength_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["patterns", "rslora", "embedding"] {
        let (with, without) = (merged(dir.path(), name, Some(0.0)), merged(dir.path(), name, None));
        assert!(with == without, "{name}");
    }
}
