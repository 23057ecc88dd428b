//! Measuring what a model computes: the perplexity of a text, and how far a model is from a base model.
//!
//! Chunks, scored positions, formulas and the file of base log-probabilities are llama.cpp's, so that figures of both
//! programs can be compared:
//!
//! - A text is cut into chunks that do not overlap; each is read in a fresh context ([`Chunks`]).
//! - The second half of a chunk is scored: there the model has seen enough to predict from.
//! - [`perplexity()`] is exp of the mean negative log-likelihood. It can write the log-probabilities of every scored
//!   position to a file, which [`BaseReader`] reads.
//! - [`kld()`] compares a model with such a file, [`compare`] several models with a base model that runs along.
//!
//! Sums are taken in f64 in the order of the tokens, each position by one thread, with `libm`'s exp and log: figures
//! are the same to the last bit wherever logits are. No more than some positions' logits are in memory at a time.

mod base_file;
mod chunks;
mod error;
mod evaluator;
mod kld;
mod perplexity;
mod row;
mod stats;

pub use base_file::{BaseReader, base_file_bytes};
pub use chunks::Chunks;
pub use error::EvalError;
pub use evaluator::Evaluator;
pub use kld::{Comparison, Divergence, compare, kld};
pub use perplexity::{Perplexity, perplexity};
pub use stats::Estimate;

/// How far an evaluation has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Tokens evaluated since the last report. All reports add up to [`Chunks::evaluated`] for each model.
    pub tokens: usize,
    /// The chunk under way, from 1.
    pub chunk: usize,
    /// All chunks.
    pub chunks: usize,
    /// Perplexity of what has been scored so far: the model's own, or the base model's in [`compare`].
    pub perplexity: Option<f64>,
}

impl Progress {
    fn new(tokens: usize, chunk: usize, chunks: &Chunks, nll: &stats::Mean) -> Progress {
        let perplexity = (nll.count() > 0).then(|| nll.exp().value);
        Progress { tokens, chunk: chunk + 1, chunks: chunks.count(), perplexity }
    }
}
