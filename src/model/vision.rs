//! What the text part of a vision model (`qwen2vl`, `qwen3vl`, `qwen3vlmoe`) says about images.
//!
//! None of it reaches a text: a token of text has the same position in time, height and width, and nothing is added to
//! its state. But a file that contradicts itself here is damaged.

use super::config::Config;
use crate::error::{Error, Result};
use crate::file::ModelFile;

/// Checks the keys of architecture `arch` against the sizes.
pub(super) fn check(file: &ModelFile, arch: &str, c: &Config) -> Result<()> {
    let header = file.header();
    let key = format!("{arch}.n_deepstack_layers");
    if let Some(layers) = header.u64(&key)?
        && layers > c.layers as u64
    {
        let (found, want) = (layers.to_string(), format!("0 to block_count = {}", c.layers));
        return Err(Error::BadValue { key, found, want });
    }

    // Pairs of a head that turn by the position in time, by height and by width, and a fourth number that is 0.
    let key = format!("{arch}.rope.dimension_sections");
    let Some(sections) = header.array(&key)? else { return Err(Error::MissingKey { key }) };
    let (count, pairs) = (sections.len, c.rope.rotated / 2);
    let bad = |found: String| {
        let want = format!("3 or 4 that add up to {pairs}, half of the rotated elements of a head");
        Err(Error::BadValue { key: key.clone(), found, want })
    };
    if !(3..=4).contains(&count) {
        return bad(format!("of {count} numbers"));
    }
    let Ok(numbers) = sections.i64s((*file.parts()[0].bytes).as_ref()) else {
        return bad(format!("of elements of type {}", sections.elem.name()));
    };
    let sections: Vec<i64> = numbers.collect();
    let sum = sections.iter().fold(0, |sum: i64, n| sum.saturating_add(*n));
    match sections.iter().all(|n| *n >= 0) && sum == pairs as i64 {
        true => Ok(()),
        false => bad(format!("{sections:?}, in all {sum}")),
    }
}
