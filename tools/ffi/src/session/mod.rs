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

pub(crate) use api::PATIENCE;

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

/// What a session has, once it is used.
#[derive(Default)]
pub(crate) struct Work {
    sequence: Option<Equipped>,
    /// Another, in which texts are embedded or judged: they are no part of the sequence.
    texts: Option<Equipped>,
}

/// A session of the runtime, and what its buffers take of the limit.
struct Equipped {
    session: Session,
    /// None before the first use, and while they are given back.
    buffers: Option<Charge>,
}

impl Remembers for SessionThing {
    fn last_error(&self) -> &LastError {
        &self.error
    }
}

impl SessionThing {
    fn new(engine: Arc<Engine>, options: SessionOptions, work: Work) -> Arc<SessionThing> {
        let slot = Mutex::new(Slot { options, work: Some(work), ..Slot::default() });
        let (error, back) = (LastError::default(), Condvar::new());
        let session = Arc::new(SessionThing { error, engine, slot, back });
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
        if lent.sequence.is_some() || lent.texts.is_some() {
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
        let mut slot = self.slot();
        while slot.work.is_none() {
            // Each time: another call may have been faster.
            if let Some(activity) = slot.activity.clone() {
                self.engine.stop(&activity);
            }
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
        if slot.work.is_none() {
            return;
        }
        slot.relieved = true;
        let Some(mut lent) = self.lend(slot) else { return };
        let Work { sequence, texts } = &mut *lent;
        *texts = None;
        if let Some(Equipped { session, buffers }) = sequence {
            session.release_buffers();
            *buffers = None;
            if critical {
                session.release_pages();
            }
        }
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
        self.sequence.as_ref().map(|equipped| &equipped.session)
    }

    /// The session, with all that it needs to compute. Its memory is taken now, if that has not been.
    pub(crate) fn ready(&mut self) -> Outcome<&mut Session> {
        let (engine, options) = (self.thing.engine.clone(), self.options);
        let equipped = self.sequence()?;
        equipped.ready(&engine, &options)?;
        Ok(&mut equipped.session)
    }

    /// The session as it is, without what only computing needs.
    fn sequence(&mut self) -> Outcome<&mut Equipped> {
        let (engine, options) = (self.thing.engine.clone(), self.options);
        let Work { sequence, .. } = &mut **self;
        Ok(match sequence {
            Some(equipped) => equipped,
            none => none.insert(Equipped::new(&engine, &options)?),
        })
    }

    /// The session in which texts are embedded or judged; whoever has it puts it back.
    fn for_texts(&mut self) -> Outcome<Equipped> {
        let (engine, options) = (self.thing.engine.clone(), self.options);
        let mut equipped = match self.texts.take() {
            Some(equipped) => equipped,
            None => Equipped::new(&engine, &options)?,
        };
        equipped.ready(&engine, &options)?;
        Ok(equipped)
    }

    /// Runs one step on the session, with the threads that there are now.
    pub(crate) fn step<T>(&mut self, mut step: impl FnMut(&mut Session, &Cancel) -> Result<T>) -> Outcome<T> {
        let (engine, activity) = (self.thing.engine.clone(), self.activity.clone());
        let session = self.ready()?;
        Ok(engine.step(&activity, |cancel| step(session, cancel))?)
    }

    /// Runs something that computes nothing: in the background as well, and once.
    fn aside<T>(&mut self, work: impl FnOnce(&mut Session, &Cancel) -> Result<T>) -> Outcome<T> {
        let activity = self.activity.clone();
        Ok(work(&mut self.sequence()?.session, activity.cancel())?)
    }
}

impl Equipped {
    fn new(engine: &Engine, options: &SessionOptions) -> Outcome<Equipped> {
        let mut session = engine.session(options)?;
        session.set_budget(engine.budget().clone())?;
        Ok(Equipped { session, buffers: None })
    }

    /// Has buffers and the threads that there are now.
    fn ready(&mut self, engine: &Engine, options: &SessionOptions) -> Outcome {
        if self.buffers.is_none() {
            self.buffers = Some(room(engine, options)?);
        }
        Ok(engine.threads().lend(&mut self.session)?)
    }
}

/// What a session's buffers take of the limit.
fn room(engine: &Engine, options: &SessionOptions) -> Outcome<Charge> {
    let estimate = Estimate::of_session(engine.model(), options, engine.threads().all())?;
    engine.charge("the session's buffers", estimate.buffers)
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
