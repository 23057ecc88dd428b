//! The table of handles. What a host holds is a number that no other handle of the process ever has, in the clothes of a
//! pointer: nothing is read through it, so a handle that has been freed, or that never was one, is found out.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::status::{Fault, QWIP_STATUS_INVALID_HANDLE};

/// What a handle of type `Self` stands for.
pub(crate) trait Handle {
    /// What is behind it.
    type Thing: Remembers;
    /// What it is called in messages.
    const NAME: &'static str;
}

/// Something that remembers what was last wrong with it.
pub(crate) trait Remembers: Send + Sync + 'static {
    fn last_error(&self) -> &LastError;
}

/// The message of the last call that failed.
#[derive(Default)]
pub(crate) struct LastError(Mutex<String>);

impl LastError {
    pub(crate) fn set(&self, message: &str) {
        message.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Table = HashMap<usize, Arc<dyn Any + Send + Sync>>;

static TABLE: RwLock<Option<Table>> = RwLock::new(None);
/// Numbers are odd, so that none is the address of anything that is aligned.
static NEXT: AtomicUsize = AtomicUsize::new(0x1001);

/// A new handle of `thing`.
pub(crate) fn insert<H: Handle>(thing: Arc<H::Thing>) -> *mut H {
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    TABLE.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(number, thing);
    std::ptr::without_provenance_mut(number)
}

/// What is behind a handle.
pub(crate) fn get<H: Handle>(handle: *const H) -> Result<Arc<H::Thing>, Fault> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let found = table.as_ref().and_then(|table| table.get(&handle.addr()));
    let thing = found.cloned().and_then(|thing| thing.downcast().ok());
    thing.ok_or_else(|| {
        let message = match found {
            _ if handle.is_null() => format!("the handle of a {} is NULL", H::NAME),
            Some(_) => format!("the handle {:#x} is not that of a {}", handle.addr(), H::NAME),
            None => format!("the handle {:#x} of a {} is freed, or never was one", handle.addr(), H::NAME),
        };
        Fault::new(QWIP_STATUS_INVALID_HANDLE, message)
    })
}

/// The handle is no longer one. False if it was not one before.
pub(crate) fn remove<H: Handle>(handle: *const H) -> bool {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let removed = table.as_mut().and_then(|table| table.remove(&handle.addr()));
    // What ends with it may take a while, or ask the table itself.
    drop(table);
    removed.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Thing(LastError);
    struct A;
    struct B;

    #[derive(Default)]
    struct Other(LastError);

    impl Remembers for Thing {
        fn last_error(&self) -> &LastError {
            &self.0
        }
    }

    impl Remembers for Other {
        fn last_error(&self) -> &LastError {
            &self.0
        }
    }

    impl Handle for A {
        type Thing = Thing;
        const NAME: &'static str = "thing";
    }

    impl Handle for B {
        type Thing = Other;
        const NAME: &'static str = "other";
    }

    fn refused<H: Handle>(handle: *const H) -> String {
        let fault = get(handle).map(|_| ()).unwrap_err();
        assert_eq!(fault.status, QWIP_STATUS_INVALID_HANDLE);
        fault.message
    }

    #[test]
    fn what_is_freed_null_or_of_another_kind_is_refused() {
        let first = insert::<A>(Arc::default());
        assert!(get(first).is_ok());
        assert!(refused(first.cast::<B>()).contains("is not that of a other"));
        assert!(refused(std::ptr::null::<A>()).contains("NULL"));
        assert!(refused(std::ptr::without_provenance::<A>(0x7fff_0000)).contains("never was one"));
        assert!(remove(first) && !remove(first));
        assert!(refused(first).contains("freed"));
        // The number is not given to another.
        assert_ne!(insert::<A>(Arc::default()), first);
    }
}
