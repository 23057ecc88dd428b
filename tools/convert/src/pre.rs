//! How tokenizer.json splits text into words: only what the runtime does the same way may pass.

use crate::error::{Result, invalid};
use crate::json::{Object, kind, quote};
use serde_json::Value;

/// The expressions that the runtime matches, by their `tokenizer.ggml.pre`.
const KNOWN: [(&str, &str); 2] = [
    (
        "qwen2",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "qwen35",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
];

/// The `tokenizer.ggml.pre` of a tokenizer.json: an isolating split at a known expression, then the byte alphabet
/// without an expression of its own.
pub(crate) fn name(t: &Object) -> Result<&'static str> {
    let place = format!("{}: pre_tokenizer", t.place);
    let Some(pre) = t.get("pre_tokenizer") else { return invalid(format!("{place} is missing")) };
    let steps = match pre["pretokenizers"].as_array() {
        Some(steps) if pre["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(pre),
    };
    let [split, bytes] = steps else {
        let found: Vec<String> = steps.iter().map(|step| kind(&step["type"])).collect();
        return invalid(format!("{place} must be Split and ByteLevel, found {}", found.join(", ")));
    };
    let split_fits = split["type"] == "Split" && split["behavior"] == "Isolated" && split["invert"] != true;
    let bytes_fit =
        bytes["type"] == "ByteLevel" && bytes["add_prefix_space"] != true && bytes["use_regex"] == false;
    if !split_fits || !bytes_fit {
        return invalid(format!("{place} must be an isolating Split and a plain ByteLevel"));
    }
    let expression = split["pattern"]["Regex"].as_str().unwrap_or_default();
    match KNOWN.iter().find(|(_, known)| *known == expression) {
        Some((name, _)) => Ok(name),
        None => invalid(format!("{place} splits at an expression that is not Qwen's: {}", quote(expression))),
    }
}

/// Whether tokenizer.json asks for NFC, which the runtime applies in every case. False if it asks for nothing.
pub(crate) fn normalizes(t: &Object) -> Result<bool> {
    let Some(normalizer) = t.get("normalizer") else { return Ok(false) };
    match (&normalizer["type"], normalizer["normalizers"].as_array().map(Vec::as_slice)) {
        (Value::String(name), _) if name == "NFC" => Ok(true),
        (Value::String(name), Some([])) if name == "Sequence" => Ok(false),
        (Value::String(name), Some([one])) if name == "Sequence" && one["type"] == "NFC" => Ok(true),
        (found, _) => invalid(format!("{}: normalizer must be NFC, found {}", t.place, kind(found))),
    }
}

/// The text of the special token that tokenizer.json puts behind every text, if it does.
pub(crate) fn end(t: &Object) -> Option<String> {
    let post = t.get("post_processor")?;
    let steps = match post["processors"].as_array() {
        Some(steps) if post["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(post),
    };
    let template = steps.iter().find(|step| step["type"] == "TemplateProcessing")?;
    let last = template["single"].as_array()?.last()?;
    last["SpecialToken"]["id"].as_str().map(str::to_string)
}
