//! The tokens of a model as constraints need them: a tree of their bytes.

use std::sync::Arc;

use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::held::Form;
use super::{Constraint, Grammar, grammar};
use crate::error::{Error, Result};
use crate::tokenizer::{TokenKind, Tokenizer};

/// Bytes of a token that is used; the tree allows 1024.
const LONGEST_TOKEN: usize = 512;
/// Bytes of all tokens; each may take a node of the tree, which allows 4 Mi of them.
const MOST_BYTES: usize = 4_000_000;

/// Bytes of the stack that a grammar is read on, of which it uses as much as it needs: some 1 KiB for each rule on the
/// longest way through it.
const STACK: usize = 64 << 20;

/// Whether the model thinks before the answer that is held to a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The answer comes at once.
    None,
    /// The prompt has opened the thinking: all is free until `</think>`, except that the answer may not end there.
    Inside,
    /// The answer may begin with `<think>`, which makes it [`Inside`](Thinking::Inside).
    MayOpen,
}

/// The tokens of a model as constraints need them. Built once, of Qwen2.5's vocabulary in about a second and 63 MiB; threads may use it at the same time.
pub struct Vocabulary {
    factory: ParserFactory,
    pub(super) tags: Tags,
}

/// What thinking needs to know of the tokens.
pub(super) struct Tags {
    /// Tokens that the model has, `[vocab / 32]` rounded up, without those that end an answer.
    pub(super) free: Vec<u32>,
    /// Tokens of newlines alone.
    pub(super) newlines: Vec<u32>,
    /// `<think>`.
    pub(super) open: Option<u32>,
    /// The bytes of each token, as they are written.
    pub(super) trie: TokEnv,
    /// Number of tokens.
    pub(super) vocab: usize,
}

impl Vocabulary {
    /// The tokens of a model with `vocab` logits.
    ///
    /// # Errors
    /// [`Error::Constraint`] if the vocabulary has no token that ends an answer, or is too large.
    pub fn new(tokenizer: &Tokenizer, vocab: usize) -> Result<Arc<Vocabulary>> {
        let ends: Vec<u32> =
            tokenizer.ends_of_generation().iter().copied().filter(|&id| (id as usize) < vocab).collect();
        let Some(&eos) = ends.first() else {
            return Err(Error::constraint("the vocabulary has no token that ends an answer"));
        };
        let words: Vec<Vec<u8>> = (0..vocab as u32).map(|id| word(tokenizer, id)).collect();
        let bytes: usize = words.iter().map(Vec::len).sum();
        if bytes > MOST_BYTES {
            let message = format!("the tokens have {bytes} bytes, at most {MOST_BYTES} can be used");
            return Err(Error::constraint(&message));
        }
        let info = TokRxInfo::new(vocab as u32, eos);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::json_slices();
        let factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| Error::constraint(&error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = grammar::limits();

        let mut free = tokenizer.sampleable(vocab).to_vec();
        for &end in &ends {
            free[end as usize / 32] &= !(1 << (end % 32));
        }
        let is_newlines = |word: &[u8]| matches!(word, b"\n" | b"\n\n");
        let newlines = (0..vocab as u32).filter(|&id| is_newlines(&words[id as usize])).collect();
        let open = tokenizer.find("<think>").filter(|&id| (id as usize) < vocab && is_special(tokenizer, id));
        Ok(Arc::new(Vocabulary { factory, tags: Tags { free, newlines, open, trie: env, vocab } }))
    }

    /// A constraint for one answer.
    ///
    /// # Errors
    /// [`Error::Constraint`] if the grammar cannot be read, nothing satisfies it, or it takes too much.
    pub fn constraint(
        self: &Arc<Vocabulary>,
        grammar: &Grammar,
        thinking: Thinking,
    ) -> Result<Box<dyn Constraint>> {
        Ok(self.form(grammar)?.into_constraint(thinking))
    }

    /// Reads a grammar, once for any number of answers.
    ///
    /// # Errors
    /// As [`constraint`](Vocabulary::constraint).
    pub fn form(self: &Arc<Vocabulary>, grammar: &Grammar) -> Result<Form> {
        let grammar = grammar.top_level()?;
        // It catches its own panics: parts of it, and of what it parses with, assert what a text may break. What it does not
        // catch is the end of the stack: rules and definitions that name each other are followed to the last.
        let matcher = std::thread::scope(|scope| {
            let read = || Matcher::new(self.factory.create_parser(grammar));
            let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, read);
            let thread = thread.map_err(|source| Error::Threads { threads: 1, source })?;
            thread.join().map_err(|_| Error::constraint("the grammar cannot be read"))
        })?;
        if let Some(message) = matcher.get_error() {
            return Err(Error::constraint(first_line(&message)));
        }
        Form::new(self.clone(), matcher)
    }
}

/// What llguidance says; behind it may come a state and a backtrace.
pub(super) fn first_line(message: &str) -> &str {
    match message.split("\n<").next() {
        // What it asserts says nothing to others: that a grammar has no more than so many parts, for one.
        Some(line) if line.starts_with("panic: ") => "the grammar takes too much, or cannot be read",
        line => line.unwrap_or(message),
    }
}

/// Whether a token is one of its own, not a piece of text.
fn is_special(tokenizer: &Tokenizer, id: u32) -> bool {
    matches!(tokenizer.kind(id), Some(TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown))
}

/// The bytes that a token adds, behind a marker if it is one of its own. Nothing for one that no text has.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let bytes = tokenizer.token_bytes(id);
    let too_long = bytes.len() > LONGEST_TOKEN;
    match tokenizer.kind(id) {
        _ if too_long || !tokenizer.is_sampleable(id) => Vec::new(),
        _ if is_special(tokenizer, id) => [&[MARKER], &bytes[..]].concat(),
        // No text has this byte, so that it stands for special tokens alone.
        _ if bytes.first() == Some(&MARKER) => Vec::new(),
        _ => bytes.into_owned(),
    }
}
