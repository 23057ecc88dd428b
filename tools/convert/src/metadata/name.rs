//! The parts of a model's name, as in `Qwen/Qwen3-4B-Instruct-2507`: owner, base, size, fine-tuning, version.

use regex::Regex;
use std::sync::LazyLock;

/// What a name says, part by part, each in the form in which it is written to a file.
#[derive(Default, PartialEq)]
pub(super) struct Name {
    /// The name for people, without its owner.
    pub(super) title: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) basename: Option<String>,
    pub(super) size_label: Option<String>,
    pub(super) finetune: Option<String>,
    pub(super) version: Option<String>,
    /// Where Hugging Face keeps it; known only with the owner.
    pub(super) url: Option<String>,
}

/// What one part of a name, between two hyphens, stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Version,
    /// The type of the weights, which is no part of a model's name.
    Precision,
    Size,
    Finetune,
    Unknown,
}

/// The parts that are known by their look.
struct Looks {
    version: Regex,
    precision: Regex,
    size: Regex,
    finetune: Regex,
}

static LOOKS: LazyLock<Looks> = LazyLock::new(|| {
    let whole = |pattern: &str| Regex::new(&format!("^(?i-u:{pattern})$")).expect("a pattern of ours");
    Looks {
        version: whole(r"(?:v|iter)?\d+(?:\.\d+)*"),
        precision: whole(r"i?q\d(?:_\w)*|b?fp?(?:16|32)"),
        // 7B, 0.5b, 8x7B, A3B, 7b1, and 128K, which may be a context.
        size: whole(r"(?:a|\d+x)?\d+(?:[._]\d+)?[kmbt]\d?|small|mini|medium|large|x?xl"),
        finetune: whole("chat|instruct|vision|lora"),
    }
});

impl Name {
    /// Reads `OWNER/NAME` or `NAME`. `parameters`, the size of the model that the name belongs to or is near to, tells
    /// sizes from lengths of contexts.
    pub(super) fn parse(id: &str, parameters: u64) -> Name {
        // A name for people: there is nothing to be found in it.
        if id.contains(' ') {
            return Name { title: filled(title(id)), ..Name::default() };
        }
        let (owner, name) = id.split_once('/').map_or((None, id), |(owner, name)| (Some(owner), name));
        // `./name` is a path.
        let owner = owner.filter(|owner| !owner.is_empty() && !owner.starts_with('.'));
        let url = owner.filter(|_| !name.is_empty()).map(|o| format!("https://huggingface.co/{o}/{name}"));
        Name {
            title: filled(title(name)),
            organization: owner.and_then(|owner| filled(title(owner))),
            url,
            ..split(name, parameters)
        }
    }

    /// What the name gives for a key of `general`.
    pub(super) fn part(&self, key: &str) -> Option<&str> {
        match key {
            "name" => self.title.as_deref(),
            "organization" => self.organization.as_deref(),
            "basename" => self.basename.as_deref(),
            "size_label" => self.size_label.as_deref(),
            "finetune" => self.finetune.as_deref(),
            "version" => self.version.as_deref(),
            _ => None,
        }
    }
}

/// `basename`, `size_label`, `finetune` and `version` of a name without its owner.
fn split(name: &str, parameters: u64) -> Name {
    let mut parts: Vec<(String, Role)> = Vec::new();
    for part in name.split('-').filter(|part| !part.is_empty()) {
        parts.push(classify(part, parts.is_empty(), parameters));
    }
    // `small` says nothing where there is a number.
    let numeric = |part: &str| part.contains(|c: char| c.is_ascii_digit());
    if parts.iter().any(|(part, role)| *role == Role::Size && numeric(part)) {
        for (part, role) in &mut parts {
            if *role == Role::Size && !numeric(part) {
                *role = Role::Unknown;
            }
        }
    }
    // The base goes as far as words and versions do, but does not end the whole name with a version.
    let in_base = |(part, role): &(String, Role)| match role {
        Role::Version => true,
        Role::Unknown => part.starts_with(char::is_alphabetic),
        _ => false,
    };
    let mut base = parts.iter().take_while(|part| in_base(part)).count();
    if base == parts.len() {
        base = parts.iter().rposition(|(_, role)| *role != Role::Version).map_or(0, |last| last + 1);
    }
    let (base, rest) = parts.split_at(base);
    let join = |wanted: &[Role]| {
        let mut found: Vec<&str> = Vec::new();
        for (part, role) in rest {
            let twice = *role == Role::Size && found.contains(&part.as_str());
            if wanted.contains(role) && !twice {
                found.push(part);
            }
        }
        filled(found.join("-"))
    };
    let found = Name {
        size_label: join(&[Role::Size]),
        finetune: join(&[Role::Finetune, Role::Unknown]),
        version: join(&[Role::Version]),
        ..Name::default()
    };
    if found == Name::default() {
        // One word alone may be anything.
        return found;
    }
    let base: Vec<&str> = base.iter().map(|(part, _)| part.as_str()).collect();
    Name { basename: filled(base.join("-")), ..found }
}

