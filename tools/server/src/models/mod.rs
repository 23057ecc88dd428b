//! Which models are loaded: loading on demand, unloading after a while of silence, a limit on memory.

mod loaded;
mod totals;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use qwip::Model;
use qwip::chat::Voice;
use qwip::model::Task;
use tokio::task::{JoinError, spawn_blocking};

use crate::chat::KeepAlive;
use crate::engine::{Commons, Engine, Failure, FailureKind, Limits};
use crate::library::{Described, Library, Listed, OpenError, Opened};
use loaded::LOOK_AGAIN;
pub use loaded::{Lease, Loaded};
pub use totals::{Counts, Totals};

/// How models are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sequences of a model that are evaluated together, 1 to [`Settings::MAX_PARALLEL`].
    pub parallel: usize,
    /// Most positions of a sequence, in place of what the library says.
    pub context: Option<usize>,
    /// Bytes that the keys and values of all models may take together.
    pub kv_memory: u64,
    /// Bytes that the weights of the loaded models and `kv_memory` may take together; without it there is no limit.
    pub memory: Option<u64>,
    /// How long a model stays loaded when nobody uses it.
    pub keep_alive: KeepAlive,
    /// Requests of a model that may wait beside those that run.
    pub queue: usize,
    /// How long a pass should take at most while answers run; the slices of prompts are chosen so.
    pub pass: Duration,
}

impl Settings {
    /// The largest [`Settings::parallel`].
    pub const MAX_PARALLEL: usize = 256;
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            parallel: 4,
            context: None,
            kv_memory: 2 << 30,
            memory: None,
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            queue: 64,
            pass: Duration::from_millis(150),
        }
    }
}

/// A model of the library.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the library says.
    pub listed: Listed,
    /// How it is doing, if it is loaded.
    pub running: Option<Running>,
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// What it is listed as.
    pub name: String,
    /// Mapped bytes of the weights.
    pub bytes: u64,
    /// Bytes of its keys and values and of intermediate results.
    pub memory: u64,
    /// Most positions of a sequence.
    pub context: usize,
    /// Sequences that are evaluated together.
    pub parallel: usize,
    /// How long it stays if nobody uses it; `None`: until its memory is wanted.
    pub expires: Option<Duration>,
    /// Sequences that are running.
    pub sequences: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Finished sequences that are kept for the next turn.
    pub kept: usize,
    /// Bytes of its keys and values, those of kept sequences among them.
    pub kv_used: u64,
    /// Bytes that the keys and values of all models may take.
    pub kv_limit: u64,
    /// What computes, in words.
    pub device: String,
    /// Whether its template knows of thinking.
    pub thinks: bool,
}

/// The models of a server.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    library: Arc<dyn Library>,
    settings: Settings,
    commons: Arc<Commons>,
    state: Mutex<State>,
    /// One model is loaded at a time.
    loading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    loaded: Vec<Arc<Loaded>>,
    /// What loaded models were asked for as, where that is not their name.
    aliases: HashMap<String, String>,
    /// The last failure to load, for those who asked for the same before it was known.
    failed: Option<(String, Instant, Failure)>,
    closed: bool,
}

/// How long a model that is given back is waited for.
const SHORTLY: Duration = Duration::from_millis(500);
/// Most bytes of a model's name.
const MOST_NAME: usize = 256;
/// Other names of models that are remembered.
const MOST_ALIASES: usize = 1000;

