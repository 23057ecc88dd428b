//! The keys of the converted files, compared with the JSON files of the checkpoints.

mod common;

use common::{Copy, FIXTURES, fixture, named, run};
use qwip_quant::gguf::Gguf;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

struct Converted {
    bytes: Vec<u8>,
    gguf: Gguf,
}

impl Converted {
    fn from(dir: &Path) -> Converted {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("model.gguf");
        run(dir, &path, named("Q8_0")).unwrap();
        let bytes = fs::read(&path).unwrap();
        let gguf = Gguf::parse(&bytes).unwrap();
        Converted { bytes, gguf }
    }

    fn strings(&self, key: &str) -> Vec<String> {
        let array = self.gguf.array(key).unwrap().unwrap();
        let strings = array.strings(&self.bytes).unwrap();
        strings.map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
    }

    fn ints(&self, key: &str) -> Vec<i64> {
        self.gguf.array(key).unwrap().unwrap().i64s(&self.bytes).unwrap().collect()
    }

    fn str(&self, key: &str) -> Option<&str> {
        self.gguf.str(key).unwrap()
    }

    fn u32(&self, key: &str) -> Option<u32> {
        self.gguf.u32(key).unwrap()
    }

    fn f32(&self, key: &str) -> Option<f32> {
        self.gguf.f32(key).unwrap()
    }
}

