//! Long work that is broken off when nobody waits for it any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use qwip::Cancel;

/// How often it is looked whether somebody still waits.
const EVERY: Duration = Duration::from_millis(50);

/// Ends the watch, also if the work panics.
struct End<'a>(&'a AtomicBool, Thread);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        self.1.unpark();
    }
}

/// Does the work, and raises `cancel` if meanwhile it is `unwanted`.
pub(super) fn watched<R>(cancel: &Cancel, unwanted: impl Fn() -> bool + Sync, work: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = || {
            while !over.load(Ordering::Acquire) {
                if unwanted() {
                    return cancel.cancel();
                }
                std::thread::park_timeout(EVERY);
            }
        };
        // Without a thread the work is done to its end, which is no harm.
        let watch = std::thread::Builder::new().name("qwip-watch".into()).spawn_scoped(scope, watch);
        let _end = watch.ok().map(|handle| End(&over, handle.thread().clone()));
        work()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn unwanted_work_is_broken_off_and_the_watch_ends_with_the_work() {
        let cancel = Cancel::new();
        let began = Instant::now();
        let waits = || {
            while !cancel.is_cancelled() && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        watched(&cancel, || began.elapsed() > Duration::from_millis(60), waits);
        assert!(cancel.is_cancelled());
        cancel.reset();
        assert_eq!(watched(&cancel, || false, || 7), 7);
        let panics = || watched(&cancel, || false, || panic!("in the work"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(!cancel.is_cancelled());
    }
}
