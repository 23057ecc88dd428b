//! What may lie where a checkpoint should be: recognised by its signs, with what to do about it.
//!
//! Asked only when a conversion has failed, so that no sign can stand in the way of a checkpoint that converts.

use crate::checkpoint::{Checkpoint, INDEX, SINGLE};
use crate::config::Arch;
use crate::error::ConvertError;
use crate::json::{Object, quote};
use crate::{sentencepiece, tiktoken};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The error of a failed conversion, or what the checkpoint is if it is of a kind that never converts.
pub(crate) fn explained(path: &Path, error: ConvertError) -> ConvertError {
    let of_input = matches!(error, ConvertError::Invalid(_) | ConvertError::Io { action: "read", .. });
    match Place::look(path).filter(|_| of_input).and_then(|place| place.kind()) {
        Some(message) => ConvertError::Invalid(message),
        None => error,
    }
}

/// Something that is no checkpoint, or none that can be converted.
struct Kind {
    /// What gives it away, if it is there.
    sign: fn(&Place) -> Option<String>,
    /// What it is and what to do; `{path}` and `{sign}` stand for what was given and what gave it away.
    message: &'static str,
}

/// The first that fits counts.
const KINDS: [Kind; 17] = [
    Kind {
        sign: Place::git_lfs_pointer,
        message: "{path}: {sign} is a git-lfs pointer in place of the file: run `git lfs pull` there",
    },
    Kind {
        sign: Place::unfinished_download,
        message: "{path} is not downloaded completely ({sign} is still there): run the download again",
    },
    Kind {
        sign: |place| place.file(&["*.safetensors"]),
        message: "{path} is one file of a checkpoint: give the folder that it is in",
    },
    Kind {
        sign: Place::quantized,
        message: "{path} is already quantized with {sign}, which does not convert: convert the model that it was made \
                  from, with --type q4_k_m or another small type",
    },
    Kind {
        sign: |place| place.adapter().filter(|(peft_type, _)| peft_type == "LORA").map(|(_, base)| base),
        message: "{path} is a LoRA adapter of {sign}, not a checkpoint: convert the base model's folder and give the \
                  adapter with --lora {path}",
    },
    Kind {
        sign: |place| {
            place.adapter().map(|(peft_type, base)| format!("{} adapter of {base}", quote(&peft_type)))
        },
        message: "{path} is a {sign}, not a checkpoint, and only LoRA adapters can be given with --lora: let peft \
                  merge it (merge_and_unload), save the model and convert that",
    },
    Kind {
        sign: |place| {
            let signs =
                ["global_step*/*_states.pt", "*_optim_states.pt", "zero_pp_rank_*", "zero_to_fp32.py"];
            place.without_weights(&signs)
        },
        message: "{path} holds DeepSpeed ZeRO shards ({sign}), which do not convert: run `python zero_to_fp32.py {path} \
                  OUT --safe_serialization`, put config.json and the tokenizer's files into OUT and convert that",
    },
    Kind {
        sign: |place| {
            let signs =
                ["mp_rank_*/*", "iter_*/mp_rank_*", "release/mp_rank_*", "latest_checkpointed_iteration.txt"];
            place.without_weights(&signs)
        },
        message: "{path} is a Megatron checkpoint ({sign}), which does not convert: export it in Hugging Face's format \
                  with the tools that trained it and convert that",
    },
    Kind {
        sign: |place| place.without_weights(&["*.distcp", "*/*.distcp", "pytorch_model_fsdp_*"]),
        message: "{path} holds shards of distributed training ({sign}), which do not convert: join them with \
                  `accelerate merge-weights`, put config.json and the tokenizer's files beside them and convert that",
    },
    Kind {
        sign: |place| place.without_weights(&["model-*.safetensors"]),
        message: "{path} has {sign}, but no model.safetensors.index.json, which says what the files hold: it is part of \
                  the checkpoint",
    },
    Kind {
        sign: |place| place.without_weights(&["*.gguf"]),
        message: "{path}: {sign} is a GGUF file already, and needs no converting: `qwip quantize` gives it another type",
    },
    Kind {
        sign: |place| place.without_weights(&["*.bin", "*.pt", "*.pth", "*.ckpt", "consolidated*"]),
        message: "{path}: {sign} are PyTorch weights, which do not convert: load the model with transformers, save it \
                  with save_pretrained(OUT, safe_serialization=True) and convert OUT",
    },
    Kind {
        sign: |place| place.without_weights(&["tf_model*.h5", "flax_model*.msgpack", "*.onnx"]),
        message: "{path}: {sign} is for another framework and does not convert: load the model with transformers, save \
                  it with save_pretrained(OUT, safe_serialization=True) and convert OUT",
    },
    Kind {
        sign: Place::newest_training_step,
        message: "{path} holds no checkpoint itself, but those of training steps: convert {path}/{sign}, the newest",
    },
    Kind {
        sign: |place| place.without_tokenizer(&["*.spm", "spiece.model", "sentencepiece*.model"]),
        message: "{path}: {sign} is a SentencePiece tokenizer under a name that Qwen models do not have: put the \
                  tokenizer.json or the tokenizer.model of the model that this one was made from beside it",
    },
    Kind {
        sign: |place| place.without_tokenizer(&["*.tiktoken"]),
        message: "{path}: {sign} is a tiktoken vocabulary that is not Qwen's: put the tokenizer.json or the \
                  qwen.tiktoken of the model that this one was made from beside it",
    },
    Kind {
        sign: |place| place.without_tokenizer(&["vocab.txt"]),
        message: "{path}: {sign} is a WordPiece vocabulary, which does not convert, since Qwen's are byte-level BPE: \
                  put the tokenizer.json of the model that this one was made from beside it",
    },
];

