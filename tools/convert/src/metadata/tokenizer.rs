//! `tokenizer.*`: the vocabulary, its special tokens, and how to talk to the model.

use crate::config::{Arch, Config, token_ids};
use crate::error::{ConvertError, Result, invalid};
use crate::json::{Object, kind, quote, read_text};
use crate::qwen;
use crate::vocab::{Pieces, Vocab};
use qwip_quant::gguf::Writer;
use qwip_quant::pooling::{Pooling, RERANK_TEMPLATE};
use serde_json::Value;
use std::path::Path;

/// Sets `tokenizer.*`; takes the vocabulary, which is large, and the folders in which files are looked for.
pub(crate) fn tokenizer(
    w: &mut Writer,
    dirs: [&Path; 2],
    c: &Config,
    vocab: Vocab,
    notes: &mut Vec<String>,
) -> Result<()> {
    let config = first_with(dirs, "tokenizer_config.json")?;
    let generation = first_with(dirs, "generation_config.json")?;
    let chat_format = generation.as_ref().map_or(Ok(None), |g| g.str("chat_format"))?;
    let special = SpecialIds::find(c, config.as_ref(), generation.as_ref(), &vocab)?;
    let mut template = templates(dirs[0], config.as_ref())?;
    if template.is_empty() && dirs[0] != dirs[1] {
        template = templates(dirs[1], Object::read(dirs[1], "tokenizer_config.json")?.as_ref())?;
    }
    if template.is_empty() && c.arch == Arch::Qwen && chat_format == Some("chatml") {
        template = vec![("default".into(), qwen::CHATML.into())];
    }
    if c.pooling == Some(Pooling::Rank) {
        template.retain(|(name, _)| name != "rerank");
        template.push(("rerank".into(), RERANK_TEMPLATE.into()));
    }
    w.set("tokenizer.ggml.model", if vocab.pieces.is_some() { "llama" } else { "gpt2" });
    w.set("tokenizer.ggml.pre", if vocab.pieces.is_some() { "default" } else { vocab.pre });
    w.set("tokenizer.ggml.tokens", vocab.tokens);
    w.set("tokenizer.ggml.token_type", vocab.types.iter().map(|&t| t as i32).collect::<Vec<_>>());
    match vocab.pieces {
        Some(Pieces { scores, space_prefix }) => {
            w.set("tokenizer.ggml.scores", scores);
            w.set("tokenizer.ggml.add_space_prefix", space_prefix);
        }
        None => {
            w.set("tokenizer.ggml.merges", vocab.merges);
        }
    }
    for (key, id) in
        [("bos", special.bos), ("eos", special.eos), ("eot", special.eot), ("padding", special.padding)]
    {
        if let Some(id) = id {
            w.set(&format!("tokenizer.ggml.{key}_token_id"), id);
        }
    }
    w.set("tokenizer.ggml.add_bos_token", special.add_bos);
    if special.add_eos {
        w.set("tokenizer.ggml.add_eos_token", true);
    }

    let mut names = Vec::new();
    for (name, text) in template {
        if name == "default" {
            w.set("tokenizer.chat_template", text);
        } else if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty() {
            w.set(&format!("tokenizer.chat_template.{name}"), text);
            names.push(name);
        } else {
            notes.push(format!("the chat template {} is left out: its name cannot be a key", quote(&name)));
        }
    }
    if !names.is_empty() {
        w.set("tokenizer.chat_templates", names);
    }
    Ok(())
}

/// The object in the first folder that has such a file.
fn first_with(dirs: [&Path; 2], file: &str) -> Result<Option<Object>> {
    match Object::read(dirs[0], file)? {
        Some(found) => Ok(Some(found)),
        None => Object::read(dirs[1], file),
    }
}

#[derive(Default)]
struct SpecialIds {
    bos: Option<u32>,
    /// Ends a generation.
    eos: Option<u32>,
    /// Ends one too; chat models have two such tokens.
    eot: Option<u32>,
    padding: Option<u32>,
    add_bos: bool,
    /// Whether every text ends with `eos`: embedding models were trained so.
    add_eos: bool,
}

