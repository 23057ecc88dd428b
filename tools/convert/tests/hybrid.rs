//! Models of delta nets: every weight arrives where it belongs, by rules that are spelled out here a second time, and what
//! cannot be kept is refused.

mod common;

use common::{Copy, FIXTURES, Log, fixture, is_hybrid, named, run, source_tensors};
use qwip_convert::{Lora, Options, convert};
use qwip_quant::gguf::Gguf;
use qwip_quant::{TensorType, decode_row, encode_row};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Names in GGUF, sizes and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The sizes of the delta nets of a checkpoint.
struct Sizes {
    keys: usize,
    values: usize,
    dim: usize,
    /// Value heads in the order of GGUF.
    order: Vec<usize>,
}

impl Sizes {
    fn of(c: &Value, arch: &str) -> Sizes {
        let size = |key: &str| c[key].as_u64().unwrap() as usize;
        let (keys, values) = (size("linear_num_key_heads"), size("linear_num_value_heads"));
        let each = values / keys;
        // Where key heads repeat as a whole, the head after the first is the first one of the second key head.
        let order = match arch {
            "qwen3next" => (0..values).collect(),
            _ => (0..each).flat_map(|nth| (0..keys).map(move |key| key * each + nth)).collect(),
        };
        Sizes { keys, values, dim: size("linear_key_head_dim"), order }
    }

    /// The value heads, which begin at `first` and have `len` numbers each, in the order of GGUF.
    fn ordered(&self, all: &[f32], first: usize, len: usize) -> Vec<f32> {
        let heads = self.order.iter().flat_map(|head| all[first..].iter().skip(head * len).take(len));
        all[..first].iter().chain(heads).copied().collect()
    }
}

