//! Which of the requests that wait are let in, and where they begin.

use qwip::{Error, Session};

use super::PAGE;
use super::kept::Source;
use super::thread::{Active, Thread};
use super::work::{Answer, Stage};

/// So many tokens of an answer are thought of when it is let in; few are longer, and all of the context would let in one.
const AHEAD: usize = 256;
/// A prompt waits for another one that is being read if they share so many tokens more than it finds elsewhere.
const WORTH_WAITING: usize = 32;

impl Thread {
    /// Lets in who waits, in the order of their coming, as far as there are places and pages.
    pub(super) fn admit(&mut self) {
        while self.active.len() < self.limits.parallel && (!self.held || self.active.is_empty()) {
            let first = (0..self.waiting.len()).find(|&i| !self.is_read_already(&self.waiting[i]));
            let Some(first) = first else { return };
            if let Err(missing) = self.fits(&self.waiting[first]) {
                self.commons.ask_others(&self.state, missing);
                return;
            }
            let Some(answer) = self.waiting.remove(first) else { return };
            match self.begin(&answer) {
                Ok((session, cached)) => self.let_in(answer, session, cached),
                // Somebody else took the pages, or a hybrid's memory has no room yet.
                Err(Error::KvMemory { needed, .. }) => {
                    self.waiting.insert(first, answer);
                    if !self.kept.free(needed, &self.commons.budget) {
                        self.commons.ask_others(&self.state, needed);
                        return;
                    }
                }
                Err(error) => {
                    self.refuse(answer, error.into());
                    self.moved = true;
                }
            }
        }
    }

    fn let_in(&mut self, mut answer: Answer, session: Session, cached: usize) {
        if answer.clock.started.is_none() {
            answer.clock.started = Some(std::time::Instant::now());
            answer.cached_tokens = cached;
        }
        self.active.push(Active { answer, session });
        self.moved = true;
    }

    /// Another sequence is reading what it begins with: it can share that when it has been read.
    fn is_read_already(&self, answer: &Answer) -> bool {
        if answer.prompt_logprobs().is_some() {
            return false;
        }
        let most = answer.text.len().saturating_sub(1);
        let reading = self.active.iter().filter(|active| active.unread() > 0);
        let common = reading.filter_map(|active| {
            let both = answer.text.iter().zip(&active.answer.text).take(most);
            let common = both.take_while(|(a, b)| a == b).count();
            // What it has read already can be shared now, or, of a hybrid, will not be.
            (active.session.tokens().len() < common).then_some(common)
        });
        let common = common.max().unwrap_or(0);
        common >= WORTH_WAITING && common >= self.shared(answer) + WORTH_WAITING
    }

    /// How many tokens of it need not be evaluated.
    fn shared(&self, answer: &Answer) -> usize {
        self.source(answer).map_or(0, |(_, shared)| shared)
    }

    fn source(&self, answer: &Answer) -> Option<(Source, usize)> {
        // All logits are wanted: they are computed, not kept.
        let wants_all = answer.prompt_logprobs().is_some();
        (!wants_all).then(|| self.kept.best(&answer.text, self.sessions()))?
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.active.iter().map(|active| &active.session)
    }

    /// Whether there are pages for it, and for what those that are there will need soon; otherwise the bytes that have to be
    /// free beside what is kept here. Alone, it has all there are.
    fn fits(&self, answer: &Answer) -> Result<(), u64> {
        if self.active.is_empty() && self.others == 0 {
            return Ok(());
        }
        let budget = &self.commons.budget;
        let shared = match self.source(answer) {
            Some((Source::Running(_), shared)) => shared / PAGE * PAGE,
            // The page that is written into is copied, unless it is taken over; and what it shares is not free then.
            Some((Source::Kept(_), _)) | None => 0,
        };
        let pages = |positions| self.facts.pages(positions);
        let growing = self.active.iter().map(|Active { answer, session }| {
            let now = session.tokens().len();
            pages(soon(answer, now)).saturating_sub(pages(now))
        });
        let needed = self.facts.bytes(soon(answer, 0)) - pages(shared);
        let needed = growing.sum::<u64>().saturating_add(needed);
        let (free, kept) = (budget.limit().saturating_sub(budget.used()), self.kept.bytes());
        if needed <= free.saturating_add(kept) { Ok(()) } else { Err(needed.saturating_sub(kept)) }
    }

    /// The most bytes that `n` tokens behind `position` take: a page that is written into may have to be copied.
    pub(super) fn new_bytes(&self, position: usize, n: usize) -> u64 {
        let copied = if position.is_multiple_of(PAGE) { 0 } else { self.facts.page };
        (self.facts.pages(position + n) - self.facts.pages(position)).saturating_add(copied)
    }

    /// A session that holds the beginning of the text, as much of it as any here, and how much that is.
    fn begin(&mut self, answer: &Answer) -> qwip::Result<(Session, usize)> {
        let session = match self.source(answer) {
            Some((Source::Kept(i), shared)) => self.kept.begin(i, shared)?,
            Some((Source::Running(i), shared)) => self.active[i].session.fork(shared)?,
            None => self.empty_session()?,
        };
        let cached = session.tokens().len();
        Ok((session, cached))
    }

    /// A session without a token.
    pub(super) fn empty_session(&self) -> qwip::Result<Session> {
        let mut session = (self.opened.session)(&self.options)?;
        session.set_budget(self.commons.budget.clone())?;
        Ok(session)
    }

    /// Puts active sequence number `i` back among those that wait; the last one takes its number. What it holds is kept until
    /// the pages are needed.
    pub(super) fn put_back(&mut self, i: usize) {
        let Active { mut answer, session } = self.active.swap_remove(i);
        let is_read = session.tokens().len() >= answer.text.len();
        match &mut answer.stage {
            Stage::New(begin) => begin.found.clear(),
            Stage::Begun(generation) if is_read => {
                answer.text.clear();
                answer.text.extend_from_slice(session.tokens());
                answer.text.extend_from_slice(generation.waiting());
            }
            Stage::Begun(_) => {}
        }
        let at = self.waiting.partition_point(|other| other.number < answer.number);
        self.kept.keep(session, answer.prompt_tokens);
        self.waiting.insert(at, answer);
        self.held = true;
    }
}

/// Positions that a request will need before long that has come to position `now`.
fn soon(answer: &Answer, now: usize) -> usize {
    let left = answer.max_tokens.map_or(AHEAD, |most| most.saturating_sub(answer.answer_tokens()));
    answer.text.len().max(now) + left.min(AHEAD)
}
