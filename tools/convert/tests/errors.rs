//! Damaged and foreign checkpoints: a one-line error that names the culprit, and nothing left behind.

mod common;

use common::{Copy, Log, fixture, named, run};
use qwip_convert::{ConvertError, Options, convert, file_type, file_types};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Expects an error that contains every one of `parts`.
#[track_caller]
fn expect(copy: &Copy, parts: &[&str]) {
    let message = copy.error();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn missing_files() {
    for (fixture, file, parts) in [
        ("qwen2-yarn", "config.json", &["config.json"][..]),
        ("qwen2-yarn", "model.safetensors", &["model.safetensors", "model.safetensors.index.json"]),
        ("qwen2-yarn", "tokenizer.json", &["tokenizer.json", "vocab.json", "merges.txt"]),
        ("qwen2-sharded", "merges.txt", &["merges.txt"]),
        ("qwen2-sharded", "model-00002-of-00002.safetensors", &["model-00002-of-00002.safetensors", "read"]),
    ] {
        let copy = Copy::of(fixture);
        copy.remove(file);
        expect(&copy, parts);
    }
}

#[test]
fn folders_that_are_not_there() {
    let run = |dir: &Path, out: &Path| {
        let options = Options::new(named("F16"));
        convert(dir, out, &options, &mut Log::default()).unwrap_err().to_string()
    };
    let root = tempfile::tempdir().unwrap();
    let good = fixture("qwen2-yarn");
    let message = run(&root.path().join("none"), &root.path().join("out.gguf"));
    assert!(message.ends_with("none is not a folder with a checkpoint"), "{message}");
    let message = run(&good, &root.path().join("none/out.gguf"));
    assert!(message.starts_with("cannot write ") && message.contains("none"), "{message}");
    let message = run(&good, root.path());
    assert!(message.ends_with("is a folder"), "{message}");
    let message = run(&good.join("config.json"), &root.path().join("out.gguf"));
    assert!(message.contains("config.json is not a folder"), "{message}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_shard_cut_off_anywhere() {
    let copy = Copy::of("qwen2-sharded");
    let file = "model-00001-of-00002.safetensors";
    let whole = fs::read(copy.path(file)).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let near = |at: usize| at.saturating_sub(3)..at + 3;
    let cuts = (0..20).chain(near(header)).chain(near(whole.len() - 3)).chain((0..whole.len()).step_by(1999));
    for cut in cuts {
        copy.write(file, &whole[..cut]);
        expect(&copy, &[file]);
    }
    let mut longer = whole.clone();
    longer.push(0);
    copy.write(file, longer);
    expect(&copy, &[file, "bytes, the file holds"]);
}

#[test]
fn a_header_with_any_byte_changed() {
    let copy = Copy::of("qwen2-yarn");
    let whole = fs::read(copy.path("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in (0..header).step_by(7).chain(0..8) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        copy.write("model.safetensors", bytes);
        // Padding and metadata may change freely; nothing may panic or leave a file.
        match copy.convert(named("F32")) {
            Ok(_) => fs::remove_file(copy.out()).unwrap(),
            Err(e) => {
                refused += 1;
                assert!(!e.to_string().contains('\n') && e.to_string().len() < 500, "{e}");
            }
        }
        assert_eq!(copy.left_behind(), Vec::<String>::new());
    }
    assert!(refused > header / 10, "{refused} of {}", header / 7);
}

#[test]
fn headers_that_lie() {
    let header = |text: &str, data: usize| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let copy = Copy::of("qwen2-yarn");
    for (bytes, part) in [
        (vec![255; 8], "a header of"),
        (header("[]", 0), "not safetensors"),
        (
            header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3),
            "have 4 bytes, the file holds 3",
        ),
        (header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8), "lies at 4..8"),
        (header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, 8), "lies at 8..4"),
        (
            header(
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                3,
            ),
            "\"b\" lies at 1..3, but the tensor before it ends at 2",
        ),
        (
            header(
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                2,
            ),
            "\"a\" is there twice",
        ),
        (
            header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#, 4),
            "the file holds 4",
        ),
    ] {
        copy.write("model.safetensors", bytes);
        expect(&copy, &["model.safetensors", part]);
    }
}

