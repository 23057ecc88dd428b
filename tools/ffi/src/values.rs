//! Text, arrays and numbers on their way in and out.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use serde_json::Value;

use crate::status::{Fault, Outcome, QWIP_STATUS_BUFFER_TOO_SMALL};

/// JSON of more bytes is not read.
const LONGEST_JSON: usize = 8 << 20;

/// Where a result goes.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// A place for a result, which holds `nothing` until there is one.
    ///
    /// # Safety
    /// `place` is NULL or can be written for the length of the call.
    pub(crate) unsafe fn new(place: *mut T, what: &str, nothing: T) -> Outcome<Out<T>> {
        let place = NonNull::new(place).ok_or_else(|| Fault::argument(format!("{what} is NULL")))?;
        // SAFETY: the caller's promise; what was there is not dropped, it need not be a value.
        unsafe { place.write(nothing) };
        Ok(Out(place))
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: as in `new`, whose promise is for the length of the call, and this lives no longer.
        unsafe { self.0.write(value) };
    }
}

impl Out<*mut c_char> {
    /// A place for text, which the host will own.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn text(place: *mut *mut c_char, what: &str) -> Outcome<Self> {
        // SAFETY: the caller's promise.
        unsafe { Out::new(place, what, std::ptr::null_mut()) }
    }

    pub(crate) fn set_text(&self, text: &str) {
        self.set(owned(text));
    }
}

/// A copy that the host frees. C's texts cannot hold the character 0: U+FFFD stands in its place.
fn owned(text: &str) -> *mut c_char {
    let bytes = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() };
    // Without a 0 it does not fail.
    CString::new(bytes).map_or(std::ptr::null_mut(), CString::into_raw)
}

/// Frees what [`owned`] has made.
///
/// # Safety
/// `text` is NULL, or came from the library as text to be freed, and has not been freed.
pub(crate) unsafe fn free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Text that ends with 0.
///
/// # Safety
/// `text` is NULL, or points to bytes that end with 0 and do not change for the length of the call.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Outcome<&'a str> {
    if text.is_null() {
        return Err(Fault::argument(format!("{what} is NULL")));
    }
    // SAFETY: the caller's promise.
    utf8(unsafe { CStr::from_ptr(text) }.to_bytes(), what)
}

/// Text with a length.
///
/// # Safety
/// As [`array`].
pub(crate) unsafe fn text_of<'a>(text: *const c_char, length: usize, what: &str) -> Outcome<&'a str> {
    // SAFETY: the caller's promise.
    utf8(unsafe { array(text.cast::<u8>(), length, what) }?, what)
}

fn utf8<'a>(bytes: &'a [u8], what: &str) -> Outcome<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Fault::argument(format!("{what} is not UTF-8: byte {at} of {} is {:#04x}", bytes.len(), bytes[at]))
    })
}

/// An array that comes in.
///
/// # Safety
/// `values` is NULL, or points to `count` values that do not change for the length of the call.
pub(crate) unsafe fn array<'a, T>(values: *const T, count: usize, what: &str) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if values.is_null() {
        return Err(Fault::argument(format!("{what} is NULL, but its length is {count}")));
    }
    if !values.is_aligned() {
        return Err(Fault::argument(format!("{what} is not aligned to {} bytes", align_of::<T>())));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Fault::argument(format!("the length of {what} is {count}, more than there is memory")));
    }
    // SAFETY: the caller's promise; it is aligned, not NULL, and not larger than an object may be.
    Ok(unsafe { std::slice::from_raw_parts(values, count) })
}

