//! Models in the caches of Hugging Face and ModelScope, each under the name that finds it again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Entry, Source, State, folders};
use crate::hub::layout::{self, Cached};
use crate::hub::unfinished::{self, Unfinished};
use crate::hub::{self, Hub, Name, quant_of};

/// A model in a hub's cache: its files in the revision that is used, and in all revisions.
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) hub: Hub,
    /// In the order of the parts.
    pub(crate) used: Vec<Cached>,
    /// Also of older revisions.
    pub(crate) all: Vec<Cached>,
    /// How many parts there should be.
    count: usize,
}

impl Held {
    fn bytes(&self) -> u64 {
        self.used.iter().map(|file| file.size).sum()
    }

    pub(super) fn entry(&self) -> Entry {
        let files: Vec<PathBuf> = self.used.iter().map(|file| file.path.clone()).collect();
        let modified =
            self.used.iter().filter_map(|f| std::fs::metadata(&f.data).ok()?.modified().ok()).max();
        let source = source(self.hub);
        let state = match files.len() < self.count {
            true => State::PartsMissing { have: files.len(), count: self.count },
            false => State::Whole,
        };
        Entry { name: self.name.clone(), source, bytes: self.bytes(), modified, state, files }
    }
}

fn source(hub: Hub) -> Source {
    match hub {
        Hub::HuggingFace => Source::HuggingFace,
        Hub::ModelScope => Source::ModelScope,
    }
}

/// What an unfinished download is called: which of a repository's files it is, its cache does not say.
pub(crate) fn rest_name(rest: &Unfinished) -> String {
    let blob: String = rest.blob.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let Unfinished { owner, repo, .. } = rest;
    match rest.hub {
        Hub::HuggingFace => format!("{owner}/{repo}:unfinished-{blob}"),
        Hub::ModelScope => format!("modelscope/{owner}/{repo}:unfinished-{blob}"),
    }
}

/// Everything that is unfinished in both caches.
pub(super) fn rests() -> impl Iterator<Item = Entry> {
    unfinished::unfinished().into_iter().map(|rest| Entry {
        name: rest_name(&rest),
        source: source(rest.hub),
        bytes: rest.have,
        modified: std::fs::metadata(&rest.data).and_then(|meta| meta.modified()).ok(),
        state: State::Incomplete { have: rest.have, total: rest.total },
        files: vec![rest.data],
    })
}

/// Every model in both caches.
pub(crate) fn held() -> Vec<Held> {
    type Repo = (Hub, String, String);
    // Folder, name and number of parts: the same name in two folders means two models.
    type Key = (String, String, usize);
    let mut repos: BTreeMap<Repo, BTreeMap<Key, Vec<Cached>>> = BTreeMap::new();
    for file in layout::cached() {
        let (folder, base) = file.file.rsplit_once('/').unwrap_or(("", &file.file));
        let lower = base.to_ascii_lowercase();
        if lower.contains("mmproj") || lower.contains("imatrix") {
            continue;
        }
        let whole = (&base[..base.len().saturating_sub(".gguf".len())], 1);
        let (stem, count) = folders::split_name(base).unwrap_or(whole);
        let key = (folder.to_string(), stem.to_string(), count);
        let repo = repos.entry((file.hub, file.owner.clone(), file.repo.clone())).or_default();
        repo.entry(key).or_default().push(file);
    }
    let mut held = Vec::new();
    for ((hub, owner, repo), models) in repos {
        let count_of = |wanted: &dyn Fn(&Key) -> bool| models.keys().filter(|key| wanted(key)).count();
        let names: Vec<(String, bool)> = models
            .keys()
            .map(|(folder, stem, _)| {
                let label = quant_of(stem);
                let last = folder.rsplit('/').next().unwrap_or_default();
                if count_of(&|key| quant_of(&key.1) == label) == 1 {
                    (label, true)
                } else if !last.is_empty() && count_of(&|key| key.1 == *stem) > 1 {
                    (quant_of(last), false)
                } else {
                    (stem.clone(), false)
                }
            })
            .collect();
        let start = held.len();
        for (((_, stem, count), files), (label, alone)) in models.into_iter().zip(names) {
            let name = Name {
                hub: (hub == Hub::ModelScope).then_some(hub),
                owner: owner.clone(),
                repo: repo.clone(),
                quant: Some(label),
            };
            let used = used(&files);
            // A name without a quantization could be a part of another file's.
            let doubtful = !alone || used.len() < count || name.quant.as_ref() == Some(&stem);
            let mut name = shown(&name, &used, doubtful);
            // What is incomplete leads nowhere, so that two could be called the same.
            if let (true, Some(first)) = (held[start..].iter().any(|h: &Held| h.name == name), used.first()) {
                name = first.path.display().to_string();
            }
            held.push(Held { name, hub, used, all: files, count });
        }
    }
    held
}

/// The files of one revision: the current one if it has the model, else any that has all parts or most of them.
fn used(files: &[Cached]) -> Vec<Cached> {
    let mut revisions: BTreeMap<&str, Vec<&Cached>> = BTreeMap::new();
    for file in files {
        revisions.entry(&file.revision).or_default().push(file);
    }
    let best = revisions.into_values().max_by_key(|of| (of.len(), of.iter().any(|file| file.current)));
    let mut used: Vec<Cached> = best.unwrap_or_default().into_iter().cloned().collect();
    used.sort_by(|a, b| a.file.cmp(&b.file));
    used
}

/// The name as it is typed; the path where that leads to nothing or, which is looked into if it is `doubtful`, to another
/// file.
fn shown(name: &Name, used: &[Cached], doubtful: bool) -> String {
    let text = match name.hub {
        Some(Hub::ModelScope) => format!("modelscope/{name}"),
        _ => name.to_string(),
    };
    let Some(first) = used.first() else { return text };
    let leads = |name: Name| match doubtful.then(|| hub::find(&name)).flatten() {
        Some(path) => std::fs::canonicalize(path).is_ok_and(|data| data == first.data),
        None => true,
    };
    match Name::parse(&text).is_some_and(leads) {
        true => text,
        false => first.path.display().to_string(),
    }
}
