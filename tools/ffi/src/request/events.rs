//! What comes of a request, on its way to the host: to its callback, or into a queue that it asks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::call;
use crate::session::SessionThing;
use crate::status::{Fault, Outcome, QWIP_STATUS_DONE, QWIP_STATUS_TIMEOUT};

/// No event.
pub const QWIP_EVENT_NONE: i32 = 0;
/// So much of the prompt has been read: {"done": 512, "total": 2048}, in tokens.
pub const QWIP_EVENT_PROGRESS: i32 = 1;
/// More of the answer: whole characters.
pub const QWIP_EVENT_TEXT: i32 = 2;
/// More of the thinking.
pub const QWIP_EVENT_REASONING: i32 = 3;
/// A complete call of a tool, as in OpenAI's messages: {"index": 0, "id": "call_..", "type": "function", "function":
/// {"name": "f", "arguments": "{..}"}}. What the model has broken off or spoilt comes as text instead.
pub const QWIP_EVENT_TOOL_CALL: i32 = 4;
/// Tokens, as in OpenAI's answers: {"prompt_tokens": .., "completion_tokens": .., "total_tokens": ..,
/// "prompt_tokens_details": {"cached_tokens": ..}, "completion_tokens_details": {"reasoning_tokens": ..}}.
pub const QWIP_EVENT_USAGE: i32 = 5;
/// The end, and why: "stop", "length", "tool_calls", "cancelled" or "repetition" (it had become a cycle).
pub const QWIP_EVENT_FINISH: i32 = 6;
/// The end, because it cannot go on: the message. `qwip_request_wait` returns the status.
pub const QWIP_EVENT_ERROR: i32 = 7;

/// Hears what comes of a request: `kind` is one of the `QWIP_EVENT_` constants (more may be added: ignore what you do not know),
/// `data` its text of `length` bytes, with a 0 behind it, valid for the length of the call. It comes on a thread of the
/// request, one call at a time. Return 0 to go on; anything else cancels the request. It may call everything but what it would
/// have to wait for itself (`qwip_request_wait`, `qwip_request_free`, calls that use the session): those give `QWIP_STATUS_BUSY`.
/// From `QWIP_EVENT_USAGE` on the session is free for the next request. Numbers of floating point are handled as IEEE has it.
/// It must not unwind.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub type qwip_event_callback =
    Option<unsafe extern "C" fn(kind: i32, data: *const c_char, length: usize, user: *mut c_void) -> i32>;

/// The host's function.
pub(super) struct Listener {
    pub(super) callback: unsafe extern "C" fn(i32, *const c_char, usize, *mut c_void) -> i32,
    pub(super) user: *mut c_void,
}

// SAFETY: the pointer is handed back to the host's function and never read here; the header says that the function is called
// on another thread.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

