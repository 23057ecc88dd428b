//! Where all computing on a model passes by, step by step: it stops here while the app is in the background, and rests here
//! while the device is hot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::{Cancel, Error, Result};

/// Something that computes, and may be told to stop.
#[derive(Default)]
pub(crate) struct Activity {
    stopped: AtomicBool,
    /// Breaks off a step: because it is to stop, or to let the app go to the background.
    step: Cancel,
}

impl Activity {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// For what passes no gate: the background does not break it off, only [`Gate::stop`] does.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.step
    }
}

#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    background: bool,
    /// Nobody is left who could open it.
    abandoned: bool,
    /// What computes at this moment.
    running: Vec<Arc<Activity>>,
}

impl Gate {
    /// Runs one step when the gate is open. What the background breaks off is tried again: a step that is cancelled must
    /// leave everything as it was.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the activity is stopped; what `step` reports.
    pub(crate) fn step<T>(
        &self,
        activity: &Arc<Activity>,
        mut step: impl FnMut(&Cancel) -> Result<T>,
    ) -> Result<T> {
        loop {
            let running = self.enter(activity)?;
            let result = step(&activity.step);
            drop(running);
            match result {
                Err(Error::Cancelled) if !activity.is_stopped() => {}
                result => return result,
            }
        }
    }

    /// Waits for so long, or until the activity is stopped.
    pub(crate) fn rest(&self, activity: &Activity, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !activity.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends an activity: its step is broken off, and no other begins.
    pub(crate) fn stop(&self, activity: &Activity) {
        let state = self.state();
        activity.stopped.store(true, Ordering::SeqCst);
        activity.step.cancel();
        drop(state);
        self.changed.notify_all();
    }

    /// Closes the gate, and waits until nothing computes.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.background = true;
        // Somebody may open it again meanwhile: then there is nothing to wait for.
        while state.background && !state.running.is_empty() {
            state.running.iter().for_each(|activity| activity.step.cancel());
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn open(&self) {
        self.state().background = false;
        self.changed.notify_all();
    }

    /// Nobody will open or close it any more: what waits is given up.
    pub(crate) fn abandon(&self) {
        self.state().abandoned = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().background
    }

    fn enter(&self, activity: &Arc<Activity>) -> Result<Running<'_>> {
        let mut state = self.state();
        while state.background && !activity.is_stopped() {
            if state.abandoned {
                return Err(Error::Cancelled);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if activity.is_stopped() {
            return Err(Error::Cancelled);
        }
        // Under the lock, which `stop` takes as well.
        activity.step.reset();
        state.running.push(activity.clone());
        Ok(Running { gate: self, activity: activity.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as it lives, something computes.
struct Running<'a> {
    gate: &'a Gate,
    activity: Arc<Activity>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if let Some(at) = state.running.iter().position(|other| Arc::ptr_eq(other, &self.activity)) {
            state.running.swap_remove(at);
        }
        drop(state);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    /// Computes until it is told to stop, and counts how often it began.
    fn endless(gate: &Gate, activity: &Arc<Activity>, begun: &AtomicUsize) -> Result<()> {
        gate.step(activity, |cancel| {
            begun.fetch_add(1, Ordering::SeqCst);
            while !cancel.is_cancelled() {
                thread::sleep(Duration::from_millis(1));
            }
            Err(Error::Cancelled)
        })
    }

    fn until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_background_breaks_a_step_off_and_the_foreground_repeats_it() {
        let (gate, activity, begun) = (Gate::default(), Arc::new(Activity::default()), AtomicUsize::new(0));
        thread::scope(|scope| {
            let work = scope.spawn(|| endless(&gate, &activity, &begun));
            until(|| begun.load(Ordering::SeqCst) == 1);
            gate.close();
            assert!(gate.is_closed() && gate.state().running.is_empty());
            thread::sleep(Duration::from_millis(20));
            assert_eq!(begun.load(Ordering::SeqCst), 1);
            gate.open();
            until(|| begun.load(Ordering::SeqCst) == 2);
            gate.stop(&activity);
            assert!(matches!(work.join().unwrap(), Err(Error::Cancelled)));
        });
    }

    #[test]
    fn what_waits_in_the_background_or_rests_can_be_stopped() {
        let (gate, activity) = (Gate::default(), Arc::new(Activity::default()));
        gate.close();
        thread::scope(|scope| {
            let work = scope.spawn(|| gate.step(&activity, |_| Ok(())));
            let rest = scope.spawn(|| gate.rest(&activity, Duration::from_secs(3600)));

            thread::sleep(Duration::from_millis(10));
            gate.stop(&activity);
            assert!(matches!(work.join().unwrap(), Err(Error::Cancelled)));
            rest.join().unwrap();
        });
    }

    #[test]
    fn what_waits_at_a_gate_that_nobody_can_open_is_given_up() {
        let (gate, activity) = (Gate::default(), Arc::new(Activity::default()));
        gate.close();
        thread::scope(|scope| {
            let work = scope.spawn(|| gate.step(&activity, |_| Ok(())));
            thread::sleep(Duration::from_millis(10));
            gate.abandon();
            assert!(matches!(work.join().unwrap(), Err(Error::Cancelled)));
        });
        assert!(matches!(gate.step(&activity, |_| Ok(())), Err(Error::Cancelled)));
    }
}
