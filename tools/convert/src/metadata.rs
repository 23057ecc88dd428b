//! The keys of the GGUF file: what the model is called, its hyper-parameters, its tokenizer, how to talk to it.

use crate::config::{Config, RopeScaling, token_ids};
use crate::error::{ConvertError, Result, invalid};
use crate::json::{Object, kind, quote, read_text};
use crate::vocab::Vocab;
use qwip_quant::gguf::{Set, Writer};
use serde_json::Value;
use std::path::Path;

/// Sets `general.*`; `parameters` is the number of weights.
pub(crate) fn general(w: &mut Writer, dir: &Path, c: &Config, parameters: u64, file_type: u32) -> Result<()> {
    w.set("general.architecture", c.arch.name());
    w.set("general.type", "model");
    let name = Name::of_folder(dir);
    if let Some(full) = &name.full {
        w.set("general.name", full.as_str());
    }
    if let Some(basename) = &name.basename {
        w.set("general.basename", basename.as_str());
    }
    if let Some(finetune) = &name.finetune {
        w.set("general.finetune", finetune.as_str());
    }
    w.set("general.size_label", name.size_label.unwrap_or_else(|| size_label(parameters)));
    if let Some(license) = license(dir)? {
        w.set("general.license", license);
    }
    sampling(w, dir)?;
    w.set("general.quantization_version", 2u32);
    w.set("general.file_type", file_type);
    Ok(())
}

/// The parts of a name such as `Qwen2.5-0.5B-Instruct`.
#[derive(Default, PartialEq, Debug)]
struct Name {
    full: Option<String>,
    basename: Option<String>,
    size_label: Option<String>,
    finetune: Option<String>,
}

impl Name {
    /// Folders carry the name of the model; in a Hugging Face cache the folder is a commit, and the name is in
    /// `models--OWNER--NAME` two levels up.
    fn of_folder(dir: &Path) -> Name {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        let folder = |p: &Path| p.file_name().and_then(|n| n.to_str()).map(str::to_string);
        let repository = dir.ancestors().nth(2).and_then(folder).filter(|n| n.starts_with("models--"));
        match repository {
            Some(repository) => repository.rsplit("--").next().map_or_else(Name::default, Name::parse),
            None => folder(&dir).map_or_else(Name::default, |n| Name::parse(&n)),
        }
    }

    fn parse(name: &str) -> Name {
        let parts: Vec<&str> = name.split('-').filter(|p| !p.is_empty()).collect();
        let join = |parts: &[&str]| (!parts.is_empty()).then(|| parts.join("-"));
        let full = (!parts.is_empty()).then(|| parts.join(" "));
        match parts.iter().position(|p| is_size(p)) {
            Some(i) => Name {
                full,
                basename: join(&parts[..i]),
                size_label: Some(parts[i].to_uppercase()),
                finetune: join(&parts[i + 1..]),
            },
            None => Name { full, ..Name::default() },
        }
    }
}

/// `0.5B`, `72b`, `630M`.
fn is_size(part: &str) -> bool {
    let Some(number) = part.strip_suffix(['B', 'b', 'M', 'm']) else { return false };
    number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f32>().is_ok()
}

fn size_label(parameters: u64) -> String {
    let n = parameters as f64;
    match parameters {
        1_000_000_000.. => format!("{:.1}B", n / 1e9),
        1_000_000.. => format!("{:.0}M", n / 1e6),
        _ => format!("{:.0}K", n / 1e3),
    }
}

/// The `license:` line of the header between two `---` lines of README.md.
fn license(dir: &Path) -> Result<Option<String>> {
    let Some(text) = read_text(dir, "README.md")? else { return Ok(None) };
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Ok(None);
    }
    let header = lines.take_while(|line| line.trim_end() != "---");
    let value = header.filter_map(|line| line.strip_prefix("license:")).next();
    let value = value.map(|v| v.trim().trim_matches(['"', '\'']).to_string());
    Ok(value.filter(|v| !v.is_empty()))
}

/// The makers' sampling settings, unless they say that the model is to be run greedily.
fn sampling(w: &mut Writer, dir: &Path) -> Result<()> {
    let Some(g) = Object::read(dir, "generation_config.json")? else { return Ok(()) };
    if g.bool("do_sample")? == Some(false) {
        return Ok(());
    }
    for (key, name) in [
        ("temperature", "temp"),
        ("top_p", "top_p"),
        ("min_p", "min_p"),
        ("repetition_penalty", "penalty_repeat"),
    ] {
        if let Some(x) = g.f32(key)? {
            w.set(&format!("general.sampling.{name}"), x);
        }
    }
    if let Some(k) = g.u64("top_k")? {
        match i32::try_from(k) {
            Ok(k) => w.set("general.sampling.top_k", k),
            Err(_) => return invalid(format!("{}: top_k {k} is too large", g.place)),
        };
    }
    Ok(())
}