thread_local! {
    /// In whose callback this thread is: addresses of a request's events and of its session, which live meanwhile. Nothing
    /// that would have to be dropped: a thread that ends may still call.
    static CALLING: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Whether this thread is in a callback of a request on this session.
pub(crate) fn is_calling(session: &Arc<SessionThing>) -> bool {
    CALLING.get().is_some_and(|(_, of)| of == Arc::as_ptr(session).addr())
}

/// The events of one request.
#[derive(Default)]
pub(super) struct Events {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    listener: Option<Arc<Listener>>,
    queue: VecDeque<(i32, String)>,
    /// The host's function is running.
    inside: bool,
    /// The host hears no more.
    closed: bool,
    /// How it went, once the last event has been handed out or queued.
    end: Option<Outcome<Value>>,
}

impl Events {
    /// Whether this thread is in their callback.
    pub(super) fn are_calling(&self) -> bool {
        CALLING.get().is_some_and(|(of, _)| of == self.address())
    }

    /// What tells them from others while they live.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Events go to this function; without one into the queue.
    pub(super) fn listen(&self, listener: Option<Listener>) {
        self.state().listener = listener.map(Arc::new);
    }

    /// Hands out an event. False if the host wants no more.
    pub(super) fn emit(&self, session: &Arc<SessionThing>, kind: i32, data: &str) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        let Some(listener) = state.listener.clone() else {
            match state.queue.back_mut() {
                // Whoever asks seldom gets more at a time.
                Some((last, text))
                    if *last == kind && matches!(kind, QWIP_EVENT_TEXT | QWIP_EVENT_REASONING) =>
                {
                    text.push_str(data);
                }
                Some((last, text)) if *last == kind && kind == QWIP_EVENT_PROGRESS => data.clone_into(text),
                _ => state.queue.push_back((kind, data.to_owned())),
            }
            drop(state);
            self.changed.notify_all();
            return true;
        };
        state.inside = true;
        drop(state);
        let _inside = Inside::enter(self, session);
        let mut text = Vec::with_capacity(data.len() + 1);
        text.extend_from_slice(data.as_bytes());
        text.push(0);
        // SAFETY: the host has given the function for this; the text lives until it returns.
        call::host(|| unsafe { (listener.callback)(kind, text.as_ptr().cast(), data.len(), listener.user) })
            == 0
    }

    /// Hands out the last event; `end` is what became of the request. Whoever has asked for that event finds it over.
    pub(super) fn end(&self, session: &Arc<SessionThing>, (kind, data): (i32, &str), end: Outcome<Value>) {
        let mut state = self.state();
        if state.listener.is_some() {
            drop(state);
            self.emit(session, kind, data);
            state = self.state();
        } else {
            state.queue.push_back((kind, data.to_owned()));
        }
        state.end = Some(end);
        drop(state);
        self.changed.notify_all();
    }

    /// The next event in the queue.
    pub(super) fn next(&self, most: Option<Duration>) -> Outcome<(i32, String)> {
        let mut state = self.state();
        if state.listener.is_some() {
            return Err(Fault::state("the request has a callback: events cannot be asked for as well"));
        }
        let until = deadline(most);
        loop {
            if let Some(event) = state.queue.pop_front() {
                return Ok(event);
            }
            if state.end.is_some() {
                return Err(Fault::new(QWIP_STATUS_DONE, "there are no more events"));
            }
            state = self.wait(state, until)?;
        }
    }

    /// How it went, once it is over.
    pub(super) fn outcome(&self, most: Option<Duration>) -> Outcome {
        let (mut state, until) = (self.state(), deadline(most));
        loop {
            if let Some(end) = &state.end {
                return end.as_ref().map(drop).map_err(Fault::clone);
            }
            state = self.wait(state, until)?;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    /// What became of it.
    pub(super) fn result(&self) -> Outcome<Value> {
        let over = self.state().end.clone();
        over.unwrap_or_else(|| Err(Fault::state("the request is not over yet")))
    }

    /// The host hears no more. False if its function is still running when the time is over.
    pub(super) fn close(&self, most: Duration) -> bool {
        let until = deadline(Some(most));
        let mut state = self.state();
        state.closed = true;
        while state.inside || state.end.is_none() {
            match self.wait(state, until) {
                Ok(changed) => state = changed,
                // What still computes ends by itself; only the host's function would be called in vain.
                Err(_) => {
                    let mut state = self.state();
                    state.closed = !state.inside;
                    return state.closed;
                }
            }
        }
        true
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> Outcome<MutexGuard<'a, State>> {
        let Some(until) = until else {
            return Ok(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::new(QWIP_STATUS_TIMEOUT, "the time is over before the request is"));
        }
        Ok(self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None: without end.
fn deadline(most: Option<Duration>) -> Option<Instant> {
    most.and_then(|most| Instant::now().checked_add(most))
}

/// As long as it lives, the host's function runs on this thread.
struct Inside<'a>(&'a Events);

impl<'a> Inside<'a> {
    fn enter(events: &'a Events, session: &Arc<SessionThing>) -> Inside<'a> {
        CALLING.set(Some((events.address(), Arc::as_ptr(session).addr())));
        Inside(events)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        CALLING.set(None);
        self.0.state().inside = false;
        self.0.changed.notify_all();
    }
}
