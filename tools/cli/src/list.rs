//! `qwip list`: the models on this computer, ours and those of other programs.

use std::collections::HashMap;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use crate::catalog::{self, Entry, Header, Source, State};
use crate::output::{bytes, line, note};
use crate::table;

const AFTER_HELP: &str = "\
Each name can be given as MODEL:
  OWNER/REPO:QUANT             in the cache of Hugging Face
  modelscope/OWNER/REPO:QUANT  in the cache of ModelScope
  ollama/NAME:TAG              in Ollama's folder
  lmstudio/OWNER/REPO/FILE     in LM Studio's folder
  llama.cpp/FILE               in llama.cpp's folder
Folders of other programs are only read. HF_HUB_CACHE, MODELSCOPE_CACHE, OLLAMA_MODELS and LLAMA_CACHE say where they \
are.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ListArgs {
    /// Print a JSON list
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let (entries, cut) = catalog::everything();
    for folder in cut {
        note(format_args!("qwip: note: {}: there is more than is looked at", folder.display()));
    }
    let headers: HashMap<&str, Header> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.as_str(), catalog::header(entry.files.first()?)?)))
        .collect();
    // Vision encoders and adapters lie beside models, but none of them can be run.
    let is_model = |entry: &&Entry| headers.get(entry.name.as_str()).is_none_or(|h| h.other_kind.is_none());
    let shown: Vec<&Entry> = entries.iter().filter(is_model).collect();
    if args.json {
        let object = |entry: &&Entry| object(entry, headers.get(entry.name.as_str()));
        return line(serde_json::Value::from(shown.iter().map(object).collect::<Vec<_>>()));
    }
    if shown.is_empty() {
        return line("There are no models on this computer yet: `qwip pull qwen3:4b` downloads one.");
    }
    let row = |entry: &&Entry| {
        let header = headers.get(entry.name.as_str());
        [
            entry.name.clone(),
            bytes(entry.bytes),
            header.and_then(|header| header.file_type).unwrap_or("-").into(),
            remark(entry, header),
            entry.source.name().into(),
            table::ago(entry.modified),
        ]
    };
    table::print(
        ["NAME", "SIZE", "TYPE", "ARCHITECTURE", "SOURCE", "MODIFIED"],
        &shown.iter().map(row).collect::<Vec<_>>(),
    )
}

/// The architecture, or why the model cannot be used.
fn remark(entry: &Entry, header: Option<&Header>) -> String {
    let percent = |have: u64, total: u64| have as f64 / total.max(1) as f64 * 100.0;
    match (&entry.state, header) {
        (State::Incomplete { have, total: Some(total) }, _) => {
            format!("incomplete: {:.0} % of {}", percent(*have, *total).floor(), bytes(*total))
        }
        (State::Incomplete { .. }, _) => "incomplete".into(),
        (State::PartsMissing { have, count }, _) => format!("incomplete: {have} of {count} files"),
        (State::Whole, None) => "not a GGUF file".into(),
        (State::Whole, Some(header)) => {
            let name = header.architecture.as_deref().unwrap_or("unknown");
            if header.runs() { name.into() } else { format!("{name} (does not run here)") }
        }
    }
}

fn object(entry: &Entry, header: Option<&Header>) -> serde_json::Value {
    let (have, total) = match entry.state {
        State::Incomplete { have, total } => (Some(have), total),
        _ => (None, None),
    };
    json!({
        "name": entry.name,
        "source": entry.source.name(),
        "bytes": entry.bytes,
        "type": header.and_then(|header| header.file_type),
        "architecture": header.and_then(|header| header.architecture.as_deref()),
        "runs": entry.is_whole() && header.is_some_and(Header::runs),
        "complete": entry.is_whole(),
        "downloaded_bytes": have,
        "total_bytes": total,
        "modified": entry.modified.map(table::unix),
        "files": entry.files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
        "removable": matches!(entry.source, Source::HuggingFace | Source::ModelScope),
    })
}
