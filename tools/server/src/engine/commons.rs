//! What all models of a server share: the threads, in turns; the limit on keys and values; the counters.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qwip::{Cancel, KvBudget};

use super::turns::Turns;
use super::work::Message;
use crate::models::Totals;

/// What the engines of a server share.
pub(crate) struct Commons {
    pub(crate) budget: Arc<KvBudget>,
    pub(super) turns: Turns,
    pub(crate) totals: Totals,
    peers: Mutex<Vec<Peer>>,
}

/// An engine as the others see it.
struct Peer {
    state: Arc<State>,
    inbox: Sender<Message>,
}

/// What an engine says of itself, and how it is stopped.
#[derive(Default)]
pub(crate) struct State {
    /// Sequences that are read or answered.
    pub(crate) sequences: AtomicUsize,
    /// Requests that wait for a place.
    pub(crate) waiting: AtomicUsize,
    /// Finished sequences that are kept.
    pub(crate) kept: AtomicUsize,
    /// Bytes that it has taken of the budget.
    pub(crate) kv: AtomicU64,
    /// Requests that are waiting or running.
    pub(super) places: AtomicUsize,
    /// It is to end.
    pub(super) stop: AtomicBool,
    /// It has ended, as asked or not.
    pub(super) over: AtomicBool,
    /// Breaks the pass off that is running.
    pub(super) cancel: Cancel,
}

impl Commons {
    /// For models whose keys and values may take so many bytes together.
    pub(crate) fn new(kv_memory: u64) -> Commons {
        Commons {
            budget: KvBudget::new(kv_memory),
            turns: Turns::default(),
            totals: Totals::default(),
            peers: Mutex::default(),
        }
    }

    pub(super) fn join(&self, state: Arc<State>, inbox: Sender<Message>) {
        self.peers().push(Peer { state, inbox });
    }

    pub(super) fn leave(&self, state: &Arc<State>) {
        self.peers().retain(|peer| !Arc::ptr_eq(&peer.state, state));
    }

    /// Asks the others to drop sequences that they keep, until so many bytes are free. Whether there is anybody to ask.
    pub(super) fn ask_others(&self, me: &Arc<State>, bytes: u64) -> bool {
        let peers = self.peers();
        let others = peers.iter().filter(|peer| !Arc::ptr_eq(&peer.state, me));
        let keeping = others.filter(|peer| peer.state.kept.load(Ordering::Relaxed) > 0);
        // One whose thread has ended keeps nothing.
        keeping.filter(|peer| peer.inbox.send(Message::Release(bytes)).is_ok()).count() > 0
    }

    /// Whether another model reads or answers something.
    pub(super) fn others_run(&self, me: &Arc<State>) -> bool {
        let peers = self.peers();
        let mut others = peers.iter().filter(|peer| !Arc::ptr_eq(&peer.state, me));
        others.any(|peer| peer.state.sequences.load(Ordering::Relaxed) > 0)
    }

    fn peers(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
