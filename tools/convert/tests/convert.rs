//! Every fixture to every type: the file is read again and compared with the checkpoint, number by number.

mod common;

use common::{Copy, FIXTURES, Log, fixture, is_hybrid, named, run, source_tensors};
use qwip_convert::{FileType, Options, convert};
use qwip_quant::gguf::Gguf;
use qwip_quant::{TensorType, decode_row, encode_row};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The matrices of experts put together, expert by expert, and a matrix of one row is a vector. What sees images is left
/// out.
fn stacked_tensors(dir: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut all = source_tensors(dir);
    all.retain(|name, _| !name.starts_with("visual.") && !name.starts_with("model.visual."));
    let mut all: BTreeMap<String, (Vec<usize>, Vec<f32>)> =
        all.into_iter().map(|(name, t)| (name.replace("model.language_model.", "model."), t)).collect();
    let experts: Vec<String> = all.keys().filter(|name| name.contains(".experts.")).cloned().collect();
    for name in experts.iter().filter(|name| !name.ends_with(".weight")) {
        let (shape, values) = all.remove(name).unwrap();
        turn_packed(name, &shape, &values, &mut all);
    }
    let experts: Vec<String> = experts.into_iter().filter(|name| name.ends_with(".weight")).collect();
    for x in 0..experts.len() {
        let part = format!(".experts.{x}.");
        for name in experts.iter().filter(|name| name.contains(&part)) {
            let (shape, values) = all.remove(name).unwrap();
            let stack = all.entry(name.replace(&part, ".experts.")).or_insert((vec![0], Vec::new()));
            stack.0 = vec![stack.0[0] + 1, shape[0], shape[1]];
            stack.1.extend(values);
        }
    }
    all.values_mut().filter(|(shape, _)| shape[0] == 1).for_each(|(shape, _)| *shape = shape[1..].to_vec());
    all
}

/// Turns all experts of a layer, `[experts, inputs, outputs]`, into `[experts, outputs, inputs]`, gate and up apart.
fn turn_packed(
    name: &str,
    shape: &[usize],
    values: &[f32],
    all: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) {
    let &[experts, inputs, outputs] = shape else { panic!("{name}: {shape:?}") };
    let mut add = |part: String, columns: std::ops::Range<usize>| {
        let mut turned = Vec::new();
        for expert in values.chunks(inputs * outputs) {
            for column in columns.clone() {
                turned.extend(expert.iter().skip(column).step_by(outputs));
            }
        }
        assert!(all.insert(part, (vec![experts, columns.len(), inputs], turned)).is_none());
    };
    match name.strip_suffix("gate_up_proj") {
        Some(stem) => {
            add(format!("{stem}gate_proj.weight"), 0..outputs / 2);
            add(format!("{stem}up_proj.weight"), outputs / 2..outputs);
        }
        None => add(format!("{name}.weight"), 0..outputs),
    }
}

/// The name in GGUF, spelled out a second time and independently of the converter.
fn gguf_name(source: &str) -> String {
    match source {
        "model.embed_tokens.weight" => return "token_embd.weight".into(),
        "model.norm.weight" => return "output_norm.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        "transformer.wte.weight" => return "token_embd.weight".into(),
        "transformer.ln_f.weight" => return "output_norm.weight".into(),
        _ => {}
    }
    let layers = ["model.layers.", "transformer.h."].iter().find_map(|prefix| source.strip_prefix(prefix));
    let (layer, rest) = layers.unwrap().split_once('.').unwrap();
    let (rest, kind) = rest.rsplit_once('.').unwrap();
    let rest = match rest {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "ln_1" => "attn_norm",
        "attn.c_attn" => "attn_qkv",
        "attn.c_proj" => "attn_output",
        "ln_2" => "ffn_norm",
        "mlp.w2" => "ffn_gate",
        "mlp.w1" => "ffn_up",
        "mlp.c_proj" => "ffn_down",
        "mlp.gate" => "ffn_gate_inp",
        "mlp.experts.gate_proj" => "ffn_gate_exps",
        "mlp.experts.up_proj" => "ffn_up_exps",
        "mlp.experts.down_proj" => "ffn_down_exps",
        "mlp.shared_expert_gate" => "ffn_gate_inp_shexp",
        "mlp.shared_expert.gate_proj" => "ffn_gate_shexp",
        "mlp.shared_expert.up_proj" => "ffn_up_shexp",
        "mlp.shared_expert.down_proj" => "ffn_down_shexp",
        other => panic!("{other}"),
    };
    format!("blk.{layer}.{rest}.{kind}")
}

/// The types of the mixes of one type; what differs from tensor to tensor is tested where the mixes are.
fn wanted_type(name: &str, shape: &[usize], tied: bool, ty: FileType) -> TensorType {
    let head = name == "output.weight" || (tied && name == "token_embd.weight");
    let cols = *shape.last().unwrap();
    match ty.base {
        _ if shape.len() == 1 || name.contains("ffn_gate_inp") => TensorType::F32,
        base @ (TensorType::F32 | TensorType::F16 | TensorType::Bf16) => base,
        _ if !cols.is_multiple_of(32) => TensorType::F16,
        TensorType::Q4_0 if head && cols.is_multiple_of(256) => TensorType::Q6K,
        TensorType::Q4_0 if head => TensorType::Q8_0,
        base => base,
    }
}

