//! One loaded model. A thread evaluates all its sequences together, slice by slice, and hands out what comes of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `ask.rs` | what is asked and answered |
//! | `thread.rs` | the loop: hear, let in, evaluate |
//! | `admit.rs` | who is let in, and where a prompt begins; who is put back when pages run out |
//! | `pass.rs` | one pass: a token of each answer, slices of prompts (`pace.rs` says how long) |
//! | `kept.rs` | finished sequences, kept for the next turn |
//! | `texts.rs` | embeddings and judgements |
//! | `commons.rs` | what the models of a server share: threads, in turns (`turns.rs`), pages, counters |
//!
//! However many are answered at the same time, each text is the one that it would be alone, to the last bit: the runtime
//! promises that for passes and for shared beginnings, and everything that is chosen is a request's own.

mod admit;
mod ask;
mod commons;
mod kept;
mod pace;
mod pass;
mod texts;
mod thread;
mod turns;
mod watch;
mod work;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use qwip::kv::Recurrent;
use qwip::model::Task;
use qwip::sample::MOST_LOGPROBS;
use qwip::{Estimate, Score, SessionOptions, Together};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::library::Opened;
pub use ask::{Ask, Event, Failure, FailureKind, Summary};
pub(crate) use commons::{Commons, State};
use thread::Thread;
use work::{Answer, Begin, Clock, Message, Place, Stage, TextTask, Texts};

/// How much is done at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sequences that are evaluated together.
    pub(crate) parallel: usize,
    /// Requests that may wait beside those.
    pub(crate) queue: usize,
    /// What a pass should take at most while answers run.
    pub(crate) pass: Duration,
}

/// The thread of a model, from outside.
pub(crate) struct Engine {
    opened: Arc<Opened>,
    limits: Limits,
    commons: Arc<Commons>,
    state: Arc<State>,
    inbox: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    numbers: AtomicU64,
    facts: Facts,
}

/// What is known of the model's sessions.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Most positions of a sequence.
    pub(crate) context: usize,
    /// What it computes with, in a word.
    pub(crate) fingerprint: String,
    /// Bytes of intermediate results, and of the logits of all sequences.
    pub(crate) buffers: u64,
    /// Bytes of the pages of 64 positions.
    page: u64,
    /// Bytes of what a hybrid remembers of a sequence.
    memory: u64,
    batch: usize,
}

/// Positions of a page.
const PAGE: usize = 64;

impl Facts {
    fn of(opened: &Opened, options: &SessionOptions, sequences: usize) -> qwip::Result<Facts> {
        let session = (opened.session)(options)?;
        let (model, threads) = (&opened.model, opened.cpu.pool.threads());
        let estimate = Estimate::of_session(model, options, threads)?;
        let logits = (sequences * model.config().vocab * size_of::<f32>()) as u64;
        Ok(Facts {
            context: session.context(),
            fingerprint: session.system_fingerprint(),
            buffers: estimate.buffers.saturating_add(logits),
            page: estimate.cache_per_token.saturating_mul(PAGE as u64),
            memory: Recurrent::bytes(model.config()),
            batch: session.batch(),
        })
    }

    /// Bytes of the pages of so many positions.
    fn pages(&self, positions: usize) -> u64 {
        self.page.saturating_mul(positions.div_ceil(PAGE) as u64)
    }

    /// Bytes that a sequence of so many tokens takes at least.
    fn bytes(&self, tokens: usize) -> u64 {
        self.pages(tokens).saturating_add(self.memory)
    }
}

