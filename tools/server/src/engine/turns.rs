//! A lock that is handed on in the order of asking. Models that answer at the same time take turns with the threads; with a
//! lock that whoever comes first may take again, one of them would starve.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    tickets: Mutex<Tickets>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    drawn: u64,
    served: u64,
}

/// A turn; the next one begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until all have had their turn who asked before.
    pub(crate) fn take(&self) -> Turn<'_> {
        let mut tickets = self.tickets();
        let mine = tickets.drawn;
        tickets.drawn += 1;
        while tickets.served != mine {
            tickets = self.changed.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }

    /// Two numbers are whole whatever has happened to who held them.
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.tickets().served += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_take_turns_and_one_that_panics_hands_on() {
        let (turns, log) = (Turns::default(), Mutex::new(Vec::new()));
        let first = turns.take();
        std::thread::scope(|scope| {
            for name in 0..2 {
                let (turns, log) = (&turns, &log);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _turn = turns.take();
                        log.lock().unwrap().push(name);
                        // The other one asks meanwhile.
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(first);
        });
        let log = log.into_inner().unwrap();
        let changes = log.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(log.len() == 100 && changes > 80, "{changes} of {}", log.len());
        let panics = || {
            let _turn = turns.take();
            panic!("with the turn in hand");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        drop(turns.take());
    }
}