#[test]
fn tensors_that_disagree_with_the_configuration() {
    let up = "model.layers.1.mlp.up_proj.weight";
    let copy = Copy::of("qwen2-yarn");
    copy.edit_tensors(|t| drop(t.remove(up)));
    expect(&copy, &["no tensor model.layers.1.mlp.up_proj.weight"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit_tensors(|t| t.retain(|name, _| !name.contains("_proj.bias")));
    expect(&copy, &["q_proj.bias", "(and 5 more)"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit_tensors(|t| t.get_mut(up).unwrap().1 = vec![64, 96]);
    expect(&copy, &[up, "[64, 96]", "[96, 64]"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit_tensors(|t| {
        let (dtype, shape, bytes) = t.get_mut(up).unwrap();
        *dtype = Dtype::F8_E5M2;
        bytes.truncate(shape.iter().product());
    });
    expect(&copy, &[up, "F8_E5M2", "known: F32, F16, BF16, F8_E4M3"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit_tensors(|t| {
        t.insert("model.layers.0.mlp.experts.0.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    expect(&copy, &["model.layers.0.mlp.experts.0.weight", "no place in qwen2"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit("config.json", |c| c["tie_word_embeddings"] = json!(false));
    expect(&copy, &["no tensor lm_head.weight"]);

    let copy = Copy::of("qwen2-yarn");
    copy.edit("config.json", |c| c["num_hidden_layers"] = json!(1));
    expect(&copy, &["model.layers.1.", "(and 11 more)"]);
}

#[test]
fn tensors_that_may_be_left_out() {
    let copy = Copy::of("qwen2-yarn");
    copy.convert(named("Q4_0")).unwrap();
    let without = fs::read(copy.out()).unwrap();
    copy.edit_tensors(|t| {
        let embeddings = t["model.embed_tokens.weight"].clone();
        t.insert("lm_head.weight".into(), embeddings);
        t.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), (Dtype::F32, vec![8], vec![0; 32]));
    });
    let (summary, _) = copy.convert(named("Q4_0")).unwrap();
    assert!(without == fs::read(copy.out()).unwrap());
    assert_eq!(summary.notes.len(), 2, "{:?}", summary.notes);
    assert!(summary.notes[0].contains("lm_head.weight") && summary.notes[0].contains("tied"));
}

#[test]
fn an_index_that_disagrees_with_its_shards() {
    let index = "model.safetensors.index.json";
    let one = "model.norm.weight";
    let edit = |change: fn(&mut Value)| {
        let copy = Copy::of("qwen2-sharded");
        copy.edit(index, |i| change(&mut i["weight_map"]));
        copy
    };
    expect(&edit(|m| m["model.norm.weight"] = json!("model-00001-of-00002.safetensors")), &[index, one]);
    expect(
        &edit(|m| m["x\ny"] = json!("model-00001-of-00002.safetensors")),
        &[index, "\"x\\ny\"", "no file"],
    );
    expect(&edit(|m| drop(m.as_object_mut().unwrap().remove("model.norm.weight"))), &[one, "does not name"]);
    expect(
        &edit(|m| m["model.norm.weight"] = json!("../secret.safetensors")),
        &[one, "must name a file in the folder"],
    );
    expect(
        &edit(|m| m["model.norm.weight"] = json!("/etc/passwd")),
        &[one, "must name a file in the folder"],
    );
    expect(&edit(|m| m["model.norm.weight"] = json!(3)), &[one, "found 3"]);
    expect(&edit(|m| *m = json!(3)), &[index, "weight_map must be an object"]);

    // The same tensor in two shards.
    let copy = Copy::of("qwen2-sharded");
    fs::copy(copy.path("model-00001-of-00002.safetensors"), copy.path("extra.safetensors")).unwrap();
    copy.edit(index, |i| i["weight_map"]["model.embed_tokens.weight"] = json!("extra.safetensors"));
    expect(&copy, &["is both in extra.safetensors and in model-00001-of-00002.safetensors"]);
}

#[test]
fn configurations_that_cannot_be_kept() {
    for (key, value, parts) in [
        (
            "architectures",
            json!(["LlamaForCausalLM"]),
            &["\"LlamaForCausalLM\"", "known: the classes of qwen, qwen2, qwen2moe, qwen2vl, qwen3"][..],
        ),
        ("architectures", json!([]), &["architectures"]),
        ("architectures", json!("Qwen2ForCausalLM"), &["architectures must be an array"]),
        ("hidden_size", Value::Null, &["hidden_size is missing"]),
        ("hidden_size", json!("64"), &["hidden_size must be a whole number", "\"64\""]),
        ("hidden_size", json!(0), &["hidden_size must be between 1 and 65536, found 0"]),
        ("hidden_size", json!(65), &["65", "num_attention_heads 4"]),
        ("num_hidden_layers", json!(-1), &["num_hidden_layers", "-1"]),
        ("num_hidden_layers", json!(1e300), &["num_hidden_layers"]),
        ("num_key_value_heads", json!(3), &["4 is not a multiple of num_key_value_heads 3"]),
        ("head_dim", json!(15), &["head_dim 15 is odd"]),
        ("vocab_size", json!(u64::MAX), &["vocab_size", "18446744073709551615"]),
        ("vocab_size", json!(319), &["model.embed_tokens.weight", "[320, 64]", "[319, 64]"]),
        ("rms_norm_eps", json!(0), &["rms_norm_eps 0"]),
        ("rope_theta", json!(-1), &["rope_theta must be between 1 and 1000000000000, found -1"]),
        ("rope_theta", json!(0.5), &["rope_theta must be between 1 and", "found 0.5"]),
        ("max_position_embeddings", json!(1 << 25), &["max_position_embeddings", "16777216", "33554432"]),
        ("intermediate_size", json!(1 << 21), &["intermediate_size", "1048576", "2097152"]),
        ("head_dim", json!(2048), &["head_dim must be between 1 and 1024, found 2048"]),
        ("vocab_size", json!(1 << 21), &["vocab_size", "2097151", "2097152"]),
        ("rope_scaling", json!({"type": "longrope"}), &["\"longrope\"", "known: default, linear, yarn"]),
        ("rope_scaling", json!({"type": "yarn"}), &["rope_scaling: factor is missing"]),
        (
            "rope_scaling",
            json!({"type": "yarn", "factor": 0.5}),
            &["factor must be between 1 and 1000000, found 0.5"],
        ),
        (
            "rope_scaling",
            json!({"type": "yarn", "factor": 2, "beta_fast": 0}),
            &["beta_fast must be between"],
        ),
        ("rope_scaling", json!({"type": "yarn", "factor": 2, "mscale": 0.7}), &["mscale is not supported"]),
        ("hidden_act", json!("gelu"), &["hidden_act", "\"gelu\""]),
        ("quantization_config", json!({"quant_method": "gptq"}), &["already quantized", "gptq"]),
        ("eos_token_id", json!("<|im_end|>"), &["eos_token_id must be token ids"]),
        ("tie_word_embeddings", json!(1), &["tie_word_embeddings must be true or false"]),
    ] {
        let copy = Copy::of("qwen2-yarn");
        copy.edit("config.json", |c| c[key] = value);
        expect(&copy, &["config.json"]);
        expect(&copy, parts);
    }
    let copy = Copy::of("qwen3-wide-heads");
    copy.edit("config.json", |c| c["attention_bias"] = json!(true));
    expect(&copy, &["attention_bias"]);
}

#[test]
fn experts_that_cannot_be_kept() {
    let set = |name: &str, key: &'static str, value: Value, parts: &[&str]| {
        let copy = Copy::of(name);
        copy.edit("config.json", |c| c[key] = value);
        expect(&copy, parts);
    };
    let (two, three) = ("qwen2moe-shared", "qwen3moe-norm");
    set(two, "num_experts", json!(0), &["num_experts", "between 1 and 4096", "0"]);
    set(two, "num_experts", json!(6), &["has no tensor", "experts.5.gate_proj"]);
    set(two, "num_experts", json!(4), &["experts.4.", "has no place in qwen2moe"]);
    set(two, "num_experts_per_tok", json!(6), &["num_experts_per_tok 6", "num_experts 5"]);
    set(
        two,
        "moe_intermediate_size",
        json!(64),
        &["experts.0.gate_proj.weight has shape [32, 64]", "[64, 64]"],
    );
    set(two, "shared_expert_intermediate_size", json!(64), &["shared_expert.gate_proj.weight", "[48, 64]"]);
    set(two, "qkv_bias", json!(false), &["qkv_bias is false"]);
    set(three, "mlp_only_layers", json!([1]), &["mlp_only_layers must be empty", "1"]);
    set(three, "decoder_sparse_step", json!(2), &["decoder_sparse_step must be 1", "2"]);
    set(three, "moe_intermediate_size", Value::Null, &["moe_intermediate_size"]);
}

#[test]
fn json_that_is_none() {
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        for (content, part) in [
            ("", "EOF"),
            ("{\"a\":", "EOF"),
            ("[1]", "an array of 1, not an object"),
            ("{\"a\":1}}", "trailing"),
        ] {
            let copy = Copy::of("qwen2-yarn");
            copy.write(file, content);
            expect(&copy, &[file, part]);
        }
        let copy = Copy::of("qwen2-yarn");
        copy.write(file, "[".repeat(1 << 20));
        expect(&copy, &[file, "recursion"]);
        copy.write(file, b"{\"a\": \"\xff\"}");
        expect(&copy, &[file, "not UTF-8 at byte 7"]);
    }
    let copy = Copy::of("qwen2-sharded");
    copy.write("model.safetensors.index.json", "{}");
    expect(&copy, &["index.json: weight_map is missing"]);
}

#[test]
fn tokenizers_that_cannot_be_kept() {
    let edit = |change: fn(&mut Value)| {
        let copy = Copy::of("qwen2-yarn");
        copy.edit("tokenizer.json", change);
        copy
    };
    expect(&edit(|t| t["model"]["type"] = json!("Unigram")), &["only byte-level BPE", "Unigram"]);
    expect(&edit(|t| t["model"]["vocab"]["the"] = json!(320)), &["\"the\" has id 320", "320 rows"]);
    expect(&edit(|t| t["model"]["vocab"]["the"] = json!(-1)), &["\"the\" has no id: -1"]);
    expect(&edit(|t| t["model"]["vocab"]["new"] = json!(7)), &["id 7 is both"]);
    expect(&edit(|t| drop(t["model"]["vocab"].as_object_mut().unwrap().remove("!"))), &["byte 33 ('!')"]);
    expect(&edit(|t| t["model"]["merges"][3] = json!(["a"])), &["merge 3 is not a pair"]);
    expect(&edit(|t| t["model"]["merges"][3] = json!("a b c")), &["merge 3 is not two tokens: \"a b c\""]);
    expect(&edit(|t| t["model"]["merges"][3] = json!(["!", "!"])), &["merge 3 needs the token \"!!\""]);
    expect(&edit(|t| t["model"]["merges"] = json!([])), &["no merges"]);
    expect(
        &edit(|t| t["model"]["merges"][3] = t["model"]["merges"][1].clone()),
        &["merge 3 repeats merge 1"],
    );
    expect(&edit(|t| t["model"]["vocab"][""] = json!(319)), &["the token 319 is empty"]);
    expect(
        &edit(|t| t["model"]["vocab"]["[PAD318]"] = json!(319)),
        &["token 319 is \"[PAD318]\", the placeholder of id 318"],
    );
    expect(&edit(|t| t["added_tokens"][0]["id"] = json!(5)), &["id 5 is both", "\"<|endoftext|>\""]);
    expect(&edit(|t| t["added_tokens"][1]["content"] = json!("!")), &["\"!\" has the ids 0 and 305"]);
    expect(&edit(|t| t["added_tokens"][1]["content"] = json!("")), &["the token 305 is empty"]);
    expect(
        &edit(|t| drop(t["added_tokens"][1].as_object_mut().unwrap().remove("id"))),
        &["added_tokens", "no id"],
    );

    let copy = Copy::of("qwen2-yarn");
    copy.edit("tokenizer_config.json", |c| c["eos_token"] = json!("<|none|>"));
    expect(&copy, &["tokenizer_config.json: eos_token \"<|none|>\" is not in the vocabulary"]);
    copy.edit("tokenizer_config.json", |c| c["eos_token"] = json!("<|im_end|>"));
    copy.edit("generation_config.json", |c| c["eos_token_id"] = json!([306, 320]));
    expect(&copy, &["the eot token 320 is not below vocab_size 320"]);
    copy.remove("generation_config.json");
    copy.edit("config.json", |c| c["bos_token_id"] = json!(1 << 30));
    expect(&copy, &["the bos token 1073741824 is not below vocab_size 320"]);
    copy.edit("config.json", |c| c["bos_token_id"] = Value::Null);
    copy.edit("tokenizer_config.json", |c| c["chat_template"] = json!({"a": 1}));
    expect(&copy, &["chat_template must be text"]);
}

#[test]
fn words_that_the_runtime_splits_otherwise() {
    let edit = |change: fn(&mut Value)| {
        let copy = Copy::of("qwen2-yarn");
        copy.edit("tokenizer.json", change);
        copy
    };
    let gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    let other = Copy::of("qwen2-yarn");
    other
        .edit("tokenizer.json", |t| t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!(gpt2));
    expect(&other, &["tokenizer.json: pre_tokenizer", "not Qwen's", "'s|'t"]);
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let alone = Copy::of("qwen2-yarn");
    alone.edit("tokenizer.json", |t| t["pre_tokenizer"] = bytes);
    expect(&alone, &["Split and ByteLevel, found \"ByteLevel\""]);
    expect(&edit(|t| t["pre_tokenizer"] = Value::Null), &["pre_tokenizer is missing"]);
    expect(
        &edit(|t| t["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = json!(true)),
        &["a plain ByteLevel"],
    );
    expect(
        &edit(|t| t["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed")),
        &["an isolating Split"],
    );
    expect(&edit(|t| t["normalizer"] = json!({"type": "NFKC"})), &["normalizer must be NFC, found \"NFKC\""]);
    let both = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]});
    let lower = Copy::of("qwen2-yarn");
    lower.edit("tokenizer.json", |t| t["normalizer"] = both);
    expect(&lower, &["normalizer must be NFC"]);

    let none = edit(|t| t["normalizer"] = Value::Null);
    let (summary, _) = none.convert(named("Q8_0")).unwrap();
    assert_eq!(summary.notes, ["tokenizer.json does not normalise text, but the model will get NFC"]);
}

#[test]
fn cancelled_at_every_question() {
    let copy = Copy::of("qwen2-yarn");
    fs::write(copy.out(), "old").unwrap();
    let mut cancelled = 0;
    loop {
        let mut log = Log { cancel_at: Some(cancelled), ..Log::default() };
        let options = Options { reference: true, threads: Some(1), ..Options::new(named("Q8_0")) };
        match convert(&copy.dir(), &copy.out(), &options, &mut log) {
            Err(ConvertError::Cancelled) => {}
            Err(e) => panic!("{e}"),
            Ok(_) => break,
        }
        assert_eq!(copy.left_behind(), ["out.gguf"]);
        assert_eq!(fs::read(copy.out()).unwrap(), b"old");
        cancelled += 1;
    }
    assert!(cancelled > 26, "asked at least once a tensor: {cancelled}");
    assert!(fs::read(copy.out()).unwrap().starts_with(b"GGUF"));
}

#[cfg(unix)]
#[test]
fn an_output_that_is_no_file_is_refused_before_the_checkpoint_is_read() {
    let copy = Copy::of("qwen2-yarn");
    copy.remove("config.json");
    let message = run(&copy.dir(), Path::new("/dev/null"), named("F16")).err().unwrap();
    assert_eq!(message.to_string(), "/dev/null is a device or a pipe, not a file");
}

#[test]
fn names_of_types() {
    for ty in file_types() {
        assert_eq!(file_type(&ty.name.to_lowercase()).unwrap(), ty);
    }
    let message = file_type("iq2_xxs").unwrap_err().to_string();
    assert!(message.starts_with("unknown output type \"iq2_xxs\" (known: f32, f16, q4_0, "), "{message}");
}

#[test]
fn an_output_that_is_the_input_is_refused() {
    let copy = Copy::of("qwen2-yarn");
    let (weights, before) =
        (copy.path("model.safetensors"), fs::read(copy.path("model.safetensors")).unwrap());
    let message = run(&copy.dir(), &weights, named("F16")).err().unwrap().to_string();
    assert!(message.contains("model.safetensors is the input"), "{message}");
    assert!(fs::read(weights).unwrap() == before);
}
