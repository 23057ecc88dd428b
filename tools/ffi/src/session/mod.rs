//! A session: one sequence of tokens, which one call or request at a time may use.
//!
//! | file | what it holds |
//! |---|---|
//! | `api.rs` | the calls that make it, ask it and put it away |
//! | `compute.rs` | the calls that compute: tokens, embeddings, judgements |

mod api;
mod compute;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::kv::Charge;
use runtime::{Cancel, Estimate, Result, Session, SessionOptions};

pub(crate) use api::{PATIENCE, thing_of};

use crate::handle::{Handle, LastError, Remembers};
use crate::model::{Activity, Engine};
use crate::status::{Fault, Outcome, QWIP_STATUS_INVALID_HANDLE};

/// A sequence of tokens on a model. One call at a time may use it, on any thread; a second one gets `QWIP_STATUS_BUSY`.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub struct qwip_session {
    _number: (),
}

impl Handle for qwip_session {
    type Thing = SessionThing;
    const NAME: &'static str = "session";
}

/// What is behind the handle of a session.
pub(crate) struct SessionThing {
    error: LastError,
    engine: Arc<Engine>,
    slot: Mutex<Slot>,
    /// It is back in its slot.
    back: Condvar,
}

#[derive(Default)]
struct Slot {
    options: SessionOptions,
    /// None while somebody uses it.
    work: Option<Work>,
    /// What uses it.
    activity: Option<Arc<Activity>>,
    /// It gives memory back at this moment: no call of the host's, and soon done.
    relieved: bool,
    /// The host has freed the handle.
    freed: bool,
}

/// A session with its memory, once it is used.
#[derive(Default)]
pub(crate) struct Work {
    session: Option<Session>,
    /// Another, in which texts are embedded or judged: they are no part of the sequence.
    texts: Option<Session>,
    /// What its buffers take of the limit.
    buffers: Option<Charge>,
}

impl Remembers for SessionThing {
    fn last_error(&self) -> &LastError {
        &self.error
    }
}

impl SessionThing {
    fn new(engine: Arc<Engine>, options: SessionOptions, work: Work) -> Arc<SessionThing> {
        let slot =
            Mutex::new(Slot { options, work: Some(work), activity: None, relieved: false, freed: false });
        let session =
            Arc::new(SessionThing { error: LastError::default(), engine, slot, back: Condvar::new() });
        session.engine.join(&session);
        session
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Takes the session for the length of a call or of a request.
    ///
    /// # Errors
    /// `QWIP_STATUS_BUSY` if somebody has it.
    pub(crate) fn take(self: &Arc<Self>) -> Outcome<Lent> {
        let mut slot = self.slot();
        while slot.relieved {
            slot = self.back.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        if slot.freed {
            return Err(Fault::new(QWIP_STATUS_INVALID_HANDLE, "the session has been freed"));
        }
        self.lend(slot).ok_or_else(|| {
            Fault::busy("another call or request uses the session: one at a time, or one session for each")
        })
    }

    fn lend(self: &Arc<Self>, mut slot: MutexGuard<'_, Slot>) -> Option<Lent> {
        let work = slot.work.take()?;
        let activity = Arc::new(Activity::default());
        slot.activity = Some(activity.clone());
        Some(Lent { options: slot.options, thing: self.clone(), work: Some(work), activity })
    }

    /// Changes a setting; only before the first use.
    fn set(self: &Arc<Self>, change: impl FnOnce(&mut SessionOptions)) -> Outcome {
        let lent = self.take()?;
        if lent.session.is_some() || lent.texts.is_some() {
            return Err(Fault::state("the session has been used: its settings can no longer change"));
        }
        let mut options = lent.options;
        change(&mut options);
        // Out of range is said here, not at the first use.
        Estimate::of_session(self.engine.model(), &options, self.engine.threads().all())?;
        self.slot().options = options;
        Ok(())
    }

    /// Stops what uses the session.
    pub(crate) fn stop(&self) {
        let activity = self.slot().activity.clone();
        if let Some(activity) = activity {
            self.engine.stop(&activity);
        }
    }

    /// Stops what uses the session, waits until it is back, and lets nobody have it any more. False, and everybody may, if
    /// that took longer than `most`.
    fn free(&self, most: Duration) -> bool {
        let until = Instant::now() + most;
        self.stop();
        let mut slot = self.slot();
        while slot.work.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (slot, _) = self.back.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner);
        }
        slot.freed = true;
        // Requests that are still to be freed need not keep its memory.
        let work = slot.work.replace(Work::default());
        drop(slot);
        drop(work);
        true
    }

