//! Finished sequences, kept so that the next turn of a conversation need not read all of it again.

use std::collections::VecDeque;

use qwip::{KvBudget, Session};

/// Less of a common beginning is sooner evaluated than shared.
const LEAST: usize = 8;
/// A sequence is taken over by a text that shares its prompt, but for so many tokens at its end: a next turn, or the same
/// prompt again. Its answer is part of that text, or will not come back: thinking, or an answer that was not liked.
const TAIL: usize = 16;

/// Sequences that nobody uses now, the one used longest ago first.
pub(super) struct Kept {
    sequences: VecDeque<Sequence>,
    most: usize,
}

/// One of them.
struct Sequence {
    session: Session,
    /// Tokens of the prompt.
    prompt: usize,
}

/// Where a prompt can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// At a kept sequence.
    Kept(usize),
    /// At one that is in use.
    Running(usize),
}

impl Kept {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Kept {
        Kept { sequences: VecDeque::new(), most }
    }

    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Bytes that they have taken of the budget; what they share counts more than once.
    pub(super) fn bytes(&self) -> u64 {
        self.sequences.iter().map(|sequence| sequence.session.budget_bytes()).sum()
    }

    /// Keeps one more, as the one used last, which began with a prompt of so many tokens.
    pub(super) fn keep(&mut self, session: Session, prompt: usize) {
        if session.tokens().len() < LEAST {
            return;
        }
        while self.sequences.len() >= self.most {
            self.sequences.pop_front();
        }
        self.sequences.push_back(Sequence { session, prompt });
    }

    /// Drops sequences, the one used longest ago first, until so many bytes of the budget are free. Whether any was there to
    /// be dropped, or they are free now.
    pub(super) fn free(&mut self, bytes: u64, budget: &KvBudget) -> bool {
        let before = self.len();
        let is_free = || budget.used().saturating_add(bytes) <= budget.limit();
        while !is_free() && self.sequences.pop_front().is_some() {}
        self.len() < before || is_free()
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.sequences.clear();
    }

    /// Where `text` can begin that shares most with it, and how many of its tokens need not be evaluated then.
    pub(super) fn best<'a>(
        &self,
        text: &[u32],
        running: impl Iterator<Item = &'a Session>,
    ) -> Option<(Source, usize)> {
        let kept = self.sequences.iter().enumerate().map(|(i, kept)| (Source::Kept(i), &kept.session));
        let running = running.enumerate().map(|(i, session)| (Source::Running(i), session));
        let shared = kept.chain(running).map(|(source, session)| (source, session.shares(text)));
        // Of equal ones the first: taking a kept one over costs nothing.
        let best = shared.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|&(_, shared)| shared >= LEAST)
    }

    /// A session that holds the first `shared` tokens of kept sequence number `i`: its own, or a fork.
    ///
    /// # Errors
    /// As [`Session::fork`]; the sequence is still there.
    pub(super) fn begin(&mut self, i: usize, shared: usize) -> qwip::Result<Session> {
        let Sequence { session, prompt } = &self.sequences[i];
        if shared + TAIL < *prompt {
            let fork = session.fork(shared)?;
            // Its beginning has been of use just now.
            let used = self.sequences.remove(i);
            self.sequences.extend(used);
            return Ok(fork);
        }
        let Some(Sequence { mut session, .. }) = self.sequences.remove(i) else {
            unreachable!("it was there a moment ago")
        };
        session.truncate(shared);
        Ok(session)
    }
}
