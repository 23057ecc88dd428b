//! What happens, for whoever wants to know.

use std::ffi::{CString, c_char, c_void};
use std::fmt::Arguments;
use std::sync::{PoisonError, RwLock};

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
/// call. It comes on any thread, and on several at the same time, and must not call back into the library.
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

static LISTENER: RwLock<Option<Listener>> = RwLock::new(None);

/// Has `callback` hear messages up to the level `most_verbose`; NULL: nobody, as in the beginning. When this returns, the
/// former callback is no longer running. Any thread, but not out of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_set_log(
    callback: qwip_log_callback,
    user: *mut c_void,
    most_verbose: i32,
) -> qwip_status {
    call::free(|| {
        if !(QWIP_LOG_ERROR..=QWIP_LOG_DEBUG).contains(&most_verbose) && callback.is_some() {
            return Err(Fault::argument(format!(
                "the log level is {most_verbose}, expected {QWIP_LOG_ERROR} to {QWIP_LOG_DEBUG}"
            )));
        }
        let listener = callback.map(|callback| Listener { callback, user, most: most_verbose });
        *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = listener;
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
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(Listener { callback, user, .. }) = listener.as_ref().filter(|listener| level <= listener.most)
        && let Ok(text) = CString::new(message.to_string().replace('\0', "\u{fffd}"))
    {
        // SAFETY: the host has given the function for this; the text lives until it returns.
        unsafe { callback(level, text.as_ptr(), *user) };
    }
}
