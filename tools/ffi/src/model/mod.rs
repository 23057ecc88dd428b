//! A model: settings, then a file, then ready for sessions.
//!
//! | file | what it holds |
//! |---|---|
//! | `api.rs` | the calls for opening and loading |
//! | `signals.rs` | the calls by which the host says how things are: memory, heat, background |
//! | `tokens.rs` | the calls that turn text into tokens and back |
//! | `settings.rs` | what is said before loading, and where the file comes from |
//! | `engine.rs` | a loaded model, which its sessions share |
//! | `threads.rs`, `gate.rs` | who computes, and when not |
//! | `info.rs` | what a file says of itself, as JSON |

mod api;
mod engine;
mod gate;
mod info;
mod settings;
mod signals;
mod threads;
mod tokens;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::{Estimate, Model, SessionOptions, Tokenizer};

pub(crate) use engine::Engine;
pub(crate) use gate::Activity;
use settings::{HostMemory, Settings, Source};

use crate::handle::{Handle, LastError, Remembers};
use crate::status::{Fault, Outcome, QWIP_STATUS_OUT_OF_MEMORY};

/// A model. Sessions share its weights. All calls on it may come from any thread, several at the same time.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub struct qwip_model {
    _number: (),
}

impl Handle for qwip_model {
    type Thing = ModelThing;
    const NAME: &'static str = "model";
}

/// What is behind the handle of a model.
#[derive(Default)]
pub(crate) struct ModelThing {
    error: LastError,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    settings: Settings,
    stage: Stage,
    /// Bytes of the tokenizer's tables, once somebody has asked.
    tables: Option<u64>,
}

/// How far a model has come.
#[derive(Default)]
enum Stage {
    #[default]
    New,
    /// The file is mapped, and its header has been read.
    Opened(Arc<Source>, Arc<Model>),
    /// A thread is opening or loading it at this moment.
    AtWork,
    Loaded(Arc<Engine>),
}

impl Remembers for ModelThing {
    fn last_error(&self) -> &LastError {
        &self.error
    }
}

impl ModelThing {
    /// Changes a setting.
    fn set(&self, change: impl FnOnce(&mut Settings)) -> Outcome {
        let mut inside = self.inside();
        match inside.stage {
            Stage::New | Stage::Opened(..) => {
                change(&mut inside.settings);
                Ok(())
            }
            Stage::AtWork => Err(at_work()),
            Stage::Loaded(_) => Err(Fault::state("the model is loaded: its settings can no longer change")),
        }
    }

    /// Opens a file: maps it and reads its header.
    fn open(&self, source: impl FnOnce() -> Outcome<Source>) -> Outcome {
        let mut inside = self.inside();
        match inside.stage {
            Stage::New => {}
            Stage::AtWork => return Err(at_work()),
            _ => return Err(Fault::state("the model has a file already")),
        }
        inside.stage = Stage::AtWork;
        drop(inside);
        // What happens now may take a while, and may call the host.
        let mut back = Back { thing: self, stage: Some(Stage::New) };
        let source = source()?;
        let model = source.describe()?;
        back.stage = Some(Stage::Opened(Arc::new(source), model));
        Ok(())
    }

    /// Gets the model ready for sessions.
    fn load(&self) -> Outcome {
        let mut inside = self.inside();
        let (source, described) = match &inside.stage {
            Stage::Opened(source, described) => (source.clone(), described.clone()),
            Stage::New => return Err(Fault::state("the model has no file yet: open one first")),
            Stage::AtWork => return Err(at_work()),
            Stage::Loaded(_) => return Err(Fault::state("the model is loaded already")),
        };
        inside.stage = Stage::AtWork;
        let settings = inside.settings.clone();
        drop(inside);
        let mut back = Back { thing: self, stage: Some(Stage::Opened(source.clone(), described.clone())) };
        // Mapped and nothing more: that it is already.
        let as_it_is = settings.mmap && !settings.mlock && !settings.prefault;
        let model = match as_it_is {
            true => described,
            false => {
                fits(&described, &source, &settings)?;
                source.load(&settings)?
            }
        };
        let engine = Engine::start(model, &settings)?;
        back.stage = Some(Stage::Loaded(Arc::new(engine)));
        Ok(())
    }

    /// The model, if it is loaded.
    pub(crate) fn engine(&self) -> Outcome<Arc<Engine>> {
        match &self.inside().stage {
            Stage::Loaded(engine) => Ok(engine.clone()),
            Stage::AtWork => Err(at_work()),
            Stage::New | Stage::Opened(..) => Err(Fault::state("the model is not loaded yet")),
        }
    }

    /// What is known once it is open.
    fn described(&self) -> Outcome<Arc<Model>> {
        match &self.inside().stage {
            Stage::Opened(_, model) => Ok(model.clone()),
            Stage::Loaded(engine) => Ok(engine.model().clone()),
            Stage::AtWork => Err(at_work()),
            Stage::New => Err(Fault::state("the model has no file yet: open one first")),
        }
    }

