//! Models that are more than a text model for answers: with a vision part, with all experts in one tensor, for embeddings,
//! for judging documents.

mod common;

use common::{Copy, named, run};
use qwip_convert::{ConvertError, Lora, Options, convert};
use qwip_quant::TensorType;
use qwip_quant::gguf::Gguf;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn edit_tensors(copy: &Copy, change: impl FnOnce(&mut Tensors)) {
    let bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = tensors
        .iter()
        .map(|(name, t)| (name.to_string(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
    copy.write("model.safetensors", safetensors::serialize(views, None).unwrap());
}

#[track_caller]
fn expect(copy: &Copy, parts: &[&str]) {
    let message = copy.error();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// The file that a copy converts to, and the notes.
fn converted(copy: &Copy) -> (Vec<u8>, Vec<String>) {
    let (summary, _) = copy.convert(named("F32")).unwrap();
    (fs::read(copy.out()).unwrap(), summary.notes)
}

fn numbers(gguf: &Gguf, key: &str, file: &[u8]) -> Option<Vec<i64>> {
    Some(gguf.array(key).unwrap()?.i64s(file).unwrap().collect())
}

fn strings(gguf: &Gguf, key: &str, file: &[u8]) -> Vec<String> {
    let strings = gguf.array(key).unwrap().unwrap().strings(file).unwrap();
    strings.map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
}

#[test]
fn the_text_part_of_a_vision_model() {
    for (name, arch, sections, deepstack) in [
        ("qwen2vl-text", "qwen2vl", [2, 3, 3, 0], None),
        ("qwen3vl-text", "qwen3vl", [6, 5, 5, 0], Some(1)),
        ("qwen3vlmoe-transposed", "qwen3vlmoe", [6, 5, 5, 0], Some(1)),
    ] {
        let (file, notes) = converted(&Copy::of(name));
        let gguf = Gguf::parse(&file).unwrap();
        let found = numbers(&gguf, &format!("{arch}.rope.dimension_sections"), &file);
        assert_eq!(found, Some(sections.to_vec()), "{name}");
        assert_eq!(gguf.u64(&format!("{arch}.n_deepstack_layers")).unwrap(), deepstack, "{name}");
        let [note] = notes.as_slice() else { panic!("{name}: {notes:?}") };
        assert!(
            note.contains("are left out: part of what sees images") && note.contains("visual."),
            "{note}"
        );
    }
}

/// Qwen2.5-Omni: what thinks is one part of three, with a vision and an audio part of its own.
#[test]
fn the_thinker_of_several_parts() {
    let copy = Copy::of("qwen2vl-text");
    let plain = converted(&copy).0;
    copy.edit("config.json", |c| {
        let mut text = c.take();
        let vision = text["vision_config"].take();
        text["architectures"] = json!(null);
        let thinker = json!({"text_config": text, "vision_config": vision, "audio_config": {"d_model": 8}});
        *c = json!({"architectures": ["Qwen2_5OmniModel"], "thinker_config": thinker, "talker_config": {"hidden_size": 7}});
    });
    edit_tensors(&copy, |all| {
        let names: Vec<String> = all.keys().cloned().collect();
        for name in names {
            let t = all.remove(&name).unwrap();
            all.insert(format!("thinker.{name}"), t);
        }
        for name in ["thinker.audio_tower.conv1.weight", "talker.model.norm.weight", "token2wav.x"] {
            all.insert(name.into(), (Dtype::F32, vec![1], vec![0; 4]));
        }
    });
    let (file, notes) = converted(&copy);
    assert!(file == plain);
    for part in [
        "\"audio_tower.conv1.weight\" is left out: part of what hears",
        "\"talker.model.norm.weight\" (and 1 more) are left out: part of what speaks",
        "part of what sees images",
    ] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
}

#[test]
fn where_the_embeddings_are_said_to_be_the_output() {
    // The outer setting of Qwen3-VL counts; of Qwen2-VL either.
    for (name, outer, inner, tied) in [
        ("qwen3vl-text", json!(true), json!(false), true),
        ("qwen3vl-text", json!(false), json!(true), false),
        ("qwen3vl-text", json!(null), json!(true), true),
        ("qwen2vl-text", json!(false), json!(true), true),
    ] {
        let copy = Copy::of(name);
        copy.edit("config.json", |c| {
            c["tie_word_embeddings"] = outer.clone();
            if !c["text_config"].is_object() {
                c["text_config"] = json!({});
            }
            c["text_config"]["tie_word_embeddings"] = inner.clone();
        });
        let (file, _) = converted(&copy);
        let head = Gguf::parse(&file).unwrap().tensor("output.weight").is_some();
        assert_eq!(head, !tied, "{name} {outer} {inner}");
    }
}

#[test]
fn sections_and_layers_that_contradict() {
    let copy = Copy::of("qwen3vl-text");
    let good = copy.read("config.json");
    let sections =
        |value| move |c: &mut serde_json::Value| c["text_config"]["rope_parameters"]["mrope_section"] = value;
    for (value, parts) in [
        (json!([6, 5, 4]), &["mrope_section adds up to 15, but a head has 16 pairs"][..]),
        (json!([4294967295u32, 5, 5]), &["mrope_section must be three whole numbers"]),
        (json!([16]), &["mrope_section must be three whole numbers"]),
        (json!("x"), &["mrope_section must be an array, found \"x\""]),
        (json!(null), &["mrope_section is missing"]),
    ] {
        copy.edit("config.json", sections(value));
        expect(&copy, parts);
        copy.write("config.json", &good);
    }
    copy.edit("config.json", |c| c["vision_config"]["deepstack_visual_indexes"] = json!([0, 1, 2]));
    expect(&copy, &["deepstack_visual_indexes has 3 entries for 2 layers"]);
    copy.write("config.json", &good);
    edit_tensors(&copy, |all| {
        let norm = all["model.language_model.norm.weight"].clone();
        all.insert("language_model.model.norm.weight".into(), norm);
    });
    expect(&copy, &["model.norm.weight", "there twice"]);
}

/// `[matrices, rows, cols]` of two-byte numbers as `[matrices, cols, rows]`.
fn turned(shape: &[usize], bytes: &[u8]) -> (Vec<usize>, Vec<u8>) {
    let &[matrices, rows, cols] = shape else { panic!("{shape:?}") };
    let number = |m: usize, r: usize, c: usize| &bytes[2 * ((m * rows + r) * cols + c)..][..2];
    let mut out = Vec::new();
    for m in 0..matrices {
        for c in 0..cols {
            (0..rows).for_each(|r| out.extend(number(m, r, c)));
        }
    }
    (vec![matrices, cols, rows], out)
}

#[test]
fn experts_in_one_tensor_either_way_round_or_apart_are_the_same() {
    let copy = Copy::of("qwen3vlmoe-transposed");
    let (transposed, _) = converted(&copy);
    edit_tensors(&copy, |all| {
        for (_, (_, shape, bytes)) in all.iter_mut().filter(|(name, _)| name.contains("mlp.experts.")) {
            (*shape, *bytes) = turned(shape, bytes);
        }
    });
    let (packed, _) = converted(&copy);
    assert!(packed == transposed);
    edit_tensors(&copy, |all| {
        let names: Vec<String> = all.keys().filter(|name| name.contains("mlp.experts.")).cloned().collect();
        for name in names {
            let (ty, shape, bytes) = all.remove(&name).unwrap();
            let stem = name.rsplit_once('.').unwrap().0;
            for (x, bytes) in bytes.chunks(bytes.len() / shape[0]).enumerate() {
                let mut add = |part: &str, rows: usize, bytes: &[u8]| {
                    let matrix = (ty, vec![rows, shape[2]], bytes.to_vec());
                    all.insert(format!("{stem}.{x}.{part}_proj.weight"), matrix);
                };
                let (first, second) = bytes.split_at(bytes.len() / 2);
                if name.ends_with("gate_up_proj") {
                    add("gate", shape[1] / 2, first);
                    add("up", shape[1] / 2, second);
                } else {
                    add("down", shape[1], bytes);
                }
            }
        }
    });
    let (apart, _) = converted(&copy);
    assert!(apart == transposed);
}

#[test]
fn experts_whose_axes_cannot_be_told_are_refused() {
    // Experts of 16 make gate and up together as wide as the state of 32.
    let copy = Copy::of("qwen3vlmoe-transposed");
    copy.edit("config.json", |c| c["text_config"]["moe_intermediate_size"] = json!(16));
    edit_tensors(&copy, |all| {
        for (name, (_, shape, bytes)) in all.iter_mut().filter(|(name, _)| name.contains("mlp.experts.")) {
            *shape = if name.ends_with("gate_up_proj") { vec![5, 32, 32] } else { vec![5, 16, 32] };
            bytes.truncate(2 * shape.iter().product::<usize>());
        }
    });
    expect(
        &copy,
        &["layers.0.mlp.experts.gate_up_proj has shape [5, 32, 32]", "cannot be told", "both are 32"],
    );

    let copy = Copy::of("qwen3vlmoe-transposed");
    copy.edit("config.json", |c| c["text_config"]["moe_intermediate_size"] = json!(60));
    expect(&copy, &["gate_up_proj has shape [5, 32, 128]", "120 outputs and 32 inputs"]);

    let copy = Copy::of("qwen3vlmoe-transposed");
    edit_tensors(&copy, |all| {
        for (_, (_, shape, bytes)) in all.iter_mut().filter(|(name, _)| name.ends_with("experts.down_proj")) {
            (*shape, *bytes) = turned(shape, bytes);
        }
    });
    expect(&copy, &["down_proj has shape [5, 32, 64]", "transposed otherwise than", "gate_up_proj"]);

    let copy = Copy::of("qwen3vlmoe-transposed");
    edit_tensors(&copy, |all| {
        let (_, shape, bytes) = all.get_mut("model.language_model.layers.1.mlp.experts.down_proj").unwrap();
        (*shape, *bytes) = turned(shape, bytes);
    });
    expect(&copy, &["model.layers.1.mlp.experts.down_proj has shape [5, 32, 64]", "gives [5, 64, 32]"]);
}

#[test]
fn experts_in_one_tensor_of_fp8_are_refused() {
    let copy = Copy::of("qwen3vlmoe-transposed");
    copy.edit("config.json", |c| {
        c["quantization_config"] = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    });
    edit_tensors(&copy, |all| {
        for (_, (ty, _, bytes)) in all.iter_mut().filter(|(name, _)| name.contains("mlp.experts.")) {
            *ty = Dtype::F8_E4M3;
            bytes.truncate(bytes.len() / 2);
        }
    });
    expect(&copy, &["model.layers.0.mlp.experts.gate_up_proj is F8_E4M3, which does not convert transposed"]);
}

/// An adapter of one matrix `[rows, cols]`.
fn adapter(copy: &Copy, module: &str, rows: usize, cols: usize) -> Lora {
    let dir = copy.path("adapter");
    fs::create_dir_all(&dir).unwrap();
    let config = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [module]});
    fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    let numbers = |n: usize| (0..n).flat_map(|i| (i as f32 / n as f32).to_le_bytes()).collect::<Vec<u8>>();
    let (a, b) = (numbers(cols), numbers(rows));
    let tensors =
        [("lora_A", vec![1, cols], &a), ("lora_B", vec![rows, 1], &b)].map(|(part, shape, bytes)| {
            let name = format!("base_model.model.{module}.{part}.weight");
            (name, TensorView::new(Dtype::F32, shape, bytes).unwrap())
        });
    fs::write(dir.join("adapter_model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    Lora { dir, scale: 1.0 }
}

fn merged(copy: &Copy, lora: Lora) -> Result<Vec<u8>, ConvertError> {
    let options = Options { lora: Some(lora), ..Options::new(named("F32")) };
    convert(&copy.dir(), &copy.out(), &options, &mut ()).map(|_| fs::read(copy.out()).unwrap())
}

#[test]
fn adapters_of_such_models_merge_under_either_name_and_into_two_rows() {
    let copy = Copy::of("qwen3vl-text");
    let [long, short] = ["model.language_model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj"]
        .map(|module| merged(&copy, adapter(&copy, module, 96, 64)).unwrap());
    assert!(long == short && long != converted(&copy).0);

    let copy = Copy::of("qwen3-reranker");
    // The rows that judge are those of "yes" and "no".
    let rows = |file: &[u8]| -> Vec<f32> {
        let gguf = Gguf::parse(file).unwrap();
        let bytes = gguf.tensor_bytes(gguf.tensor("cls.output.weight").unwrap(), file);
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let (before, after) =
        (rows(&converted(&copy).0), rows(&merged(&copy, adapter(&copy, "lm_head", 320, 64)).unwrap()));
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        let (row, column) = ([302.0, 303.0][i / 64] / 320.0, (i % 64) as f32 / 64.0);
        assert!((after - before - row * column).abs() < 1e-5, "{i}: {before} {after}");
    }
    merged(&copy, adapter(&copy, "model.layers.0.mlp.up_proj", 64, 64)).unwrap();
}

#[test]
fn an_adapter_of_single_experts_does_not_merge_where_one_tensor_has_them_all() {
    let copy = Copy::of("qwen3vlmoe-transposed");
    let error = merged(&copy, adapter(&copy, "model.layers.0.mlp.experts.1.down_proj", 32, 64)).unwrap_err();
    assert!(error.to_string().contains("model.layers.0.mlp.experts.1.down_proj"), "{error}");
    assert_eq!(copy.left_behind(), Vec::<String>::new());
}

#[test]
fn only_the_title_of_a_model_card_makes_a_reranker() {
    let copy = Copy::of("qwen3-wide-heads");
    copy.write("README.md", "# My model\n\n```python\n# Qwen3-Reranker is loaded like this\n```\n");
    let (file, _) = converted(&copy);
    assert_eq!(Gguf::parse(&file).unwrap().u64("qwen3.pooling_type").unwrap(), None);
}

#[test]
fn embedding_models_say_how_and_with_which_end() {
    let (file, notes) = converted(&Copy::of("qwen3-embedding-last"));
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.u64("qwen3.pooling_type").unwrap(), Some(3));
    // The tokenizer ends texts with another token than its eos, which then ends turns.
    assert_eq!(gguf.u64("tokenizer.ggml.eos_token_id").unwrap(), Some(304));
    assert_eq!(gguf.u64("tokenizer.ggml.eot_token_id").unwrap(), Some(306));
    assert_eq!(gguf.bool("tokenizer.ggml.add_eos_token").unwrap(), Some(true));
    assert_eq!(gguf.bool("qwen3.attention.causal").unwrap(), None);
    assert!(gguf.tensor("output.weight").is_none());
    assert!(notes.iter().any(|note| note.contains("no lm_head.weight: the model can embed")), "{notes:?}");

    let (file, _) = converted(&Copy::of("qwen2-embedding-mean"));
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.u64("qwen2.pooling_type").unwrap(), Some(1));
    assert_eq!(gguf.bool("tokenizer.ggml.add_eos_token").unwrap(), Some(true));
    assert_eq!(gguf.bool("qwen2.attention.causal").unwrap(), Some(false));

    // A model for answers says nothing of the kind.
    let (file, _) = converted(&Copy::of("qwen3-wide-heads"));
    let gguf = Gguf::parse(&file).unwrap();
    for key in ["qwen3.pooling_type", "tokenizer.ggml.add_eos_token", "qwen3.attention.causal"] {
        assert!(gguf.metadata.iter().all(|(found, _)| found != key), "{key}");
    }
}

#[test]
fn modules_that_would_change_embeddings_are_refused() {
    let copy = Copy::of("qwen3-embedding-last");
    let (modules, pooling) = (copy.read("modules.json"), copy.read("1_Pooling/config.json"));
    let module = |index: usize, key: &'static str, value: serde_json::Value| {
        copy.edit("modules.json", |m| m[index][key] = value);
    };
    module(2, "type", json!("sentence_transformers.models.Dense"));
    expect(&copy, &["modules.json", "models.Dense", "known: Transformer, one Pooling, Normalize"]);
    module(2, "type", json!("sentence_transformers.models.Pooling"));
    expect(&copy, &["modules.json", "one Pooling"]);
    copy.write("modules.json", &modules);
    for path in ["../1_Pooling", "", "/etc", ".."] {
        module(1, "path", json!(path));
        expect(&copy, &["modules.json: path must name a folder"]);
    }
    module(1, "path", json!("2_Pooling"));
    expect(&copy, &["there is no 2_Pooling/config.json"]);
    for text in ["{}", "[", "7"] {
        copy.write("modules.json", text);
        expect(&copy, &["modules.json"]);
    }
    copy.write("modules.json", &modules);
    for (key, value, part) in [
        ("pooling_mode_mean_tokens", true, "found \"mean_tokens\", \"lasttoken\""),
        ("pooling_mode_lasttoken", false, "found none"),
    ] {
        copy.edit("1_Pooling/config.json", |c| c[key] = json!(value));
        expect(&copy, &["1_Pooling/config.json", part]);
        copy.write("1_Pooling/config.json", &pooling);
    }
    copy.edit("1_Pooling/config.json", |c| {
        c["pooling_mode_lasttoken"] = json!(false);
        c["pooling_mode_max_tokens"] = json!(true);
    });
    expect(&copy, &["must be one of mean_tokens, cls_token, lasttoken, found \"max_tokens\""]);
    copy.edit("tokenizer.json", |t| {
        t["post_processor"]["processors"][1]["single"][1]["SpecialToken"]["id"] = json!("<|gone|>");
    });
    copy.write("1_Pooling/config.json", &pooling);
    expect(&copy, &["post_processor", "<|gone|>", "not in the vocabulary"]);
}

#[test]
fn a_reranker_keeps_two_rows_of_its_output() {
    let copy = Copy::of("qwen3-reranker");
    let (file, notes) = converted(&copy);
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.u64("qwen3.pooling_type").unwrap(), Some(4));
    assert_eq!(strings(&gguf, "qwen3.classifier.output_labels", &file), ["yes", "no"]);
    assert_eq!(strings(&gguf, "tokenizer.chat_templates", &file), ["rerank"]);
    let template = gguf.str("tokenizer.chat_template.rerank").unwrap().unwrap();
    assert!(template.contains("<Query>: {query}\n<Document>: {document}<|im_end|>"), "{template}");
    assert!(gguf.tensor("output.weight").is_none());
    assert!(notes.iter().any(|note| note.contains("README.md is called Qwen3-Reranker")), "{notes:?}");

    // Row by row the numbers of the checkpoint, in every type.
    let bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let head = tensors.tensor("lm_head.weight").unwrap();
    let row = |id: usize| head.data()[id * 128..(id + 1) * 128].chunks(2).flat_map(|b| [0, 0, b[0], b[1]]);
    let want: Vec<u8> = row(302).chain(row(303)).collect();
    for ty in ["F32", "Q8_0", "Q4_K_M"] {
        run(&copy.dir(), &copy.out(), named(ty)).unwrap();
        let file = fs::read(copy.out()).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let rows = gguf.tensor("cls.output.weight").unwrap();
        assert_eq!((rows.dims.as_slice(), rows.ty), (&[64, 2][..], TensorType::F32));
        assert!(gguf.tensor_bytes(rows, &file) == want, "{ty}");
    }

    // Tied: the embeddings stay, and the rows are theirs.
    copy.edit("config.json", |c| c["tie_word_embeddings"] = json!(true));
    let (file, _) = converted(&copy);
    let gguf = Gguf::parse(&file).unwrap();
    let table = gguf.tensor_bytes(gguf.tensor("token_embd.weight").unwrap(), &file);
    let rows = gguf.tensor_bytes(gguf.tensor("cls.output.weight").unwrap(), &file);
    assert!(rows == &table[302 * 256..304 * 256]);

    // By the name of the folder, too; not without any such name.
    copy.remove("README.md");
    copy.edit("config.json", |c| c["_name_or_path"] = json!("me/Qwen3-Reranker-0.6B"));
    let (_, notes) = converted(&copy);
    assert!(notes.iter().any(|note| note.contains("_name_or_path")), "{notes:?}");
    copy.edit("config.json", |c| c["_name_or_path"] = json!("me/Qwen3"));
    let (file, _) = converted(&copy);
    assert!(Gguf::parse(&file).unwrap().u64("qwen3.pooling_type").unwrap().is_none());
}

#[test]
fn a_reranker_needs_the_words_that_it_answers() {
    let copy = Copy::of("qwen3-reranker");
    copy.edit("tokenizer.json", |t| {
        t["model"]["vocab"].as_object_mut().unwrap().remove("yes");
        t["model"]["merges"].as_array_mut().unwrap().retain(|pair| pair != &json!(["ye", "s"]));
    });
    expect(&copy, &["no token \"yes\", which a reranker answers"]);
}