/// What a trainer keeps beside the weights: it says nothing about them.
const STATES: [&str; 5] = ["training_args.bin", "optimizer.*", "scheduler.pt", "scaler.pt", "rng_state*.pth"];

/// Endings of tensors' names and what quantizes so.
const QUANTIZED: [(&str, &str); 7] = [
    (".g_idx", "GPTQ"),
    (".qweight", "GPTQ or AWQ"),
    (".weight.absmax", "bitsandbytes"),
    (".SCB", "bitsandbytes"),
    (".W_q", "HQQ"),
    (".codebooks", "AQLM"),
    (".weight_packed", "compressed-tensors"),
];

/// What was given as a checkpoint.
struct Place {
    path: PathBuf,
    /// The files and folders in it, and in these: `a`, `a/b`. If it is a file, its own name.
    names: Vec<String>,
    config: Option<Object>,
    /// Its tensors, if its safetensors files are whole.
    tensors: Option<Vec<String>>,
}

impl Place {
    /// `None` if there is nothing, or a model that would not convert in any form.
    fn look(path: &Path) -> Option<Place> {
        let mut names = Vec::new();
        if path.is_dir() {
            for name in entries(path) {
                let inner = entries(&path.join(&name));
                names.extend(inner.iter().map(|inner| format!("{name}/{inner}")));
                names.push(name);
            }
        } else {
            names.extend(path.file_name().and_then(|name| name.to_str()).map(String::from));
        }
        names.retain(|name| !STATES.iter().any(|state| fits(name, state)));
        names.sort();
        let config = Object::read(path, "config.json").ok().flatten();
        if let Some(config) = &config
            && let Ok(Some([Value::String(class), ..])) =
                config.array("architectures").map(|a| a.map(Vec::as_slice))
        {
            Arch::from_class(class).ok()?;
        }
        let tensors = Checkpoint::open(path).ok().map(|checkpoint| checkpoint.tensors.into_keys().collect());
        Some(Place { path: path.to_path_buf(), names, config, tensors })
    }

    fn kind(&self) -> Option<String> {
        let found = |kind: &Kind| (kind.sign)(self).map(|sign| (kind.message, sign));
        let (message, sign) = KINDS.iter().find_map(found)?;
        // A file is a sign itself.
        let place = if self.path.is_file() { "{path}" } else { "{path}: {sign}" };
        let message = message.replace("{path}: {sign}", place).replace("{sign}", &sign);
        Some(message.replace("{path}", &self.path.display().to_string()))
    }