/// Hands out an array: says how many values there are, and copies them if there is room. Without an array it only counts.
///
/// # Safety
/// `place` is NULL, or can be written at `capacity` values for the length of the call.
pub(crate) unsafe fn hand_out<T: Copy>(
    values: &[T],
    place: *mut T,
    capacity: usize,
    count: &Out<usize>,
    what: &str,
) -> Outcome {
    count.set(values.len());
    if place.is_null() && capacity == 0 {
        return Ok(());
    }
    if place.is_null() || !place.is_aligned() {
        return Err(Fault::argument(format!(
            "{what} is NULL or not aligned, but its capacity is {capacity}"
        )));
    }
    if values.len() > capacity {
        let message = format!("{what} has room for {capacity} values, but there are {}", values.len());
        return Err(Fault::new(QWIP_STATUS_BUFFER_TOO_SMALL, message));
    }
    // SAFETY: the caller's promise, and there is room; what belongs to the library cannot overlap with the host's array.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), place, values.len()) };
    Ok(())
}

/// JSON that comes in.
pub(crate) fn json(text: &str, what: &str) -> Outcome<Value> {
    if text.len() > LONGEST_JSON {
        let message = format!("{what} has {} bytes, at most {LONGEST_JSON} are read", text.len());
        return Err(Fault::argument(message));
    }
    serde_json::from_str(text).map_err(|error| Fault::argument(format!("{what} is not JSON: {error}")))
}

/// OpenAI's list of tools.
pub(crate) fn tools(text: &str) -> Outcome<Vec<Value>> {
    let Value::Array(tools) = json(text, "tools")? else {
        return Err(Fault::argument("tools is no list"));
    };
    for (i, tool) in tools.iter().enumerate() {
        if !tool["function"]["name"].is_string() {
            return Err(Fault::argument(format!("tool {} of {} has no function.name", i + 1, tools.len())));
        }
    }
    Ok(tools)
}

/// Whether the model is to think.
pub(crate) fn thinking(thinking: i32) -> Outcome<Option<bool>> {
    match thinking {
        -1 => Ok(None),
        0 | 1 => Ok(Some(thinking == 1)),
        _ => Err(Fault::argument(format!("thinking is {thinking}, expected -1 to 1"))),
    }
}

/// A flag of C's.
pub(crate) fn flag(value: i32, what: &str) -> Outcome<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::argument(format!("{what} is {value}, expected 0 or 1"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_and_copied() {
        // SAFETY: literals of C end with 0; the invalid one is an array that ends with 0.
        unsafe {
            assert_eq!(text(c"\u{57ce}".as_ptr(), "it").unwrap(), "\u{57ce}");
            assert!(text(std::ptr::null(), "it").unwrap_err().message.contains("it is NULL"));
            let bad = [b'a', 0xff, 0];
            let fault = text(bad.as_ptr().cast(), "it").unwrap_err();
            assert_eq!(fault.message, "it is not UTF-8: byte 1 of 2 is 0xff");
            let copy = owned("a\0b");
            assert_eq!(CStr::from_ptr(copy).to_str(), Ok("a\u{fffd}b"));
            free_text(copy);
            free_text(std::ptr::null_mut());
        }
    }

    #[test]
    fn arrays_are_counted_before_they_are_filled() {
        let (mut place, mut count) = ([0u32; 4], 9usize);
        // SAFETY: the pointers are those of local arrays, with their lengths.
        unsafe {
            let out = Out::new(&raw mut count, "the count", 0).unwrap();
            assert_eq!(count, 0);
            hand_out(&[1u32, 2, 3], std::ptr::null_mut(), 0, &out, "it").unwrap();
            assert_eq!(count, 3);
            let fault = hand_out(&[1u32, 2, 3], place.as_mut_ptr(), 2, &out, "it").unwrap_err();
            assert_eq!((fault.status, count, place), (QWIP_STATUS_BUFFER_TOO_SMALL, 3, [0; 4]));
            hand_out(&[1u32, 2, 3], place.as_mut_ptr(), 4, &out, "it").unwrap();
            assert_eq!(place, [1, 2, 3, 0]);
            assert!(array::<u32>(std::ptr::null(), 3, "it").is_err());
            assert!(array::<u32>(place.as_ptr().byte_add(1), 1, "it").is_err());
            assert_eq!(array::<u32>(std::ptr::null(), 0, "it").unwrap(), &[] as &[u32]);
        }
    }
}
