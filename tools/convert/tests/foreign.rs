//! What is given in place of a checkpoint is recognised, and one line says what it is and what to do.

mod common;

use common::{Copy, Log, fixture, named, run};
use qwip_convert::{Options, convert};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const QWEN: &str = r#"{"architectures": ["Qwen2ForCausalLM"]}"#;
const WHOLE: &[u8] = b"\x02\0\0\0\0\0\0\0{}";
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b\
                       1258daaa5e2ca24d17e2393\nsize 3945426872\n";

/// A folder `model` with files of these names and contents.
fn folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    fs::create_dir(&dir).unwrap();
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (root, dir)
}

/// The one line about `checkpoint`, after which nothing lies around in `root`.
#[track_caller]
fn refusal(root: &Path, checkpoint: &Path) -> String {
    let count = || fs::read_dir(root).unwrap().count();
    let (before, out) = (count(), root.join("out.gguf"));
    let result = convert(checkpoint, &out, &Options::new(named("Q8_0")), &mut Log::default());
    let message = result.expect_err("it should be refused").to_string();
    assert!(!message.contains('\n') && !message.contains('{'), "{message:?}");
    assert_eq!(count(), before, "after: {message}");
    message
}

#[track_caller]
fn expect(files: &[(&str, &[u8])], parts: &[&str]) {
    let (root, dir) = folder(files);
    let message = refusal(root.path(), &dir);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// A safetensors file of tensors that hold one byte each.
fn tensors(names: &[&str]) -> Vec<u8> {
    let views = names.iter().map(|name| (*name, TensorView::new(Dtype::U8, vec![1], &[0]).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn adapters() {
    let lora = br#"{"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen2.5-0.5B"}"#;
    let parts = [
        "model is a LoRA adapter of \"Qwen/Qwen2.5-0.5B\", not a checkpoint",
        "convert the base model's folder and give the adapter with --lora ",
    ];
    expect(&[("adapter_config.json", lora), ("adapter_model.safetensors", WHOLE)], &parts);
    // As trainers leave it: a configuration, but no weights beside it.
    let more: [(&str, &[u8]); 5] = [
        ("adapter_config.json", lora),
        ("adapter_model.bin", b""),
        ("config.json", QWEN.as_bytes()),
        ("optimizer.pt", b""),
        ("checkpoint-10/adapter_config.json", lora),
    ];
    expect(&more, &parts);
    expect(&[("adapter_config.json", b"{}")], &["a LoRA adapter of an unnamed model"]);
    let prompt = br#"{"peft_type": "PROMPT_TUNING", "base_model_name_or_path": "a\nb"}"#;
    expect(
        &[("adapter_config.json", prompt)],
        &["a \"PROMPT_TUNING\" adapter of \"a\\nb\"", "only LoRA", "merge_and_unload"],
    );
}

#[test]
fn quantized_checkpoints_by_their_configuration() {
    let config = |settings: serde_json::Value| {
        let mut config: serde_json::Value = serde_json::from_str(QWEN).unwrap();
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        config.to_string()
    };
    let integers = json!({"group_0": {"weights": {"num_bits": 4, "type": "int"}}});
    for (settings, part) in [
        (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "\"bitsandbytes\""),
        (json!({"load_in_8bit": true}), "bitsandbytes"),
        (json!({"quant_method": "gptq", "bits": 4}), "\"gptq\""),
        (json!({"quant_method": "awq", "bits": 4}), "\"awq\""),
        (json!({"quant_method": "hqq"}), "\"hqq\""),
        (json!({"quant_method": "aqlm"}), "\"aqlm\""),
        (json!({"quant_method": "eetq"}), "\"eetq\""),
        (json!({"quant_method": "torchao"}), "\"torchao\""),
        (json!({"quant_method": "new\nest"}), "\"new\\nest\""),
        (json!({"bits": 4}), "an unnamed method"),
        (json!({"quant_method": "compressed-tensors", "config_groups": integers}), "\"compressed-tensors\""),
    ] {
        let config = config(json!({"quantization_config": settings}));
        let parts = ["already quantized with ", part, "config.json: quantization_config", "--type q4_k_m"];
        expect(&[("config.json", config.as_bytes()), ("model.safetensors", WHOLE)], &parts);
    }
    // MLX writes its settings under both names.
    let mlx = json!({"group_size": 64, "bits": 4});
    let mlx = config(json!({"quantization": mlx, "quantization_config": mlx}));
    expect(
        &[("config.json", mlx.as_bytes()), ("model.safetensors", WHOLE)],
        &["already quantized with MLX (config.json: quantization)"],
    );
}

#[test]
fn quantized_checkpoints_by_their_tensors() {
    let q = "model.layers.0.self_attn.q_proj";
    for (endings, part) in [
        (
            &["qweight", "qzeros", "scales", "g_idx"][..],
            "GPTQ (as the tensor \"model.layers.0.self_attn.q_proj.g_idx\"",
        ),
        (&["qweight", "qzeros", "scales"], "GPTQ or AWQ (as the tensor"),
        (
            &["weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"],
            "bitsandbytes",
        ),
        (&["weight", "SCB"], "bitsandbytes"),
        (&["W_q", "scale", "zero"], "HQQ"),
        (&["weight_packed", "weight_scale", "weight_shape"], "compressed-tensors"),
    ] {
        let copy = Copy::of("qwen2-yarn");
        let names: Vec<String> = endings.iter().map(|ending| format!("{q}.{ending}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        copy.write("model.safetensors", tensors(&names));
        let message = copy.error();
        assert!(message.contains("already quantized with ") && message.contains(part), "{message}");
    }
}

#[test]
fn weights_of_other_programs() {
    let config = ("config.json", QWEN.as_bytes());
    for (files, parts) in [
        (
            &["pytorch_model.bin"][..],
            &["pytorch_model.bin are PyTorch weights", "safe_serialization=True"][..],
        ),
        (
            &["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
            &["-00001-of-00002.bin are PyTorch"],
        ),
        (&["model.pt", "optimizer.pt"], &["model.pt are PyTorch weights"]),
        (&["last.ckpt", "training_args.bin"], &["last.ckpt are PyTorch weights"]),
        (&["consolidated.00.pth", "params.json"], &["consolidated.00.pth are PyTorch weights"]),
        (&["consolidated.safetensors"], &["consolidated.safetensors are PyTorch weights"]),
        (&["tf_model.h5"], &["tf_model.h5 is for another framework"]),
        (&["Qwen-Q4_K_M.gguf"], &["Qwen-Q4_K_M.gguf is a GGUF file already", "qwip quantize"]),
        (
            &["model-00001-of-00002.safetensors"],
            &["model-00001-of-00002.safetensors", "no model.safetensors.index.json"],
        ),
        (
            &["zero_to_fp32.py", "latest"],
            &["DeepSpeed ZeRO shards (zero_to_fp32.py)", "--safe_serialization"],
        ),
        (
            &["zero_to_fp32.py", "global_step7/zero_pp_rank_0_mp_rank_00_optim_states.pt"],
            &["shards (global_step7/zero_pp_rank_0_mp_rank_00_optim_states.pt)", "python zero_to_fp32.py "],
        ),
        (&["zero_pp_rank_0_mp_rank_00_model_states.pt"], &["DeepSpeed ZeRO shards"]),
        (
            &["mp_rank_00/model_optim_rng.pt"],
            &["is a Megatron checkpoint (mp_rank_00/", "Hugging Face's format"],
        ),
        (
            &["iter_0000100/mp_rank_00/model_optim_rng.pt"],
            &["is a Megatron checkpoint (iter_0000100/mp_rank_00)"],
        ),
        (&["latest_checkpointed_iteration.txt", "iter_0000100/__0_0.distcp"], &["is a Megatron checkpoint"]),
        (
            &["__0_0.distcp", ".metadata"],
            &["distributed training (__0_0.distcp)", "accelerate merge-weights"],
        ),
        (
            &["pytorch_model_fsdp_0/__0_0.distcp", "optimizer.bin"],
            &["training (pytorch_model_fsdp_0/__0_0.distcp)"],
        ),
    ] {
        let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, &b"x"[..])).collect();
        expect(&files, parts);
        expect(&[&[config][..], &files].concat(), parts);
    }
}

#[test]
fn folders_of_training_steps() {
    let steps: [(&str, &[u8]); 4] = [
        ("checkpoint-500/model.safetensors", WHOLE),
        ("checkpoint-1500/model.safetensors", WHOLE),
        ("checkpoint-final/model.safetensors", WHOLE),
        ("training_args.bin", b""),
    ];
    let slash = std::path::MAIN_SEPARATOR;
    expect(&steps, &["those of training steps", &format!("{slash}model/checkpoint-1500, the newest")]);
}

#[test]
fn files_given_as_a_checkpoint() {
    let files: [(&str, &[u8]); 3] =
        [("model.safetensors", WHOLE), ("model.gguf", b"GGUF"), ("pytorch_model.bin", b"PK")];
    let (root, dir) = folder(&files);
    for (file, part) in [
        ("model.safetensors", "model.safetensors is one file of a checkpoint: give the folder that it is in"),
        ("model.gguf", "model.gguf is a GGUF file already"),
        ("pytorch_model.bin", "pytorch_model.bin are PyTorch weights"),
    ] {
        let message = refusal(root.path(), &dir.join(file));
        let path = dir.join(part);
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn unfinished_downloads() {
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        let copy = Copy::of("qwen2-yarn");
        copy.write(file, POINTER);
        let message = copy.error();
        assert!(message.contains(&format!("{file} is a git-lfs pointer")), "{message}");
        assert!(message.contains("`git lfs pull`"), "{message}");
    }
    let copy = Copy::of("qwen2-sharded");
    copy.write("model-00002-of-00002.safetensors", POINTER);
    assert!(copy.error().contains("model-00002-of-00002.safetensors is a git-lfs pointer"));

    let hub = ".cache/huggingface/download/abc.incomplete";
    for left in ["model-00002-of-00002.safetensors.incomplete", "model-00002-of-00002.safetensors.aria2", hub]
    {
        let copy = Copy::of("qwen2-sharded");
        copy.remove("model-00002-of-00002.safetensors");
        fs::create_dir_all(copy.path(left).parent().unwrap()).unwrap();
        copy.write(left, "x");
        let message = copy.error();
        let name = left.rsplit('/').next().unwrap();
        let part = format!("is not downloaded completely ({name} is still there): run the download again");
        assert!(message.contains(&part), "{message}");
    }
    // The cache of the hub's own program: files are links into `blobs`.
    let (root, dir) =
        folder(&[("blobs/abc.incomplete", b"x"), ("snapshots/abc/config.json", QWEN.as_bytes())]);
    let message = refusal(root.path(), &dir.join("snapshots/abc"));
    assert!(message.contains("is not downloaded completely (abc.incomplete"), "{message}");
}

#[test]
fn tokenizers_of_other_kinds() {
    for (file, part) in [
        ("spiece.model", "spiece.model is a SentencePiece tokenizer"),
        ("cl100k_base.tiktoken", "cl100k_base.tiktoken is a tiktoken vocabulary"),
        ("vocab.txt", "vocab.txt is a WordPiece vocabulary"),
    ] {
        let copy = Copy::of("qwen2-yarn");
        copy.remove("tokenizer.json");
        copy.write(file, "x");
        let message = copy.error();
        assert!(message.contains(part) && message.contains("put the tokenizer.json o"), "{message}");
    }
    for (kind, fallback, part) in
        [("WordPiece", false, "\"WordPiece\""), ("BPE", true, "\"BPE with byte_fallback\"")]
    {
        let copy = Copy::of("qwen2-yarn");
        copy.edit("tokenizer.json", |t| {
            t["model"]["type"] = json!(kind);
            t["model"]["byte_fallback"] = json!(fallback);
        });
        let message = copy.error();
        assert!(message.contains(part) && message.contains("take the tokenizer.json of"), "{message}");
    }
}

/// Signs of everything else lie beside a checkpoint that is whole.
fn among_signs() -> Copy {
    let copy = Copy::of("qwen2-yarn");
    for file in [
        "adapter_config.json",
        "pytorch_model.bin",
        "optimizer.pt",
        "model.gguf",
        "tokenizer.model",
        "vocab.txt",
        "zero_to_fp32.py",
        "model.safetensors.aria2",
        "global_step5/mp_rank_00_model_states.pt",
        "mp_rank_00/model.pt",
        "checkpoint-5/model.safetensors",
        "original/consolidated.00.pth",
    ] {
        fs::create_dir_all(copy.path(file).parent().unwrap()).unwrap();
        copy.write(file, "x");
    }
    copy
}

#[test]
fn what_lies_beside_a_checkpoint_changes_nothing() {
    let copy = among_signs();
    copy.convert(named("Q8_0")).unwrap();
    let plain = tempfile::tempdir().unwrap();
    run(&fixture("qwen2-yarn"), &plain.path().join("out.gguf"), named("Q8_0")).unwrap();
    let (ours, plain) = (fs::read(copy.out()).unwrap(), fs::read(plain.path().join("out.gguf")).unwrap());
    // Only the name of the folder differs, which is in the metadata.
    assert_eq!(ours[ours.len() - 4096..], plain[plain.len() - 4096..]);

    let copy = among_signs();
    copy.edit("config.json", |c| c["hidden_act"] = json!("gelu"));
    assert_eq!(copy.error(), "config.json: hidden_act must be \"silu\", found \"gelu\"");
    copy.edit("config.json", |c| c["architectures"] = json!(["LlamaForCausalLM"]));
    copy.write("model.safetensors", tensors(&["a.qweight"]));
    assert!(copy.error().contains("architecture \"LlamaForCausalLM\" is not supported"));
}
