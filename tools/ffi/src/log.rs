//! What happens, for whoever wants to know.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::fmt::Arguments;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::call;
use crate::status::{Fault, qwip_status};

/// Something failed that should not.
pub const QWIP_LOG_ERROR: i32 = 1;
/// Something is not as it could be.
pub const QWIP_LOG_WARN: i32 = 2;
/// A model was loaded, or was sent to the background.
pub const QWIP_LOG_INFO: i32 = 3;
/// Every request.
pub const QWIP_LOG_DEBUG: i32 = 4;

/// Hears what happens: `level` is one of the `QWIP_LOG_` constants, `message` one line that is valid for the length of the
/// call. It comes on any thread, and on several at the same time. What it causes itself is not logged.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub type qwip_log_callback =
    Option<unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void)>;

struct Listener {
    callback: unsafe extern "C" fn(i32, *const c_char, *mut c_void),
    user: *mut c_void,
    most: i32,
}

// SAFETY: the pointer is handed back to the host's function and never read here; the header says that the function is called
// on any thread.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

static LISTENER: RwLock<Option<Arc<Listener>>> = RwLock::new(None);

/// So long a change of the callback waits for the former one to return.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    /// This thread is in the callback.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Has `callback` hear messages up to the level `most_verbose`; NULL: nobody, as in the beginning. Afterwards the former
/// callback is no longer running; `QWIP_STATUS_BUSY` if it has not returned within a second, though it will not be called
/// again. Any thread, but not out of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_set_log(
    callback: qwip_log_callback,
    user: *mut c_void,
    most_verbose: i32,
) -> qwip_status {
    call::plain(|| {
        if !(QWIP_LOG_ERROR..=QWIP_LOG_DEBUG).contains(&most_verbose) && callback.is_some() {
            return Err(Fault::argument(format!(
                "the log level is {most_verbose}, expected {QWIP_LOG_ERROR} to {QWIP_LOG_DEBUG}"
            )));
        }
        if INSIDE.get() {
            return Err(Fault::busy("the log callback cannot be changed out of itself: return first"));
        }
        let listener = callback.map(|callback| Arc::new(Listener { callback, user, most: most_verbose }));
        let former =
            std::mem::replace(&mut *LISTENER.write().unwrap_or_else(PoisonError::into_inner), listener);
        let started = Instant::now();
        while former.as_ref().is_some_and(|former| Arc::strong_count(former) > 1) {
            if started.elapsed() > PATIENCE {
                return Err(Fault::busy(
                    "there is a new log callback, but the former one has not returned yet",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })
}

pub(crate) fn error(message: Arguments<'_>) {
    say(QWIP_LOG_ERROR, message);
}

pub(crate) fn warn(message: Arguments<'_>) {
    say(QWIP_LOG_WARN, message);
}

pub(crate) fn info(message: Arguments<'_>) {
    say(QWIP_LOG_INFO, message);
}

pub(crate) fn debug(message: Arguments<'_>) {
    say(QWIP_LOG_DEBUG, message);
}

fn say(level: i32, message: Arguments<'_>) {
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(listener) = listener.filter(|listener| level <= listener.most && !INSIDE.get()) else { return };
    if let Ok(text) = CString::new(message.to_string().replace('\0', "\u{fffd}")) {
        INSIDE.set(true);
        // SAFETY: the host has given the function for this; the text lives until it returns.
        unsafe { (listener.callback)(level, text.as_ptr(), listener.user) };
        INSIDE.set(false);
    }
}