impl Models {
    /// No model is loaded yet.
    pub fn new(library: Arc<dyn Library>, settings: Settings) -> Models {
        let settings = Settings { parallel: settings.parallel.clamp(1, Settings::MAX_PARALLEL), ..settings };
        let commons = Arc::new(Commons::new(settings.kv_memory));
        let (state, loading) = (Mutex::default(), Arc::default());
        Models(Arc::new(Inner { library, settings, commons, state, loading }))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What has been done so far.
    pub fn totals(&self) -> &Totals {
        &self.0.commons.totals
    }

    /// Bytes of the keys and values of all models, those of kept sequences among them.
    pub fn kv_used(&self) -> u64 {
        self.0.commons.budget.used()
    }

    /// All models of the library, and how they are doing.
    pub async fn list(&self) -> Vec<Entry> {
        let library = self.0.library.clone();
        let listed = spawn_blocking(move || library.list()).await.unwrap_or_default();
        let mut running = self.running();
        let of = |listed: Listed| {
            let at = running.iter().position(|running| running.name == listed.name);
            Entry { running: at.map(|at| running.swap_remove(at)), listed }
        };
        listed.into_iter().map(of).collect()
    }

    /// The loaded models, the one used last first.
    pub fn running(&self) -> Vec<Running> {
        let mut loaded = self.0.state().loaded.clone();
        loaded.retain(|loaded| !loaded.engine.is_over());
        loaded.sort_by_key(|loaded| std::cmp::Reverse(loaded.last_used()));
        loaded.iter().map(|loaded| loaded.running(self.0.settings.kv_memory)).collect()
    }

    /// A model by its name; the empty name means the default. It is loaded if it is not.
    ///
    /// # Errors
    /// `UnknownModel`, with the name; `Busy` if there is not the memory now, `Invalid` if there never is; `Internal` if it
    /// cannot be used.
    pub async fn get(&self, name: &str) -> Result<Lease, Failure> {
        bounded(name)?;
        if let Some(lease) = self.0.find(name) {
            return Ok(lease);
        }
        let asked = Instant::now();
        let name = match name {
            "" => self.default_name().await?,
            name => name.to_owned(),
        };
        if let Some(lease) = self.0.find(&name) {
            return Ok(lease);
        }
        // A client that goes does not break the loading off, which others may wait for.
        let models = self.clone();
        tokio::spawn(async move { models.load(name, asked).await }).await.map_err(broken)?
    }

    /// What `tell` says of a model's name, file and template. It need not be loaded for that, and is not afterwards.
    ///
    /// # Errors
    /// `UnknownModel`, with the name; `Internal` if it cannot be opened.
    pub async fn look<T>(
        &self,
        name: &str,
        tell: impl FnOnce(&str, &Model, &Voice) -> T,
    ) -> Result<T, Failure> {
        bounded(name)?;
        let name = match name {
            "" => self.default_name().await?,
            name => name.to_owned(),
        };
        if let Some(lease) = self.0.find(&name) {
            return Ok(tell(lease.name(), lease.model(), lease.voice()));
        }
        let _one_at_a_time = self.0.loading.lock().await;
        let library = self.0.library.clone();
        let described = spawn_blocking(move || library.describe(&name)).await.map_err(broken)?;
        let Described { name, model, voice } = described.map_err(not_opened)?;
        Ok(tell(&name, &model, &voice))
    }

    /// Has a model go when nobody uses it any more, which is waited for only shortly; what is running goes on. That it is not loaded is no
    /// fault.
    ///
    /// # Errors
    /// As [`look`](Models::look).
    pub async fn release(&self, name: &str) -> Result<(), Failure> {
        let Some(mut lease) = self.0.find(name) else { return self.look(name, |_, _, _| ()).await };
        lease.set_keep_alive(KeepAlive::For(Duration::ZERO));
        let loaded = lease.into_loaded();
        // An answer that its client has seen the end of may not be over yet for its thread.
        for _ in 0..SHORTLY.as_millis() / 10 {
            if self.0.take_expired(&loaded).is_ok() {
                end(loaded).await;
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Unloads all; what is running fails, and nothing is loaded any more.
    pub async fn shutdown(&self) {
        let loaded = {
            let mut state = self.0.state();
            state.closed = true;
            std::mem::take(&mut state.loaded)
        };
        loaded.iter().for_each(|loaded| loaded.engine.stop());
        for loaded in loaded {
            end(loaded).await;
        }
    }

    /// The name that a request for this task means which says none: the default's, or that of the first model that is made
    /// for the task.
    ///
    /// # Errors
    /// `UnknownModel` if there is no default.
    pub async fn default_for(&self, task: Task) -> Result<String, Failure> {
        let name = self.default_name().await?;
        let entries = self.list().await;
        let fits = |entry: &&Entry| entry.listed.task == task;
        let is_for_other = entries.iter().any(|entry| entry.listed.name == name && entry.listed.task != task);
        let better = entries.iter().find(fits).filter(|_| is_for_other);
        Ok(better.map_or(name, |entry| entry.listed.name.clone()))
    }

    async fn default_name(&self) -> Result<String, Failure> {
        let library = self.0.library.clone();
        let name = spawn_blocking(move || library.default_name()).await.map_err(broken)?;
        name.ok_or_else(|| unknown("the request names no model, and there is no default"))
    }

    /// Loads a model, unless somebody else has meanwhile.
    async fn load(&self, name: String, asked: Instant) -> Result<Lease, Failure> {
        let _one_at_a_time = self.0.loading.clone().lock_owned().await;
        if let Some(lease) = self.0.find(&name) {
            return Ok(lease);
        }
        if let Some((_, _, failure)) =
            self.0.state().failed.as_ref().filter(|(other, at, _)| *other == name && *at >= asked)
        {
            return Err(failure.clone());
        }
        let result = self.open(&name).await;
        if let Err(failure) = &result {
            // What there is not is the client's word alone, which may be anything.
            if failure.kind != FailureKind::UnknownModel {
                tracing::warn!(model = name, "not loaded: {failure}");
            }
            self.0.state().failed = Some((name, Instant::now(), failure.clone()));
        }
        result
    }

    /// Has the library open a file.
    async fn read(&self, name: &str) -> Result<Opened, Failure> {
        let (library, asked) = (self.0.library.clone(), name.to_owned());
        let opened = spawn_blocking(move || library.open(&asked)).await.map_err(broken)?;
        opened.map_err(not_opened)
    }

    async fn open(&self, name: &str) -> Result<Lease, Failure> {
        let began = Instant::now();
        // What is read in whole and not mapped takes its memory as soon as it is opened.
        if self.0.settings.memory.is_some() {
            let library = self.0.library.clone();
            let listed = spawn_blocking(move || library.list()).await.map_err(broken)?;
            if let Some(listed) = listed.iter().find(|listed| listed.name == name) {
                self.make_room(name, listed.bytes).await?;
            }
        }
        let opened = self.read(name).await?;
        if opened.name != name {
            let lease = self.0.find(&opened.name);
            self.0.state().remember(name, &opened.name);
            if let Some(lease) = lease {
                return Ok(lease);
            }
        }
        self.make_room(&opened.name, opened.model.file().len()).await?;
        let Settings { parallel, queue, pass, context, keep_alive, .. } = self.0.settings;
        let limits = Limits { parallel, queue, pass };
        let (opened, commons) = (Arc::new(opened), self.0.commons.clone());
        let start = move || {
            let mut options = opened.options;
            options.context = context.unwrap_or(options.context);
            let engine = Engine::start(opened.clone(), options, limits, commons)?;
            Ok::<_, Failure>(Arc::new(Loaded::new(opened, engine, limits, keep_alive)))
        };
        let loaded = spawn_blocking(start).await.map_err(broken)??;
        let lease = self.0.keep(&loaded)?;
        self.0.commons.totals.loaded();
        tracing::info!(model = loaded.name(), seconds = began.elapsed().as_secs_f64(), "loaded");
        tokio::spawn(expire(Arc::downgrade(&self.0), Arc::downgrade(&loaded)));
        Ok(lease)
    }

    /// Unloads models that nobody uses until there is memory for so many bytes of weights.
    async fn make_room(&self, name: &str, bytes: u64) -> Result<(), Failure> {
        let Settings { memory, kv_memory, .. } = self.0.settings;
        let Some(limit) = memory else { return Ok(()) };
        if bytes.saturating_add(kv_memory) > limit {
            let message = format!(
                "the model '{name}' takes {bytes} bytes and keys and values up to {kv_memory}, but the limit is {limit}"
            );
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        loop {
            let unused = {
                let mut state = self.0.state();
                let held = state.loaded.iter().fold(0u64, |sum, loaded| sum.saturating_add(loaded.bytes()));
                if held.saturating_add(bytes).saturating_add(kv_memory) <= limit {
                    return Ok(());
                }
                let idle = state.loaded.iter().enumerate().filter(|(_, loaded)| loaded.is_idle());
                let Some((at, _)) = idle.min_by_key(|(_, loaded)| loaded.last_used()) else {
                    let message = format!(
                        "the model '{name}' takes {bytes} bytes, but models in use take {held} and keys and values up to \
                         {kv_memory}, and the limit is {limit}: try again later"
                    );
                    return Err(Failure::new(FailureKind::Busy, message));
                };
                state.loaded.swap_remove(at)
            };
            tracing::info!(model = unused.name(), "unloaded to make room");
            end(unused).await;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease of a model that is loaded. Those go whose thread has failed.
    fn find(&self, name: &str) -> Option<Lease> {
        let mut state = self.state();
        state.loaded.retain(|loaded| !loaded.engine.is_over());
        let name = state.aliases.get(name).map_or(name, String::as_str);
        state.loaded.iter().find(|loaded| loaded.name() == name)?.lease()
    }

    /// Puts a model among those that are loaded.
    fn keep(&self, loaded: &Arc<Loaded>) -> Result<Lease, Failure> {
        let mut state = self.state();
        let ended = || Failure::new(FailureKind::Busy, "the server is ending");
        if state.closed {
            return Err(ended());
        }
        state.loaded.push(loaded.clone());
        loaded.lease().ok_or_else(ended)
    }

    /// Takes a model out whose time is over. The time when to look again, if it is not.
    fn take_expired(&self, loaded: &Arc<Loaded>) -> Result<(), Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        match (loaded.expires(), loaded.is_idle()) {
            (Some(at), true) if at <= now => {}
            (at, true) => return Err(at),
            // It is in use, and the end of that is not always said.
            (at, false) => return Err(at.map(|at| at.max(now + LOOK_AGAIN))),
        }
        state.loaded.retain(|other| !Arc::ptr_eq(other, loaded));
        Ok(())
    }
}

impl State {
    fn remember(&mut self, alias: &str, name: &str) {
        if self.aliases.len() >= MOST_ALIASES {
            self.aliases.clear();
        }
        self.aliases.insert(alias.to_owned(), name.to_owned());
    }
}

/// Unloads a model when its time is over.
async fn expire(models: Weak<Inner>, model: Weak<Loaded>) {
    loop {
        // Not held while waiting, so that the model can go meanwhile.
        let (until, changed) = match (models.upgrade(), model.upgrade()) {
            (Some(models), Some(loaded)) => match models.take_expired(&loaded) {
                Ok(()) => {
                    tracing::info!(model = loaded.name(), "unloaded after its time");
                    return end(loaded).await;
                }
                Err(until) => (until, loaded.changed.clone()),
            },
            _ => return,
        };
        // A model that stays for ever may get another time.
        let wait = until.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
        // An elapsed time is as good a reason to look as a change.
        let _ = tokio::time::timeout(wait, changed.notified()).await;
    }
}

/// Ends the thread of a model, which takes as long as the pass that it breaks off.
async fn end(loaded: Arc<Loaded>) {
    // A panic of it has been told already.
    let _ = spawn_blocking(move || loaded.engine.join()).await;
}

/// A longer name is nobody's, and is not looked for, remembered or repeated.
fn bounded(name: &str) -> Result<(), Failure> {
    match name.len() {
        ..=MOST_NAME => Ok(()),
        bytes => {
            Err(unknown(format!("the model's name has {bytes} bytes, at most {MOST_NAME} are possible")))
        }
    }
}

fn unknown(message: impl Into<String>) -> Failure {
    Failure { param: Some("model".into()), ..Failure::new(FailureKind::UnknownModel, message) }
}

fn not_opened(error: OpenError) -> Failure {
    match error {
        OpenError::Unknown(message) => unknown(message),
        OpenError::Failed(message) => Failure::new(FailureKind::Internal, message),
    }
}

/// A thread for blocking work has panicked, or the runtime ends.
fn broken(error: JoinError) -> Failure {
    Failure::new(FailureKind::Internal, format!("loading was broken off: {error}"))
}
