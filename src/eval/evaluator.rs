//! A model that reads chunks.

use std::sync::OnceLock;

use qwip_cpu::Pool;

use super::chunks::Chunk;
use super::{Chunks, EvalError};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{Cancel, Session};

/// Positions whose logits are in memory at a time: 19 MB of them for a vocabulary of 151936.
const GROUP: usize = 32;

/// A session that reads one chunk after the other, each in a fresh context.
#[derive(Debug)]
pub struct Evaluator {
    session: Session,
    /// Takes the first place of each chunk.
    bos: Option<u32>,
    rows: Vec<f32>, // [at most GROUP, vocab]
}

/// Logits of positions that follow each other.
pub(super) struct Group<'a> {
    /// How many positions the same call handed out before.
    pub(super) first: usize,
    rows: &'a [f32], // [.., vocab]
    vocab: usize,
    pool: &'a Pool,
}

impl Evaluator {
    /// A model whose session has room for a chunk. If its file asks for a beginning-of-sequence token, that takes the
    /// place of each chunk's first token.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::BadValue`] or [`Error::Metadata`] about that token.
    pub fn new(session: Session) -> Result<Evaluator> {
        let bos = beginning(session.model())?;
        Ok(Evaluator { session, bos, rows: Vec::new() })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.session.model()
    }

    /// Tokens of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.model().config().vocab
    }

    /// Whether the chunks are for this model, and its vocabulary that of the base.
    pub(super) fn check(&self, chunks: &Chunks, base_vocab: usize) -> Result<()> {
        if base_vocab != self.vocab() {
            return Err(EvalError::Vocabulary { base: base_vocab, model: self.vocab() }.into());
        }
        chunks.check(self.vocab())
    }

    /// Forgets the chunk before and reads what of this one is not scored.
    pub(super) fn begin(&mut self, chunk: &Chunk<'_>, cancel: &Cancel) -> Result<()> {
        let mut start = chunk.start.to_vec();
        if let (Some(first), Some(bos)) = (start.first_mut(), self.bos) {
            *first = bos;
        }
        self.session.truncate(0);
        self.session.extend(&start, cancel, &mut |_| {})
    }

    /// Reads on, and hands out the logits after each of `tokens`, in groups.
    pub(super) fn score(
        &mut self,
        tokens: &[u32],
        cancel: &Cancel,
        sink: &mut dyn FnMut(&Group<'_>) -> Result<()>,
    ) -> Result<()> {
        let vocab = self.vocab();
        let bytes = (GROUP * vocab * size_of::<f32>()) as u64;
        let memory = |_| Error::Memory { what: "logits", bytes };
        self.rows.clear();
        self.rows.try_reserve_exact(GROUP * vocab).map_err(memory)?;
        let pool = self.session.cpu().pool.clone();
        let (rows, mut first, mut result) = (&mut self.rows, 0, Ok(()));
        let mut hand_out = |rows: &mut Vec<f32>| {
            let group = Group { first, rows, vocab, pool: &pool };
            first += group.len();
            let result = sink(&group);
            rows.clear();
            result
        };
        self.session.extend_with_logits(tokens, cancel, &mut |row| {
            // After a failure the rest of the call's logits is of no use.
            if result.is_ok() {
                rows.extend_from_slice(row);
                if rows.len() == GROUP * vocab {
                    result = hand_out(rows);
                }
            }
        })?;
        result?;
        if rows.is_empty() { Ok(()) } else { hand_out(rows) }
    }
}

impl Group<'_> {
    pub(super) fn len(&self) -> usize {
        self.rows.len() / self.vocab
    }

    /// `f(i, logits)` of each position, in order; each is computed by one thread.
    pub(super) fn map<T: Send + Sync>(&self, f: impl Fn(usize, &[f32]) -> T + Sync) -> Result<Vec<T>> {
        let slots: Vec<OnceLock<T>> = (0..self.len()).map(|_| OnceLock::new()).collect();
        self.pool.run(slots.len(), None, &|_, i| {
            let _ = slots[i].set(f(i, &self.rows[i * self.vocab..][..self.vocab]));
        })?;
        Ok(slots.into_iter().filter_map(OnceLock::into_inner).collect())
    }
}

/// The beginning-of-sequence token, if the file asks for it.
fn beginning(model: &Model) -> Result<Option<u32>> {
    const KEY: &str = "tokenizer.ggml.bos_token_id";
    let header = model.file().header();
    if header.bool("tokenizer.ggml.add_bos_token")? != Some(true) {
        return Ok(None);
    }
    let vocab = model.config().vocab;
    match header.u64(KEY)? {
        Some(id) if id < vocab as u64 => Ok(Some(id as u32)),
        Some(id) => {
            let (found, want) = (id.to_string(), format!("0 to {}", vocab - 1));
            Err(Error::BadValue { key: KEY.into(), found, want })
        }
        None => Err(Error::MissingKey { key: KEY.into() }),
    }
}
