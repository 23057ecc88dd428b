//! Models that llama.cpp keeps in a folder of its own, read-only: flat files `OWNER_REPO_FILE.gguf`. (Newer versions
//! keep them in the hub cache of Hugging Face, which is ours, too.)

use std::path::{Path, PathBuf};

use super::{Entry, Source, folders};
use crate::places;

/// Where llama.cpp keeps what it downloads.
pub(super) fn roots() -> Vec<PathBuf> {
    if let Some(dir) = places::variable("LLAMA_CACHE") {
        return vec![dir.into()];
    }
    let below_home = |place: &str| places::home().map(|home| home.join(place));
    let cache = if cfg!(windows) {
        places::variable("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        below_home("Library/Caches")
    } else {
        let xdg = places::variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        xdg.or_else(|| below_home(".cache"))
    };
    cache.map(|dir| dir.join("llama.cpp")).into_iter().collect()
}

/// Adds the models of one such folder.
pub(super) fn add(root: &Path, entries: &mut Vec<Entry>) -> bool {
    let found = folders::files(root, 0);
    let cut = found.cut;
    let models = folders::models(found).into_iter();
    entries.extend(models.map(|model| Entry::of_folder("llama.cpp", Source::LlamaCpp, model)));
    cut
}
