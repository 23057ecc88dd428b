//! A request: one answer, made on a thread of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | `api.rs` | the calls that set it up |
//! | `flow.rs` | the calls that start it, follow it and end it |
//! | `asked.rs` | what is asked |
//! | `run.rs` | the thread that makes the answer |
//! | `events.rs` | what comes of it, on its way to the host |

mod api;
mod asked;
mod events;
mod flow;
mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use asked::Asked;
use events::Events;
pub(crate) use events::is_calling;

use crate::handle::{Handle, LastError, Remembers};
use crate::model::Activity;
use crate::session::SessionThing;
use crate::status::{Fault, Outcome};

/// One answer. Its settings are for one thread at a time; once it is started, all calls may come from any thread.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub struct qwip_request {
    _number: (),
}

impl Handle for qwip_request {
    type Thing = RequestThing;
    const NAME: &'static str = "request";
}

/// What is behind the handle of a request.
pub(crate) struct RequestThing {
    error: LastError,
    session: Arc<SessionThing>,
    stage: Mutex<Stage>,
    thread: Mutex<Option<JoinHandle<()>>>,
    events: Arc<Events>,
}

/// How far a request has come.
enum Stage {
    /// It is being set up.
    Asked(Box<Asked>),
    /// It runs, or is over.
    Started(Arc<Activity>),
}

impl Remembers for RequestThing {
    fn last_error(&self) -> &LastError {
        &self.error
    }
}

impl RequestThing {
    fn new(session: Arc<SessionThing>) -> RequestThing {
        let stage = Mutex::new(Stage::Asked(Box::default()));
        let (thread, events) = (Mutex::default(), Arc::default());
        RequestThing { error: LastError::default(), session, stage, thread, events }
    }

    /// Changes what is asked.
    fn set(&self, change: impl FnOnce(&mut Asked) -> Outcome) -> Outcome {
        match &mut *self.stage() {
            Stage::Asked(asked) => change(asked),
            Stage::Started(_) => {
                Err(Fault::state("the request has been started: its settings no longer change"))
            }
        }
    }

    /// Stops the answer. One that has not begun is not changed.
    fn stop(&self) {
        let activity = match &*self.stage() {
            Stage::Asked(_) => return,
            Stage::Started(activity) => activity.clone(),
        };
        self.session.engine().stop(&activity);
    }

    /// Lets a thread whose last event is out come to its end, so that nothing of the request is left.
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|_| self.events.is_over()) {
            // It catches what it throws.
            let _ = thread.join();
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
