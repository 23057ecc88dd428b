//! Perplexity of a text.

use std::io::Write;

use qwip_cpu::fpenv::IeeeDefaults;

use super::base_file::BaseWriter;
use super::row::{BaseRow, Softmax};
use super::stats::Mean;
use super::{Chunks, Estimate, Evaluator, Progress};
use crate::error::Result;
use crate::session::Cancel;

/// What a text is worth to a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// exp of the mean negative log-likelihood.
    pub perplexity: Estimate,
    /// Mean negative log-likelihood of a scored token, in nats.
    pub nll: Estimate,
    /// Scored positions.
    pub scored: u64,
}

impl Perplexity {
    pub(super) fn of(nll: &Mean) -> Perplexity {
        Perplexity { perplexity: nll.exp(), nll: nll.estimate(), scored: nll.count() }
    }
}

/// Perplexity of `chunks`. `base` is given the file that [`super::kld()`] reads, as a stream of
/// [`super::base_file_bytes`] bytes.
///
/// # Errors
/// As [`crate::Session::extend`], first of all [`crate::Error::TokenOutOfRange`];
/// [`super::EvalError::BaseWrite`].
pub fn perplexity(
    evaluator: &mut Evaluator,
    chunks: &Chunks,
    base: Option<&mut dyn Write>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Perplexity> {
    let _ieee = IeeeDefaults::enter();
    let vocab = evaluator.vocab();
    evaluator.check(chunks, vocab)?;
    let mut base = base.map(|out| BaseWriter::new(out, chunks, vocab)).transpose()?;
    let save = base.is_some();
    let mut nll = Mean::default();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut report = |tokens, nll: &Mean| progress(Progress::new(tokens, i, chunks, nll));
        evaluator.begin(&chunk, cancel)?;
        report(chunk.start.len(), &nll);
        evaluator.score(chunk.scored, cancel, &mut |group| {
            let targets = &chunk.targets[group.first..];
            let rows = group.map(|j, logits| {
                let softmax = Softmax::of(logits);
                (softmax.nll(targets[j]), save.then(|| BaseRow::encode(&softmax)))
            })?;
            for (value, row) in rows {
                nll.add(value);
                if let (Some(base), Some(row)) = (&mut base, row) {
                    base.row(&row)?;
                }
            }
            report(group.len(), &nll);
            Ok(())
        })?;
    }
    Ok(Perplexity::of(&nll))
}
