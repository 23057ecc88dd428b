//! What a user calls a model on a hub: `owner/repo[:QUANT]`.

use std::fmt;

use super::choose;

/// A site that models are fetched from.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Hub {
    /// Hugging Face, or the mirror in HF_ENDPOINT
    #[value(name = "hf", alias = "huggingface")]
    HuggingFace,
    /// ModelScope
    #[value(name = "modelscope", alias = "ms")]
    ModelScope,
}

impl Hub {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Hub::HuggingFace => "Hugging Face",
            Hub::ModelScope => "ModelScope",
        }
    }

    /// The other one, as `--source` takes it.
    pub(crate) fn other(self) -> &'static str {
        match self {
            Hub::HuggingFace => "modelscope",
            Hub::ModelScope => "hf",
        }
    }
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// A repository and perhaps which of its files.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Name {
    /// Only where the name says it.
    pub(crate) hub: Option<Hub>,
    pub(crate) owner: String,
    pub(crate) repo: String,
    pub(crate) quant: Option<String>,
}

/// How addresses of the two hubs begin, and the words that stand for them.
const PREFIXES: [(&str, Hub); 8] = [
    ("huggingface.co/", Hub::HuggingFace),
    ("hf.co/", Hub::HuggingFace),
    ("hf/", Hub::HuggingFace),
    ("modelscope.cn/models/", Hub::ModelScope),
    ("modelscope.cn/", Hub::ModelScope),
    ("modelscope.ai/models/", Hub::ModelScope),
    ("modelscope/models/", Hub::ModelScope),
    ("modelscope/", Hub::ModelScope),
];

impl Name {
    /// Reads `owner/repo[:QUANT]`, also behind the address of a hub. `None` if it is something else; nothing in a name
    /// can leave the folder of a cache.
    pub(crate) fn parse(text: &str) -> Option<Name> {
        let bare = text.strip_prefix("https://").unwrap_or(text);
        let is_address = bare.len() != text.len();
        let bare = bare.strip_prefix("www.").filter(|_| is_address).unwrap_or(bare);
        let prefixed = PREFIXES.iter().find_map(|(prefix, hub)| {
            let rest = bare.strip_prefix(prefix)?;
            // `modelscope/some-repo` could be a repository of the owner "modelscope".
            rest.contains('/').then_some((rest, *hub))
        });
        let (rest, hub) = match prefixed {
            Some((rest, hub)) => (rest, Some(hub)),
            None if is_address => return None,
            None => (bare, None),
        };
        let (rest, file) = if is_address { of_page(rest)? } else { (rest, None) };
        let (path, quant) = match rest.split_once(':') {
            Some((path, quant)) => (path, Some(quant)),
            None => (rest, file),
        };
        let path = path.strip_suffix('/').filter(|_| is_address).unwrap_or(path);
        let (owner, repo) = path.split_once('/')?;
        let sound = is_word(owner) && is_word(repo) && !repo.to_ascii_lowercase().ends_with(".gguf");
        let sound = sound && quant.is_none_or(is_word);
        sound.then(|| Name { hub, owner: owner.into(), repo: repo.into(), quant: quant.map(str::to_string) })
    }

    /// `owner/repo`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.repo)
    }
}

/// Pages of a repository as a browser shows their addresses: of all files, and of one.
const PAGES: [&str; 4] = ["tree/main", "summary", "files", "tree/master"];
const FILES: [&str; 5] = ["blob/main/", "resolve/main/", "file/view/master/", "resolve/master/", "raw/main/"];

/// The repository of such an address, and the name of its file without what every GGUF file has.
fn of_page(rest: &str) -> Option<(&str, Option<&str>)> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let Some((slash, _)) = rest.match_indices('/').nth(1) else { return Some((rest, None)) };
    let (repo, page) = (&rest[..slash], &rest[slash + 1..]);
    if PAGES.contains(&page) {
        return Some((repo, None));
    }
    let path = FILES.iter().find_map(|prefix| page.strip_prefix(prefix))?;
    let stem = choose::stem(path.rsplit('/').next().unwrap_or(path))?;
    Some((repo, Some(choose::part(stem).map_or(stem, |(stem, ..)| stem))))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repo)?;
        self.quant.iter().try_for_each(|quant| write!(f, ":{quant}"))
    }
}

/// What the hubs allow in names. Two hyphens together separate owner and repository in the names of folders.
pub(crate) fn is_word(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !text.contains("..")
        && !text.contains("--")
        && !text.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_spelling() {
        let of = |text| Name::parse(text).unwrap_or_else(|| panic!("{text}"));
        let name = of("Qwen/Qwen3-4B-GGUF:q4_k_m");
        assert_eq!(
            (name.hub, name.id(), name.quant.as_deref()),
            (None, "Qwen/Qwen3-4B-GGUF".into(), Some("q4_k_m"))
        );
        assert_eq!(name.to_string(), "Qwen/Qwen3-4B-GGUF:q4_k_m");
        for text in
            ["hf.co/a/b:Q8_0", "https://huggingface.co/a/b:Q8_0", "huggingface.co/a/b:Q8_0", "hf/a/b:Q8_0"]
        {
            let name = of(text);
            assert_eq!((name.hub, name.to_string()), (Some(Hub::HuggingFace), "a/b:Q8_0".into()), "{text}");
        }
        for text in
            ["modelscope/a/b", "https://modelscope.cn/models/a/b", "https://www.modelscope.cn/models/a/b/"]
        {
            let name = of(text);
            assert_eq!((name.hub, name.to_string()), (Some(Hub::ModelScope), "a/b".into()), "{text}");
        }
        assert_eq!(of("modelscope/b").owner, "modelscope");
        for (page, name) in [
            ("huggingface.co/a/b/tree/main", "a/b"),
            ("huggingface.co/a/b/blob/main/m-Q8_0.gguf", "a/b:m-Q8_0"),
            ("hf.co/a/b/resolve/main/x/m-Q8_0-00001-of-00002.gguf?download=true", "a/b:m-Q8_0"),
            ("modelscope.cn/models/a/b/file/view/master/m-Q8_0.gguf?status=2", "a/b:m-Q8_0"),
            ("www.modelscope.cn/models/a/b/summary", "a/b"),
        ] {
            assert_eq!(Name::parse(&format!("https://{page}")).unwrap().to_string(), name);
            assert_eq!(Name::parse(page), None, "only a whole address is one: {page}");
        }
    }

    #[test]
    fn what_is_no_name_or_would_leave_the_cache_is_refused() {
        for text in [
            "",
            "a",
            "a/",
            "/a/b",
            "a/b/c",
            "../b",
            "a/..",
            "a/b..c",
            "a b/c",
            "a/b.gguf",
            "./a/b",
            "a/b:",
            "a/b:../c",
            "a--x/b",
            "https://huggingface.co/a/b/tree/v2",
            "https://huggingface.co/a/b/blob/main/README.md",
            "https://huggingface.co/a/b/blob/main/../c.gguf/..",
            "https://example.org/a/b",
            "a/b\n",
            "hf.co/a/b/c",
            "~/a",
            "a\\b/c",
            "a/b:c/d",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
