//! Texts to vectors: the states of a text's tokens after the last norm, pooled into one, of length 1.
//!
//! Sums run in f64 over ascending positions, then over ascending elements, on one thread, and each state is the same however
//! a text is cut into slices: so are the vectors, to the last bit.

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_quant::pooling::Pooling;

use crate::backend::LogitRows;
use crate::error::{Error, Result};
use crate::model::Task;
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
}

impl Embedder {
    /// An embedder whose session has room for a text.
    ///
    /// # Errors
    /// [`Error::OtherTask`] if the model is a reranker, [`Error::MissingKey`] if neither the options nor the file say how
    /// states become one vector, [`Error::BadOption`] if there are fewer dimensions, or if the pooling is
    /// [`Pooling::Rank`].
    pub fn new(session: Session, options: &EmbedOptions) -> Result<Embedder> {
        let model = session.model();
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
        Ok(Embedder { session, pooling, dimensions })
    }

    /// The session; what it holds is of no matter.
    pub fn session(&self) -> &Session {
        &self.session
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
        let _ieee = IeeeDefaults::enter();
        let width = self.session.model().config().embedding;
        let rows = if self.pooling == Pooling::Last { LogitRows::Last } else { LogitRows::All };
        let (pooling, dimensions) = (self.pooling, self.dimensions);
        let (mut sums, mut seen, mut all) = (vec![0.0f64; width], 0usize, Vec::new());
        self.session.truncate(0);
        self.session.extend_with_states(tokens, rows, cancel, &mut |state| {
            match pooling {
                Pooling::None => push_normalised(&mut all, state[..dimensions].iter().map(|x| f64::from(*x))),
                Pooling::Cls if seen > 0 => {}
                _ => sums.iter_mut().zip(state).for_each(|(sum, x)| *sum += f64::from(*x)),
            }
            seen += 1;
        })?;
        if pooling != Pooling::None {
            let count = if pooling == Pooling::Mean { seen as f64 } else { 1.0 };
            push_normalised(&mut all, sums[..dimensions].iter().map(|sum| sum / count));
        }
        Ok(all)
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