    /// Gives back memory, if nobody uses it at this moment.
    pub(crate) fn relieve(self: &Arc<Self>, critical: bool) {
        let mut slot = self.slot();
        slot.relieved = slot.work.is_some();
        let Some(mut lent) = self.lend(slot) else { return };
        let Work { session, texts, buffers } = &mut *lent;
        *texts = None;
        if let Some(session) = session {
            session.release_buffers();
            if critical {
                session.release_pages();
            }
        }
        *buffers = None;
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is in use; it goes back when this is dropped.
pub(crate) struct Lent {
    thing: Arc<SessionThing>,
    options: SessionOptions,
    /// There until it is dropped.
    work: Option<Work>,
    activity: Arc<Activity>,
}

impl Lent {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The session, if it has been used.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The session, with all that it needs to compute. Its memory is taken now, if that has not been.
    pub(crate) fn ready(&mut self) -> Outcome<&mut Session> {
        let engine = self.room()?;
        if self.session.is_none() {
            self.session = Some(empty(&engine, &self.options)?);
        }
        let Some(session) = &mut self.session else { return Err(Fault::cancelled()) };
        engine.threads().lend(session)?;
        Ok(session)
    }

    /// The session in which texts are embedded or judged; whoever has it puts it back.
    fn for_texts(&mut self) -> Outcome<Session> {
        let engine = self.room()?;
        let mut session = match self.texts.take() {
            Some(session) => session,
            None => empty(&engine, &self.options)?,
        };
        engine.threads().lend(&mut session)?;
        Ok(session)
    }

    /// Takes what its buffers need of the limit, if that has not been.
    fn room(&mut self) -> Outcome<Arc<Engine>> {
        let engine = self.thing.engine.clone();
        if self.buffers.is_none() {
            let estimate = Estimate::of_session(engine.model(), &self.options, engine.threads().all())?;
            self.buffers = Some(engine.charge("the session's buffers", estimate.buffers)?);
        }
        Ok(engine)
    }

    /// Runs something that computes nothing: in the background as well, and once.
    pub(crate) fn aside<T>(&mut self, work: impl FnOnce(&mut Session, &Cancel) -> Result<T>) -> Outcome<T> {
        let activity = self.activity.clone();
        Ok(work(self.ready()?, activity.cancel())?)
    }

    /// Runs one step on the session, with the threads that there are now.
    pub(crate) fn step<T>(&mut self, mut step: impl FnMut(&mut Session, &Cancel) -> Result<T>) -> Outcome<T> {
        let (engine, activity) = (self.thing.engine.clone(), self.activity.clone());
        let session = self.ready()?;
        Ok(engine.step(&activity, |cancel| step(session, cancel))?)
    }
}

/// An empty session whose memory counts against the limit.
fn empty(engine: &Engine, options: &SessionOptions) -> Outcome<Session> {
    let mut session = engine.session(options)?;
    session.set_budget(engine.budget().clone())?;
    Ok(session)
}

impl Deref for Lent {
    type Target = Work;

    fn deref(&self) -> &Work {
        self.work.as_ref().expect("it is there until this is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Work {
        self.work.as_mut().expect("it is there until this is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut slot = self.thing.slot();
        slot.work = self.work.take();
        slot.activity = None;
        slot.relieved = false;
        drop(slot);
        self.thing.back.notify_all();
    }
}
