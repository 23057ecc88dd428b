//! Folders of other programs, looked into with bounds: nothing there is ours, and nothing there may keep us busy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use qwip::quant::gguf::split;

/// So many entries of a folder are looked at, and so many of its whole tree.
const MOST_OF_FOLDER: usize = 5_000;
const MOST_OF_TREE: usize = 50_000;

/// Files found in a tree, each with its place below the root.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<(Vec<String>, PathBuf)>,
    /// There is more than is looked at.
    pub(super) cut: bool,
}

/// The files of a tree, at most `depth` folders down. Links are followed; that the depth is bounded ends a loop.
pub(super) fn files(root: &Path, depth: usize) -> Found {
    let mut found = Found::default();
    let mut left = MOST_OF_TREE;
    let mut folders = vec![(Vec::new(), root.to_path_buf())];
    while let Some((place, folder)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for (n, entry) in entries.flatten().enumerate() {
            if n == MOST_OF_FOLDER || left == 0 {
                found.cut = true;
                break;
            }
            left -= 1;
            // A name that is not Unicode could not be typed as part of a model's name.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => std::fs::metadata(&path).map(|meta| meta.file_type()),
                kind => kind,
            };
            let Ok(kind) = kind else { continue };
            let place: Vec<String> = place.iter().cloned().chain([name]).collect();
            if kind.is_file() {
                found.files.push((place, path));
            } else if kind.is_dir() && place.len() <= depth {
                folders.push((place, path));
            }
        }
    }
    found
}

/// A model that lies in a folder as one file or as the files of a split one.
pub(super) struct Model {
    /// The place of the first file below the root, without `.gguf` and the number.
    pub(super) place: Vec<String>,
    pub(super) files: Vec<PathBuf>,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// How many files there should be.
    pub(super) count: usize,
}

/// The models among the files of a tree. Vision encoders, which are no models by themselves, are left out.
pub(super) fn models(found: Found) -> Vec<Model> {
    let mut models: BTreeMap<(Vec<String>, usize), Model> = BTreeMap::new();
    let mut files = found.files;
    files.sort();
    for (mut place, path) in files {
        let Some(file) = place.pop() else { continue };
        let lower = file.to_ascii_lowercase();
        if !lower.ends_with(".gguf") || lower.contains("mmproj") {
            continue;
        }
        let stem = &file[..file.len() - ".gguf".len()];
        let (stem, count) = split_name(&file).unwrap_or((stem, 1));
        place.push(stem.to_string());
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        let model = models.entry((place.clone(), count)).or_insert_with(|| Model {
            place,
            files: Vec::new(),
            bytes: 0,
            modified: None,
            count,
        });
        model.files.push(path);
        model.bytes = model.bytes.saturating_add(meta.len());
        model.modified = model.modified.max(meta.modified().ok());
    }
    models.into_values().collect()
}

/// `NAME-00002-of-00003.gguf` as its name and the number of files. Its own number is one of these, so that in one folder
/// as many files as there should be are all of them.
pub(super) fn split_name(file: &str) -> Option<(&str, usize)> {
    let stem = file.strip_suffix(".gguf")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = count.parse().ok().filter(|_| digits(count) && digits(number) && !name.is_empty())?;
    let number: u64 = number.parse().ok()?;
    let sound = (1..=split::MAX_SHARDS).contains(&count) && (1..=count).contains(&number);
    sound.then_some((name, count as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_split_model_are_one_model() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("owner/repo");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "b.gguf", "mmproj-b.gguf", "readme.md"]
        {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let models = models(files(dir.path(), 2));
        let names: Vec<String> = models.iter().map(|m| m.place.join("/")).collect();
        assert_eq!(names, ["owner/repo/a", "owner/repo/b"]);
        assert_eq!((models[0].files.len(), models[0].count, models[0].bytes), (2, 2, 42));
        assert!(models[0].files[0].ends_with("a-00001-of-00002.gguf"));
    }

    #[test]
    fn names_of_split_files_are_told_from_others() {
        assert_eq!(split_name("q-4b-00001-of-00003.gguf"), Some(("q-4b", 3)));
        for name in [
            "q.gguf",
            "-00001-of-00003.gguf",
            "q-1-of-3.gguf",
            "q-00001-of-00000.gguf",
            "q-00000-of-00003.gguf",
            "q-00004-of-00003.gguf",
            "q-00001-of-00003",
        ] {
            assert_eq!(split_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_of_very_many_files_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/many", "a/one", "b/one"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for i in 0..MOST_OF_FOLDER + 10 {
            std::fs::File::create(dir.path().join(format!("a/many/{i}"))).unwrap();
        }
        for place in ["a/one/q.gguf", "b/one/q.gguf"] {
            std::fs::write(dir.path().join(place), b"GGUF").unwrap();
        }
        let found = files(dir.path(), 2);
        assert!(found.cut);
        assert_eq!(models(found).len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("lost.gguf")).unwrap();
        std::fs::write(dir.path().join("q.gguf"), b"GGUF").unwrap();
        assert_eq!(models(files(dir.path(), 3)).len(), 4);
    }
}
