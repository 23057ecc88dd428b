//! First-generation Qwen: other names for everything, and a vocabulary without merges.

mod common;

use common::{Copy, fixture, named};
use qwip_quant::gguf::Gguf;
use serde_json::{Value, json};
use std::fs;

const NAME: &str = "qwen1-fused";

struct Converted {
    bytes: Vec<u8>,
    gguf: Gguf,
}

impl Converted {
    fn from(copy: &Copy) -> Converted {
        copy.convert(named("Q8_0")).unwrap();
        let bytes = fs::read(copy.out()).unwrap();
        let gguf = Gguf::parse(&bytes).unwrap();
        Converted { bytes, gguf }
    }

    fn u32(&self, key: &str) -> Option<u32> {
        self.gguf.u32(key).unwrap()
    }

    fn strings(&self, key: &str) -> Vec<String> {
        let strings = self.gguf.array(key).unwrap().unwrap();
        let strings = strings.strings(&self.bytes).unwrap();
        strings.map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
    }
}

#[track_caller]
fn expect(copy: &Copy, parts: &[&str]) {
    let message = copy.error();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn hyper_parameters() {
    let copy = Copy::of(NAME);
    let file = Converted::from(&copy);
    assert_eq!(file.gguf.str("general.architecture").unwrap(), Some("qwen"));
    for (key, value) in [
        ("block_count", 2),
        ("context_length", 64),
        ("embedding_length", 64),
        ("feed_forward_length", 192),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 4),
        ("attention.key_length", 16),
        ("rope.dimension_count", 16),
    ] {
        assert_eq!(file.u32(&format!("qwen.{key}")), Some(value), "{key}");
    }
    let f32 = |key| file.gguf.f32(key).unwrap();
    assert_eq!(f32("qwen.attention.layer_norm_rms_epsilon"), Some(1e-6));
    assert_eq!(f32("qwen.rope.freq_base"), Some(1e4));
    assert_eq!(file.gguf.get("qwen.rope.scaling.type"), None, "llama.cpp knows no such type");

    let flags = |copy: &Copy| {
        let file = Converted::from(copy);
        let flag = |key| file.gguf.bool(key).unwrap();
        (flag("qwen.rope.dynamic_ntk"), flag("qwen.attention.logn"), file.u32("qwen.context_length"))
    };
    assert_eq!(flags(&copy), (Some(true), Some(true), Some(64)));
    copy.edit("config.json", |c| {
        c["use_dynamic_ntk"] = json!(false);
        c["use_logn_attn"] = Value::Null;
        c["seq_length"] = Value::Null;
    });
    assert_eq!(flags(&copy), (Some(false), Some(true), Some(128)));
}

