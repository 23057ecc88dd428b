//! The constraint of one answer: thinking, then the form.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::api::StopReason;

use super::vocabulary::{Tags, Thinking, Vocabulary, first_line};
use super::{Allowed, Constraint};
use crate::error::{Error, Result};

const CLOSE: &[u8] = b"</think>";
/// Tokens of newlines between thinking, or what may become it, and the answer.
const MOST_NEWLINES: usize = 2;

/// A grammar that has been read, for as many answers as one likes. Reading takes up to a second, a constraint of it far
/// less.
pub struct Form {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    /// What may come first, `[vocab / 32]` rounded up.
    mask: Vec<u32>,
}

impl Form {
    /// Finds out at once what the form may begin with, so that one that nothing satisfies is an error.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, mut matcher: Matcher) -> Result<Form> {
        let mask = form_mask(&mut matcher, vocabulary.tags.vocab)?;
        Ok(Form { vocabulary, matcher, mask })
    }

    /// A constraint for one answer. It shares nothing with others that changes: each has what the form may take for itself.
    pub fn constraint(&self, thinking: Thinking) -> Box<dyn Constraint> {
        let Form { vocabulary, matcher, mask } = self;
        let form = Form { vocabulary: vocabulary.clone(), matcher: matcher.deep_clone(), mask: mask.clone() };
        form.into_constraint(thinking)
    }

    /// The constraint of the only answer.
    pub(super) fn into_constraint(self, thinking: Thinking) -> Box<dyn Constraint> {
        let Form { vocabulary, matcher, mask } = self;
        let phase = match thinking {
            Thinking::Inside => Phase::Thinking { tail: Vec::new() },
            Thinking::MayOpen if vocabulary.tags.open.is_some() => {
                Phase::Before { may_open: true, newlines: 0 }
            }
            Thinking::MayOpen | Thinking::None => Phase::Form,
        };
        let known = matches!(phase, Phase::Form);
        Box::new(Held { vocabulary, matcher, phase, mask, known })
    }
}

/// Holds one answer.
struct Held {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    phase: Phase,
    /// What may come next, once it is known, `[vocab / 32]` rounded up.
    mask: Vec<u32>,
    known: bool,
}

enum Phase {
    /// In front of the form: newlines may come, and `<think>` if it `may_open`.
    Before { may_open: bool, newlines: usize },
    /// All is free; the last bytes, no more than may be a part of `</think>`.
    Thinking { tail: Vec<u8> },
    /// The form.
    Form,
}

impl Held {
    /// Takes a token of the form.
    fn consume(&mut self, token: u32) -> Result<()> {
        self.phase = Phase::Form;
        self.matcher.consume_token(token).map_err(|error| stuck(&error.to_string()))
    }
}

impl Constraint for Held {
    fn allowed(&mut self) -> Result<Allowed<'_>> {
        let tags = &self.vocabulary.tags;
        if let Phase::Thinking { .. } = self.phase {
            return Ok(Allowed::Some(&tags.free));
        }
        if is_complete(&self.matcher) {
            return Ok(Allowed::End);
        }
        if !self.known {
            self.mask = form_mask(&mut self.matcher, tags.vocab)?;
            if let Phase::Before { may_open, newlines } = self.phase {
                let newlines = tags.newlines.iter().filter(|_| newlines < MOST_NEWLINES);
                for &token in newlines.chain(tags.open.iter().filter(|_| may_open)) {
                    self.mask[token as usize / 32] |= 1 << (token % 32);
                }
            }
            self.known = true;
        }
        Ok(Allowed::Some(&self.mask))
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        self.known = false;
        let tags = &self.vocabulary.tags;
        match &mut self.phase {
            Phase::Form => self.consume(token),
            Phase::Thinking { tail } => {
                if let Some(behind) = thought(tags, tail, token) {
                    if behind.iter().any(|&byte| byte != b'\n') {
                        return Err(stuck("a token goes on behind </think>"));
                    }
                    self.phase = Phase::Before { may_open: false, newlines: usize::from(!behind.is_empty()) };
                }
                Ok(())
            }
            Phase::Before { may_open: true, .. } if tags.open == Some(token) => {
                self.phase = Phase::Thinking { tail: Vec::new() };
                Ok(())
            }
            Phase::Before { newlines, .. } => {
                // A form that begins with newlines itself comes first.
                let of_form =
                    self.matcher.validate_tokens(&[token]).map_err(|error| stuck(&error.to_string()))?;
                if of_form == 0 && *newlines < MOST_NEWLINES && tags.newlines.contains(&token) {
                    *newlines += 1;
                    return Ok(());
                }
                self.consume(token)
            }
        }
    }
}

/// Takes a token of thinking. If it ends it: what the token adds behind `</think>`.
fn thought(tags: &Tags, tail: &mut Vec<u8>, token: u32) -> Option<Vec<u8>> {
    // The tag may be spelt out, a letter a token. As a token of its own, its bytes stand behind a marker.
    tail.extend(tags.trie.tok_trie().token(token));
    let found = tail.windows(CLOSE.len()).position(|bytes| bytes == CLOSE);
    match found {
        Some(at) => Some(tail[at + CLOSE.len()..].to_vec()),
        None => {
            tail.drain(..tail.len().saturating_sub(CLOSE.len() - 1));
            None
        }
    }
}

/// Whether nothing more may come, because all has come.
fn is_complete(matcher: &Matcher) -> bool {
    matches!(
        matcher.stop_reason(),
        StopReason::NoExtension | StopReason::NoExtensionBias | StopReason::EndOfSentence
    )
}

/// What the form lets come next, `[vocab / 32]` rounded up.
fn form_mask(matcher: &mut Matcher, vocab: usize) -> Result<Vec<u32>> {
    let mask = matcher.compute_mask().map_err(|error| stuck(&error.to_string()))?;
    let mut words = mask.as_slice().to_vec();
    words.resize(vocab.div_ceil(32), 0);
    Ok(words)
}

fn stuck(message: &str) -> Error {
    let message = match first_line(message) {
        "NoExtensionBias" => "no token of the vocabulary may come next",
        line => line,
    };
    Error::constraint(&format!("the answer cannot go on: {message}"))
}
