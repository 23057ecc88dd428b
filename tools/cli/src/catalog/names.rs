//! Short names for Qwen's own repositories of GGUF files, as people type them: `qwen3:4b`, `qwen2.5-coder:7b-q8_0`.

/// A family: what it is called, its usual size, and the sizes for which Qwen publishes GGUF files, each with the
/// repository of the owner Qwen.
struct Family {
    name: &'static str,
    usual: &'static str,
    sizes: &'static [(&'static str, &'static str)],
}

const OWNER: &str = "Qwen";

/// Only repositories that are known to exist. A bare family means the size that it means elsewhere.
const FAMILIES: [Family; 10] = [
    Family {
        name: "qwen3",
        usual: "8b",
        sizes: &[
            ("0.6b", "Qwen3-0.6B-GGUF"),
            ("1.7b", "Qwen3-1.7B-GGUF"),
            ("4b", "Qwen3-4B-GGUF"),
            ("8b", "Qwen3-8B-GGUF"),
            ("14b", "Qwen3-14B-GGUF"),
            ("30b", "Qwen3-30B-A3B-GGUF"),
            ("30b-a3b", "Qwen3-30B-A3B-GGUF"),
            ("32b", "Qwen3-32B-GGUF"),
            ("235b", "Qwen3-235B-A22B-GGUF"),
            ("235b-a22b", "Qwen3-235B-A22B-GGUF"),
        ],
    },
    Family {
        name: "qwen2.5",
        usual: "7b",
        sizes: &[
            ("0.5b", "Qwen2.5-0.5B-Instruct-GGUF"),
            ("1.5b", "Qwen2.5-1.5B-Instruct-GGUF"),
            ("3b", "Qwen2.5-3B-Instruct-GGUF"),
            ("7b", "Qwen2.5-7B-Instruct-GGUF"),
            ("14b", "Qwen2.5-14B-Instruct-GGUF"),
            ("32b", "Qwen2.5-32B-Instruct-GGUF"),
            ("72b", "Qwen2.5-72B-Instruct-GGUF"),
        ],
    },
    Family {
        name: "qwen2.5-coder",
        usual: "7b",
        sizes: &[
            ("0.5b", "Qwen2.5-Coder-0.5B-Instruct-GGUF"),
            ("1.5b", "Qwen2.5-Coder-1.5B-Instruct-GGUF"),
            ("3b", "Qwen2.5-Coder-3B-Instruct-GGUF"),
            ("7b", "Qwen2.5-Coder-7B-Instruct-GGUF"),
            ("14b", "Qwen2.5-Coder-14B-Instruct-GGUF"),
            ("32b", "Qwen2.5-Coder-32B-Instruct-GGUF"),
        ],
    },
    Family {
        name: "qwen3-embedding",
        usual: "8b",
        sizes: &[
            ("0.6b", "Qwen3-Embedding-0.6B-GGUF"),
            ("4b", "Qwen3-Embedding-4B-GGUF"),
            ("8b", "Qwen3-Embedding-8B-GGUF"),
        ],
    },
    Family {
        name: "qwen3-vl",
        usual: "8b",
        sizes: &[
            ("2b", "Qwen3-VL-2B-Instruct-GGUF"),
            ("4b", "Qwen3-VL-4B-Instruct-GGUF"),
            ("8b", "Qwen3-VL-8B-Instruct-GGUF"),
            ("30b", "Qwen3-VL-30B-A3B-Instruct-GGUF"),
            ("32b", "Qwen3-VL-32B-Instruct-GGUF"),
        ],
    },
    Family { name: "qwen3-next", usual: "80b", sizes: &[("80b", "Qwen3-Next-80B-A3B-Instruct-GGUF")] },
    Family { name: "qwen3-coder-next", usual: "80b", sizes: &[("80b", "Qwen3-Coder-Next-GGUF")] },
    Family { name: "qwq", usual: "32b", sizes: &[("32b", "QwQ-32B-GGUF")] },
    Family {
        name: "qwen2",
        usual: "7b",
        sizes: &[
            ("0.5b", "Qwen2-0.5B-Instruct-GGUF"),
            ("1.5b", "Qwen2-1.5B-Instruct-GGUF"),
            ("7b", "Qwen2-7B-Instruct-GGUF"),
        ],
    },
    Family {
        name: "qwen1.5",
        usual: "4b",
        sizes: &[
            ("1.8b", "Qwen1.5-1.8B-Chat-GGUF"),
            ("4b", "Qwen1.5-4B-Chat-GGUF"),
            ("7b", "Qwen1.5-7B-Chat-GGUF"),
        ],
    },
];

/// Families of which Qwen publishes checkpoints, but no GGUF files.
const CHECKPOINTS_ONLY: [&str; 4] = ["qwen3.5", "qwen3.6", "qwen3-coder", "qwen3-reranker"];

/// So many names are suggested.
const NEAREST: usize = 4;

/// What a short name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// `owner/repo`, and the quantization if the name says one.
    Known { repo: String, quant: Option<String> },
    /// Looks like one, but stands for nothing; with what to do.
    Unknown(String),
}