fn read_json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn experts() {
    for (name, arch, norm) in [
        ("qwen2moe-shared", "qwen2moe", None),
        ("qwen3moe-norm", "qwen3moe", None),
        ("qwen3moe-plain", "qwen3moe", Some(false)),
    ] {
        let c = read_json(fixture(name).join("config.json"));
        let file = Converted::from(&fixture(name));
        for (key, config) in [
            ("expert_count", "num_experts"),
            ("expert_used_count", "num_experts_per_tok"),
            ("expert_feed_forward_length", "moe_intermediate_size"),
            ("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
        ] {
            let said =
                c[config].as_u64().or(c["num_local_experts"].as_u64().filter(|_| config == "num_experts"));
            assert_eq!(file.u32(&format!("{arch}.{key}")).map(u64::from), said, "{name} {key}");
        }
        // Only what the architecture does not imply is said.
        assert_eq!(file.gguf.bool(&format!("{arch}.expert_weights_norm")).unwrap(), norm, "{name}");
    }
    let copy = Copy::of("qwen2moe-shared");
    copy.edit("config.json", |c| c["norm_topk_prob"] = json!(true));
    let (summary, _) = copy.convert(named("Q8_0")).unwrap();
    assert!(summary.notes.iter().any(|note| note.contains("norm_topk_prob is true")), "{:?}", summary.notes);
}

#[test]
fn hyper_parameters() {
    for (name, arch) in FIXTURES {
        let c = read_json(fixture(name).join("config.json"));
        let c = c.get("text_config").unwrap_or(&c);
        let file = Converted::from(&fixture(name));
        assert_eq!(file.str("general.architecture"), Some(arch));
        assert_eq!(file.str("general.type"), Some("model"));
        // As Python's title(): a letter behind anything else begins a word.
        let mut before = ' ';
        let letter = |c: char| {
            let begins = !std::mem::replace(&mut before, c).is_alphabetic();
            if begins { c.to_ascii_uppercase() } else { c }
        };
        let title: String = name.replace('-', " ").chars().map(letter).collect();
        assert_eq!(file.str("general.name"), Some(title.as_str()));
        assert_eq!(file.u32("general.file_type"), Some(7));
        assert_eq!(file.u32("general.quantization_version"), Some(2));
        let head_dim = c["head_dim"].as_u64().unwrap_or(16);
        let theta = c["rope_theta"].as_f64().or(c["rope_parameters"]["rope_theta"].as_f64()).unwrap();
        for (key, value) in [
            ("block_count", &c["num_hidden_layers"]),
            ("context_length", &c["max_position_embeddings"]),
            ("embedding_length", &c["hidden_size"]),
            ("feed_forward_length", &c["intermediate_size"]),
            ("attention.head_count", &c["num_attention_heads"]),
            ("attention.head_count_kv", &c["num_key_value_heads"]),
            ("attention.key_length", &json!(head_dim)),
            ("attention.value_length", &json!(head_dim)),
        ] {
            assert_eq!(file.u32(&format!("{arch}.{key}")).map(u64::from), value.as_u64(), "{name} {key}");
        }
        let eps = c["rms_norm_eps"].as_f64().unwrap() as f32;
        assert_eq!(file.f32(&format!("{arch}.attention.layer_norm_rms_epsilon")), Some(eps));
        assert_eq!(file.f32(&format!("{arch}.rope.freq_base")), Some(theta as f32));
        assert_eq!(file.str(&format!("{arch}.rope.scaling.type")).is_some(), name == "qwen2-yarn");
    }
}

#[test]
fn yarn_in_both_spellings() {
    let check = |file: &Converted| {
        assert_eq!(file.str("qwen2.rope.scaling.type"), Some("yarn"));
        assert_eq!(file.f32("qwen2.rope.scaling.factor"), Some(4.0));
        assert_eq!(file.u32("qwen2.rope.scaling.original_context_length"), Some(64));
        assert_eq!(file.f32("qwen2.rope.freq_base"), Some(10000.0));
    };
    let old = Converted::from(&fixture("qwen2-yarn"));
    check(&old);
    assert_eq!(old.f32("qwen2.rope.scaling.yarn_beta_fast"), None);

    let copy = Copy::of("qwen2-yarn");
    copy.edit("config.json", |c| {
        let c = c.as_object_mut().unwrap();
        c.remove("rope_theta");
        c.remove("rope_scaling");
        c.insert(
            "rope_parameters".into(),
            json!({"rope_type": "yarn", "rope_theta": 10000, "factor": 4, "beta_fast": 16, "beta_slow": 2,
                   "original_max_position_embeddings": 64}),
        );
    });
    let new = Converted::from(&copy.dir());
    check(&new);
    assert_eq!(new.f32("qwen2.rope.scaling.yarn_beta_fast"), Some(16.0));
    assert_eq!(new.f32("qwen2.rope.scaling.yarn_beta_slow"), Some(2.0));
}

#[test]
fn the_vocabulary_in_all_its_forms() {
    // All fixtures have the same tokenizer, in different files.
    let reference = read_json(fixture("qwen2-gqa").join("tokenizer.json"));
    let mut tokens: Vec<String> = (0..320).map(|i| format!("[PAD{i}]")).collect();
    let mut types = vec![5; 320];
    for (text, id) in reference["model"]["vocab"].as_object().unwrap() {
        tokens[id.as_u64().unwrap() as usize] = text.clone();
        types[id.as_u64().unwrap() as usize] = 1;
    }
    for token in reference["added_tokens"].as_array().unwrap() {
        let id = token["id"].as_u64().unwrap() as usize;
        tokens[id] = token["content"].as_str().unwrap().into();
        types[id] = if token["special"] == true { 3 } else { 4 };
    }
    assert_eq!([304, 305, 307, 310, 311].map(|i: usize| types[i]), [3, 3, 4, 4, 5]);
    let merges: Vec<String> = reference["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap()))
        .collect();
    for (name, arch) in FIXTURES {
        let file = Converted::from(&fixture(name));
        assert_eq!(file.strings("tokenizer.ggml.tokens"), tokens, "{name}");
        assert_eq!(file.ints("tokenizer.ggml.token_type"), types, "{name}");
        assert_eq!(file.strings("tokenizer.ggml.merges"), merges, "{name}");
        assert_eq!(file.str("tokenizer.ggml.model"), Some("gpt2"));
        let pre = if arch.starts_with("qwen35") { "qwen35" } else { "qwen2" };
        assert_eq!(file.str("tokenizer.ggml.pre"), Some(pre));
        let ids = ["bos", "eos", "eot", "padding"].map(|k| file.u32(&format!("tokenizer.ggml.{k}_token_id")));
        assert_eq!(ids, [304, 306, 304, 304].map(Some));
        assert_eq!(file.gguf.bool("tokenizer.ggml.add_bos_token").unwrap(), Some(false));
    }

    // The oldest form: ids only, so that the look of a token decides.
    let copy = Copy::of("qwen2-sharded");
    copy.edit("tokenizer_config.json", |c| {
        c.as_object_mut().unwrap().remove("added_tokens_decoder");
    });
    let added = reference["added_tokens"].as_array().unwrap();
    let added: serde_json::Map<String, Value> =
        added.iter().map(|t| (t["content"].as_str().unwrap().to_string(), t["id"].clone())).collect();
    copy.write("added_tokens.json", Value::Object(added).to_string());
    let file = Converted::from(&copy.dir());
    assert_eq!(file.strings("tokenizer.ggml.tokens"), tokens);
    assert_eq!(file.ints("tokenizer.ggml.token_type"), types);
}

#[test]
fn the_expression_of_the_newer_vocabulary_has_a_name_of_its_own() {
    let copy = Copy::of("qwen2-yarn");
    copy.edit("tokenizer.json", |t| {
        let regex = &mut t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
        let newer = regex
            .as_str()
            .unwrap()
            .replace(r"?\p{L}+", r"?[\p{L}\p{M}]+")
            .replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]");
        *regex = json!(newer);
    });
    assert_eq!(Converted::from(&copy.dir()).str("tokenizer.ggml.pre"), Some("qwen35"));
}

#[test]
fn chat_templates_in_all_their_places() {
    let config = read_json(fixture("qwen2-gqa").join("tokenizer_config.json"));
    let template = config["chat_template"].as_str().unwrap();
    for (name, _) in FIXTURES {
        let file = Converted::from(&fixture(name));
        assert_eq!(file.str("tokenizer.chat_template"), Some(template), "{name}");
        assert_eq!(file.gguf.get("tokenizer.chat_templates").is_some(), name == "qwen2-outliers");
    }
    let named = Converted::from(&fixture("qwen2-outliers"));
    assert_eq!(named.strings("tokenizer.chat_templates"), ["tool_use"]);
    assert!(named.str("tokenizer.chat_template.tool_use").unwrap().starts_with("{#- tools -#}"));

    let copy = Copy::of("qwen3-wide-heads");
    fs::create_dir(copy.path("additional_chat_templates")).unwrap();
    copy.write("additional_chat_templates/rag.jinja", "with documents");
    let file = Converted::from(&copy.dir());
    assert_eq!(file.str("tokenizer.chat_template.rag"), Some("with documents"));

    let copy = Copy::of("qwen2-yarn");
    copy.edit("tokenizer_config.json", |c| c["chat_template"] = Value::Null);
    assert_eq!(Converted::from(&copy.dir()).str("tokenizer.chat_template"), None);
}

#[test]
fn sampling_and_license() {
    let file = Converted::from(&fixture("qwen2-gqa"));
    assert_eq!(file.str("general.license"), Some("apache-2.0"));
    assert_eq!(file.f32("general.sampling.temp"), Some(0.7));
    assert_eq!(file.f32("general.sampling.top_p"), Some(0.8));
    assert_eq!(file.u32("general.sampling.top_k"), Some(20));
    assert_eq!(file.f32("general.sampling.penalty_repeat"), Some(1.05));
    assert_eq!(file.f32("general.sampling.min_p"), None);

    let copy = Copy::of("qwen2-yarn");
    copy.edit("generation_config.json", |g| g["do_sample"] = json!(false));
    let file = Converted::from(&copy.dir());
    assert_eq!(file.str("general.license"), None);
    assert_eq!(file.f32("general.sampling.temp"), None, "the makers ask for greedy decoding");
}

#[test]
fn special_tokens_of_a_base_model_and_of_a_distillation() {
    let copy = Copy::of("qwen2-yarn");
    copy.remove("generation_config.json");
    copy.edit("config.json", |c| c["eos_token_id"] = json!([304, 306]));
    copy.edit("tokenizer_config.json", |c| {
        c["eos_token"] = json!({"content": "<|endoftext|>", "special": true});
        c["bos_token"] = json!("<|im_start|>");
        c["pad_token"] = Value::Null;
        c["add_bos_token"] = json!(true);
    });
    let file = Converted::from(&copy.dir());
    let ids = ["bos", "eos", "eot", "padding"].map(|k| file.u32(&format!("tokenizer.ggml.{k}_token_id")));
    assert_eq!(ids, [Some(305), Some(304), Some(306), None]);
    assert_eq!(file.gguf.bool("tokenizer.ggml.add_bos_token").unwrap(), Some(true));
}