/// A part in its usual form, and its role. The first part is never a size or a fine-tuning.
fn classify(part: &str, first: bool, parameters: u64) -> (String, Role) {
    let looks = &*LOOKS;
    if looks.version.is_match(part) {
        (part.into(), Role::Version)
    } else if looks.precision.is_match(part) {
        (part.to_uppercase(), Role::Precision)
    } else if !first && looks.size.is_match(part) {
        size(part, parameters)
    } else if !first && looks.finetune.is_match(part) {
        (part.into(), Role::Finetune)
    } else {
        (part.into(), Role::Unknown)
    }
}

/// A part that looks like a size: one, unless it is so far from `parameters` that it must be a context.
fn size(part: &str, parameters: u64) -> (String, Role) {
    let part = part.replace('_', ".");
    let (mut number, mut unit) = part.split_at(part.len() - 1);
    // 7b1 is 7.1B.
    let decimals;
    if unit.starts_with(|c: char| c.is_ascii_digit()) {
        let (whole, letter) = number.split_at(number.len() - 1);
        decimals = format!("{whole}.{unit}");
        (number, unit) = (&decimals, letter);
    }
    if !number.ends_with(|c: char| c.is_ascii_digit()) {
        return (part, Role::Size); // a word
    }
    let unit = unit.to_uppercase();
    let scale = match unit.as_str() {
        "K" => 1e3,
        "M" => 1e6,
        "B" => 1e9,
        _ => 1e12,
    };
    // `8x7B` and `A3B` are no numbers, and taken as they are.
    let off = number.parse::<f64>().map_or(0.0, |n| (n * scale - parameters as f64).abs());
    if off > (u128::from(parameters) * 7 / 8) as f64 {
        return (format!("{number}{}", unit.to_lowercase()), Role::Finetune);
    }
    (format!("{number}{unit}"), Role::Size)
}

/// Words with capitals, as in `My Model 7b` for `my-model-7b`. Words that have some already, versions and numbers
/// stay.
fn title(name: &str) -> String {
    let word = |word: &str| {
        let lower = word.contains(char::is_lowercase) && !word.contains(char::is_uppercase);
        let version = word.strip_prefix('v').is_some_and(|rest| {
            rest.split('.').all(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
        });
        match lower && !version && !word.starts_with(|c: char| c.is_ascii_digit()) {
            true => capitals(word),
            false => word.to_string(),
        }
    };
    let words: Vec<String> =
        name.split(|c: char| c == '-' || c.is_whitespace()).filter(|w| !w.is_empty()).map(word).collect();
    words.join(" ")
}

/// A capital wherever letters begin: `my_model2x` is `My_Model2X`.
fn capitals(word: &str) -> String {
    let mut within = false;
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        match within {
            true => out.push(c),
            false => out.extend(c.to_uppercase()),
        }
        within = c.is_lowercase();
    }
    out
}

/// The size of a model whose name does not tell: two digits or more, as in `494M`, `7.6B` or `33B`.
pub(super) fn size_label(parameters: u64) -> String {
    let (scale, unit) = match parameters {
        1_000_000_000_001.. => (1e-12, 'T'),
        1_000_000_001.. => (1e-9, 'B'),
        1_000_001.. => (1e-6, 'M'),
        _ => (1e-3, 'K'),
    };
    let n = parameters as f64 * scale;
    let decimals = match n.round_ties_even() {
        ..1.0 => 2,
        ..10.0 => 1,
        _ => 0,
    };
    format!("{n:.decimals$}{unit}")
}

/// Nothing instead of an empty text, which files do not hold.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