/// What `text` stands for; `None` if it is no short name at all.
pub(crate) fn look_up(text: &str) -> Option<Short> {
    let lower = text.to_ascii_lowercase();
    let (family, tag) = match lower.split_once(':') {
        Some((family, tag)) => (family, tag),
        None => (lower.as_str(), "latest"),
    };
    let word = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphanumeric())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let looks_so = word(family) && word(tag) && !lower.ends_with(".gguf");
    if !looks_so || !(lower.contains(':') || lower.starts_with("qwen") || family == "qwq") {
        return None;
    }
    // Ollama's name of the older family.
    let family = if family == "qwen" { "qwen1.5" } else { family };
    let Some(found) = FAMILIES.iter().find(|known| known.name == family) else {
        return Some(Short::Unknown(unknown(text, family)));
    };
    let (size, quant) = split_tag(found, tag);
    match found.sizes.iter().find(|(known, _)| *known == size) {
        Some((_, repo)) => Some(Short::Known { repo: format!("{OWNER}/{repo}"), quant }),
        None => Some(Short::Unknown(unknown(text, family))),
    }
}

/// `4b-instruct-q8_0` as a size and a quantization: the longest known size that the tag begins with.
fn split_tag(family: &Family, tag: &str) -> (String, Option<String>) {
    if tag == "latest" {
        return (family.usual.into(), None);
    }
    let sizes = family.sizes.iter().map(|(size, _)| *size);
    let begins = |size: &&str| tag.strip_prefix(*size).is_some_and(|r| r.is_empty() || r.starts_with('-'));
    let Some(size) = sizes.filter(begins).max_by_key(|size| size.len()) else {
        return (tag.into(), None);
    };
    let mut rest = &tag[size.len()..];
    for word in ["-instruct", "-chat"] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    match rest.strip_prefix('-') {
        None => (size.into(), None),
        Some(quant) => (size.into(), Some(quant.to_ascii_uppercase())),
    }
}

fn unknown(text: &str, family: &str) -> String {
    if CHECKPOINTS_ONLY.contains(&family) {
        return format!(
            "{text}: Qwen publishes no GGUF files of {family}; `qwip pull OWNER/REPO` takes somebody else's, and \
             `qwip convert` makes one of Qwen's checkpoint"
        );
    }
    format!(
        "{text}: there is no such model; near it: {} (or OWNER/REPO, or the path of a file)",
        nearest(text)
    )
}

/// The known short names that differ least from `text`.
fn nearest(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let mut names: Vec<(usize, String)> = FAMILIES
        .iter()
        .flat_map(|family| family.sizes.iter().map(|(size, _)| format!("{}:{size}", family.name)))
        .map(|name| (distance(&text, &name), name))
        .collect();
    names.sort_by_key(|(distance, _)| *distance);
    let names: Vec<String> = names.into_iter().take(NEAREST).map(|(_, name)| name).collect();
    names.join(", ")
}

/// How many letters must be put in, taken out or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 80;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> String {
        match look_up(text) {
            Some(Short::Known { repo, quant: None }) => repo,
            Some(Short::Known { repo, quant: Some(quant) }) => format!("{repo}:{quant}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn short_names_stand_for_repositories_of_qwen() {
        for (short, long) in [
            ("qwen3:4b", "Qwen/Qwen3-4B-GGUF"),
            ("Qwen3:4B-Q8_0", "Qwen/Qwen3-4B-GGUF:Q8_0"),
            ("qwen3", "Qwen/Qwen3-8B-GGUF"),
            ("qwen3:latest", "Qwen/Qwen3-8B-GGUF"),
            ("qwen3:30b", "Qwen/Qwen3-30B-A3B-GGUF"),
            ("qwen3:30b-a3b-q4_k_m", "Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M"),
            ("qwen2.5:0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF"),
            ("qwen2.5:0.5b-instruct-q4_0", "Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_0"),
            ("qwen2.5-coder:7b", "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF"),
            ("qwen3-embedding:0.6b", "Qwen/Qwen3-Embedding-0.6B-GGUF"),
            ("qwq", "Qwen/QwQ-32B-GGUF"),
            ("qwen:4b", "Qwen/Qwen1.5-4B-Chat-GGUF"),
        ] {
            assert_eq!(known(short), long, "{short}");
        }
    }

    #[test]
    fn what_is_unknown_is_answered_with_what_is_near() {
        let said = |text: &str| match look_up(text) {
            Some(Short::Unknown(said)) => said,
            other => panic!("{text}: {other:?}"),
        };
        assert!(said("qwen3:5b").contains("qwen3:4b"), "{}", said("qwen3:5b"));
        assert!(said("qwen2.5-codr:7b").contains("qwen2.5-coder:7b"));
        assert!(said("llama3:8b").contains("no such model"));
        assert!(said("qwen3.5:4b").contains("no GGUF files of qwen3.5"));
        said(&format!("qwen{}", "x".repeat(10_000)));
    }

    #[test]
    fn files_and_other_words_are_no_short_names() {
        for text in
            ["model.gguf", "qwen3.gguf", "Qwen/Qwen3-4B-GGUF", "model", "what is this", "c:\\q", "", "qwen 3"]
        {
            assert_eq!(look_up(text), None, "{text}");
        }
    }

    #[test]
    fn every_family_has_its_usual_size() {
        for family in &FAMILIES {
            assert!(family.sizes.iter().any(|(size, _)| *size == family.usual), "{}", family.name);
            assert!(family.sizes.iter().all(|(_, repo)| repo.ends_with("-GGUF")), "{}", family.name);
        }
    }
}
