//! What the evaluations share: the tokens that a model is to read, an open model, progress and figures.

use std::path::Path;

use anyhow::{Context, bail};
use qwip::eval::{Chunks, Estimate, Evaluator, Perplexity, Progress};
use qwip::tokenizer::Special;
use serde_json::{Value, json};

use super::args::TextArgs;
use crate::args::ComputeArgs;
use crate::input;
use crate::model_arg::Opened;
use crate::output::{note, usage};
use crate::progress::{Meter, Unit};

/// As llama.cpp has it.
const CHUNK: usize = 512;

/// A file of token ids, separated by commas or white space.
pub(super) fn ids(path: &Path) -> anyhow::Result<Vec<u32>> {
    parse_ids(&input::read(path)?).with_context(|| path.display().to_string())
}

fn parse_ids(text: &str) -> anyhow::Result<Vec<u32>> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|_| anyhow::anyhow!("'{word}' is not a token id")))
        .collect()
}

/// The text that was asked for, read once.
pub(super) enum Source {
    Text(String),
    Ids(Vec<u32>),
}

impl Source {
    /// `None` if there is neither -f nor --tokens.
    pub(super) fn read(args: &TextArgs) -> anyhow::Result<Option<Source>> {
        Ok(match (&args.file, &args.tokens) {
            (Some(path), _) => Some(Source::Text(input::read(path)?)),
            (None, Some(path)) => Some(Source::Ids(ids(path)?)),
            (None, None) => None,
        })
    }

    /// As [`Source::read`], where there must be one.
    pub(super) fn required(args: &TextArgs) -> anyhow::Result<Source> {
        Source::read(args)?.ok_or_else(|| usage("there is no text: give one with -f FILE or --tokens FILE"))
    }

    /// The tokens for this model. What is spelt like a control token is text.
    pub(super) fn tokens(&self, opened: &Opened) -> anyhow::Result<Vec<u32>> {
        match self {
            Source::Text(text) => Ok(opened.tokenizer()?.encode_with_bos(text, Special::Text)),
            Source::Ids(ids) => Ok(ids.clone()),
        }
    }
}

/// Tokens of a chunk: what -c says, 0 being what the model was trained for.
pub(super) fn chunk_length(compute: &ComputeArgs, opened: &Opened) -> usize {
    match compute.ctx_size {
        Some(0) => opened.model.config().context,
        Some(length) => length,
        None => CHUNK,
    }
}

/// The chunks that the flags ask for.
pub(super) fn chunks(
    tokens: Vec<u32>,
    text: &TextArgs,
    compute: &ComputeArgs,
    opened: &Opened,
) -> anyhow::Result<Chunks> {
    let mut chunks = Chunks::new(tokens, chunk_length(compute, opened))?;
    keep(text, |most| chunks.keep(most))?;
    Ok(chunks)
}

/// Calls `f` with the value of --chunks, if there is one.
pub(super) fn keep(text: &TextArgs, f: impl FnOnce(usize)) -> anyhow::Result<()> {
    match text.chunks {
        Some(0) => bail!(usage("--chunks 0 leaves nothing to evaluate")),
        Some(most) => f(most),
        None => {}
    }
    Ok(())
}

/// A model that can read chunks of `length` tokens.
pub(super) fn evaluator(opened: &Opened, length: usize) -> anyhow::Result<Evaluator> {
    let most = opened.model.config().context;
    if length > most {
        note(format_args!(
            "qwip: note: {}: chunks of {length} tokens are longer than the {most} that it was trained for",
            opened.name
        ));
    }
    Evaluator::new(opened.session(Some(length))?).with_context(|| opened.name.clone())
}

/// Shows how far an evaluation of `tokens` tokens is.
pub(super) struct Shown(Meter);

impl Shown {
    pub(super) fn new(what: &'static str, tokens: usize) -> Shown {
        Shown(Meter::new(what, tokens as u64, Unit::Tokens))
    }

    pub(super) fn show(&mut self, at: Progress) {
        let perplexity = at.perplexity.map_or(String::new(), |value| format!(", PPL {value:.4}"));
        let item = format!("chunk {} of {}{perplexity}", at.chunk, at.chunks);
        self.0.advance(at.tokens as u64, &item);
    }
}

/// `12.3456 ± 0.0123`.
pub(super) fn figure(estimate: Estimate, decimals: usize) -> String {
    let Estimate { value, error } = estimate;
    match error {
        Some(error) => format!("{value:.decimals$} ± {error:.decimals$}"),
        None => format!("{value:.decimals$}"),
    }
}

/// A share as a percentage: `97.81 ± 0.32 %`.
pub(super) fn percent(estimate: Estimate, decimals: usize) -> String {
    let Estimate { value, error } = estimate;
    let percent = Estimate { value: 100.0 * value, error: error.map(|error| 100.0 * error) };
    format!("{} %", figure(percent, decimals))
}

/// A figure in JSON.
pub(super) fn json_of(estimate: Estimate) -> Value {
    json!({"value": estimate.value, "error": estimate.error})
}

/// A perplexity in JSON.
pub(super) fn json_of_perplexity(perplexity: &Perplexity) -> Value {
    let Estimate { value, error } = perplexity.perplexity;
    json!({"value": value, "error": error, "nll": perplexity.nll.value, "nll_error": perplexity.nll.error})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas_or_space() {
        assert_eq!(parse_ids("1,2, 3\n4\t5,\n").unwrap(), [1, 2, 3, 4, 5]);
        assert!(parse_ids("").unwrap().is_empty());
        assert_eq!(parse_ids("1 x").unwrap_err().to_string(), "'x' is not a token id");
        assert!(parse_ids("-1").is_err());
    }

    #[test]
    fn figures_have_their_errors() {
        let estimate = Estimate { value: 0.97814, error: Some(0.00321) };
        assert_eq!(figure(estimate, 3), "0.978 ± 0.003");
        assert_eq!(percent(estimate, 2), "97.81 ± 0.32 %");
        assert_eq!(figure(Estimate { value: 2.0, error: None }, 1), "2.0");
    }
}