impl SpecialIds {
    /// tokenizer_config.json names tokens by their text and is what the chat code of the makers follows;
    /// generation_config.json and config.json name ids.
    fn find(
        c: &Config,
        config: Option<&Object>,
        generation: Option<&Object>,
        vocab: &Vocab,
    ) -> Result<SpecialIds> {
        let named = |key: &str| config.map_or(Ok(None), |config| token_by_text(config, key, vocab));
        let listed = |key: &str| generation.map_or(Ok(Vec::new()), |g| token_ids(g, key));
        let first = |list: Vec<u32>| list.first().copied();
        // The token that the tokenizer puts behind every text wins, as in gguf-py: Qwen3-Embedding's is not its eos.
        let mut ends: Vec<u32> = vocab.appended.into_iter().chain(named("eos_token")?).collect();
        ends.extend(listed("eos_token_id")?);
        ends.extend(&c.eos);
        let usual = vocab.end.and_then(|text| vocab.id(text));
        ends.extend(usual.filter(|_| ends.is_empty()));
        let eos = ends.first().copied();
        let turn_end = vocab.id("<|im_end|>").into_iter().chain(ends).find(|&id| Some(id) != eos);
        let mut found = SpecialIds {
            bos: named("bos_token")?.or(first(listed("bos_token_id")?)).or(c.bos).or(usual),
            eos,
            eot: turn_end.filter(|_| eos.is_some()),
            padding: named("pad_token")?.or(first(listed("pad_token_id")?)).or(c.pad),
            add_bos: false,
            add_eos: false,
        };
        for (key, id) in
            [("bos", found.bos), ("eos", found.eos), ("eot", found.eot), ("padding", found.padding)]
        {
            if let Some(id) = id
                && id as usize >= vocab.tokens.len()
            {
                return invalid(format!(
                    "the {key} token {id} is not below vocab_size {}",
                    vocab.tokens.len()
                ));
            }
        }
        // Qwen never begins with one; distillations of other models into Qwen's shape do.
        let wanted = config.map_or(Ok(None), |config| config.bool("add_bos_token"))?;
        found.add_bos = wanted == Some(true) && found.bos.is_some();
        let wanted = config.map_or(Ok(None), |config| config.bool("add_eos_token"))?;
        found.add_eos = wanted.unwrap_or(vocab.appended.is_some()) && found.eos.is_some();
        Ok(found)
    }
}

/// A token given as `"text"` or as `{"content": "text"}`.
fn token_by_text(config: &Object, key: &str, vocab: &Vocab) -> Result<Option<u32>> {
    let Some(value) = config.get(key) else { return Ok(None) };
    let Some(text) = value.as_str().or_else(|| value.get("content").and_then(Value::as_str)) else {
        return invalid(format!("{}: {key} must be a token, found {}", config.place, kind(value)));
    };
    match vocab.id(text) {
        Some(id) => Ok(Some(id)),
        None => invalid(format!("{}: {key} {} is not in the vocabulary", config.place, quote(text))),
    }
}

/// Chat templates by name. Separate files are newer than the entry in tokenizer_config.json and win over it.
fn templates(dir: &Path, config: Option<&Object>) -> Result<Vec<(String, String)>> {
    if let Some(text) = read_text(dir, "chat_template.jinja")? {
        let mut all = vec![("default".to_string(), text)];
        let extra = dir.join("additional_chat_templates");
        let mut files: Vec<String> = std::fs::read_dir(&extra)
            .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        files.sort();
        for file in files {
            if let Some(name) = file.strip_suffix(".jinja")
                && let Some(text) = read_text(&extra, &file)?
            {
                all.push((name.to_string(), text));
            }
        }
        return Ok(all);
    }
    let own = Object::read(dir, "chat_template.json")?;
    let Some(holder) = own.as_ref().or(config) else { return Ok(Vec::new()) };
    let wrong = || {
        ConvertError::Invalid(format!(
            "{}: chat_template must be text or a list of named texts",
            holder.place
        ))
    };
    match holder.get("chat_template") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![("default".into(), text.clone())]),
        Some(Value::Array(list)) => {
            let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_string);
            let pair = |v: &Value| match (text(v, "name"), text(v, "template")) {
                (Some(name), Some(template)) => Ok((name, template)),
                _ => Err(wrong()),
            };
            list.iter().map(pair).collect()
        }
        Some(_) => Err(wrong()),
    }
}
