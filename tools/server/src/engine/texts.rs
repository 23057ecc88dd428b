//! Embeddings and judgements: slice by slice, between the passes of the answers; texts of several requests in turn.

use std::time::Instant;

use qwip::{Cancel, EmbedOptions, Embedder, Error, Reranker, Result, Session};

use super::thread::Thread;
use super::watch::watched;
use super::work::{TextTask, Texts};
use super::{Failure, FailureKind};
use crate::library::Opened;

/// Sessions for texts. They go when there are no more texts, and their memory with them.
#[derive(Default)]
pub(super) struct Workers {
    embedder: Option<(Option<usize>, Embedder)>,
    reranker: Option<Reranker>,
    /// Tokens of the text that was begun.
    tokens: usize,
}

impl Workers {
    /// Gives their memory back.
    pub(super) fn clear(&mut self) {
        *self = Workers::default();
    }

    /// Begins with the next text of a task.
    fn begin(
        &mut self,
        task: &TextTask,
        opened: &Opened,
        session: &dyn Fn() -> Result<Session>,
    ) -> Result<()> {
        match task {
            TextTask::Embed { left, dimensions, .. } => {
                let Some(text) = left.front() else { return Ok(()) };
                let embedder = match self.embedder.take() {
                    Some((width, embedder)) if width == *dimensions => embedder,
                    other => {
                        let options = EmbedOptions { dimensions: *dimensions, pooling: None };
                        let session = other.map_or_else(session, |(_, other)| Ok(other.into_session()))?;
                        Embedder::new(session, &options)?
                    }
                };
                let (_, embedder) = self.embedder.insert((*dimensions, embedder));
                embedder.begin(text)?;
                self.tokens = text.len();
            }
            TextTask::Rerank { query, left, .. } => {
                let Some(document) = left.front() else { return Ok(()) };
                let reranker = match &mut self.reranker {
                    Some(reranker) => reranker,
                    none => {
                        let tokenizer = opened.voice.shared_tokenizer();
                        none.insert(Reranker::new(session()?, tokenizer, None)?)
                    }
                };
                self.tokens = reranker.begin(query, document)?;
            }
        }
        Ok(())
    }

    /// Evaluates at most so many tokens more of the text that was begun. Whether that was all.
    fn step(&mut self, task: &mut TextTask, most: usize, cancel: &Cancel) -> Result<bool> {
        match task {
            TextTask::Embed { left, done, reply, .. } => {
                let Some((_, embedder)) = &mut self.embedder else { return Ok(false) };
                let vector = watched(cancel, || reply.is_closed(), || embedder.step(most, cancel))?;
                let is_done = vector.is_some();
                if is_done {
                    left.pop_front();
                }
                done.extend(vector);
                Ok(is_done)
            }
            TextTask::Rerank { left, done, reply, .. } => {
                let Some(reranker) = &mut self.reranker else { return Ok(false) };
                let score = watched(cancel, || reply.is_closed(), || reranker.step(most, cancel))?;
                if score.is_some() {
                    left.pop_front();
                }
                done.extend(score);
                Ok(score.is_some())
            }
        }
    }

    /// What computes.
    fn session(&self) -> Option<&Session> {
        let embedder = self.embedder.as_ref().map(|(_, embedder)| embedder.session());
        embedder.or(self.reranker.as_ref().map(Reranker::session))
    }
}

/// What became of a step.
enum Step {
    /// More of the text is left.
    Some,
    /// That was all.
    All,
    /// There are not the pages for it.
    NoPages,
}

impl Thread {
    /// Does a slice of a text, if any waits. The texts of several requests take turns.
    pub(super) fn next_text(&mut self) {
        let Some(mut texts) = self.texts.pop_front() else { return };
        if texts.task.is_complete() {
            // Nothing was asked.
            self.moved = true;
            return texts.close(None);
        }
        let step = self.text_step(&mut texts);
        self.moved |= !matches!(step, Ok(Step::NoPages));
        match step {
            Ok(Step::All) if texts.task.is_complete() => texts.close(None),
            Ok(Step::All) => {
                texts.begun = false;
                self.texts.push_back(texts);
            }
            // It goes on in the next round, or goes if nobody waits for it.
            Ok(Step::Some) | Err(Error::Cancelled) => self.texts.push_front(texts),
            Ok(Step::NoPages) => self.wait_for_pages(texts),
            Err(error) => texts.close(Some(error.into())),
        }
        if self.texts.is_empty() {
            self.workers.clear();
        }
    }

    /// One slice of the next text of a task.
    fn text_step(&mut self, texts: &mut Texts) -> Result<Step> {
        let mut workers = std::mem::take(&mut self.workers);
        let result = self.text_step_with(&mut workers, texts);
        self.workers = workers;
        result
    }

    fn text_step_with(&mut self, workers: &mut Workers, texts: &mut Texts) -> Result<Step> {
        if !texts.begun {
            match workers.begin(&texts.task, &self.opened, &|| self.empty_session()) {
                Ok(()) => texts.begun = true,
                // A hybrid's memory has no room yet.
                Err(Error::KvMemory { needed, .. }) if self.kept.free(needed, &self.commons.budget) => {
                    return Ok(Step::Some);
                }
                Err(Error::KvMemory { .. }) => return Ok(Step::NoPages),
                Err(error) => return Err(error),
            }
        }
        // Nothing is computed that would be lost because there are no pages for the rest.
        let held = workers.session().map_or(0, Session::budget_bytes);
        let needed = self.facts.bytes(workers.tokens).saturating_sub(held);
        let missing = |thread: &Thread| {
            let budget = &thread.commons.budget;
            needed.saturating_sub(budget.limit().saturating_sub(budget.used()))
        };
        if missing(self) <= self.kept.bytes() {
            self.kept.free(needed, &self.commons.budget);
        }
        if missing(self) > 0 {
            return Ok(Step::NoPages);
        }
        let is_paced = !self.active.is_empty() || self.commons.others_run(&self.state);
        let most = if is_paced { self.pace.slice(self.facts.batch) } else { self.facts.batch };
        let at = |workers: &Workers| workers.session().map_or(0, |session| session.tokens().len());
        let (before, began) = (at(workers), Instant::now());
        let is_done = match workers.step(&mut texts.task, most, &self.cancel) {
            Ok(is_done) => is_done,
            Err(Error::KvMemory { .. }) => return Ok(Step::NoPages),
            Err(error) => return Err(error),
        };
        self.pace.saw(0, at(workers) - before, began.elapsed());
        if is_done {
            self.commons.totals.text(workers.tokens);
        }
        Ok(if is_done { Step::All } else { Step::Some })
    }

    /// There are not the pages for a text: it waits for them, if others have them.
    fn wait_for_pages(&mut self, mut texts: Texts) {
        let needed = self.facts.bytes(self.workers.tokens.max(1));
        if self.workers.session().is_some_and(|session| session.budget_bytes() > 0) {
            // It goes back, so that two that wait for each other come free.
            self.workers.clear();
            texts.begun = false;
        }
        let is_asked = self.commons.ask_others(&self.state, needed.saturating_sub(self.kept.bytes()));
        if is_asked || !self.active.is_empty() || self.others > 0 {
            return self.texts.push_front(texts);
        }
        if self.kept.len() > 0 {
            self.kept.clear();
            self.moved = true;
            return self.texts.push_front(texts);
        }
        let limit = self.commons.budget.limit();
        let message = format!("a text needs {needed} bytes of keys and values, but the limit is {limit}");
        texts.close(Some(Failure::new(FailureKind::TooLong, message)));
        self.moved = true;
    }
}
