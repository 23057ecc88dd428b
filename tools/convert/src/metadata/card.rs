//! The model card: what the YAML between the two `---` lines at the top of README.md says. A damaged card is no reason
//! not to convert; it gives a note.

use super::yaml::{self, Node};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const FILE: &str = "README.md";
/// The longest front matter that is read: tables of benchmark results make some of them long.
const MAX_BYTES: usize = 256 << 10;
/// The most base models or data sets.
const MAX_SOURCES: usize = 1000;
/// What a card may say of a base model or a data set; the keys of GGUF have the same names.
const SOURCE_FIELDS: [&str; 9] =
    ["name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"];

/// An empty text counts as none everywhere.
#[derive(Default)]
pub(super) struct Card {
    fields: BTreeMap<String, Node>,
}

/// A base model or a data set.
pub(super) enum Source {
    /// `OWNER/NAME`, or an address.
    Id(String),
    /// Fields and what they say.
    Described(Vec<(&'static str, String)>),
}

impl Card {
    /// The card in `dir`; without one, or with one that cannot be read, an empty one.
    pub(super) fn read(dir: &Path, notes: &mut Vec<String>) -> Card {
        match front_matter(&dir.join(FILE)) {
            Ok(fields) => Card { fields },
            Err(wrong) => {
                notes.push(format!("{FILE}: its front matter is left out: {wrong}"));
                Card::default()
            }
        }
    }

    /// The text under the first of `keys` that has one; of a list, its texts with commas between.
    pub(super) fn text(&self, keys: &[&str], notes: &mut Vec<String>) -> Option<String> {
        keys.iter().map(|key| self.texts(&[*key], notes).join(",")).find(|text| !text.is_empty())
    }

    /// The texts under all of `keys`.
    pub(super) fn texts(&self, keys: &[&str], notes: &mut Vec<String>) -> Vec<String> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.entries(key).iter().filter_map(|node| text(key, node, notes)));
        }
        found
    }

    /// What the first of `keys` lists, even if that is nothing; `None` if the card has none of them.
    pub(super) fn sources(&self, keys: &[&str], notes: &mut Vec<String>) -> Option<Vec<Source>> {
        let key = keys.iter().find(|key| self.fields.contains_key(**key))?;
        let entries = self.entries(key);
        if entries.len() > MAX_SOURCES {
            notes.push(format!(
                "{FILE}: {key} has {} entries; those after the first {MAX_SOURCES} are left out",
                entries.len()
            ));
        }
        let mut source = |node: &Node| {
            let Node::Map(fields) = node else { return text(key, node, notes).map(Source::Id) };
            let mut said = Vec::new();
            for field in SOURCE_FIELDS {
                let value = fields.get(field).and_then(|node| text(&format!("{key}: {field}"), node, notes));
                said.extend(value.map(|value| (field, value)));
            }
            Some(Source::Described(said))
        };
        Some(entries.iter().take(MAX_SOURCES).filter_map(&mut source).collect())
    }

    /// A list, or anything else as a list of one.
    fn entries(&self, key: &str) -> &[Node] {
        match self.fields.get(key) {
            Some(Node::List(list)) => list,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        }
    }
}

/// A text; anything else is noted, once for a key and not once for each of a thousand entries.
fn text(key: &str, node: &Node, notes: &mut Vec<String>) -> Option<String> {
    let found = match node {
        Node::Text(text) => Some(text).filter(|text| !text.is_empty()),
        Node::Null => None,
        other => {
            let note = format!("{FILE}: {key}: {} is left out: it is not text", other.kind());
            if !notes.contains(&note) {
                notes.push(note);
            }
            None
        }
    };
    found.cloned()
}

/// The mapping at the top of the file; empty if there is none.
fn front_matter(path: &Path) -> Result<BTreeMap<String, Node>, String> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    let read = file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let is_fence = |line: &[u8]| line.trim_ascii_end() == b"---";
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(start) = lines.next().filter(|line| is_fence(line)).map(<[u8]>::len) else {
        return Ok(BTreeMap::new());
    };
    // Without a second fence, all of the file.
    let len: usize = lines.take_while(|line| !is_fence(line)).map(<[u8]>::len).sum();
    if start + len == bytes.len() && read > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    let yaml = std::str::from_utf8(&bytes[start..start + len])
        .map_err(|e| format!("it is not UTF-8 at byte {}", start + e.valid_up_to()))?;
    // YAML knows no tabs, but released cards have some. The empty line stands for the fence, so that lines count as in
    // the file.
    match yaml::parse(&format!("\n{}", yaml.replace('\t', "  ")))? {
        Node::Map(fields) => Ok(fields),
        Node::Null => Ok(BTreeMap::new()),
        other => Err(format!("it is {}, not a mapping", other.kind())),
    }
}
