//! Embeddings and judgements: one text after the other, between the passes of the answers.

use qwip::{Cancel, EmbedOptions, Embedder, Error, Reranker, Result, Session, Tokenizer};

use super::thread::Thread;
use super::watch::watched;
use super::work::{TextTask, Texts};
use super::{Failure, FailureKind};
use crate::library::Opened;
use crate::models::Totals;

/// Sessions for texts. They go when there are no more texts, and their memory with them.
#[derive(Default)]
pub(super) struct Workers {
    embedder: Option<(Option<usize>, Embedder)>,
    reranker: Option<Reranker>,
}

impl Workers {
    /// Gives their memory back.
    pub(super) fn clear(&mut self) {
        *self = Workers::default();
    }

    /// Does the next text of a task.
    fn next(
        &mut self,
        task: &mut TextTask,
        opened: &Opened,
        session: &dyn Fn() -> Result<Session>,
        (cancel, totals): (&Cancel, &Totals),
    ) -> Result<()> {
        match task {
            TextTask::Embed { left, dimensions, done, reply } => {
                let Some(text) = left.front() else { return Ok(()) };
                let embedder = match &mut self.embedder {
                    Some((width, embedder)) if width == dimensions => embedder,
                    other => {
                        *other = None;
                        let options = EmbedOptions { dimensions: *dimensions, pooling: None };
                        &mut other.insert((*dimensions, Embedder::new(session()?, &options)?)).1
                    }
                };
                let vector = watched(cancel, || reply.is_closed(), || embedder.embed(text, cancel))?;
                totals.text(text.len());
                done.push(vector);
                left.pop_front();
            }
            TextTask::Rerank { query, left, done, reply } => {
                let Some(document) = left.front() else { return Ok(()) };
                let reranker = match &mut self.reranker {
                    Some(reranker) => reranker,
                    none => {
                        let file = opened.model.file();
                        let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone())?;
                        none.insert(Reranker::new(session()?, tokenizer, None)?)
                    }
                };
                let score =
                    watched(cancel, || reply.is_closed(), || reranker.score(query, document, cancel))?;
                totals.text(score.tokens);
                done.push(score);
                left.pop_front();
            }
        }
        Ok(())
    }
}

impl Thread {
    /// Does one text, if any waits.
    pub(super) fn next_text(&mut self) {
        let Some(mut texts) = self.texts.pop_front() else { return };
        let mut workers = std::mem::take(&mut self.workers);
        let session = || self.empty_session();
        let tools = (&self.cancel, &self.commons.totals);
        let result = workers.next(&mut texts.task, &self.opened, &session, tools);
        self.workers = workers;
        match result {
            Ok(()) if texts.task.is_complete() => texts.task.reply(None),
            // It goes in the next round.
            Ok(()) | Err(Error::Cancelled) => self.texts.push_front(texts),
            Err(Error::KvMemory { needed, .. }) => return self.no_pages(texts, needed),
            Err(error) => texts.task.reply(Some(error.into())),
        }
        self.moved = true;
        if self.texts.is_empty() {
            self.workers.clear();
        }
    }

    /// There are not the pages for a text: it waits for them, if others have them.
    fn no_pages(&mut self, texts: Texts, needed: u64) {
        // What its session has got goes back, so that two that wait for each other come free.
        self.workers.clear();
        if self.kept.len() > 0 {
            // How much more it will need is not known.
            self.kept.clear();
            self.moved = true;
            return self.texts.push_front(texts);
        }
        let is_asked = self.commons.ask_others(&self.state, needed);
        if is_asked || !self.active.is_empty() || self.others > 0 {
            return self.texts.push_front(texts);
        }
        let limit = self.commons.budget.limit();
        let message = format!("a text needs more than {limit} bytes of keys and values, the limit");
        texts.task.reply(Some(Failure::new(FailureKind::TooLong, message)));
        self.moved = true;
    }
}
