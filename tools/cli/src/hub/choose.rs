//! Which files of a repository are the model that was asked for.

use std::collections::BTreeMap;

/// The quantization that is taken where none is asked for and the repository has it.
const USUAL: &str = "Q4_K_M";

/// Why nothing was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoChoice {
    /// There is no GGUF file of a model.
    NoGguf,
    /// None of them is of that quantization; these there are.
    NoSuchQuant(Vec<String>),
}

/// One model: a file, or the files of a split one.
struct Candidate {
    /// Without the ending and the number of the part.
    stem: String,
    /// Places in the list, in the order of the parts.
    parts: Vec<usize>,
}

/// The files, as places in `paths`, that make the model of the quantization `quant`; if that is `None`, Q4_K_M, else
/// another Q4, else the first. What belongs to the vision part or to `quantize` is left aside, and so are split models
/// of which a part is missing.
pub(crate) fn choose(paths: &[&str], quant: Option<&str>) -> Result<Vec<usize>, NoChoice> {
    let mut found = candidates(paths);
    if found.is_empty() {
        return Err(NoChoice::NoGguf);
    }
    let of = |quant: &str| found.iter().position(|candidate| is_of(&candidate.stem, quant));
    let at = match quant {
        Some(quant) => of(quant.strip_suffix(".gguf").unwrap_or(quant)),
        None => {
            of(USUAL).or_else(|| found.iter().position(|c| quant_of(&c.stem).starts_with("Q4"))).or(Some(0))
        }
    };
    match at {
        Some(at) => Ok(found.swap_remove(at).parts),
        None => {
            let mut names: Vec<String> = found.iter().map(|candidate| quant_of(&candidate.stem)).collect();
            names.dedup();
            Err(NoChoice::NoSuchQuant(names))
        }
    }
}

fn candidates(paths: &[&str]) -> Vec<Candidate> {
    let mut whole = BTreeMap::new();
    let mut split: BTreeMap<(String, u32), BTreeMap<u32, usize>> = BTreeMap::new();
    for (at, path) in paths.iter().enumerate() {
        let Some(stem) = stem(path) else { continue };
        let file = stem.rsplit('/').next().unwrap_or(stem).to_ascii_lowercase();
        if file.contains("mmproj") || file.contains("imatrix") {
            continue;
        }
        match part(stem) {
            Some((stem, number, count)) => {
                split.entry((stem.into(), count)).or_default().insert(number, at);
            }
            None => {
                whole.insert(stem.to_string(), vec![at]);
            }
        }
    }
    for ((stem, count), parts) in split {
        if parts.len() == count as usize && parts.keys().copied().eq(1..=count) {
            whole.entry(stem).or_insert_with(|| parts.into_values().collect());
        }
    }
    whole.into_iter().map(|(stem, parts)| Candidate { stem, parts }).collect()
}

/// The path without `.gguf`.
pub(super) fn stem(path: &str) -> Option<&str> {
    let at = path.len().checked_sub(5)?;
    let ending = path.get(at..)?;
    ending.eq_ignore_ascii_case(".gguf").then(|| &path[..at])
}

/// `model-00002-of-00003` as ("model", 2, 3).
pub(super) fn part(stem: &str) -> Option<(&str, u32, u32)> {
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let five = |digits: &str| digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
    let sound = five(number) && five(count);
    sound.then(|| Some((stem, number.parse().ok()?, count.parse().ok()?))).flatten()
}

/// Whether a file is of a quantization: its name has the word, and not as the beginning of a longer one.
fn is_of(stem: &str, quant: &str) -> bool {
    let (stem, quant) = (stem.to_ascii_lowercase(), quant.to_ascii_lowercase());
    stem.match_indices(&quant).any(|(at, _)| {
        let before = stem[..at].chars().next_back();
        let after = stem[at + quant.len()..].chars().next();
        !before.is_some_and(|c| c.is_ascii_alphanumeric())
            && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The word of a name that says the quantization, in capitals; the whole name where there is none.
pub(crate) fn quant_of(stem: &str) -> String {
    let file = stem.rsplit('/').next().unwrap_or(stem);
    let is_quant = |word: &str| {
        let word = word.to_ascii_uppercase();
        ["IQ", "BF", "TQ", "MXFP", "Q", "F"].iter().any(|kind| {
            word.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let word = file.rsplit(['-', '.']).find(|word| is_quant(word));
    word.map_or_else(|| file.to_string(), str::to_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: [&str; 8] = [
        "README.md",
        "mmproj-Q8_0.gguf",
        "Q8_0/m-Q8_0-00001-of-00002.gguf",
        "Q8_0/m-Q8_0-00002-of-00002.gguf",
        "m-q4_k_m.gguf",
        "m-Q4_K_S.gguf",
        "m-BF16-00001-of-00002.gguf",
        "m.imatrix.gguf",
    ];

    #[test]
    fn the_usual_quantization_or_the_one_that_is_asked_for() {
        assert_eq!(choose(&REPO, None), Ok(vec![4]));
        assert_eq!(choose(&REPO, Some("Q4_K_M")), Ok(vec![4]));
        assert_eq!(choose(&REPO, Some("q8_0")), Ok(vec![2, 3]));
        assert_eq!(choose(&REPO, Some("M-Q4_K_S.GGUF".trim_end_matches(".GGUF"))), Ok(vec![5]));
        assert_eq!(choose(&["a-Q8_0.gguf", "a-q4_0.gguf", "a-F16.gguf"], None), Ok(vec![1]));
        assert_eq!(choose(&["a-Q8_0.gguf", "a-F16.gguf"], None), Ok(vec![1]));
    }

    #[test]
    fn what_is_not_there_is_answered_by_what_is() {
        let names = vec!["Q8_0".into(), "Q4_K_S".into(), "Q4_K_M".into()];
        // The half of a split model is none, Q4_K is not Q4_K_M, and the vision part is no model.
        assert_eq!(choose(&REPO, Some("Q4_K")), Err(NoChoice::NoSuchQuant(names.clone())));
        assert_eq!(choose(&REPO, Some("BF16")), Err(NoChoice::NoSuchQuant(names)));
        assert_eq!(choose(&["model.safetensors", "mmproj.gguf"], None), Err(NoChoice::NoGguf));
    }

    #[test]
    fn quantizations_are_read_from_names() {
        for (stem, quant) in [
            ("Qwen3-4B-UD-Q4_K_XL", "Q4_K_XL"),
            ("dir/qwen2.5-0.5b-instruct-fp16", "qwen2.5-0.5b-instruct-fp16"),
            ("m.i1-IQ2_XXS", "IQ2_XXS"),
            ("m-mxfp4", "MXFP4"),
        ] {
            assert_eq!(quant_of(stem), quant);
        }
    }
}
