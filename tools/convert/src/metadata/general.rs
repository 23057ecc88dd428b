//! `general.*`: what the model is called, where it comes from, its licence, how its makers sample it.
//!
//! Keys, and what they are made of, follow gguf-py 0.19 (`Metadata`), so that files of both converters say the same;
//! the goldens beside the tests list where we differ, and why.

use super::card::{Card, Source};
use super::name::{Name, size_label};
use crate::config::{Config, Experts};
use crate::error::Result;
use crate::json::Object;
use qwip_quant::gguf::{Set, Writer};
use std::path::Path;

/// Texts: the key of GGUF and its names in model cards, best first.
const TEXTS: [(&str, &[&str]); 15] = [
    ("name", &["name", "model_name"]),
    ("author", &["author", "model_author", "model_creator"]),
    ("version", &["version", "model_version"]),
    ("organization", &["organization", "model_organization"]),
    ("basename", &["basename", "model_basename", "model_type"]),
    ("finetune", &["finetune", "model_finetune"]),
    ("description", &["description", "model_description"]),
    ("size_label", &["size_label", "model_size_label"]),
    ("license", &["license"]),
    ("license.name", &["license_name"]),
    ("license.link", &["license_link"]),
    ("source.url", &["url", "model_url"]),
    ("source.doi", &["doi", "model_doi"]),
    ("source.uuid", &["uuid", "model_uuid"]),
    ("source.repo_url", &["repo_url", "model_repo_url"]),
];

/// What the model was made from.
const SOURCES: [(&str, &[&str]); 2] = [
    ("base_model", &["base_model", "base_models", "base_model_sources"]),
    ("dataset", &["datasets", "dataset", "dataset_sources"]),
];

/// Lists, which cards spread over several keys.
const LISTS: [(&str, &[&str]); 2] =
    [("tags", &["tags", "pipeline_tag"]), ("languages", &["languages", "language"])];

/// Sampling settings in generation_config.json. `repetition_penalty` is what transformers calls it; llama.cpp reads its
/// own names only, and loses it.
const SAMPLING: [(&str, &str, Kind); 13] = [
    ("temperature", "temp", Kind::Float),
    ("top_p", "top_p", Kind::Float),
    ("min_p", "min_p", Kind::Float),
    ("repetition_penalty", "penalty_repeat", Kind::Float),
    ("penalty_repeat", "penalty_repeat", Kind::Float),
    ("top_k", "top_k", Kind::Int),
    ("penalty_last_n", "penalty_last_n", Kind::Int),
    ("xtc_probability", "xtc_probability", Kind::Float),
    ("xtc_threshold", "xtc_threshold", Kind::Float),
    ("mirostat", "mirostat", Kind::Int),
    ("mirostat_tau", "mirostat_tau", Kind::Float),
    ("mirostat_eta", "mirostat_eta", Kind::Float),
    ("sequence", "sequence", Kind::Text),
];

enum Kind {
    Float,
    Int,
    Text,
}

/// Sets `general.*`; `parameters` is the number of weights.
pub(crate) fn general(
    w: &mut Writer,
    dir: &Path,
    c: &Config,
    parameters: u64,
    file_type: u32,
    notes: &mut Vec<String>,
) -> Result<()> {
    w.set("general.architecture", c.arch.name());
    w.set("general.type", "model");
    let card = Card::read(dir, notes);
    // What the card leaves open, names tell: first the one that a training program has left in config.json.
    let names = [c.name_or_path.clone().filter(|id| id.matches('/').count() <= 1), repository(dir)];
    let names = names.map(|id| id.map_or_else(Name::default, |id| Name::parse(&id, parameters)));
    for (key, spellings) in TEXTS {
        let named = || names.iter().find_map(|name| name.part(key).map(str::to_string));
        let counted = || (key == "size_label").then(|| counted_size(c, parameters));
        if let Some(text) = card.text(spellings, notes).or_else(named).or_else(counted) {
            w.set(&format!("general.{key}"), text);
        }
    }
    for (key, spellings) in SOURCES {
        let Some(sources) = card.sources(spellings, notes) else { continue };
        w.set(&format!("general.{key}.count"), sources.len() as u32);
        for (i, source) in sources.into_iter().enumerate() {
            for (field, text) in source_fields(source, parameters) {
                w.set(&format!("general.{key}.{i}.{field}"), text);
            }
        }
    }
    for (key, spellings) in LISTS {
        let list = card.texts(spellings, notes);
        if !list.is_empty() {
            w.set(&format!("general.{key}"), list);
        }
    }
    sampling(w, dir)?;
    w.set("general.quantization_version", 2u32);
    w.set("general.file_type", file_type);
    Ok(())
}

/// The size by the number of weights; with experts their number, and the size of a model with one of them.
fn counted_size(c: &Config, parameters: u64) -> String {
    let Some(Experts { count, ffn, .. }) = c.experts else { return size_label(parameters) };
    let one = u64::from(c.layers) * 3 * u64::from(ffn) * u64::from(c.hidden);
    format!("{count}x{}", size_label(parameters - one * u64::from(count - 1)))
}

/// The name of the checkpoint as its place tells it. Folders are called as the model is; in a Hugging Face cache the
/// folder is a commit, which gguf-py takes for a name, and `OWNER/NAME` stands two levels up in `models--OWNER--NAME`.
pub(crate) fn repository(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let folder = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_string);
    let cached = dir.ancestors().nth(2).and_then(folder);
    match cached.as_deref().and_then(|name| name.strip_prefix("models--")) {
        Some(id) => Some(id.replacen("--", "/", 1)),
        None => folder(&dir),
    }
}

/// What is known of a base model or data set. Base models are about as large as the model itself.
fn source_fields(source: Source, parameters: u64) -> Vec<(&'static str, String)> {
    let id = match source {
        Source::Described(fields) => return fields,
        Source::Id(id) => id,
    };
    let (name, url) = if ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme)) {
        let path = ["http://", "https://"]
            .iter()
            .find_map(|scheme| id.strip_prefix(scheme)?.strip_prefix("huggingface.co/"))
            .filter(|path| path.split('/').count() == 2 && path.split('/').all(|part| !part.is_empty()));
        (path.map_or_else(Name::default, |path| Name::parse(path, parameters)), Some(id))
    } else {
        let name = Name::parse(&id, parameters);
        let url = name.url.clone();
        (name, url)
    };
    let fields = [
        ("name", name.title),
        ("organization", name.organization),
        ("version", name.version),
        ("repo_url", url),
    ];
    fields.into_iter().filter_map(|(field, text)| Some((field, text?))).collect()
}

/// The makers' sampling settings, unless they say that the model is to be run greedily.
fn sampling(w: &mut Writer, dir: &Path) -> Result<()> {
    let Some(g) = Object::read(dir, "generation_config.json")? else { return Ok(()) };
    if g.bool("do_sample")? == Some(false) {
        return Ok(());
    }
    for (theirs, ours, kind) in SAMPLING {
        let value: Option<Set> = match kind {
            Kind::Float => g.f32(theirs)?.map(Set::from),
            Kind::Int => g.i32(theirs)?.map(Set::from),
            Kind::Text => g.str(theirs)?.filter(|text| !text.is_empty()).map(Set::from),
        };
        if let Some(value) = value {
            w.set(&format!("general.sampling.{ours}"), value);
        }
    }
    Ok(())
}
