//! Calls that need no handle.

use std::ffi::{CStr, c_char};

use crate::call;
use crate::status::{NAMES, qwip_status};
use crate::values::{self, Out};

/// The version of this interface. It is raised when something that was there changes; what is added does not raise it.
pub const QWIP_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has; compare it with `QWIP_ABI_VERSION`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qwip_abi_version() -> u32 {
    QWIP_ABI_VERSION
}

/// The version of the library, as "0.1.0"; not to be freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qwip_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The name of a status, as "QWIP_STATUS_BUSY"; not to be freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qwip_status_name(status: qwip_status) -> *const c_char {
    let name = usize::try_from(status).ok().and_then(|status| NAMES.get(status));
    name.map_or(c"unknown", |name| *name).as_ptr()
}

/// Whether the library was built with a feature: "constrain" (JSON schemas, grammars, required calls of tools) or "gpu".
/// 1 or 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_has_feature(name: *const c_char) -> i32 {
    if name.is_null() {
        return 0;
    }
    // SAFETY: not NULL; the header asks for text that ends with 0.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_bytes() {
        b"constrain" => cfg!(feature = "constrain").into(),
        b"gpu" => cfg!(feature = "gpu").into(),
        _ => 0,
    }
}

/// Frees text that a call gave out. NULL is fine. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_string_free(text: *mut c_char) {
    // SAFETY: the header asks for text of the library's that has not been freed.
    unsafe { values::free_text(text) };
}

/// The message of the last call on this thread that failed, "" if none did. For calls that fail without a handle; for
/// others the handle's own message is as good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_last_error(message: *mut *mut c_char) -> qwip_status {
    call::plain(|| {
        // SAFETY: the header asks for a place to write to.
        unsafe { Out::text(message, "the message") }?.set_text(&call::last_error());
        Ok(())
    })
}
