//! What the tokens of one sequence in a batch have of their own.

use std::ops::Range;

use super::LogitRows;
use crate::kv::{KvCache, Recurrent};

/// Consecutive tokens of one sequence, among those of a batch.
#[derive(Debug)]
pub struct Part<'a> {
    /// Keys and values of the sequence, with room for the tokens.
    pub kv: &'a mut KvCache,
    /// Of a hybrid, what it remembers of the tokens before.
    pub memory: Option<&'a mut Recurrent>,
    /// Where that is copied to, as it is after so many of the tokens.
    pub snapshot: Option<(usize, &'a mut Recurrent)>,
    /// Position of the first token.
    pub start: usize,
    /// Tokens.
    pub n: usize,
    /// Which of them want logits, or states.
    pub logits: LogitRows,
}

impl Part<'_> {
    /// The tokens that want something, counted from the part's first.
    pub(super) fn wanted(&self) -> Range<usize> {
        match self.logits {
            LogitRows::None => self.n..self.n,
            LogitRows::Last => self.n - 1..self.n,
            LogitRows::All => 0..self.n,
        }
    }
}

/// Takes the first rows of some, `n` of `width` values.
pub(super) fn take<'a>(rows: &mut &'a [f32], n: usize, width: usize) -> &'a [f32] {
    let (first, rest) = rows.split_at(n * width);
    *rows = rest;
    first
}

/// As [`take`], to be written.
pub(super) fn take_mut<'a>(rows: &mut &'a mut [f32], n: usize, width: usize) -> &'a mut [f32] {
    let (first, rest) = std::mem::take(rows).split_at_mut(n * width);
    *rows = rest;
    first
}