fn config(dir: &Path) -> Value {
    let c: Value = serde_json::from_str(&fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
    c.get("text_config").unwrap_or(&c).clone()
}

/// What a checkpoint should become.
fn wanted(dir: &Path, arch: &str) -> Tensors {
    let sizes = Sizes::of(&config(dir), arch);
    let mut all = Tensors::new();
    for (name, (shape, values)) in source_tensors(dir) {
        let name = name.replace("model.language_model.", "model.");
        if name.starts_with("model.visual.") || name.starts_with("mtp.") {
            continue;
        }
        let plus_one: Vec<f32> = values.iter().map(|v| v + 1.0).collect();
        match name.as_str() {
            "model.embed_tokens.weight" => drop(all.insert("token_embd.weight".into(), (shape, values))),
            "lm_head.weight" => drop(all.insert("output.weight".into(), (shape, values))),
            "model.norm.weight" => drop(all.insert("output_norm.weight".into(), (shape, plus_one))),
            _ => {
                let (layer, rest) = name.strip_prefix("model.layers.").unwrap().split_once('.').unwrap();
                for (name, shape, values) in of_layer(rest, &shape, values, plus_one, &sizes) {
                    let all = all.entry(format!("blk.{layer}.{name}"));
                    let (known, stack) = all.or_insert((shape.clone(), Vec::new()));
                    // Experts come by their numbers, of which there are fewer than ten.
                    if !stack.is_empty() {
                        let count = if known.len() == 3 { known[0] } else { 1 };
                        *known = [&[count + 1], &shape[..]].concat();
                    }
                    stack.extend(values);
                }
            }
        }
    }
    all
}

fn of_layer(
    rest: &str,
    shape: &[usize],
    values: Vec<f32>,
    plus_one: Vec<f32>,
    sizes: &Sizes,
) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let Sizes { keys, values: heads, dim, .. } = *sizes;
    let (cols, each) = (*shape.last().unwrap(), heads / keys);
    let one = |name: &str, values| vec![(format!("{name}.weight"), shape.to_vec(), values)];
    let vector = |name: &str, values| vec![(name.to_string(), shape.to_vec(), values)];
    if let Some(rest) = rest.strip_prefix("mlp.experts.") {
        let rows = if shape.len() == 3 { shape[1] } else { shape[0] };
        let part = rest.split('.').nth(1).unwrap_or(rest).strip_suffix("_proj").unwrap();
        if part != "gate_up" {
            return one(&format!("ffn_{part}_exps"), values);
        }
        let halves = |half: usize| {
            let rows = values.chunks(cols).enumerate().filter(|(i, _)| i % rows / (rows / 2) == half);
            rows.flat_map(|(_, row)| row.iter().copied()).collect::<Vec<f32>>()
        };
        let shape = vec![shape[0], rows / 2, cols];
        return vec![
            ("ffn_gate_exps.weight".into(), shape.clone(), halves(0)),
            ("ffn_up_exps.weight".into(), shape, halves(1)),
        ];
    }
    match rest {
        "input_layernorm.weight" => one("attn_norm", plus_one),
        "post_attention_layernorm.weight" => one("post_attention_norm", plus_one),
        "self_attn.q_norm.weight" => one("attn_q_norm", plus_one),
        "self_attn.k_norm.weight" => one("attn_k_norm", plus_one),
        "self_attn.q_proj.weight" => one("attn_q", values),
        "self_attn.k_proj.weight" => one("attn_k", values),
        "self_attn.v_proj.weight" => one("attn_v", values),
        "self_attn.o_proj.weight" => one("attn_output", values),
        "mlp.gate_proj.weight" => one("ffn_gate", values),
        "mlp.up_proj.weight" => one("ffn_up", values),
        "mlp.down_proj.weight" => one("ffn_down", values),
        "mlp.gate.weight" => one("ffn_gate_inp", values),
        "mlp.shared_expert_gate.weight" => vec![("ffn_gate_inp_shexp.weight".into(), vec![cols], values)],
        "mlp.shared_expert.gate_proj.weight" => one("ffn_gate_shexp", values),
        "mlp.shared_expert.up_proj.weight" => one("ffn_up_shexp", values),
        "mlp.shared_expert.down_proj.weight" => one("ffn_down_shexp", values),
        "linear_attn.in_proj_qkv.weight" => {
            one("attn_qkv", sizes.ordered(&values, 2 * keys * dim * cols, dim * cols))
        }
        "linear_attn.in_proj_z.weight" => one("attn_gate", sizes.ordered(&values, 0, dim * cols)),
        "linear_attn.in_proj_b.weight" => one("ssm_beta", sizes.ordered(&values, 0, cols)),
        "linear_attn.in_proj_a.weight" => one("ssm_alpha", sizes.ordered(&values, 0, cols)),
        "linear_attn.in_proj_ba.weight" => one("ssm_ba", values),
        "linear_attn.in_proj_qkvz.weight" => {
            let mut parts = [const { Vec::new() }; 4];
            for group in values.chunks((2 + 2 * each) * dim * cols) {
                let (mut rest, mut part) = (group, group);
                for (len, all) in [1, 1, each, each].into_iter().zip(&mut parts) {
                    (part, rest) = rest.split_at(len * dim * cols);
                    all.extend_from_slice(part);
                }
                assert!(rest.is_empty() && !part.is_empty());
            }
            let [q, k, v, z] = parts;
            let qkv = [q, k, v].concat();
            vec![
                ("attn_qkv.weight".into(), vec![qkv.len() / cols, cols], qkv),
                ("attn_gate.weight".into(), vec![z.len() / cols, cols], z),
            ]
        }
        "linear_attn.conv1d.weight" => {
            let values = sizes.ordered(&values, 2 * keys * dim * cols, dim * cols);
            vec![("ssm_conv1d.weight".into(), vec![shape[0], cols], values)]
        }
        "linear_attn.A_log" => {
            #[allow(clippy::disallowed_methods, reason = "another exp than the converter's")]
            let negative = values.iter().map(|v| -f64::from(*v).exp() as f32).collect::<Vec<f32>>();
            vector("ssm_a", sizes.ordered(&negative, 0, 1))
        }
        "linear_attn.dt_bias" => vector("ssm_dt.bias", sizes.ordered(&values, 0, 1)),
        "linear_attn.norm.weight" => one("ssm_norm", values),
        "linear_attn.out_proj.weight" => {
            one("ssm_out", values.chunks(cols).flat_map(|row| sizes.ordered(row, 0, dim)).collect())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_weight_arrives_where_it_belongs() {
    for (name, arch) in FIXTURES.into_iter().filter(|(_, arch)| is_hybrid(arch)) {
        let wanted = wanted(&fixture(name), arch);
        for ty in ["F32", "BF16", "Q8_0", "Q4_K_M"].map(named) {
            let out = tempfile::tempdir().unwrap();
            let path = out.path().join("model.gguf");
            run(&fixture(name), &path, ty).unwrap();
            let file = fs::read(&path).unwrap();
            let gguf = Gguf::parse(&file).unwrap();
            let found: Vec<&String> = gguf.tensors.iter().map(|t| &t.name).collect();
            assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
            for (tensor, (shape, values)) in &wanted {
                let t = gguf.tensor(tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
                let dims: Vec<u64> = shape.iter().rev().map(|n| *n as u64).collect();
                assert_eq!(t.dims, dims, "{name}: {tensor}");
                let kept = ["ssm_conv1d", "ffn_gate_inp", "norm"].iter().any(|p| tensor.contains(p));
                assert_eq!(t.ty == TensorType::F32, kept || shape.len() == 1 || ty.name == "F32", "{tensor}");
                let cols = *shape.last().unwrap();
                let mut encoded = vec![0; t.ty.row_bytes(cols).unwrap()];
                let rows = gguf.tensor_bytes(t, &file).chunks(encoded.len());
                assert_eq!(rows.len() * cols, values.len());
                for (row, bytes) in values.chunks(cols).zip(rows) {
                    if tensor.ends_with("ssm_a") {
                        let mut decoded = vec![0.0; cols];
                        decode_row(t.ty, bytes, &mut decoded).unwrap();
                        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= a.abs() * 1e-6 && *a < 0.0;
                        assert!(row.iter().zip(&decoded).all(near), "{name}: {tensor}: {row:?} {decoded:?}");
                    } else {
                        encode_row(t.ty, row, &mut encoded).unwrap();
                        assert!(encoded == bytes, "{name}: {tensor} as {ty:?}");
                    }
                }
            }
        }
    }
}

/// Converts after a change of the text part's configuration and expects an error with these parts.
#[track_caller]
fn refused(name: &str, change: impl FnOnce(&mut Value), parts: &[&str]) {
    let copy = Copy::of(name);
    copy.edit("config.json", |c| match c.get_mut("text_config") {
        Some(text) => change(text),
        None => change(c),
    });
    let message = copy.error();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn configurations_that_cannot_be_kept() {
    let kinds = |kinds: &[&str]| json!(kinds.iter().map(|k| format!("{k}_attention")).collect::<Vec<_>>());
    for (key, value, parts) in [
        (
            "linear_num_value_heads",
            json!(5),
            &["linear_num_value_heads 5 is not a multiple of linear_num_key_heads 3"][..],
        ),
        ("linear_num_key_heads", json!(2), &["in_proj_qkv.weight has shape [384, 64]", "gives [320, 64]"]),
        ("linear_num_key_heads", json!(0), &["linear_num_key_heads must be between 1 and 1024, found 0"]),
        ("linear_key_head_dim", Value::Null, &["linear_key_head_dim is missing"]),
        ("linear_conv_kernel_dim", json!(9), &["linear_conv_kernel_dim must be between 1 and 8, found 9"]),
        ("linear_value_head_dim", json!(48), &["linear_value_head_dim 48 is not a multiple of 32"]),
        ("linear_conv_kernel_dim", json!(3), &["conv1d.weight has shape [384, 1, 4]", "gives [384, 1, 3]"]),
        ("layer_types", kinds(&["linear", "full"]), &["layer_types has 2 entries", "num_hidden_layers is 4"]),
        (
            "layer_types",
            kinds(&["linear", "linear", "sliding", "full"]),
            &["layer_types[2] must be", "\"sliding_attention\""],
        ),
        (
            "layer_types",
            kinds(&["linear", "linear", "linear", "linear"]),
            &["layer 3 is linear_attention", "model.layers.3.self_attn.k_norm.weight"],
        ),
        ("full_attention_interval", json!(0), &["full_attention_interval must be between 1 and 1024"]),
        (
            "full_attention_interval",
            json!(2),
            &["layer 1 is full_attention", "full_attention_interval", "model.layers.1.linear_attn.A_log"],
        ),
        ("attn_output_gate", json!(false), &["attn_output_gate is false"]),
        ("num_attention_heads", json!(2), &["q_proj.weight has shape [256, 64]", "gives [128, 64]"]),
        (
            "rope_parameters",
            json!({"partial_rotary_factor": 0.3}),
            &["partial_rotary_factor 0.3 of head_dim 32"],
        ),
        ("rope_parameters", json!({"partial_rotary_factor": 2}), &["partial_rotary_factor 2 of head_dim 32"]),
        (
            "rope_parameters",
            json!({"partial_rotary_factor": "a"}),
            &["partial_rotary_factor must be a number"],
        ),
        ("rope_parameters", json!({"mrope_section": [2, 2]}), &["mrope_section must be three or four"]),
        ("rope_parameters", json!({"mrope_section": [2, 2, 1]}), &["adds up to 5, but 4 pairs are turned"]),
        ("intermediate_size", Value::Null, &["intermediate_size is missing"]),
    ] {
        refused("qwen35-tiled", |c| c[key] = value, &[&["config.json"], parts].concat());
    }
    for name in ["qwen35moe-packed", "qwen3next-grouped"] {
        refused(name, |c| c["norm_topk_prob"] = json!(false), &["norm_topk_prob is false", "add up to 1"]);
        refused(name, |c| c["shared_expert_intermediate_size"] = Value::Null, &["is missing"]);
    }
    let experts =
        ["experts.gate_up_proj has shape [5, 64, 32], but config.json gives 32 outputs and 32 inputs"];
    refused("qwen35moe-packed", |c| c["moe_intermediate_size"] = json!(16), &experts);
}

#[test]
fn what_config_json_leaves_out_is_what_transformers_takes() {
    let copy = Copy::of("qwen35-tiled");
    let whole = {
        copy.convert(named("Q8_0")).unwrap();
        fs::read(copy.out()).unwrap()
    };
    copy.edit("config.json", |c| {
        c["text_config"]["layer_types"] =
            json!([0, 0, 0, 1].map(|full| ["linear_attention", "full_attention"][full]));
        c["text_config"]["tie_word_embeddings"] = json!(false);
        drop(c["text_config"].as_object_mut().unwrap().remove("full_attention_interval"));
    });
    copy.convert(named("Q8_0")).unwrap();
    assert!(
        whole == fs::read(copy.out()).unwrap(),
        "the same layers in another spelling, tied by the outer key"
    );

    copy.edit("config.json", |c| {
        let text = c["text_config"].as_object_mut().unwrap();
        text.retain(|key, _| !["layer_types", "rope_parameters"].contains(&key.as_str()));
    });
    copy.convert(named("Q8_0")).unwrap();
    let file = fs::read(copy.out()).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let number = |key: &str| gguf.u64(&format!("qwen35.{key}")).unwrap();
    assert_eq!((number("full_attention_interval"), number("rope.dimension_count")), (Some(4), Some(8)));
    let sections = gguf.array("qwen35.rope.dimension_sections").unwrap().unwrap();
    assert_eq!(sections.len, 4);
}

#[test]
fn layers_without_a_pattern_are_listed() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("model.gguf");
    run(&fixture("qwen35-untiled"), &path, named("F16")).unwrap();
    let file = fs::read(&path).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.u64("qwen35.full_attention_interval").unwrap(), None);
    assert_eq!(gguf.array("qwen35.attention.recurrent_layers").unwrap().map(|list| list.len), Some(4));
    for (key, value) in [
        ("ssm.conv_kernel", 4),
        ("ssm.state_size", 32),
        ("ssm.group_count", 2),
        ("ssm.time_step_rank", 2),
        ("ssm.inner_size", 64),
        ("rope.dimension_count", 16),
        ("attention.key_length", 64),
    ] {
        assert_eq!(gguf.u64(&format!("qwen35.{key}")).unwrap(), Some(value), "{key}");
    }
}

#[test]
fn other_parts_are_left_out_and_names_do_not_collide() {
    let copy = Copy::of("qwen35-tiled");
    copy.edit_tensors(|t| {
        let part = t["mtp.fc.weight"].clone();
        t.insert("mtp.layers.0.mlp.up_proj.weight".into(), part);
    });
    let (summary, _) = copy.convert(named("Q8_0")).unwrap();
    assert_eq!(
        summary.notes,
        [
            "\"model.visual.patch_embed.proj.bias\" is left out: part of what sees images",
            "\"mtp.fc.weight\" (and 1 more) are left out: part of what guesses tokens ahead",
        ]
    );
    fs::remove_file(copy.out()).unwrap();
    copy.edit_tensors(|t| {
        let part = t["model.language_model.norm.weight"].clone();
        t.insert("model.norm.weight".into(), part);
    });
    let message = copy.error();
    assert!(message.contains("\"model.norm.weight\" is there twice"), "{message}");
}

/// A product of rank 1 on every projection of a layer, merged while converting and before.
#[test]
fn adapters_are_merged_before_heads_change_places() {
    for (name, prefix, modules) in [
        ("qwen35-tiled", "model.language_model", &["in_proj_qkv", "in_proj_z", "in_proj_a", "out_proj"][..]),
        ("qwen3next-grouped", "model", &["in_proj_qkvz", "in_proj_ba", "out_proj"]),
    ] {
        let adapter = tempfile::tempdir().unwrap();
        let merged = Copy::of(name);
        let mut parts = Vec::new();
        for module in modules {
            let weight = format!("{prefix}.layers.1.linear_attn.{module}.weight");
            let (shape, mut values) = source_tensors(&fixture(name)).remove(&weight).unwrap();
            let (rows, cols) = (shape[0], shape[1]);
            let a: Vec<f32> = (0..cols).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..rows).map(|i| (i % 11) as f32 * 0.125 - 0.5).collect();
            let strength = if *module == "out_proj" { 6.0 } else { 2.0 };
            for (row, b) in values.chunks_mut(cols).zip(&b) {
                row.iter_mut().zip(&a).for_each(|(value, a)| *value += strength * b * a);
            }
            let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
            let stem = format!("base_model.model.{prefix}.layers.1.linear_attn.{module}");
            parts.push((format!("{stem}.lora_A.weight"), vec![1, cols], bytes(&a)));
            parts.push((format!("{stem}.lora_B.weight"), vec![rows, 1], bytes(&b)));
            replace(&merged, &weight, &bytes(&values));
        }
        // The name of the module decides the strength, as the adapter spells it.
        let pattern = format!("{prefix}.layers.1.linear_attn.out_proj");
        let config = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 2, "alpha_pattern": {pattern: 6}});
        fs::write(adapter.path().join("adapter_config.json"), config.to_string()).unwrap();
        let views = parts.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        fs::write(adapter.path().join("adapter_model.safetensors"), bytes).unwrap();

        merged.convert(named("F32")).unwrap();
        let wanted = fs::read(merged.out()).unwrap();
        let lora = Some(Lora { dir: adapter.path().into(), scale: 1.0 });
        let options = Options { reference: true, lora, ..Options::new(named("F32")) };
        convert(&fixture(name), &merged.out(), &options, &mut Log::default()).unwrap();
        let found = fs::read(merged.out()).unwrap();
        let (a, b) = (Gguf::parse(&wanted).unwrap(), Gguf::parse(&found).unwrap());
        for t in &a.tensors {
            let same = a.tensor_bytes(t, &wanted) == b.tensor_bytes(b.tensor(&t.name).unwrap(), &found);
            assert!(same, "{name}: {}", t.name);
        }
    }
}

/// Gives a tensor of a checkpoint other values, as F32.
fn replace(copy: &Copy, name: &str, bytes: &[u8]) {
    for entry in fs::read_dir(copy.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "safetensors") {
            continue;
        }
        let file = fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let views = tensors.iter().map(|(found, t)| match found == name {
            true => (found, TensorView::new(Dtype::F32, t.shape().to_vec(), bytes).unwrap()),
            false => (found, t),
        });
        let changed = safetensors::serialize(views, None).unwrap();
        fs::write(path, changed).unwrap();
    }
}
