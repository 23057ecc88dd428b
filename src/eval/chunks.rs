//! How a text is cut.

use qwip_quant::limits;

use super::EvalError;
use crate::error::{Error, Result};

/// A text in chunks of equal length that do not overlap; what is left over at the end is not used.
///
/// Of a chunk of n tokens the predictions after positions n/2 to n-2 are scored: n - 1 - n/2 of them.
#[derive(Clone, Debug)]
pub struct Chunks {
    tokens: Vec<u32>,
    length: usize,
}

impl Chunks {
    /// The shortest chunk with a scored position.
    pub const SHORTEST: usize = 3;

    /// Cuts `tokens` into chunks of `length`.
    ///
    /// # Errors
    /// [`EvalError::ChunkLength`], or [`EvalError::TooShort`] for less than one chunk.
    pub fn new(mut tokens: Vec<u32>, length: usize) -> Result<Chunks> {
        let (least, most) = (Self::SHORTEST, limits::MAX_CONTEXT);
        if !(least..=most).contains(&length) {
            return Err(EvalError::ChunkLength { found: length, least, most }.into());
        }
        if tokens.len() < length {
            return Err(EvalError::TooShort { found: tokens.len(), chunk: length }.into());
        }
        tokens.truncate(tokens.len() / length * length);
        Ok(Chunks { tokens, length })
    }

    /// Keeps only the first `most` chunks, one at least.
    pub fn keep(&mut self, most: usize) {
        self.tokens.truncate(most.max(1).saturating_mul(self.length));
    }

    /// All tokens that are used.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens of a chunk.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of chunks.
    pub fn count(&self) -> usize {
        self.tokens.len() / self.length
    }

    /// Scored positions of all chunks.
    pub fn scored(&self) -> usize {
        self.count() * scored(self.length)
    }

    /// Tokens that a model evaluates: nothing is asked about what follows the last one of a chunk.
    pub fn evaluated(&self) -> usize {
        self.count() * (self.length - 1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.tokens.chunks_exact(self.length).map(|tokens| {
            let (start, rest) = tokens.split_at(self.length / 2);
            Chunk { start, scored: &rest[..rest.len() - 1], targets: &rest[1..] }
        })
    }

    /// Long work must not end at a token near the end.
    pub(super) fn check(&self, vocab: usize) -> Result<()> {
        match self.tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(Error::TokenOutOfRange { token, vocab }),
            None => Ok(()),
        }
    }
}

/// Scored positions of a chunk of `length` tokens.
pub(super) fn scored(length: usize) -> usize {
    length - 1 - length / 2
}

/// The parts of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// Only read.
    pub(super) start: &'a [u32],
    /// The tokens after which a prediction is scored.
    pub(super) scored: &'a [u32],
    /// The tokens that follow them.
    pub(super) targets: &'a [u32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_of_each_chunk_is_scored() {
        for (length, want) in [(3, 1), (4, 1), (5, 2), (8, 3), (9, 4), (512, 255)] {
            let chunks = Chunks::new((0..3 * length as u32 + 2).collect(), length).unwrap();
            assert_eq!((chunks.count(), chunks.scored()), (3, 3 * want), "{length}");
            assert_eq!(chunks.evaluated(), 3 * (length - 1));
            for (i, chunk) in chunks.iter().enumerate() {
                let (first, half) = ((i * length) as u32, (length / 2) as u32);
                assert_eq!(chunk.start, (first..first + half).collect::<Vec<_>>());
                assert_eq!((chunk.scored.len(), chunk.targets.len()), (want, want));
                assert_eq!((chunk.scored[0], chunk.targets[0]), (first + half, first + half + 1));
                assert_eq!(chunk.targets.last(), Some(&(first + length as u32 - 1)));
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_an_error_with_both_numbers() {
        let message = |tokens: usize, length| Chunks::new(vec![1; tokens], length).unwrap_err().to_string();
        assert!(message(511, 512).starts_with("there are 511 tokens, but a chunk takes 512"));
        assert!(message(0, 3).starts_with("there are 0 tokens"));
        for length in [0, 2, limits::MAX_CONTEXT + 1, usize::MAX] {
            assert!(message(10, length).contains(&format!("chunks of {length} tokens")));
        }
    }

    #[test]
    fn fewer_chunks_may_be_kept_but_not_none() {
        let mut chunks = Chunks::new(vec![7; 40], 8).unwrap();
        chunks.keep(usize::MAX);
        assert_eq!(chunks.count(), 5);
        chunks.keep(2);
        assert_eq!((chunks.count(), chunks.tokens().len()), (2, 16));
        chunks.keep(0);
        assert_eq!(chunks.count(), 1);
        assert!(chunks.check(8).is_ok());
        assert!(chunks.check(7).unwrap_err().to_string().contains("token 7"));
    }
}