/// Sets the keys that begin with the architecture's name.
pub(crate) fn hyper_parameters(w: &mut Writer, c: &Config) {
    let mut set = |key: &str, value: Set| {
        w.set(&format!("{}.{key}", c.arch.name()), value);
    };
    set("block_count", c.layers.into());
    set("context_length", c.context.into());
    set("embedding_length", c.hidden.into());
    set("feed_forward_length", c.ffn.into());
    set("attention.head_count", c.heads.into());
    set("attention.head_count_kv", c.kv_heads.into());
    set("attention.key_length", c.head_dim.into());
    set("attention.value_length", c.head_dim.into());
    set("attention.layer_norm_rms_epsilon", c.eps.into());
    set("rope.freq_base", c.rope_theta.into());
    match c.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            set("rope.scaling.type", "linear".into());
            set("rope.scaling.factor", factor.into());
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
            set("rope.scaling.type", "yarn".into());
            set("rope.scaling.factor", factor.into());
            set("rope.scaling.original_context_length", original_context.into());
            for (key, beta) in
                [("rope.scaling.yarn_beta_fast", beta_fast), ("rope.scaling.yarn_beta_slow", beta_slow)]
            {
                if let Some(beta) = beta {
                    set(key, beta.into());
                }
            }
        }
    }
}

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
    let special = SpecialIds::find(c, config.as_ref(), generation.as_ref(), &vocab)?;
    let mut template = templates(dirs[0], config.as_ref())?;
    if template.is_empty() && dirs[0] != dirs[1] {
        template = templates(dirs[1], Object::read(dirs[1], "tokenizer_config.json")?.as_ref())?;
    }
    w.set("tokenizer.ggml.model", "gpt2");
    w.set("tokenizer.ggml.pre", vocab.pre);
    w.set("tokenizer.ggml.tokens", vocab.tokens);
    w.set("tokenizer.ggml.token_type", vocab.types.iter().map(|&t| t as i32).collect::<Vec<_>>());
    w.set("tokenizer.ggml.merges", vocab.merges);
    for (key, id) in
        [("bos", special.bos), ("eos", special.eos), ("eot", special.eot), ("padding", special.padding)]
    {
        if let Some(id) = id {
            w.set(&format!("tokenizer.ggml.{key}_token_id"), id);
        }
    }
    w.set("tokenizer.ggml.add_bos_token", special.add_bos);

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
        let mut ends: Vec<u32> = named("eos_token")?.into_iter().collect();
        ends.extend(listed("eos_token_id")?);
        ends.extend(&c.eos);
        let eos = ends.first().copied();
        let turn_end = vocab.id("<|im_end|>").into_iter().chain(ends).find(|&id| Some(id) != eos);
        let mut found = SpecialIds {
            bos: named("bos_token")?.or(first(listed("bos_token_id")?)).or(c.bos),
            eos,
            eot: turn_end.filter(|_| eos.is_some()),
            padding: named("pad_token")?.or(first(listed("pad_token_id")?)).or(c.pad),
            add_bos: false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_size() {
        let parse = |name| {
            let n = Name::parse(name);
            [n.full, n.basename, n.size_label, n.finetune].map(Option::unwrap_or_default)
        };
        assert_eq!(
            parse("Qwen2.5-0.5B-Instruct"),
            ["Qwen2.5 0.5B Instruct", "Qwen2.5", "0.5B", "Instruct"].map(String::from)
        );
        assert_eq!(
            parse("Qwen3-4b-Thinking-2507"),
            ["Qwen3 4b Thinking 2507", "Qwen3", "4B", "Thinking-2507"].map(String::from)
        );
        assert_eq!(parse("my_model"), ["my_model", "", "", ""].map(String::from));
        assert_eq!(parse("--"), ["", "", "", ""].map(String::from));
        assert!(!is_size("infB") && !is_size("B") && !is_size("-1B"));
    }

    #[test]
    fn a_cache_folder_gives_the_repository_name() {
        let root = tempfile::tempdir().unwrap();
        let dir =
            root.path().join("models--Qwen--Qwen3-0.6B/snapshots/e6de91484c29aa9480d55605af694f39b081c455");
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(Name::of_folder(&dir), Name::parse("Qwen3-0.6B"));
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(
            [494_032_768, 1_543_714_304, 82_000].map(size_label),
            ["494M", "1.5B", "82K"].map(String::from)
        );
    }
}