    /// What a session of so many positions would take; it need not be loaded.
    fn estimate(&self, context: usize) -> Outcome<Memory> {
        let model = self.described()?;
        let settings = self.inside().settings.clone();
        let mmap =
            settings.mmap || matches!(&self.inside().stage, Stage::Opened(source, _) if source.is_memory());
        let loaded = self.engine().ok();
        let mmap = loaded.as_ref().map_or(mmap, |engine| engine.is_mapped());
        let threads = match (&loaded, settings.threads) {
            (Some(engine), _) => engine.threads().all(),
            (None, 0) => runtime::usable_cores(),
            (None, threads) => threads,
        };
        let options = SessionOptions { context, ..SessionOptions::default() };
        let estimate = Estimate::of_session(&model, &options, threads)?;
        let layers = model.config().layers;
        let tables = match &loaded {
            Some(engine) => engine.table_bytes(),
            None => self.table_bytes(&model)?,
        };
        Ok(Memory::of(&estimate, tables, mmap, share_on_gpu(settings.gpu_layers, layers)))
    }

    /// What the tokenizer of a model that is not loaded will take: it is made, once, and put away.
    fn table_bytes(&self, model: &Model) -> Outcome<u64> {
        if let Some(bytes) = self.inside().tables {
            return Ok(bytes);
        }
        let bytes = tokenizer(model)?.table_bytes() as u64;
        self.inside().tables = Some(bytes);
        Ok(bytes)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokenizer of a model's file.
fn tokenizer(model: &Model) -> Outcome<Tokenizer> {
    let file = model.file();
    let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone());
    Ok(tokenizer.map_err(runtime::Error::from)?)
}

/// Before gigabytes are copied: whether the limit allows them.
fn fits(described: &Model, source: &Source, settings: &Settings) -> Outcome {
    let (needed, limit) = (described.file().len(), settings.memory_limit);
    if settings.mmap || source.is_memory() || limit == 0 || needed <= limit {
        return Ok(());
    }
    let message = format!("the file's copy needs {needed} bytes, but the memory limit is {limit}");
    Err(Fault::new(QWIP_STATUS_OUT_OF_MEMORY, message))
}

/// Which part of the layers, as a fraction, is to be on a GPU.
fn share_on_gpu(wanted: usize, layers: usize) -> (u64, u64) {
    (wanted.min(layers) as u64, layers.max(1) as u64)
}

fn at_work() -> Fault {
    Fault::busy("the model is being opened or loaded at this moment")
}

/// Puts the model into a stage when it is dropped, also if something has unwound.
struct Back<'a> {
    thing: &'a ModelThing,
    stage: Option<Stage>,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            self.thing.inside().stage = stage;
        }
    }
}

/// Memory that is clean: mapped from the file. The system may take it and read it again.
pub const QWIP_MEMORY_MAPPED: i32 = 0;
/// Memory of our own, which counts against an app: decoded norms, tables of the tokenizer, keys and values of a full context,
/// buffers; the file itself, where it is copied.
pub const QWIP_MEMORY_DIRTY: i32 = 1;
/// Memory of the GPU.
pub const QWIP_MEMORY_GPU: i32 = 2;
/// What every token of a session adds.
pub const QWIP_MEMORY_KV_PER_TOKEN: i32 = 3;
/// All of it together.
pub const QWIP_MEMORY_TOTAL: i32 = 4;

/// What a session takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    mapped: u64,
    dirty: u64,
    gpu: u64,
    kv_per_token: u64,
}

impl Memory {
    /// Of a file that is mapped or copied, with that part of its layers on a GPU, and a tokenizer with such tables.
    pub(crate) fn of(estimate: &Estimate, tables: u64, mmap: bool, (on_gpu, layers): (u64, u64)) -> Memory {
        let part = |bytes: u64| (u128::from(bytes) * u128::from(on_gpu) / u128::from(layers)) as u64;
        let kept = estimate.cache.saturating_add(estimate.recurrent);
        let mut dirty = (estimate.dirty() - part(kept)).saturating_add(tables);
        if !mmap {
            dirty = dirty.saturating_add(estimate.weights);
        }
        Memory {
            mapped: if mmap { estimate.weights } else { 0 },
            dirty,
            gpu: part(estimate.weights).saturating_add(part(kept)),
            kv_per_token: estimate.cache_per_token,
        }
    }

    pub(crate) fn kind(&self, kind: i32) -> Outcome<u64> {
        match kind {
            QWIP_MEMORY_MAPPED => Ok(self.mapped),
            QWIP_MEMORY_DIRTY => Ok(self.dirty),
            QWIP_MEMORY_GPU => Ok(self.gpu),
            QWIP_MEMORY_KV_PER_TOKEN => Ok(self.kv_per_token),
            QWIP_MEMORY_TOTAL => Ok(self.mapped.saturating_add(self.dirty).saturating_add(self.gpu)),
            _ => Err(Fault::argument(format!(
                "the kind of memory is {kind}, expected {QWIP_MEMORY_MAPPED} to {QWIP_MEMORY_TOTAL}"
            ))),
        }
    }
}