    fn any(&self, patterns: &[&str]) -> Option<String> {
        patterns.iter().find_map(|pattern| self.names.iter().find(|name| fits(name, pattern)).cloned())
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// One of the patterns, if the path is a file.
    fn file(&self, patterns: &[&str]) -> Option<String> {
        self.any(patterns).filter(|_| self.path.is_file())
    }

    /// One of the patterns, in place of weights that could be converted.
    fn without_weights(&self, patterns: &[&str]) -> Option<String> {
        self.any(patterns).filter(|_| !self.has(SINGLE) && !self.has(INDEX))
    }

    /// One of the patterns, in place of a tokenizer that could be converted.
    fn without_tokenizer(&self, patterns: &[&str]) -> Option<String> {
        let names = ["tokenizer.json", "vocab.json", tiktoken::FILE, sentencepiece::FILE];
        self.any(patterns).filter(|_| !names.iter().any(|name| self.has(name)))
    }

    fn git_lfs_pointer(&self) -> Option<String> {
        const START: &[u8] = b"version https://git-lfs";
        const PULLED: [&str; 4] = ["*.safetensors", "*.json", "merges.txt", "tokenizer.model"];
        let pulled = |name: &&String| PULLED.iter().any(|pattern| fits(name, pattern));
        let is_pointer = |name: &&String| {
            let (path, mut start) = (self.path.join(name), Vec::new());
            let mut read = || File::open(&path)?.take(START.len() as u64).read_to_end(&mut start);
            path.is_file() && read().is_ok() && start == START
        };
        self.names.iter().filter(pulled).find(is_pointer).cloned()
    }

    fn unfinished_download(&self) -> Option<String> {
        if self.config.is_some() && self.tensors.is_some() {
            return None;
        }
        // Where the hub's own program keeps what it has not finished: in the folder, or in the cache around it.
        let mut of_hub = entries(&self.path.join(".cache/huggingface/download"));
        if let Some(snapshots) = self.path.canonicalize().ok()?.parent().filter(|p| p.ends_with("snapshots"))
        {
            of_hub.extend(entries(&snapshots.with_file_name("blobs")));
        }
        let of_hub = of_hub.into_iter().filter(|name| fits(name, "*.incomplete")).min();
        self.any(&["*.incomplete", "*.aria2", "*.crdownload"]).or(of_hub)
    }

    /// The method that quantized the weights and where that shows; not for the 8-bit floats, which convert.
    fn quantized(&self) -> Option<String> {
        let object = |key: &str| self.config.as_ref().and_then(|config| config.object(key).ok().flatten());
        if object("quantization").is_some_and(|mlx| mlx.get("bits").is_some()) {
            return Some("MLX (config.json: quantization)".into());
        }
        if let Some(settings) = object("quantization_config") {
            let is_true = |key| settings.bool(key).ok().flatten() == Some(true);
            let method = match settings.str("quant_method").ok().flatten() {
                Some("fp8" | "fbgemm_fp8") => return None,
                Some("compressed-tensors") if !compresses_to_integers(&settings) => return None,
                Some(method) => quote(method),
                None if is_true("load_in_4bit") || is_true("load_in_8bit") => "bitsandbytes".into(),
                None => "an unnamed method".into(),
            };
            return Some(format!("{method} (config.json: quantization_config)"));
        }
        let tensors = self.tensors.as_ref()?;
        QUANTIZED.iter().find_map(|(ending, method)| {
            let tensor = tensors.iter().find(|tensor| tensor.ends_with(ending))?;
            Some(format!("{method} (as the tensor {} shows)", quote(tensor)))
        })
    }

    /// The type and the base model of an adapter.
    fn adapter(&self) -> Option<(String, String)> {
        let name = self.without_weights(&["adapter_config.json"])?;
        let config = Object::read(&self.path, &name).ok().flatten()?;
        let text = |key| config.str(key).ok().flatten();
        let base = text("base_model_name_or_path").map_or_else(|| "an unnamed model".into(), quote);
        Some((text("peft_type").unwrap_or("LORA").to_string(), base))
    }

    fn newest_training_step(&self) -> Option<String> {
        self.without_weights(&["checkpoint-*/*"])?;
        let step =
            |name: &&String| name.strip_prefix("checkpoint-").and_then(|step| step.parse::<u64>().ok());
        self.names.iter().filter(|name| step(name).is_some()).max_by_key(step).cloned()
    }
}

/// Whether a group of the weights is kept as integers.
fn compresses_to_integers(settings: &Object) -> bool {
    let groups = settings.object("config_groups").ok().flatten();
    groups.is_some_and(|groups| groups.entries().any(|(_, group)| group["weights"]["type"] == "int"))
}

/// The names in a folder, of those that can be shown; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.contains(char::is_control)).collect()
}

/// Whether a name is of a pattern, in each part of which a `*` stands for any characters but `/`.
fn fits(name: &str, pattern: &str) -> bool {
    let (mut names, mut patterns) = (name.split('/'), pattern.split('/'));
    loop {
        let fits = match (names.next(), patterns.next()) {
            (None, None) => return true,
            (Some(name), Some(pattern)) => match pattern.split_once('*') {
                Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
                None => name == pattern,
            },
            _ => false,
        };
        if !fits {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (name, pattern) in [
            ("a.pt", "*.pt"),
            ("a/b.pt", "a/*.pt"),
            ("ab/x", "a*/*"),
            ("rng_state_0.pth", "rng_state*.pth"),
            ("a", "a"),
        ] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in
            [("a/b.pt", "*.pt"), ("a.pt", "*/*.pt"), ("a.ptx", "*.pt"), ("aba", "ab*ba"), ("a", "b")]
        {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }
}
