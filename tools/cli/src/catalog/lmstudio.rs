//! Models that LM Studio keeps, read-only: `OWNER/REPO/FILE.gguf` below its folder.

use std::path::{Path, PathBuf};

use super::{Entry, Source, folders};
use crate::places;

/// Owner, repository.
const DEPTH: usize = 2;

/// Where LM Studio keeps models now, and where it did.
pub(super) fn roots() -> Vec<PathBuf> {
    let Some(home) = places::home() else { return Vec::new() };
    vec![home.join(".lmstudio/models"), home.join(".cache/lm-studio/models")]
}

/// Adds the models of one such folder.
pub(super) fn add(root: &Path, entries: &mut Vec<Entry>) -> bool {
    let found = folders::files(root, DEPTH);
    let cut = found.cut;
    let models = folders::models(found).into_iter();
    entries.extend(models.map(|model| Entry::of_folder("lmstudio", Source::LmStudio, model)));
    cut
}
