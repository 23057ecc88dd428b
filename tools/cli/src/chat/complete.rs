//! What the Tab key offers: commands, settings, names of conversations, paths.

use std::fs;

use super::{commands, settings, transcript};

/// More are of no use to anybody.
const MOST: usize = 200;

/// What may stand in place of the end of `line`, and where that begins.
pub(crate) fn complete(line: &str) -> (usize, Vec<String>) {
    let Some(rest) = line.strip_prefix('/') else { return (line.len(), Vec::new()) };
    let Some((name, word)) = rest.split_once(' ') else {
        let names = commands::NAMES.iter().map(|(name, _)| format!("/{name} "));
        return (0, of(names, line));
    };
    let at = line.len() - word.len();
    let words = |words: &[&str]| of(words.iter().map(|word| word.to_string()), word);
    let found = match name {
        "set" => match word.split_once(' ') {
            None => of(settings::NAMES.iter().map(|name| format!("{name} ")), word),
            Some((name, value)) if settings::is_switch(name) => {
                let values = of(["on", "off"].map(String::from).into_iter(), value);
                return (line.len() - value.len(), values);
            }
            Some(_) => Vec::new(),
        },
        "think" => words(&["on", "off", "auto", "show"]),
        "load" | "save" => {
            let names = transcript::saved().into_iter();
            let names = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()));
            let mut found = of(names, word);
            found.extend(paths(word));
            found
        }
        "file" | "model" => paths(word),
        _ => Vec::new(),
    };
    (at, found)
}

fn of(all: impl Iterator<Item = String>, word: &str) -> Vec<String> {
    all.filter(|one| one.starts_with(word)).take(MOST).collect()
}

/// The files whose path begins so. A path goes to the end of the line, so nothing in it needs an escape.
fn paths(word: &str) -> Vec<String> {
    let cut = word.rfind(['/', std::path::MAIN_SEPARATOR]).map_or(0, |at| at + 1);
    let (folder, beginning) = word.split_at(cut);
    let dir = if folder.is_empty() { "./".into() } else { transcript::expand(folder) };
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // What a terminal would obey is not offered, and neither is what is hidden.
        let hidden = name.starts_with('.') && !beginning.starts_with('.');
        if !name.starts_with(beginning) || hidden || name.contains(char::is_control) {
            return None;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        Some(format!("{folder}{name}{slash}"))
    };
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    names.truncate(MOST);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_settings_and_paths_are_completed() {
        assert_eq!(complete("/sy"), (0, vec!["/system ".to_string()]));
        assert_eq!(complete("/think o"), (7, vec!["on".to_string(), "off".to_string()]));
        assert_eq!(complete("/set mark"), (5, vec!["markdown ".to_string()]));
        assert_eq!(complete("/set fold o").1, ["on", "off"]);
        assert_eq!(complete("hello /sy"), (9, Vec::new()));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a b 中.txt"), "").unwrap();
        fs::create_dir(dir.path().join("a dir")).unwrap();
        let line = format!("/file {}/a", dir.path().display());
        let (at, found) = complete(&line);
        let in_dir = |name: &str| format!("{}/{name}", dir.path().display());
        assert_eq!((at, found), (6, vec![in_dir("a b 中.txt"), in_dir("a dir/")]));
    }
}