impl Engine {
    /// Starts the thread.
    pub(crate) fn start(
        opened: Arc<Opened>,
        options: SessionOptions,
        limits: Limits,
        commons: Arc<Commons>,
    ) -> Result<Engine, Failure> {
        let most_kept = (2 * limits.parallel).max(8);
        let facts = Facts::of(&opened, &options, limits.parallel + most_kept)?;
        let (inbox, mail) = channel();
        let state = Arc::new(State::default());
        let mut thread = Thread {
            opened: opened.clone(),
            options,
            limits,
            commons: commons.clone(),
            state: state.clone(),
            inbox: mail,
            cancel: state.cancel.clone(),
            facts: facts.clone(),
            waiting: VecDeque::new(),
            active: Vec::new(),
            texts: VecDeque::new(),
            workers: texts::Workers::default(),
            kept: kept::Kept::new(most_kept),
            together: Together::new(),
            pace: pace::Pace::new(limits.pass),
            held: false,
            others: 0,
            wanted: 0,
            forget: false,
            moved: false,
        };
        let (shared, name, own) = (commons.clone(), opened.name.clone(), state.clone());
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(|| thread.run()));
            let failure = match result {
                Ok(()) => unloaded(&name),
                Err(panic) => {
                    let what = what_panicked(&*panic);
                    tracing::error!(model = name, "the engine has panicked: {what}");
                    Failure::new(FailureKind::Internal, format!("the model '{name}' has failed: {what}"))
                }
            };
            own.over.store(true, Ordering::SeqCst);
            shared.leave(&own);
            // What was in use may be broken; then it is left as it is.
            let _ = catch_unwind(AssertUnwindSafe(|| thread.fail_all(&failure)));
        };
        // Before it can leave.
        commons.join(state.clone(), inbox.clone());
        let handle = std::thread::Builder::new().name("qwip-engine".into()).spawn(work).map_err(|error| {
            commons.leave(&state);
            Failure::new(FailureKind::Internal, format!("could not start a thread: {error}"))
        })?;
        let (thread, numbers) = (Mutex::new(Some(handle)), AtomicU64::new(0));
        Ok(Engine { opened, limits, commons, state, inbox, thread, numbers, facts })
    }

    /// What is known of the model's sessions.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How things are now.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The thread has ended, though nobody asked for it.
    pub(crate) fn is_over(&self) -> bool {
        self.state.over.load(Ordering::SeqCst)
    }

    /// Nothing is running or waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.places.load(Ordering::Relaxed) == 0
    }

    /// Asks for an answer.
    pub(crate) fn generate(&self, ask: Ask) -> Result<UnboundedReceiver<Event>, Failure> {
        let Ask { prompt, sampling, options, constraint, prompt_logprobs } = ask;
        self.opened.model.allows(Task::Generate)?;
        sampling.check()?;
        self.check_text(&prompt)?;
        for (what, top) in [("logprobs", options.logprobs), ("prompt logprobs", prompt_logprobs)] {
            if let Some(top) = top.filter(|&top| top > MOST_LOGPROBS) {
                let message = format!("{what} is {top}, but at most {MOST_LOGPROBS} are given");
                return Err(Failure::invalid("logprobs", message));
            }
        }
        let (events, receiver) = unbounded_channel();
        let answer = Answer {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            events: events.clone(),
            prompt_tokens: prompt.len(),
            text: prompt,
            cached_tokens: 0,
            max_tokens: options.max_tokens,
            stage: Stage::New(Begin { sampling, options, constraint, prompt_logprobs, found: Vec::new() }),
            clock: Clock::new(),
            place: self.place()?,
        };
        self.send(Message::Answer(Box::new(answer)))?;
        if self.is_over() {
            // It may have come after the last look into the inbox.
            let _ = events.send(Event::Failed(self.gone()));
        }
        Ok(receiver)
    }

    /// Asks for the vectors of texts.
    pub(crate) async fn embed(
        &self,
        texts: Vec<Vec<u32>>,
        dimensions: Option<usize>,
    ) -> Result<Vec<Vec<f32>>, Failure> {
        let model = &self.opened.model;
        model.allows(Task::Embed)?;
        if model.pooling().is_none() {
            let (name, architecture) = (&self.opened.name, model.architecture());
            let message = format!(
                "the model '{name}' is not for embeddings: metadata key '{architecture}.pooling_type' is missing"
            );
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        texts.iter().try_for_each(|text| self.check_text(text))?;
        let (reply, result) = oneshot::channel();
        let (left, done) = (texts.into(), Vec::new());
        self.send_texts(TextTask::Embed { left, dimensions, done, reply })?;
        result.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Asks how well documents answer a query.
    pub(crate) async fn rerank(&self, query: String, documents: Vec<String>) -> Result<Vec<Score>, Failure> {
        self.opened.model.allows(Task::Rerank)?;
        let (reply, result) = oneshot::channel();
        let (left, done) = (documents.into(), Vec::new());
        self.send_texts(TextTask::Rerank { query, left, done, reply })?;
        result.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Drops all sequences that are kept for a next turn.
    pub(crate) fn forget(&self) {
        // One whose thread has ended keeps nothing.
        let _ = self.inbox.send(Message::Forget);
    }

    /// Ends the thread soon; what is running fails.
    pub(crate) fn stop(&self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.state.cancel.cancel();
        // One that has ended does not listen.
        let _ = self.inbox.send(Message::Wake);
    }

    /// Ends the thread and waits for that.
    pub(crate) fn join(&self) {
        self.stop();
        let handle = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Its panics have been told already.
        let _ = handle.map(JoinHandle::join);
    }

    fn send_texts(&self, task: TextTask) -> Result<(), Failure> {
        let place = self.place()?;
        self.send(Message::Texts(Box::new(Texts { task, begun: false, place })))
    }

    fn send(&self, message: Message) -> Result<(), Failure> {
        self.inbox.send(message).map_err(|_| self.gone())
    }

    /// A place for one more request.
    fn place(&self) -> Result<Place, Failure> {
        let most = self.limits.parallel + self.limits.queue;
        Place::take(&self.state, most).map_err(|taken| {
            let name = &self.opened.name;
            let message =
                format!("the model '{name}' has {taken} requests running and waiting, of at most {most}");
            Failure::new(FailureKind::Busy, message)
        })
    }

    /// What can be said of a text before anything is done with it.
    fn check_text(&self, text: &[u32]) -> Result<(), Failure> {
        let (vocab, context) = (self.opened.model.config().vocab, self.facts.context);
        if text.is_empty() {
            return Err(qwip::Error::EmptyPrompt.into());
        }
        if let Some(&token) = text.iter().find(|&&token| token as usize >= vocab) {
            return Err(qwip::Error::TokenOutOfRange { token, vocab }.into());
        }
        if text.len() > context {
            return Err(Failure::new(FailureKind::TooLong, ask::too_long(text.len(), context)));
        }
        let (needed, limit) = (self.facts.bytes(text.len()), self.commons.budget.limit());
        if needed > limit {
            let tokens = text.len();
            let message = format!(
                "the prompt of {tokens} tokens needs {needed} bytes of keys and values, but the limit is {limit}"
            );
            return Err(Failure::new(FailureKind::TooLong, message));
        }
        Ok(())
    }

    fn gone(&self) -> Failure {
        unloaded(&self.opened.name)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The model has gone between a request and its turn; it can be loaded again.
fn unloaded(name: &str) -> Failure {
    Failure::new(FailureKind::Busy, format!("the model '{name}' has been unloaded meanwhile: try again"))
}

/// The words of a panic.
fn what_panicked(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an unknown panic")
}
