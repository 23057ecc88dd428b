//! What every call goes through. No panic leaves the library; what went wrong is remembered by the handle and by the
//! thread; the float control word is IEEE's meanwhile and the host's again afterwards.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use runtime::IeeeDefaults;

use crate::handle::{self, Handle, Remembers};
use crate::log;
use crate::status::{Fault, Outcome, QWIP_STATUS_INTERNAL, QWIP_STATUS_OK, qwip_status};
use crate::values::Out;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The message of this thread's last call that failed; none while the thread ends, whose values go before the host's
/// destructors run.
pub(crate) fn last_error() -> String {
    LAST.try_with(|last| last.borrow().clone()).unwrap_or_default()
}

/// A call without a handle.
pub(crate) fn plain(work: impl FnOnce() -> Outcome) -> qwip_status {
    status(guarded(work))
}

/// A call on what is behind `handle`.
pub(crate) fn on<H: Handle>(handle: *mut H, work: impl FnOnce(&Arc<H::Thing>) -> Outcome) -> qwip_status {
    let thing = match handle::get(handle) {
        Ok(thing) => thing,
        Err(fault) => return status(Err(fault)),
    };
    let outcome = guarded(|| work(&thing));
    if let Err(fault) = &outcome {
        thing.last_error().set(&fault.message);
    }
    // It may be the last use: what ends here must not unwind into the host either.
    let ended = guarded(|| {
        drop(thing);
        Ok(())
    });
    status(outcome.and(ended))
}

/// Gives out the message of the last call on a handle that failed.
///
/// # Safety
/// `message` is NULL or can be written for the length of the call.
pub(crate) unsafe fn error_of<H: Handle>(handle: *mut H, message: *mut *mut c_char) -> qwip_status {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::text(message, "the message") };
    on(handle, |thing| {
        out?.set_text(&thing.last_error().get());
        Ok(())
    })
}

/// Runs something of which no panic may leave.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    quiet();
    let _ieee = IeeeDefaults::enter();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Fault::new(QWIP_STATUS_INTERNAL, format!("a defect of the library: {}", what_panicked(&*panic))))
    })
}

/// Calls the host. Whatever it leaves in the float control word, what follows computes with IEEE's.
pub(crate) fn host<T>(callback: impl FnOnce() -> T) -> T {
    let result = callback();
    // The guard that is around this puts the host's own word back.
    std::mem::forget(IeeeDefaults::enter());
    result
}

fn status(outcome: Outcome) -> qwip_status {
    match outcome {
        Ok(()) => QWIP_STATUS_OK,
        Err(fault) => {
            // Of a thread that ends nobody can ask it any more.
            let _ = LAST.try_with(|last| last.borrow_mut().clone_from(&fault.message));
            fault.status
        }
    }
}

/// Panics go to the log, not to the standard error of a host that has not asked for it.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            log::error(format_args!("{} at {place}", what_panicked(info.payload())));
        }));
    });
}

/// The words of a panic.
fn what_panicked(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an unknown panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_a_message() {
        let status = plain(|| panic!("number {}", 7));
        assert_eq!(status, QWIP_STATUS_INTERNAL);
        assert!(last_error().contains("number 7"), "{}", last_error());
        assert_eq!(plain(|| Ok(())), QWIP_STATUS_OK);
    }
}
