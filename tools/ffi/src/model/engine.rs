//! A model that is loaded: what its sessions share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

#[cfg(feature = "gpu")]
use runtime::backend::gpu::{Gpu, GpuModel, GpuOptions};
use runtime::chat::Voice;
#[cfg(feature = "constrain")]
use runtime::constrain::{Form, Grammar, Vocabulary};
use runtime::file::Bytes;
use runtime::kv::Charge;
use runtime::{Cancel, Estimate, KvBudget, Model, Result, Session, SessionOptions};

use super::gate::{Activity, Gate};
use super::settings::Settings;
use super::threads::{Heat, Threads};
use crate::log;
use crate::session::SessionThing;
use crate::status::{Fault, Outcome, QWIP_STATUS_BACKGROUND, QWIP_STATUS_OUT_OF_MEMORY};

/// A loaded model.
pub(crate) struct Engine {
    model: Arc<Model>,
    voice: Voice,
    threads: Threads,
    mmap: bool,
    gpu_layers: usize,
    gate: Gate,
    /// Memory of our own, of all sessions and of the model itself.
    budget: Arc<KvBudget>,
    /// What the model itself takes of it.
    _taken: Charge,
    sessions: Mutex<Vec<Weak<SessionThing>>>,
    #[cfg(feature = "constrain")]
    vocabulary: Mutex<Option<Arc<Vocabulary>>>,
    #[cfg(feature = "gpu")]
    device: Option<Arc<GpuModel>>,
}

impl Engine {
    /// Gets everything ready for sessions on `model`.
    pub(super) fn start(model: Arc<Model>, settings: &Settings) -> Outcome<Engine> {
        let file = model.file();
        let voice = Voice::new(file, super::tokenizer(&model)?)?;
        let threads = Threads::start(settings.threads, settings.cores.clone())?;
        let budget = KvBudget::new(match settings.memory_limit {
            0 => u64::MAX,
            limit => limit,
        });
        let estimate = Estimate::of_session(&model, &SessionOptions::default(), threads.all())?;
        let copied: u64 = file
            .parts()
            .iter()
            .map(|part| match &*part.bytes {
                Bytes::Owned(bytes) => bytes.len() as u64,
                _ => 0,
            })
            .sum();
        let own = estimate.vectors + copied + voice.tokenizer().table_bytes() as u64;
        let taken = charge(&budget, "the model", own)?;
        #[cfg(feature = "gpu")]
        let device = device(&model, settings)?;
        for note in model.notes() {
            log::warn(format_args!("{note}"));
        }
        log::info(format_args!(
            "{}: {}, {} threads, {own} bytes of our own",
            file.path().display(),
            model.architecture(),
            threads.all(),
        ));
        Ok(Engine {
            voice,
            threads,
            mmap: copied == 0,
            gpu_layers: settings.gpu_layers,
            gate: Gate::default(),
            budget,
            _taken: taken,
            sessions: Mutex::default(),
            #[cfg(feature = "constrain")]
            vocabulary: Mutex::default(),
            #[cfg(feature = "gpu")]
            device,
            model,
        })
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    pub(crate) fn budget(&self) -> &Arc<KvBudget> {
        &self.budget
    }

    /// Takes bytes of the memory limit, until what comes back is dropped.
    pub(crate) fn charge(&self, what: &str, bytes: u64) -> Outcome<Charge> {
        charge(&self.budget, what, bytes)
    }

    /// Bytes of the tokenizer's tables.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.voice.tokenizer().table_bytes() as u64
    }

    /// Whether the file is mapped, not copied.
    pub(crate) fn is_mapped(&self) -> bool {
        self.mmap
    }

    /// Which part of the layers, as a fraction, is on a GPU.
    pub(crate) fn share_on_gpu(&self) -> (u64, u64) {
        super::share_on_gpu(self.gpu_layers, self.model.config().layers)
    }

    /// An empty session of the runtime.
    pub(crate) fn session(&self, options: &SessionOptions) -> Result<Session> {
        let cpu = self.threads.cpu();
        #[cfg(feature = "gpu")]
        if let Some(device) = &self.device {
            return Session::on_gpu(device.clone(), cpu, options);
        }
        Session::new(self.model.clone(), cpu, options)
    }

