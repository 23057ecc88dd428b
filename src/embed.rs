//! Texts to vectors: the states of a text's tokens after the last norm, pooled into one, of length 1.
//!
//! Sums run in f64 over ascending positions, then over ascending elements, on one thread, and each state is the same however
//! a text is cut into slices: so are the vectors, to the last bit.

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_quant::pooling::Pooling;

use crate::backend::LogitRows;
use crate::error::{Error, Result};
use crate::model::{Model, Task};
use crate::session::{Cancel, Session};

/// What an [`Embedder`] is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbedOptions {
    /// How states become one vector; `None` takes what the file says.
    pub pooling: Option<Pooling>,
    /// Only so many elements, from the first on (models trained for it lose little); `None` keeps all.
    pub dimensions: Option<usize>,
}

/// A session that embeds one text after the other.
#[derive(Debug)]
pub struct Embedder {
    session: Session,
    pooling: Pooling,
    dimensions: usize,
    text: Vec<u32>,
    sums: Vec<f64>, // of the states so far
    all: Vec<f32>,  // with Pooling::None, the vectors so far
}

impl Embedder {
    /// An embedder whose session has room for a text.
    ///
    /// # Errors
    /// [`Error::OtherTask`] if the model is a reranker, [`Error::MissingKey`] if neither the options nor the file say how
    /// states become one vector, [`Error::BadOption`] if there are fewer dimensions, or if the pooling is
    /// [`Pooling::Rank`].
    pub fn new(session: Session, options: &EmbedOptions) -> Result<Embedder> {
        let (pooling, dimensions) = Self::check(session.model(), options)?;
        Ok(Embedder { session, pooling, dimensions, text: Vec::new(), sums: Vec::new(), all: Vec::new() })
    }

    /// Whether sessions on `model` can embed like this, and how: for those who would not lose a session over it.
    ///
    /// # Errors
    /// As [`Embedder::new`].
    pub fn check(model: &Model, options: &EmbedOptions) -> Result<(Pooling, usize)> {
        model.allows(Task::Embed)?;
        let most = model.config().embedding;
        let dimensions = options.dimensions.unwrap_or(most);
        if !(1..=most).contains(&dimensions) {
            let (found, want) = (dimensions.to_string(), format!("1 to {most}, the width of the model"));
            return Err(Error::BadOption { what: "dimensions", found, want });
        }
        let key = || Error::MissingKey { key: format!("{}.pooling_type", model.architecture()) };
        let pooling = options.pooling.or(model.pooling()).ok_or_else(key)?;
        if pooling == Pooling::Rank {
            let (found, want) = (pooling.name().into(), "none, mean, cls or last".into());
            return Err(Error::BadOption { what: "pooling", found, want });
        }
        Ok((pooling, dimensions))
    }

    /// The session; it holds what has been evaluated of a text.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for another use.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// How states become one vector.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Elements of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vector of a text, `[dimensions]`, or with [`Pooling::None`] of each of its tokens, `[tokens, dimensions]`. The
    /// length of each is 1, unless all its elements are 0.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn embed(&mut self, tokens: &[u32], cancel: &Cancel) -> Result<Vec<f32>> {
        self.begin(tokens)?;
        loop {
            if let Some(vector) = self.step(usize::MAX, cancel)? {
                return Ok(vector);
            }
        }
    }

    /// Begins with a text, which [`step`](Embedder::step) evaluates; one that is not done yet is given up.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::PromptTooLong`], [`Error::NotAtOnce`], [`Error::TokenOutOfRange`]; there is no text
    /// then.
    pub fn begin(&mut self, tokens: &[u32]) -> Result<()> {
        self.session.truncate(0);
        self.text.clear();
        self.session.fits(0, tokens)?;
        self.text.extend_from_slice(tokens);
        self.sums.clear();
        self.sums.resize(self.session.model().config().embedding, 0.0);
        self.all.clear();
        Ok(())
    }

    /// Evaluates at most `most` tokens more of the text, at least one; all of it where every token sees all others. What
    /// [`embed`](Embedder::embed) gives, once that is all; to the last bit the same however it is cut.
    ///
    /// # Errors
    /// As [`Session::extend`], [`Error::EmptyPrompt`] if there is no text or no more of it. The step can be taken again.
    pub fn step(&mut self, most: usize, cancel: &Cancel) -> Result<Option<Vec<f32>>> {
        let _ieee = IeeeDefaults::enter();
        let Embedder { session, pooling, dimensions, text, sums, all } = self;
        let (at, dimensions) = (session.tokens().len(), *dimensions);
        let end = end_of_step(session, text, most);
        let rows = match pooling {
            Pooling::Last if end < text.len() => LogitRows::None,
            Pooling::Last => LogitRows::Last,
            _ => LogitRows::All,
        };
        let (before, mut seen) = ((sums.clone(), all.len()), at);
        let result =
            session.extend_with_states(text.get(at..end).unwrap_or_default(), rows, cancel, &mut |state| {
                match pooling {
                    Pooling::None => push_normalised(all, state[..dimensions].iter().map(|x| f64::from(*x))),
                    Pooling::Cls if seen > 0 => {}
                    _ => sums.iter_mut().zip(state).for_each(|(sum, x)| *sum += f64::from(*x)),
                }
                seen += 1;
            });
        if let Err(error) = result {
            // Some states may have come.
            *sums = before.0;
            all.truncate(before.1);
            return Err(error);
        }
        if end < text.len() {
            return Ok(None);
        }
        if *pooling != Pooling::None {
            let count = if *pooling == Pooling::Mean { text.len() as f64 } else { 1.0 };
            push_normalised(all, sums[..dimensions].iter().map(|sum| sum / count));
        }
        Ok(Some(std::mem::take(all)))
    }
}

/// Where a step of at most `most` tokens ends of a text whose beginning the session holds.
pub(crate) fn end_of_step(session: &Session, text: &[u32], most: usize) -> usize {
    match session.model().config().causal {
        true => text.len().min(session.tokens().len().saturating_add(most.max(1))),
        false => text.len(),
    }
}

/// Appends a vector with its length made 1.
fn push_normalised(out: &mut Vec<f32>, x: impl Iterator<Item = f64> + Clone) {
    let squares: f64 = x.clone().map(|x| x * x).sum();
    let factor = if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
    out.extend(x.map(|x| (x * factor) as f32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_get_length_1_unless_they_are_0() {
        let mut out = Vec::new();
        push_normalised(&mut out, [3.0, -4.0].into_iter());
        push_normalised(&mut out, [0.0, 0.0].into_iter());
        push_normalised(&mut out, [1e-200, 0.0].into_iter());
        assert_eq!(out[..4], [0.6, -0.8, 0.0, 0.0]);
        assert!(out[4..].iter().all(|x| x.is_finite()));
    }
}
