//! Answers held to a form: which tokens may come next.
//!
//! [`Generation`](crate::generate::Generation) asks a [`Constraint`] before each token and tells it what was chosen. With the
//! feature `constrain` there are constraints by JSON schemas, grammars and regular expressions: a `Vocabulary`, built once for
//! a model, makes them of a `Grammar`, one for each answer. The work is that of the crate `llguidance`.

#[cfg(feature = "constrain")]
mod calls;
#[cfg(feature = "constrain")]
mod grammar;
#[cfg(feature = "constrain")]
mod held;
#[cfg(feature = "constrain")]
mod vocabulary;

use crate::error::Result;
#[cfg(feature = "constrain")]
pub use grammar::Grammar;
#[cfg(feature = "constrain")]
pub use held::Form;
#[cfg(feature = "constrain")]
pub use vocabulary::{Thinking, Vocabulary};

/// Which tokens may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// Every token.
    All,
    /// Those whose bit is set, `[vocab / 32]` rounded up; the lowest bit of the first word is token 0.
    Some(&'a [u32]),
    /// None: the answer is complete, and only its end may come.
    End,
}

/// Holds one answer to a form, token by token.
pub trait Constraint: Send {
    /// What may come next. Asked again without a token in between, it says the same.
    ///
    /// # Errors
    /// [`Error::Constraint`](crate::Error::Constraint) if nothing may come, or the form takes too much to follow.
    fn allowed(&mut self) -> Result<Allowed<'_>>;

    /// Takes the token that has been chosen.
    ///
    /// # Errors
    /// [`Error::Constraint`](crate::Error::Constraint) if it was not allowed.
    fn accept(&mut self, token: u32) -> Result<()>;
}
