//! What `/api/tags`, `/api/show` and `/api/ps` say about models.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qwip::model::Task;
use serde_json::{Map, Value, json};

use crate::library::Listed;
use crate::models::Running;
use crate::time::rfc3339;

/// A century.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// An entry of `/api/tags`.
pub(super) fn tag(listed: &Listed) -> Value {
    json!({
        "name": listed.name,
        "model": listed.name,
        "modified_at": rfc3339(listed.modified.unwrap_or(UNIX_EPOCH)),
        "size": listed.bytes,
        "digest": listed.digest,
        "details": details(listed),
    })
}

/// An entry of `/api/ps`.
pub(super) fn process(listed: &Listed, running: &Running, now: SystemTime) -> Value {
    // A model that stays has a date that clients show as "forever"; a keep-alive has at most as many years.
    let left = running.expires.unwrap_or(FOREVER).min(FOREVER);
    json!({
        "name": listed.name,
        "model": listed.name,
        "size": running.bytes.saturating_add(running.memory),
        "digest": listed.digest,
        "details": details(listed),
        "expires_at": rfc3339(now + left),
        "size_vram": 0,
        "context_length": running.context,
    })
}

/// What is said about a file's contents.
pub(super) fn details(listed: &Listed) -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": listed.architecture,
        "families": [listed.architecture],
        "parameter_size": listed.parameters.map(short).unwrap_or_default(),
        "quantization_level": listed.file_type.as_deref().unwrap_or("unknown"),
    })
}

/// What a model can do; `template` and `thinks` are of one that chats.
pub(super) fn capabilities(
    task: Task,
    template: Option<&str>,
    thinks: bool,
    inserts: bool,
) -> Vec<&'static str> {
    match task {
        Task::Embed => vec!["embedding"],
        Task::Rerank => Vec::new(),
        Task::Generate => {
            let tools = template.is_some_and(|template| template.contains("tools"));
            let more = [(inserts, "insert"), (tools, "tools"), (thinks, "thinking")];
            let more = more.into_iter().filter_map(|(can, name)| can.then_some(name));
            std::iter::once("completion").chain(more).collect()
        }
    }
}

/// Entries of a file's header that describe the model: names, numbers and flags, no lists and no long texts. Others may
/// tell where the file was made.
pub(super) fn model_info<'a>(
    architecture: &str,
    entries: impl Iterator<Item = (&'a str, Value)>,
) -> Map<String, Value> {
    const LONGEST: usize = 200;
    let described = |key: &str| {
        let own = key.strip_prefix(architecture).is_some_and(|rest| rest.starts_with('.'));
        own || key.starts_with("general.") || key == "tokenizer.ggml.model" || key == "tokenizer.ggml.pre"
    };
    let short = |value: &Value| match value {
        Value::String(text) => text.len() <= LONGEST && !text.contains(['/', '\\']),
        Value::Array(_) | Value::Object(_) | Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
    };
    let kept = entries.filter(|(key, value)| described(key) && short(value));
    kept.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A value of a header, if it is a single one.
pub(super) fn single(value: &qwip::quant::gguf::Value) -> Value {
    use qwip::quant::gguf::Value as Found;
    match value {
        Found::U8(x) => json!(x),
        Found::I8(x) => json!(x),
        Found::U16(x) => json!(x),
        Found::I16(x) => json!(x),
        Found::U32(x) => json!(x),
        Found::I32(x) => json!(x),
        Found::U64(x) => json!(x),
        Found::I64(x) => json!(x),
        Found::F32(x) => json!(x),
        Found::F64(x) => json!(x),
        Found::Bool(x) => json!(x),
        Found::Str(x) => json!(x),
        Found::Array(_) => Value::Null,
    }
}

/// A number of weights in a few letters: `494M`, `7.6B`.
fn short(count: u64) -> String {
    let (unit, letter, digits) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (1e3, 'K', 0),
        1_000_000..1_000_000_000 => (1e6, 'M', 2),
        _ => (1e9, 'B', 1),
    };
    let number = count as f64 / unit;
    if number.fract() == 0.0 { format!("{number}{letter}") } else { format!("{number:.digits$}{letter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Listed {
        Listed {
            name: "qwen/m:Q4_K_M".to_owned(),
            bytes: 100,
            modified: None,
            architecture: "qwen3".to_owned(),
            parameters: Some(7_615_616_512),
            file_type: Some("Q4_K_M".to_owned()),
            context: Some(4096),
            task: Task::Generate,
            digest: "d".to_owned(),
        }
    }

    #[test]
    fn entries_of_lists() {
        let tag = tag(&listed());
        assert_eq!(
            (&tag["name"], &tag["details"]["parameter_size"]),
            (&json!("qwen/m:Q4_K_M"), &json!("7.6B"))
        );
        let running = Running {
            name: "qwen/m:Q4_K_M".to_owned(),
            bytes: 100,
            memory: 20,
            context: 512,
            parallel: 1,
            expires: Some(Duration::from_secs(60)),
            sequences: 0,
            waiting: 0,
            kept: 0,
            kv_used: 0,
            kv_limit: 0,
            device: "cpu".to_owned(),
            thinks: false,
        };
        let process = process(&listed(), &running, UNIX_EPOCH);
        assert_eq!(process["expires_at"], "1970-01-01T00:01:00.000000Z");
        assert_eq!((&process["size"], &process["context_length"]), (&json!(120), &json!(512)));
        let stays = Running { expires: None, ..running };
        assert_eq!(
            super::process(&listed(), &stays, UNIX_EPOCH)["expires_at"],
            "2069-12-07T00:00:00.000000Z"
        );
    }

    #[test]
    fn only_what_describes_the_model_is_told() {
        let entries = [
            ("general.architecture", json!("qwen3")),
            ("general.source.url", json!("https://example.com/x")),
            ("general.description", json!("x".repeat(300))),
            ("quantize.imatrix.file", json!("/home/me/i.gguf")),
            ("qwen3.context_length", json!(4096)),
            ("qwen3x.other", json!(1)),
            ("tokenizer.ggml.tokens", json!(["a"])),
            ("tokenizer.ggml.model", json!("gpt2")),
        ];
        let info = model_info("qwen3", entries.into_iter());
        let keys: Vec<&String> = info.keys().collect();
        assert_eq!(keys, ["general.architecture", "qwen3.context_length", "tokenizer.ggml.model"]);
    }

    #[test]
    fn abilities_and_sizes() {
        assert_eq!(capabilities(Task::Embed, None, false, false), ["embedding"]);
        let all = capabilities(Task::Generate, Some("{{ tools }}"), true, true);
        assert_eq!(all, ["completion", "insert", "tools", "thinking"]);
        assert_eq!(capabilities(Task::Generate, None, false, false), ["completion"]);
        for (count, text) in [(999, "999"), (4_000, "4K"), (4_200_000, "4.20M"), (7_000_000_000, "7B")] {
            assert_eq!(short(count), text);
        }
    }
}
