//! Models that are spread over several files.

use std::collections::HashSet;

use super::error::Error;
use super::reader::Gguf;

/// The most files a model may be spread over: what the five digits in the names can count.
pub const MAX_SHARDS: u64 = 99_999;

/// Number of this file, from 0.
pub const NO_KEY: &str = "split.no";
/// How many files there are.
pub const COUNT_KEY: &str = "split.count";
/// How many tensors they have together.
pub const TENSORS_KEY: &str = "split.tensors.count";

/// How many files the model is spread over that `first` belongs to: 1 for a model in one file.
///
/// # Errors
/// The keys contradict each other, or `first` is not the first file.
pub fn count(first: &Gguf) -> Result<usize, Error> {
    let Some(count) = first.u64(COUNT_KEY)? else { return Ok(1) };
    if count == 0 || count > MAX_SHARDS {
        return Err(Error::SplitCount { found: count, max: MAX_SHARDS });
    }
    match first.u64(NO_KEY)? {
        Some(0) => Ok(count as usize),
        None if count == 1 => Ok(1),
        found => Err(Error::SplitNo { shard: 0, found }),
    }
}

/// The file names of all `count` shards, given that of the first, `PREFIX-00001-of-COUNT.gguf`, without a
/// directory. Names never come from metadata, so that a file cannot make another place be read.
///
/// # Errors
/// The name does not match, or says another count.
pub fn shard_names(first_file_name: &str, count: usize) -> Result<Vec<String>, Error> {
    let wrong = || Error::SplitName { found: first_file_name.into(), count };
    if count == 0 || count as u64 > MAX_SHARDS || first_file_name.contains(['/', '\\', '\0']) {
        return Err(wrong());
    }
    let suffix = format!("-00001-of-{count:05}.gguf");
    let prefix = first_file_name.strip_suffix(&suffix).filter(|p| !p.is_empty()).ok_or_else(wrong)?;
    Ok((1..=count).map(|no| format!("{prefix}-{no:05}-of-{count:05}.gguf")).collect())
}

/// Checks that the parsed `shards` are all files of one model, in order: their numbers, their counts, no tensor
/// in two of them, and the total of tensors.
///
/// # Errors
/// The first thing that is not so.
pub fn check(shards: &[&Gguf]) -> Result<(), Error> {
    let Some(first) = shards.first() else { return Err(Error::SplitCount { found: 0, max: MAX_SHARDS }) };
    let expected = count(first)?;
    if shards.len() != expected {
        return Err(Error::SplitShards { expected, found: shards.len() });
    }
    if expected > 1 {
        for (shard, gguf) in shards.iter().enumerate() {
            let found = gguf.u64(NO_KEY)?;
            if found != Some(shard as u64) {
                return Err(Error::SplitNo { shard, found });
            }
            let found = gguf.u64(COUNT_KEY)?;
            if found != Some(expected as u64) {
                return Err(Error::SplitCounts { shard, expected, found });
            }
        }
    }
    let mut names = HashSet::new();
    for t in shards.iter().flat_map(|gguf| &gguf.tensors) {
        if !names.insert(t.name.as_str()) {
            return Err(Error::DuplicateTensor { name: t.name.clone() });
        }
    }
    match first.u64(TENSORS_KEY)? {
        Some(expected) if expected != names.len() as u64 => {
            Err(Error::SplitTensors { expected, found: names.len() as u64 })
        }
        None if expected > 1 => Err(Error::MissingKey { key: TENSORS_KEY.into() }),
        _ => Ok(()),
    }
}