    /// Tells the host's signals of a session.
    pub(crate) fn join(&self, session: &Arc<SessionThing>) {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(session));
    }

    /// Runs one step of something that computes, with a rest behind it if the device is hot.
    pub(crate) fn step<T>(
        &self,
        activity: &Arc<Activity>,
        mut step: impl FnMut(&Cancel) -> Result<T>,
    ) -> Result<T> {
        let mut computed = Duration::ZERO;
        let result = self.gate.step(activity, |cancel| {
            let started = Instant::now();
            let result = step(cancel);
            computed = started.elapsed();
            result
        });
        let rest = self.threads.rest(computed);
        if !rest.is_zero() && result.is_ok() {
            self.gate.rest(activity, rest);
        }
        result
    }

    /// Takes steps until one of them gives a result.
    pub(crate) fn steps<T>(
        &self,
        activity: &Arc<Activity>,
        mut step: impl FnMut(&Cancel) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            if let Some(result) = self.step(activity, &mut step)? {
                return Ok(result);
            }
        }
    }

    /// Ends what computes.
    pub(crate) fn stop(&self, activity: &Activity) {
        self.gate.stop(activity);
    }

    /// Refuses work of the caller's own thread in the background, where it would wait for nobody knows how long.
    pub(crate) fn refuse_in_background(&self) -> Outcome {
        match self.gate.is_closed() {
            false => Ok(()),
            true => {
                Err(Fault::new(QWIP_STATUS_BACKGROUND, "the model is in the background: bring it back first"))
            }
        }
    }

    pub(super) fn set_background(&self, background: bool) {
        match background {
            true => self.gate.close(),
            false => self.gate.open(),
        }
        log::info(format_args!("{}", if background { "in the background" } else { "in front again" }));
    }

    /// The host has freed its handle.
    pub(super) fn abandon(&self) {
        self.gate.abandon();
    }

    pub(super) fn set_heat(&self, heat: Heat) -> Outcome {
        self.threads.set_heat(heat)?;
        log::info(format_args!("thermal state {heat:?}: {} threads", self.threads.cpu().pool.threads()));
        Ok(())
    }

    /// Gives back memory that can be had again: buffers of sessions that nobody uses at this moment, what grammars need; if
    /// it is `critical`, also keys and values, which are computed again, and pages of the file, which are read again.
    pub(super) fn relieve(&self, critical: bool) {
        let before = self.budget.used();
        #[cfg(feature = "constrain")]
        // One that is being built is wanted.
        drop(self.vocabulary.try_lock().ok().and_then(|mut kept| kept.take()));
        let sessions: Vec<_> = self.sessions().iter().filter_map(Weak::upgrade).collect();
        for session in sessions {
            session.relieve(critical);
        }
        if critical {
            self.model.file().drop_resident();
        }
        let given_back = before.saturating_sub(self.budget.used());
        log::info(format_args!("memory pressure: {given_back} bytes given back"));
    }

    /// Reads a grammar. The first one takes half a second more.
    #[cfg(feature = "constrain")]
    pub(crate) fn form(&self, grammar: &Grammar) -> Result<Form> {
        let mut kept = self.vocabulary.lock().unwrap_or_else(PoisonError::into_inner);
        let vocabulary = match &mut *kept {
            Some(vocabulary) => vocabulary.clone(),
            none => {
                let built = Vocabulary::new(self.voice.tokenizer(), self.model.config().vocab)?;
                none.insert(built).clone()
            }
        };
        drop(kept);
        vocabulary.form(grammar)
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Weak<SessionThing>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn charge(budget: &Arc<KvBudget>, what: &str, bytes: u64) -> Outcome<Charge> {
    budget.charge(bytes).map_err(|_| {
        let (used, limit) = (budget.used(), budget.limit());
        let message =
            format!("{what}: {bytes} bytes are needed, but {used} of the memory limit of {limit} are taken");
        Fault::new(QWIP_STATUS_OUT_OF_MEMORY, message)
    })
}

/// Puts layers on the best GPU, if the settings ask for it.
#[cfg(feature = "gpu")]
fn device(model: &Arc<Model>, settings: &Settings) -> Outcome<Option<Arc<GpuModel>>> {
    if settings.gpu_layers == 0 {
        return Ok(None);
    }
    let gpu = Arc::new(Gpu::open(&GpuOptions::default()).map_err(runtime::Error::from)?);
    let total = model.file().len();
    let mut hear = |done: u64| settings.hear(done, total).is_continue();
    let device = GpuModel::load(gpu, model.clone(), settings.gpu_layers, &mut hear)?;
    Ok(Some(Arc::new(device)))
}