#[test]
fn the_vocabulary_gets_its_merges_back() {
    let file = Converted::from(&Copy::of(NAME));
    // The same vocabulary as the other fixtures have.
    let reference = fs::read_to_string(fixture("qwen2-gqa").join("tokenizer.json")).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    let merges: Vec<String> = reference["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap()))
        .collect();
    assert_eq!(file.strings("tokenizer.ggml.merges"), merges);
    let tokens = file.strings("tokenizer.ggml.tokens");
    for (text, id) in reference["model"]["vocab"].as_object().unwrap() {
        assert_eq!(&tokens[id.as_u64().unwrap() as usize], text);
    }
    assert_eq!(tokens[304..308], ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|extra_0|>"]);
    assert_eq!((tokens.len(), tokens[319].as_str()), (320, "<|extra_12|>"));
    let types = file.gguf.array("tokenizer.ggml.token_type").unwrap().unwrap();
    let types: Vec<i64> = types.i64s(&file.bytes).unwrap().collect();
    assert!(types[..304].iter().all(|&t| t == 1) && types[304..].iter().all(|&t| t == 3));
    let ids = ["bos", "eos", "eot", "padding"].map(|k| file.u32(&format!("tokenizer.ggml.{k}_token_id")));
    assert_eq!(ids, [304, 304, 306, 304].map(Some));
    assert_eq!(file.gguf.bool("tokenizer.ggml.add_bos_token").unwrap(), Some(false));
    assert_eq!(file.gguf.str("tokenizer.ggml.pre").unwrap(), Some("qwen2"));
}

#[test]
fn models_for_chats_get_the_template_that_their_code_has() {
    let copy = Copy::of(NAME);
    let template =
        |copy: &Copy| Converted::from(copy).gguf.str("tokenizer.chat_template").unwrap().map(String::from);
    let text = template(&copy).unwrap();
    assert!(text.contains("You are a helpful assistant.") && text.contains("<|im_start|>"), "{text}");
    copy.edit("generation_config.json", |g| g["chat_format"] = json!("raw"));
    assert_eq!(template(&copy), None);
    copy.remove("generation_config.json");
    assert_eq!(template(&copy), None);
    assert_eq!(Converted::from(&copy).u32("tokenizer.ggml.eos_token_id"), Some(304));
}

#[test]
fn configurations_that_cannot_be_kept() {
    for (key, value, parts) in [
        ("intermediate_size", json!(193), &["intermediate_size 193 is odd"][..]),
        ("intermediate_size", json!(256), &["mlp.w2.weight has shape [96, 64]", "[128, 64]"]),
        ("hidden_size", json!(96), &["num_attention_heads 4 times kv_channels 16 is not hidden_size 96"]),
        ("num_attention_heads", json!(8), &["8 times kv_channels 16 is not hidden_size 64"]),
        ("kv_channels", json!(2048), &["kv_channels must be between 1 and 1024, found 2048"]),
        ("no_bias", json!(false), &["no_bias must be true"]),
        ("scale_attn_weights", json!(false), &["scale_attn_weights must be true"]),
        ("tie_word_embeddings", json!(true), &["tie_word_embeddings must be false"]),
        ("rotary_pct", json!(0.25), &["rotary_pct must be 1, found 0.25"]),
        ("rotary_emb_base", json!(0), &["rotary_emb_base must be between 1 and", "found 0"]),
        ("layer_norm_epsilon", json!(2), &["layer_norm_epsilon 2"]),
        ("seq_length", json!(1), &["use_logn_attn needs a trained length of 2 or more, found 1"]),
        ("seq_length", json!(0), &["seq_length must be between 1 and 16777216, found 0"]),
        ("num_hidden_layers", json!(3), &["no tensor transformer.h.2.ln_1.weight (and 7 more)"]),
        ("visual", json!({"layers": 48}), &["visual: there is no form of first-generation Qwen-VL"]),
        ("quantization_config", json!({"quant_method": "gptq"}), &["already quantized", "gptq"]),
    ] {
        let copy = Copy::of(NAME);
        copy.edit("config.json", |c| c[key] = value);
        expect(&copy, parts);
    }
    // One head of 128 in place of four of 32: the matrix of all three does not fit.
    let copy = Copy::of(NAME);
    copy.edit("config.json", |c| {
        c["hidden_size"] = json!(128);
        c["kv_channels"] = json!(32);
    });
    expect(&copy, &["has shape [320, 64]", "[320, 128]"]);
}

#[test]
fn weights_in_pickles_are_refused() {
    let copy = Copy::of(NAME);
    fs::rename(copy.path("model.safetensors"), copy.path("pytorch_model-00001-of-00008.bin")).unwrap();
    expect(&copy, &["pytorch_model-00001-of-00008.bin are PyTorch weights", "safe_serialization=True"]);
}

#[test]
fn vocabularies_that_are_broken() {
    let edit = |change: &dyn Fn(&mut Vec<String>)| {
        let copy = Copy::of(NAME);
        let mut lines: Vec<String> = copy.read("qwen.tiktoken").lines().map(String::from).collect();
        change(&mut lines);
        copy.write("qwen.tiktoken", lines.join("\n"));
        copy
    };
    let set = |line: &'static str| edit(&move |lines| lines[3] = line.into());
    expect(&set("JA=="), &["qwen.tiktoken: line 4 is not \"base64 rank\": \"JA==\""]);
    expect(&set("JA== x"), &["line 4 is not \"base64 rank\": \"JA== x\""]);
    expect(&set("JA== -3"), &["line 4 is not \"base64 rank\""]);
    expect(&set("J== 3"), &["line 4: \"J==\" is not base64"]);
    expect(&set(" 3"), &["line 4: a token of 0 bytes, not 1 to 1024"]);
    expect(&set("JA== 2"), &["line 4: rank 2 is there twice"]);
    expect(&set("JA== 9999999999"), &["line 4: rank 9999999999 is not below 2097151"]);
    expect(&set("JA== 2000000"), &["rank 3 is missing"]);
    expect(&set("IQ== 3"), &["\"!\" has the ranks 0 and 3"]);
    expect(&set("eHl6 3"), &["\"xyz\", rank 3, is made of 3 tokens of lower ranks, not 2"]);
    let long = format!("{} 3", "AAAA".repeat(342));
    expect(&edit(&|lines| lines[3] = long.clone()), &["line 4: a token of 1026 bytes"]);
    expect(&edit(&|lines| lines.truncate(100)), &["qwen.tiktoken: byte ", "has no token"]);
    expect(&edit(&|lines| lines.truncate(256)), &["the tokenizer has no merges"]);
    let more = |lines: &mut Vec<String>| {
        lines.extend((304..318).map(|rank| format!("ISEh{} {rank}", "ISEh".repeat(rank - 304))))
    };
    expect(&edit(&more), &["rank 304"]);
    let copy = Copy::of(NAME);
    copy.write("qwen.tiktoken", b"\xff");
    expect(&copy, &["qwen.tiktoken is not UTF-8 at byte 0"]);
    copy.remove("qwen.tiktoken");
    expect(&copy, &["there is no tokenizer.json"]);
    // Embeddings for the ranks, but not for the three tokens that every chat needs.
    let copy = Copy::of(NAME);
    copy.edit("config.json", |c| c["vocab_size"] = json!(306));
    expect(&copy, &["token \"<|im_end|>\" has id 306", "306 rows"]);
}

#[test]
fn masks_are_left_out() {
    let copy = Copy::of(NAME);
    let bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mask =
        safetensors::tensor::TensorView::new(safetensors::Dtype::BOOL, vec![4], &[1, 0, 1, 1]).unwrap();
    let more =
        ["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias", "transformer.rotary_emb.inv_freq"];
    let more = more.map(|name| (name.to_string(), mask.clone()));
    let all: Vec<_> = tensors.iter().map(|(name, t)| (name.to_string(), t)).chain(more).collect();
    copy.convert(named("Q8_0")).unwrap();
    let before = fs::read(copy.out()).unwrap();
    copy.write("model.safetensors", safetensors::serialize(all, None).unwrap());
    let (summary, _) = copy.convert(named("Q8_0")).unwrap();
    assert!(before == fs::read(copy.out()).unwrap());
    assert_eq!(summary.notes.len(), 2, "{:?}", summary.notes);
    assert!(summary.notes[0].contains("(and 1 more) are left out: a mask"), "{:?}", summary.notes);
}