#[test]
fn every_weight_arrives() {
    let fixtures = FIXTURES.into_iter().filter(|(_, arch)| !is_hybrid(arch)).map(|(name, _)| name);
    for name in fixtures.chain(["qwen1-fused"]) {
        let dir = fixture(name);
        let source = stacked_tensors(&dir);
        let tied = !source.contains_key("lm_head.weight");
        for ty in ["F32", "F16", "BF16", "Q8_0", "Q4_0"].map(named) {
            let out = tempfile::tempdir().unwrap();
            let path = out.path().join("model.gguf");
            let (summary, log) = run(&dir, &path, ty).unwrap();
            let file = fs::read(&path).unwrap();
            let gguf = Gguf::parse(&file).unwrap();
            assert_eq!(gguf.tensors.len(), source.len());
            assert_eq!(summary.tensors, source.len());
            assert_eq!((log.done, log.total), (summary.bytes, summary.bytes));
            assert_eq!(summary.bytes, gguf.tensors.iter().map(|t| t.len).sum::<u64>());
            assert_eq!(log.notes, summary.notes);
            for (source_name, (shape, values)) in &source {
                let name = gguf_name(source_name);
                let t = gguf.tensor(&name).unwrap_or_else(|| panic!("{name}"));
                let dims: Vec<u64> = shape.iter().rev().map(|&n| n as u64).collect();
                assert_eq!(t.dims, dims, "{name}");
                assert_eq!(t.ty, wanted_type(&name, shape, tied, ty), "{name}");
                let cols = *shape.last().unwrap();
                let row_bytes = t.ty.row_bytes(cols).unwrap();
                let rows = values.chunks(cols).zip(gguf.tensor_bytes(t, &file).chunks(row_bytes));
                assert_eq!(rows.len() * cols, values.len());
                for (row, bytes) in rows {
                    let mut encoded = vec![0; row_bytes];
                    encode_row(t.ty, row, &mut encoded).unwrap();
                    assert!(encoded == bytes, "{name}: a row is not what its encoder gives");
                    let mut decoded = vec![0f32; cols];
                    decode_row(t.ty, bytes, &mut decoded).unwrap();
                    // Each type's largest error, as a share of the row's largest value.
                    let bound = match t.ty {
                        TensorType::F32 => 0.0,
                        TensorType::F16 => 1.0 / 2048.0,
                        TensorType::Bf16 => 1.0 / 256.0,
                        TensorType::Q8_0 => 1.0 / 220.0,
                        TensorType::Q6K => 1.0 / 16.0,
                        _ => 1.0 / 7.0,
                    };
                    let amax = row.iter().fold(0f32, |m, x| m.max(x.abs()));
                    for (a, b) in row.iter().zip(&decoded) {
                        assert!((a - b).abs() <= bound * amax, "{name}: {a} became {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_source_of_the_same_type_is_copied_bit_by_bit() {
    for (name, ty) in
        [("qwen2-yarn", named("F32")), ("qwen2-sharded", named("F16")), ("qwen2-gqa", named("BF16"))]
    {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("model.gguf");
        run(&fixture(name), &path, ty).unwrap();
        let file = fs::read(&path).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        for (source_name, (shape, values)) in stacked_tensors(&fixture(name)) {
            let t = gguf.tensor(&gguf_name(&source_name)).unwrap();
            let cols = *shape.last().unwrap();
            let bytes = gguf.tensor_bytes(t, &file).chunks(t.ty.row_bytes(cols).unwrap());
            for (row, bytes) in values.chunks(cols).zip(bytes) {
                let mut decoded = vec![0f32; cols];
                decode_row(t.ty, bytes, &mut decoded).unwrap();
                assert_eq!(row, decoded, "{source_name}");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let out = tempfile::tempdir().unwrap();
    let convert = |threads| {
        let path = out.path().join("model.gguf");
        let options = Options { reference: true, verify: true, threads, ..Options::new(named("Q4_0")) };
        qwip_convert::convert(&fixture("qwen3-kquant"), &path, &options, &mut common::Log::default())
            .unwrap();
        fs::read(path).unwrap()
    };
    let one = convert(Some(1));
    assert!(one == convert(Some(3)) && one == convert(None));
}

/// Puts the shards of a checkpoint together, as the one-file form of the same model.
#[test]
fn shards_and_one_file_give_the_same_bytes() {
    let copy = Copy::of("qwen2-sharded");
    copy.convert(named("Q8_0")).unwrap();
    let sharded = fs::read(copy.out()).unwrap();

    let files: Vec<Vec<u8>> = (1..=2)
        .map(|i| fs::read(copy.path(&format!("model-{i:05}-of-00002.safetensors"))).unwrap())
        .collect();
    let shards: Vec<SafeTensors> = files.iter().map(|f| SafeTensors::deserialize(f).unwrap()).collect();
    let tensors = shards.iter().flat_map(|s| s.iter());
    let single = safetensors::serialize(tensors, None).unwrap();
    copy.write("model.safetensors", single);
    copy.remove("model-00001-of-00002.safetensors");
    copy.remove("model-00002-of-00002.safetensors");
    copy.remove("model.safetensors.index.json");
    copy.convert(named("Q8_0")).unwrap();
    assert!(sharded == fs::read(copy.out()).unwrap());
}

/// Newer versions of transformers keep the matrices of all experts in one tensor.
#[test]
fn experts_in_one_tensor_give_the_same_bytes() {
    for name in ["qwen2moe-shared", "qwen3moe-plain"] {
        let copy = Copy::of(name);
        copy.convert(named("Q8_0")).unwrap();
        let apart = fs::read(copy.out()).unwrap();
        copy.edit_tensors(|t| {
            for layer in (0..2).map(|i| format!("model.layers.{i}.mlp.experts")) {
                let count =
                    t.keys().filter(|n| n.starts_with(&layer) && n.ends_with("down_proj.weight")).count();
                for x in 0..count {
                    let mut add = |part: &str, to: &str| {
                        let (dtype, shape, bytes) =
                            t.remove(&format!("{layer}.{x}.{part}_proj.weight")).unwrap();
                        let all =
                            t.entry(format!("{layer}.{to}_proj")).or_insert((dtype, Vec::new(), Vec::new()));
                        let rows = if to == "down" { shape[0] } else { 2 * shape[0] };
                        all.1 = vec![count, rows, shape[1]];
                        all.2.extend(bytes);
                    };
                    for (part, to) in [("gate", "gate_up"), ("up", "gate_up"), ("down", "down")] {
                        add(part, to);
                    }
                }
            }
        });
        copy.convert(named("Q8_0")).unwrap();
        assert!(apart == fs::read(copy.out()).unwrap(), "{name}");
    }
}

#[test]
fn an_old_output_is_replaced() {
    let copy = Copy::of("qwen2-yarn");
    fs::write(copy.out(), "old").unwrap();
    copy.convert(named("F16")).unwrap();
    Gguf::parse(&fs::read(copy.out()).unwrap()).unwrap();
    assert_eq!(copy.left_behind(), ["out.gguf"]);
}

#[test]
fn weights_too_large_for_f16_are_reported() {
    let copy = Copy::of("qwen2-outliers");
    let mut bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let at = header["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    // Two BF16 numbers become 2^100.
    bytes[8 + len + at..][..4].copy_from_slice(&[0x80, 0x71, 0x80, 0xf1]);
    copy.write("model.safetensors", &bytes);
    let (summary, log) = copy.convert(named("F16")).unwrap();
    assert_eq!(summary.notes, ["blk.1.ffn_up.weight: 2 weights are too large for F16"]);
    assert_eq!(log.notes, summary.notes);
}

#[test]
fn weights_that_are_no_numbers_are_refused_or_become_zero() {
    let copy = Copy::of("qwen2-outliers");
    let mut bytes = fs::read(copy.path("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let place = &header["model.layers.1.mlp.up_proj.weight"];
    let at = 8 + len + place["data_offsets"][0].as_u64().unwrap() as usize;
    let cols = place["shape"][1].as_u64().unwrap() as usize;
    // Infinity and NaN, in the second row.
    bytes[at + cols * 2..][..6].copy_from_slice(&[0x80, 0x7f, 0x00, 0x3f, 0xc0, 0xff]);
    copy.write("model.safetensors", bytes);
    // BF16 is copied, the others are converted.
    for ty in ["BF16", "F16", "F32", "Q8_0", "Q4_K_M"] {
        let message = copy.convert(named(ty)).err().unwrap().to_string();
        assert!(message.starts_with("blk.1.ffn_up.weight: row 1"), "{ty}: {message}");
        assert_eq!(copy.left_behind(), Vec::<String>::new());

        let options = Options { allow_nan: true, ..Options::new(named(ty)) };
        let summary = convert(&copy.dir(), &copy.out(), &options, &mut Log::default()).unwrap();
        let note = "blk.1.ffn_up.weight: 2 weights are infinite or not numbers, and became zero";
        assert_eq!(summary.notes, [note], "{ty}");
        let file = fs::read(copy.out()).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let t = gguf.tensor("blk.1.ffn_up.weight").unwrap();
        let row_bytes = t.ty.row_bytes(cols).unwrap();
        let mut values = vec![0f32; cols];
        decode_row(t.ty, &gguf.tensor_bytes(t, &file)[row_bytes..2 * row_bytes], &mut values).unwrap();
        assert_eq!((values[0], values[2]), (0.0, 0.0), "{ty}");
        assert!((values[1] - 0.5).abs() < 0.05, "{ty}: {}", values[1]);
        fs::remove_file(copy.out()).unwrap();
    }
}
