//! What a model is for besides answers: embeddings, as the files of sentence-transformers say, or judging documents, as
//! its name says.

use crate::config::{Arch, Config};
use crate::error::{Result, invalid};
use crate::json::{Object, kind, quote, read_text};
use crate::metadata::repository;
use qwip_quant::pooling::Pooling;
use serde_json::Value;
use std::path::Path;

const MODULES: &str = "modules.json";

/// How the states of a text's tokens become one vector; `None` where a model only answers.
pub(crate) fn pooling(dir: &Path, c: &Config, notes: &mut Vec<String>) -> Result<Option<Pooling>> {
    if let Some(sign) = reranker(dir, c) {
        notes.push(format!(
            "{sign} is called Qwen3-Reranker: of its output matrix it keeps the rows of \"yes\" and \"no\""
        ));
        return Ok(Some(Pooling::Rank));
    }
    let Some(text) = read_text(dir, MODULES)? else { return Ok(None) };
    let modules = match serde_json::from_str(&text) {
        Ok(Value::Array(modules)) => modules,
        Ok(other) => return invalid(format!("{MODULES} holds {}, not a list", kind(&other))),
        Err(e) => return invalid(format!("{MODULES} is not JSON: {e}")),
    };
    let mut found = None;
    for module in &modules {
        let class = module["type"].as_str().unwrap_or_default();
        match class.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" if found.is_none() => found = Some(mode(dir, module)?),
            _ => {
                return invalid(format!(
                    "{MODULES}: a module of type {} does not convert (known: Transformer, one Pooling, Normalize)",
                    kind(&module["type"])
                ));
            }
        }
    }
    Ok(found)
}

/// What says that a model is a reranker. Its config.json is that of any other, so llama.cpp's converter goes by names,
/// too.
fn reranker(dir: &Path, c: &Config) -> Option<&'static str> {
    const NAMES: [&str; 2] = ["qwen3-reranker", "qwen3-vl-reranker"];
    if !matches!(c.arch, Arch::Qwen3 | Arch::Qwen3Vl) {
        return None;
    }
    let named = |text: Option<String>, mark: &str| {
        let text = text.unwrap_or_default().to_lowercase();
        NAMES.iter().any(|name| text.contains(&format!("{mark}{name}")))
    };
    // A damaged model card is no reason to stop, and the metadata notes it.
    let card = read_text(dir, "README.md").ok().flatten();
    let title = card.and_then(|card| card.lines().find(|line| line.starts_with('#')).map(str::to_owned));
    if named(title, "# ") {
        Some("the model in README.md")
    } else if named(repository(dir), "") {
        Some("the folder")
    } else if named(c.name_or_path.clone(), "") {
        Some("_name_or_path in config.json")
    } else {
        None
    }
}

/// The mode of a pooling module, by the file in its folder.
fn mode(dir: &Path, module: &Value) -> Result<Pooling> {
    let modes = [("mean_tokens", Pooling::Mean), ("cls_token", Pooling::Cls), ("lasttoken", Pooling::Last)];
    let path = module["path"].as_str().unwrap_or_default();
    // Somebody else's file: it must not lead out of the folder.
    if path.is_empty() || path.contains(['/', '\\', ':']) || path == ".." {
        return invalid(format!("{MODULES}: path must name a folder, found {}", kind(&module["path"])));
    }
    let file = format!("{path}/config.json");
    let Some(config) = Object::read(dir, &file)? else {
        return invalid(format!("there is no {file}, which {MODULES} names"));
    };
    let on = |(key, value): (&String, &Value)| match (key.strip_prefix("pooling_mode"), value) {
        (Some(mode), Value::Bool(true)) => Some(mode.trim_start_matches('_').to_string()),
        (Some(""), Value::String(mode)) => Some(mode.clone()),
        _ => None,
    };
    let chosen: Vec<String> = config.entries().filter_map(on).collect();
    let known = |mode: &String| {
        modes.into_iter().find(|(name, _)| name == mode || name.split('_').next() == Some(mode.as_str()))
    };
    match chosen.as_slice() {
        [mode] if let Some((_, pooling)) = known(mode) => Ok(pooling),
        other => {
            let found: Vec<String> = other.iter().map(|mode| quote(mode)).collect();
            let found = if found.is_empty() { "none".into() } else { found.join(", ") };
            invalid(format!(
                "{file}: the pooling mode must be one of mean_tokens, cls_token, lasttoken, found {found}"
            ))
        }
    }
}
