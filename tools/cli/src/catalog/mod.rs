//! What a model is called and where it lies: names to files, and everything that is on this computer.

mod folders;
mod header;
pub(crate) mod hubs;
pub(crate) mod last;
mod llamacpp;
mod lmstudio;
pub(crate) mod names;
mod ollama;
pub(crate) mod remove;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;

pub(crate) use header::Header;
pub(crate) use header::read as header;

use crate::hub::{self, Name};
use names::Short;

/// Whose folder a model lies in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Source {
    HuggingFace,
    ModelScope,
    Ollama,
    LmStudio,
    LlamaCpp,
}

/// Other programs, whose folders are only read: what their models' names begin with, and how to find them.
struct Program {
    prefix: &'static str,
    title: &'static str,
    roots: fn() -> Vec<PathBuf>,
    /// Adds what is below a root; true if there was more than is looked at.
    add: fn(&Path, &mut Vec<Entry>) -> bool,
}

const PROGRAMS: [Program; 3] = [
    Program { prefix: "ollama/", title: "Ollama", roots: ollama::roots, add: ollama::add },
    Program { prefix: "lmstudio/", title: "LM Studio", roots: lmstudio::roots, add: lmstudio::add },
    Program { prefix: "llama.cpp/", title: "llama.cpp", roots: llamacpp::roots, add: llamacpp::add },
];

impl Source {
    /// As `list` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::HuggingFace => "hf",
            Source::ModelScope => "modelscope",
            Source::Ollama => "ollama",
            Source::LmStudio => "lmstudio",
            Source::LlamaCpp => "llama.cpp",
        }
    }
}

/// Whether a model is there with all its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Whole,
    /// Bytes are missing; `total` where that is known.
    Incomplete {
        have: u64,
        total: Option<u64>,
    },
    /// Of a split model not all files are there.
    PartsMissing {
        have: usize,
        count: usize,
    },
}

/// A model on this computer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What it is called, here and as MODEL.
    pub(crate) name: String,
    pub(crate) source: Source,
    /// Its files, in the order of the parts.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) state: State,
}

impl Entry {
    fn of_folder(prefix: &str, source: Source, model: folders::Model) -> Entry {
        let state = match model.files.len() < model.count {
            true => State::PartsMissing { have: model.files.len(), count: model.count },
            false => State::Whole,
        };
        let name = format!("{prefix}/{}", model.place.join("/"));
        Entry { name, source, files: model.files, bytes: model.bytes, modified: model.modified, state }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }
}

/// Everything on this computer, by name, and the folders that hold more than is looked at.
pub(crate) fn everything() -> (Vec<Entry>, Vec<PathBuf>) {
    let mut entries: Vec<Entry> = hubs::held().iter().map(hubs::Held::entry).collect();
    entries.extend(hubs::rests());
    let mut cut = Vec::new();
    for program in &PROGRAMS {
        cut.extend(add(program, &mut entries));
    }
    entries.sort_by(|a, b| (a.source, &a.name).cmp(&(b.source, &b.name)));
    (entries, cut)
}

fn add(program: &Program, entries: &mut Vec<Entry>) -> Vec<PathBuf> {
    (program.roots)().into_iter().filter(|root| (program.add)(root, entries)).collect()
}

/// The program whose model a name means, if its folders are not ours.
pub(crate) fn owner(name: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|program| name.starts_with(program.prefix)).map(|program| program.title)
}

/// The file that `name` means: an existing path, a name that `list` shows, a repository, or a short name. What is none
/// of these is returned as it is, for whoever opens it to say what is wrong.
pub(crate) fn resolve(name: &Path) -> anyhow::Result<PathBuf> {
    let Some(text) = name.to_str() else { return Ok(name.into()) };
    // A folder is no model, so it hides nothing.
    if name.is_file() {
        return Ok(name.into());
    }
    for program in PROGRAMS.iter().filter(|program| text.starts_with(program.prefix)) {
        let mut entries = Vec::new();
        add(program, &mut entries);
        if let Some(entry) = entries.iter().find(|entry| is_called(entry, text)) {
            return whole(entry);
        }
        // Somebody on a hub may have that name, too.
        if Name::parse(text).and_then(|name| hub::find(&name)).is_none() {
            bail!("{text}: {} has no such model here (`qwip list` shows what there is)", program.title);
        }
    }
    match wanted(text) {
        Some(Ok(name)) => match hub::find(&name) {
            Some(path) => Ok(path),
            None if std::fs::exists(text).unwrap_or(false) => Ok(text.into()),
            None => bail!(not_here(text, &name)),
        },
        Some(Err(unknown)) if !std::fs::exists(text).unwrap_or(false) => bail!(unknown),
        _ => Ok(name.into()),
    }
}

/// The repository that a text means, also by a short name; an error for a short name that stands for nothing, `None`
/// for what is neither.
pub(crate) fn wanted(text: &str) -> Option<Result<Name, String>> {
    if let Some(name) = Name::parse(text) {
        return Some(Ok(name));
    }
    match names::look_up(text)? {
        Short::Known { repo, quant } => {
            let text = quant.iter().fold(repo, |repo, quant| format!("{repo}:{quant}"));
            Some(Name::parse(&text).ok_or(text))
        }
        Short::Unknown(problem) => Some(Err(problem)),
    }
}

fn not_here(text: &str, name: &Name) -> String {
    let (entries, _) = everything();
    if let Some(entry) = entries.iter().find(|entry| entry.name == text && !entry.is_whole()) {
        return format!("{}: only a part of it is here: `qwip pull` goes on where it stopped", entry.name);
    }
    let id = name.id().to_ascii_lowercase();
    let near = |entry: &&Entry| {
        let known = entry.name.to_ascii_lowercase();
        entry.is_whole() && (known.contains(&id) || known.contains(&text.to_ascii_lowercase()))
    };
    let near: Vec<&str> = entries.iter().filter(near).map(|entry| entry.name.as_str()).collect();
    let has = if near.is_empty() { String::new() } else { format!("; here there is {}", near.join(", ")) };
    let pull = match name.hub {
        Some(hub::Hub::ModelScope) => format!("qwip pull {name} --source modelscope"),
        _ => format!("qwip pull {name}"),
    };
    format!(
        "{text}: there is no such file, and the model is not on this computer: `{pull}` downloads it{has}"
    )
}

/// Ollama's names may leave `:latest` out, others' may have the ending.
fn is_called(entry: &Entry, text: &str) -> bool {
    entry.name == text
        || entry.name.strip_suffix(":latest") == Some(text)
        || Some(entry.name.as_str()) == text.strip_suffix(".gguf")
}

fn whole(entry: &Entry) -> anyhow::Result<PathBuf> {
    match (&entry.state, entry.files.first()) {
        (State::Whole, Some(file)) => Ok(file.clone()),
        (State::PartsMissing { have, count }, _) => {
            bail!("{}: {have} of {count} files are there", entry.name)
        }
        (State::Incomplete { have, total: Some(total) }, _) => {
            bail!("{}: {have} of {total} bytes are there", entry.name)
        }
        _ => bail!("{}: it is not complete", entry.name),
    }
}
