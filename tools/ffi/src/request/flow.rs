//! Starting a request, following it, ending it.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::events::{Listener, QWIP_EVENT_NONE, qwip_event_callback};
use super::run::run;
use super::{Stage, qwip_request};
use crate::call::on;
use crate::handle;
use crate::session::PATIENCE;
use crate::status::{Fault, QWIP_STATUS_IO, qwip_status};
use crate::values::Out;

/// Begins the answer, on a thread of the library, and returns at once. With a callback, that hears the events; without one
/// (NULL) they are asked for with `qwip_request_poll`. `QWIP_STATUS_BUSY` if the session is in use. A request is started once.
/// In the background it waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_start(
    request: *mut qwip_request,
    callback: qwip_event_callback,
    user: *mut c_void,
) -> qwip_status {
    on(request, |thing| {
        let mut stage = thing.stage();
        let Stage::Asked(asked) = &mut *stage else {
            return Err(Fault::state("the request has been started already"));
        };
        asked.check()?;
        let lent = thing.session.take()?;
        let activity = lent.activity().clone();
        thing.events.listen(callback.map(|callback| Listener { callback, user }));
        // If no thread can be had, the request is as it was.
        let parcel = Arc::new(Mutex::new(Some((std::mem::take(&mut **asked), lent))));
        let (session, events, parcel_there) = (thing.session.clone(), thing.events.clone(), parcel.clone());
        let work = move || {
            let parcel = parcel_there.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((asked, lent)) = parcel {
                run(&session, &events, asked, lent);
            }
        };
        // Templates and grammars are read with bounded stacks, which the default of threads has room for.
        let thread = std::thread::Builder::new().name("qwip-request".into()).spawn(work);
        match thread {
            Ok(thread) => {
                *stage = Stage::Started(activity);
                *thing.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                Ok(())
            }
            Err(error) => {
                let parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some((was, _)) = parcel {
                    **asked = was;
                }
                thing.events.listen(None);
                Err(Fault::new(QWIP_STATUS_IO, format!("no thread could be started: {error}")))
            }
        }
    })
}

/// Waits for the next event, at most so many milliseconds (negative: for as long as it takes; 0: not at all). `*kind` is one of
/// the `QWIP_EVENT_` constants, `*data` its text, which the caller frees. `QWIP_STATUS_TIMEOUT` if nothing has come,
/// `QWIP_STATUS_DONE` after the last event. A started request without a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_poll(
    request: *mut qwip_request,
    timeout_ms: i64,
    kind: *mut i32,
    data: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for places to write to.
    let (kind, data) = unsafe {
        (Out::new(kind, "the place of the kind", QWIP_EVENT_NONE), Out::text(data, "the place of the data"))
    };
    on(request, |thing| {
        let (kind, data) = (kind?, data?);
        if let Stage::Asked(_) = *thing.stage() {
            return Err(Fault::state("the request has not been started"));
        }
        let (found, text) = thing.events.next(time(timeout_ms))?;
        kind.set(found);
        data.set_text(&text);
        Ok(())
    })
}

/// Waits until the request is over, at most so many milliseconds (negative: for as long as it takes). `QWIP_STATUS_OK` if it has
/// finished, also as cancelled; else why it could not; `QWIP_STATUS_TIMEOUT` if it is not over. With a callback, this has heard
/// all events then. Not out of the request's own callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_wait(request: *mut qwip_request, timeout_ms: i64) -> qwip_status {
    on(request, |thing| {
        if let Stage::Asked(_) = *thing.stage() {
            return Err(Fault::state("the request has not been started"));
        }
        if thing.events.are_calling() {
            return Err(Fault::busy("a request cannot be waited for out of its own callback: return first"));
        }
        thing.events.outcome(time(timeout_ms))
    })
}

/// Ends the answer, from any thread, also from the callback: within 50 ms no more is computed, also in the middle of a prompt
/// (one token of a hybrid is not broken off, nor a schema that is being read), and the last event is a finish as "cancelled". What has been read stays in the
/// session. Nothing happens if the request is over, or has not been started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_cancel(request: *mut qwip_request) -> qwip_status {
    on(request, |thing| {
        thing.stop();
        Ok(())
    })
}

/// Once the request is over: {"message": .., "finish_reason": .., "usage": ..}. The message can be appended to the messages as it
/// is: {"role": "assistant", "content": .., "reasoning_content": .., "tool_calls": [..]}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_result(
    request: *mut qwip_request,
    json: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::text(json, "the place of the JSON") };
    on(request, |thing| {
        let out = out?;
        out.set_text(&thing.events.result()?.to_string());
        Ok(())
    })
}

/// Frees a request; what still runs is cancelled. Afterwards its callback is neither running nor called again: if it does not
/// return within a second, the call gives `QWIP_STATUS_BUSY`, and nothing is freed. Not out of the request's own callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_request_free(request: *mut qwip_request) -> qwip_status {
    on(request, |thing| {
        if thing.events.are_calling() {
            return Err(Fault::busy("a request cannot be freed out of its own callback: return first"));
        }
        let started = matches!(*thing.stage(), Stage::Started(_));
        thing.stop();
        if started && !thing.events.close(PATIENCE) {
            return Err(Fault::busy("the request's callback has not returned yet: free it again later"));
        }
        thing.join();
        handle::remove(request);
        Ok(())
    })
}

/// None: for as long as it takes.
fn time(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}
