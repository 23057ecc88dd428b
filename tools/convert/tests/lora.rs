//! Adapters that do not fit, are damaged, or do not merge: a one-line error that names the culprit, nothing left behind.

mod common;

use common::{Log, fixture, named};
use qwip_convert::{Lora, Options, convert};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PREFIX: &str = "base_model.model.model.layers.0.self_attn.q_proj";
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A copy of an adapter that a test may damage.
struct Adapter {
    root: tempfile::TempDir,
    base: &'static str,
}

impl Adapter {
    fn of(name: &str, base: &'static str) -> Adapter {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/lora").join(name);
        let copy = Adapter { root: tempfile::tempdir().unwrap(), base };
        fs::create_dir(copy.dir()).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.dir().join(entry.file_name())).unwrap();
        }
        copy
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("adapter")
    }

    fn config(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir().join("adapter_config.json");
        let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    fn tensors(&self, change: impl FnOnce(&mut Tensors)) {
        let path = self.dir().join("adapter_model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let all = SafeTensors::deserialize(&bytes).unwrap();
        let own = |t: TensorView| (t.dtype(), t.shape().to_vec(), t.data().to_vec());
        let mut all = all.iter().map(|(name, t)| (name.to_string(), own(t))).collect();
        change(&mut all);
        let views = all.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    /// Merges, and expects an error with `part` in it.
    #[track_caller]
    fn refused(&self, part: &str) {
        let out = self.root.path().join("out.gguf");
        let lora = Some(Lora { dir: self.dir(), scale: 1.0 });
        let options = Options { lora, threads: Some(1), ..Options::new(named("F16")) };
        let result = convert(&fixture(self.base), &out, &options, &mut Log::default());
        let message = result.expect_err("the adapter should be refused").to_string();
        assert!(message.contains(part) && !message.contains('\n') && message.len() < 500, "{message}");
        assert_eq!(fs::read_dir(self.root.path()).unwrap().count(), 1, "{message}");
    }
}

#[test]
fn settings_that_do_not_merge() {
    for (key, value, part) in [
        ("peft_type", json!("IA3"), "\"IA3\" do not merge"),
        ("peft_type", Value::Null, "peft_type is missing"),
        ("init_lora_weights", json!("pissa_niter_4"), "path_initial_model_for_weight_conversion"),
        ("layer_replication", json!([[0, 1]]), "layer_replication is set"),
        ("use_qalora", json!(true), "use_qalora is set"),
        ("r", json!(0), "r cannot be 0"),
        (
            "r",
            json!(5),
            "A of model.layers.0.mlp.gate_proj.weight has shape [4, 96], and should have [5, 96]",
        ),
        ("lora_alpha", json!("much"), "lora_alpha cannot be \"much\""),
        ("rank_pattern", json!({"(": 3}), "\"(\" is no expression"),
        ("alpha_pattern", json!({"q_proj": null}), "\"q_proj\" cannot be null"),
    ] {
        let adapter = Adapter::of("patterns", "qwen2-gqa");
        adapter.config(|c| c[key] = value);
        adapter.refused(part);
    }
}

#[test]
fn tensors_that_do_not_fit() {
    let adapter = |change: fn(&mut Tensors)| {
        let adapter = Adapter::of("patterns", "qwen2-gqa");
        adapter.tensors(change);
        adapter
    };
    let b = format!("{PREFIX}.lora_B.weight");
    assert!(
        fs::read(Adapter::of("patterns", "qwen2-gqa").dir().join("adapter_model.safetensors"))
            .unwrap()
            .windows(b.len())
            .any(|w| w == b.as_bytes())
    );
    adapter(|t| drop(t.remove(&format!("{PREFIX}.lora_B.weight"))))
        .refused("B of model.layers.0.self_attn.q_proj.weight is missing");
    adapter(|t| {
        let part = t[&format!("{PREFIX}.lora_A.weight")].clone();
        t.insert("base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight".into(), part);
    })
    .refused("\"model.layers.7.self_attn.q_proj.weight\", which is not in the model");
    adapter(|t| {
        let part = t[&format!("{PREFIX}.lora_A.weight")].clone();
        t.insert(format!("{PREFIX}.lora_C.weight"), part);
    })
    .refused("lora_C.weight\" is of an unknown kind");
    adapter(|t| {
        let part = t[&format!("{PREFIX}.lora_A.weight")].clone();
        t.insert("base_model.model.classifier.weight".into(), part);
    })
    .refused("base_model.model.classifier.weight\" has no place");
    adapter(|t| {
        let part = t.get_mut(&format!("{PREFIX}.lora_A.weight")).unwrap();
        part.2[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    })
    .refused("lora_A.weight\": number 1 is NaN");
    // The model of another size.
    let mut other = Adapter::of("patterns", "qwen2-gqa");
    other.base = "qwen2-sharded";
    other.refused("has shape [2, 160], and should have [2, 80]");
}

#[test]
fn folders_that_are_no_adapters() {
    let adapter = Adapter::of("patterns", "qwen2-gqa");
    fs::remove_file(adapter.dir().join("adapter_config.json")).unwrap();
    adapter.refused("there is no adapter_config.json");
    let adapter = Adapter::of("patterns", "qwen2-gqa");
    let weights = adapter.dir().join("adapter_model.safetensors");
    fs::rename(&weights, adapter.dir().join("adapter_model.bin")).unwrap();
    adapter.refused("adapter_model.bin does not convert");
    let adapter = Adapter::of("tokens", "qwen2-gqa");
    adapter.config(|c| c["trainable_token_indices"] = json!([5, 320]));
    adapter.refused("trains the token 320, but model.embed_tokens.weight has 320 rows");
    let adapter = Adapter::of("tokens", "qwen2-gqa");
    adapter.config(|c| c["trainable_token_indices"] = json!([5]));
    adapter.refused("trained tokens of model.embed_tokens.weight has shape [2, 96], and should have [1, 96]");
}

#[test]
fn adapters_that_are_not_whole() {
    let adapter = Adapter::of("dora", "qwen2-gqa");
    adapter.tensors(|t| t.retain(|name, _| !name.contains("layers.1.mlp.down_proj.lora_magnitude")));
    adapter.refused("no magnitudes for model.layers.1.mlp.down_proj.weight");
    let adapter = Adapter::of("modules-to-save", "qwen2-sharded");
    adapter.tensors(|t| drop(t.remove("base_model.model.lm_head.weight")));
    adapter.refused("modules_to_save names \"lm_head\"");
    let adapter = Adapter::of("tokens", "qwen2-gqa");
    adapter.tensors(|t| t.retain(|name, _| !name.contains("trainable_tokens")));
    adapter.refused("trainable_token_indices is set");
    let adapter = Adapter::of("patterns", "qwen2-gqa");
    adapter.tensors(BTreeMap::clear);
    adapter.refused("holds nothing");
    let adapter = Adapter::of("tokens", "qwen2-gqa");
    adapter.config(|c| c["trainable_token_indices"] = json!([]));
    adapter.tensors(|t| {
        let name = t.keys().find(|name| name.contains("trainable_tokens")).unwrap().clone();
        t.insert(name, (Dtype::F32, vec![0, 96], Vec::new()));
    });
    let lora = Some(Lora { dir: adapter.dir(), scale: 1.0 });
    let out = adapter.root.path().join("out.gguf");
    let options = Options { lora, threads: Some(1), ..Options::new(named("F16")) };
    convert(&fixture(adapter.base), &out, &options, &mut Log::default()).unwrap();
}

#[test]
fn patterns_that_would_take_all_memory() {
    let adapter = Adapter::of("patterns", "qwen2-gqa");
    adapter.config(|c| c["alpha_pattern"] = json!({"x(\\w{1,40}){9}": 1}));
    adapter.refused("is no expression, or a large one");
    let adapter = Adapter::of("patterns", "qwen2-gqa");
    adapter.config(|c| {
        c["alpha_pattern"] =
            (0..3000).map(|i| (format!("m{i}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    });
    adapter.refused("3000 patterns are more than 2048");
}
