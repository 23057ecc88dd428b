//! Finished sequences, kept so that the next turn of a conversation need not read all of it again.

use std::collections::VecDeque;

use qwip::{KvBudget, Session};

/// Less of a common beginning is sooner evaluated than shared.
const LEAST: usize = 8;
/// A sequence of which no more than so many tokens are of no use is taken over.
const TAIL: usize = 16;

/// Sequences that nobody uses now, the one used longest ago first.
pub(super) struct Kept {
    sessions: VecDeque<Session>,
    most: usize,
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
        Kept { sessions: VecDeque::new(), most }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes of their pages; shared ones count more than once.
    pub(super) fn bytes(&self) -> u64 {
        self.sessions.iter().map(Session::kv_bytes).sum()
    }

    /// Keeps one more, as the one used last.
    pub(super) fn keep(&mut self, session: Session) {
        if session.tokens().len() < LEAST {
            return;
        }
        while self.sessions.len() >= self.most {
            self.sessions.pop_front();
        }
        self.sessions.push_back(session);
    }

    /// Drops sequences, the one used longest ago first, until so many bytes of the budget are free. Whether that freed any.
    pub(super) fn free(&mut self, bytes: u64, budget: &KvBudget) -> bool {
        let before = budget.used();
        while budget.used().saturating_add(bytes) > budget.limit() && self.sessions.pop_front().is_some() {}
        budget.used() < before
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// Where `text` can begin that shares most with it, and how many of its tokens need not be evaluated then.
    pub(super) fn best<'a>(
        &self,
        text: &[u32],
        running: impl Iterator<Item = &'a Session>,
    ) -> Option<(Source, usize)> {
        let kept = self.sessions.iter().enumerate().map(|(i, session)| (Source::Kept(i), session));
        let running = running.enumerate().map(|(i, session)| (Source::Running(i), session));
        let shared = kept.chain(running).map(|(source, session)| (source, session.shares(text)));
        // Of equal ones the first: taking a kept one over costs nothing.
        let best = shared.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|&(_, shared)| shared >= LEAST)
    }

    /// A session that holds the first `shared` tokens of kept sequence number `i`: itself, if little of it is of no use, or
    /// a fork.
    ///
    /// # Errors
    /// As [`Session::fork`]; the sequence is still there.
    pub(super) fn begin(&mut self, i: usize, shared: usize) -> qwip::Result<Session> {
        let session = &self.sessions[i];
        if shared + TAIL < session.tokens().len() {
            let fork = session.fork(shared)?;
            // Its beginning has been of use just now.
            let used = self.sessions.remove(i);
            self.sessions.extend(used);
            return Ok(fork);
        }
        let mut session = match self.sessions.remove(i) {
            Some(session) => session,
            None => unreachable!("it was there a moment ago"),
        };
        session.truncate(shared);
        Ok(session)
    }
}
