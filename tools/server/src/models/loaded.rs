//! A model that is loaded, and the leases that keep it so.

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use qwip::chat::Voice;
use qwip::constrain::{Form, Grammar, Vocabulary};
use qwip::{Model, Score};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Running;
use crate::chat::KeepAlive;
use crate::engine::{Ask, Engine, Event, Failure, Limits};
use crate::library::Opened;

/// A model that is loaded.
pub struct Loaded {
    opened: Arc<Opened>,
    pub(super) engine: Engine,
    limits: Limits,
    vocabulary: OnceLock<Result<Arc<Vocabulary>, Failure>>,
    uses: Mutex<Uses>,
    /// What [`Uses`] say has changed.
    pub(super) changed: Arc<Notify>,
}

/// Who uses a model.
struct Uses {
    leases: usize,
    last: Instant,
    keep_alive: KeepAlive,
}

/// Keeps a model loaded.
pub struct Lease(Arc<Loaded>);

impl Loaded {
    pub(super) fn new(opened: Arc<Opened>, engine: Engine, limits: Limits, keep_alive: KeepAlive) -> Loaded {
        let uses = Mutex::new(Uses { leases: 0, last: Instant::now(), keep_alive });
        Loaded { opened, engine, limits, vocabulary: OnceLock::new(), uses, changed: Arc::default() }
    }

    /// What it is listed as.
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.opened.model
    }

    /// Template and tokenizer.
    pub fn voice(&self) -> &Voice {
        &self.opened.voice
    }

    /// Most positions of a sequence: prompt and answer together.
    pub fn context(&self) -> usize {
        self.engine.facts().context
    }

    /// What computes, in words.
    pub fn device(&self) -> &str {
        &self.opened.device
    }

    /// What it computes with, in a word: answers of the same word are the same.
    pub fn system_fingerprint(&self) -> &str {
        &self.engine.facts().fingerprint
    }

    /// Asks for an answer, whose events come in their order. Dropping the receiver gives the answer up. A channel that ends
    /// without [`Event::Done`] or [`Event::Failed`] means that the model has been unloaded.
    ///
    /// # Errors
    /// What is wrong with the request itself: `TooLong`, `Invalid`; `Busy` if too many wait already.
    pub fn generate(&self, ask: Ask) -> Result<UnboundedReceiver<Event>, Failure> {
        self.engine.generate(ask)
    }

    /// Reads a grammar. It takes long: the first time for a model half a second more.
    ///
    /// # Errors
    /// `Invalid` if the grammar cannot be used, with the reason.
    pub fn form(&self, grammar: &Grammar) -> Result<Form, Failure> {
        let build = || {
            let (tokenizer, vocab) = (self.voice().tokenizer(), self.model().config().vocab);
            Vocabulary::new(tokenizer, vocab).map_err(Failure::from)
        };
        let vocabulary = self.vocabulary.get_or_init(build).as_ref().map_err(Failure::clone)?;
        Ok(vocabulary.form(grammar)?)
    }

    /// The vectors of texts, in their order, cut to so many dimensions. Dropping the future gives the work up.
    ///
    /// # Errors
    /// `Invalid` if the model does not embed, or has fewer dimensions; `TooLong`; `Busy` if too many wait already.
    pub async fn embed(
        &self,
        texts: Vec<Vec<u32>>,
        dimensions: Option<usize>,
    ) -> Result<Vec<Vec<f32>>, Failure> {
        self.engine.embed(texts, dimensions).await
    }

    /// How well each document answers the query. Dropping the future gives the work up.
    ///
    /// # Errors
    /// As [`embed`](Loaded::embed).
    pub async fn rerank(&self, query: String, documents: Vec<String>) -> Result<Vec<Score>, Failure> {
        self.engine.rerank(query, documents).await
    }

    /// Drops what is kept for next turns, to give its memory back.
    pub fn forget(&self) {
        self.engine.forget();
    }

    /// Mapped bytes of the weights.
    pub(super) fn bytes(&self) -> u64 {
        self.opened.model.file().len()
    }

    /// How things are; `kv_limit` is that of the server.
    pub(super) fn running(&self, kv_limit: u64) -> Running {
        let state = self.engine.state();
        let kv_used = state.kv.load(Ordering::Relaxed);
        Running {
            name: self.name().into(),
            bytes: self.bytes(),
            memory: kv_used.saturating_add(self.engine.facts().buffers),
            context: self.context(),
            parallel: self.limits.parallel,
            expires: self.expires().map(|at| at.saturating_duration_since(Instant::now())),
            sequences: state.sequences.load(Ordering::Relaxed),
            waiting: state.waiting.load(Ordering::Relaxed),
            kept: state.kept.load(Ordering::Relaxed),
            kv_used,
            kv_limit,
            device: self.device().into(),
            thinks: self.voice().thinks(),
        }
    }

    /// One more lease. `None` if the thread has ended.
    pub(super) fn lease(self: &Arc<Self>) -> Option<Lease> {
        if self.engine.is_over() {
            return None;
        }
        self.uses().leases += 1;
        Some(Lease(self.clone()))
    }

    /// Nobody uses it.
    pub(super) fn is_idle(&self) -> bool {
        self.uses().leases == 0 && self.engine.is_idle()
    }

    /// When it was last used.
    pub(super) fn last_used(&self) -> Instant {
        self.uses().last
    }

    /// When it may go if nobody uses it until then; never for some. While it is used, the time begins now.
    pub(super) fn expires(&self) -> Option<Instant> {
        let uses = self.uses();
        let from = if uses.leases == 0 && self.engine.is_idle() { uses.last } else { Instant::now() };
        match uses.keep_alive {
            KeepAlive::For(time) => from.checked_add(time),
            KeepAlive::Forever => None,
        }
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// How long the model stays loaded when nobody uses it any more.
    pub fn set_keep_alive(&mut self, keep_alive: KeepAlive) {
        self.0.uses().keep_alive = keep_alive;
    }

    /// What was kept loaded, which it now need not be.
    pub(super) fn into_loaded(self) -> Arc<Loaded> {
        self.0.clone()
    }
}

impl Deref for Lease {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut uses = self.0.uses();
        uses.leases -= 1;
        uses.last = Instant::now();
        drop(uses);
        self.0.changed.notify_one();
    }
}

/// How long until a model that is in use is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
