//! How workers are woken, let into a region and out of it again.
//!
//! Two words carry the whole protocol, each with one order of changes that all threads agree on, so it needs no
//! order between accesses to different words beyond what release and acquire give:
//!
//! - the bell: a generation, raised for every region, and how many workers are asleep. Who rings it learns
//!   from the same access whether anybody needs waking; who falls asleep learns from the same access whether
//!   it has rung meanwhile.
//! - the door: open or closed, how many workers are inside, and whether the caller sleeps until they are out.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p qwip-cpu --lib gate` runs this file under every
//! interleaving that loom can tell apart.

use super::{held, spin_until};
use std::time::Duration;

#[cfg(all(test, loom))]
use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
};
#[cfg(not(all(test, loom)))]
use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
};

/// On a cache line pair of its own (neighbouring lines are fetched together).
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// The bits of the bell that count sleepers; the generation is above them.
const SLEEPERS: usize = (1 << 16) - 1;
const GENERATION: usize = SLEEPERS + 1;

/// As many workers as the bell can count.
pub(super) const MOST_WORKERS: usize = SLEEPERS;

/// The bits of the door; the others count the workers inside.
const OPEN: usize = 1 << (usize::BITS - 1);
const AWAITED: usize = 1 << (usize::BITS - 2);

/// The gate before the region that a `T` describes.
pub(super) struct Gate<T> {
    bell: Padded<AtomicUsize>,
    door: Padded<AtomicUsize>,
    /// Valid while the door is open or somebody is inside who came in while it was.
    region: AtomicPtr<T>,
    ending: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
    left: Mutex<()>,
    empty: Condvar,
}

impl<T: Sync> Gate<T> {
    pub(super) fn new() -> Gate<T> {
        Gate {
            bell: Padded(AtomicUsize::new(0)),
            door: Padded(AtomicUsize::new(0)),
            region: AtomicPtr::new(std::ptr::null_mut()),
            ending: AtomicBool::new(false),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            left: Mutex::new(()),
            empty: Condvar::new(),
        }
    }

    /// Lets workers into `region`.
    ///
    /// # Safety
    /// `region` stays valid until [`close`](Gate::close) has returned, and nobody opens the gate before that.
    pub(super) unsafe fn open(&self, region: *const T) {
        self.region.store(region.cast_mut(), Ordering::Relaxed);
        // Releases the region to whoever comes in.
        self.door.0.fetch_or(OPEN, Ordering::Release);
        self.ring();
    }

    /// Closes the gate and waits until everybody inside has left.
    pub(super) fn close(&self, spin: Duration) {
        // Every look at the door acquires what those wrote who have left.
        self.door.0.fetch_and(!OPEN, Ordering::AcqRel);
        if spin_until(spin, || self.door.0.load(Ordering::Acquire) == 0) {
            return;
        }
        let mut guard = held(self.left.lock());
        if self.door.0.fetch_or(AWAITED, Ordering::AcqRel) != 0 {
            while self.door.0.load(Ordering::Acquire) != AWAITED {
                guard = held(self.empty.wait(guard));
            }
        }
        // Some late worker may be looking in at this moment; it finds the door closed.
        self.door.0.fetch_and(!AWAITED, Ordering::AcqRel);
    }

    /// Ends the workers.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.ring();
    }

    /// The life of a worker: calls `work` for each region that it is in time for, until the end.
    pub(super) fn serve(&self, spin: Duration, mut work: impl FnMut(&T)) {
        let mut seen = 0;
        loop {
            seen = self.wait(seen, spin);
            if self.ending.load(Ordering::Acquire) {
                return;
            }
            if self.door.0.fetch_add(1, Ordering::AcqRel) & OPEN != 0 {
                // SAFETY: counted in while the door was open, so the pointer is the one that `open` released with
                // the door, and its caller keeps the region until `close` has seen us leave.
                work(unsafe { &*self.region.load(Ordering::Relaxed) });
            }
            // Releases what was written inside to whoever closes.
            if self.door.0.fetch_sub(1, Ordering::AcqRel) == AWAITED + 1 {
                drop(held(self.left.lock()));
                self.empty.notify_all();
            }
        }
    }

    /// Tells workers, spinning or asleep, that something has changed.
    fn ring(&self) {
        if self.bell.0.fetch_add(GENERATION, Ordering::AcqRel) & SLEEPERS != 0 {
            // A sleeper holds the lock from before it is counted until it waits.
            drop(held(self.sleep.lock()));
            self.wake.notify_all();
        }
    }

    /// Waits until the generation is not `seen`, and returns it.
    fn wait(&self, seen: usize, spin: Duration) -> usize {
        let generation = || self.bell.0.load(Ordering::Acquire) & !SLEEPERS;
        // The end need not change a 16-bit generation as one has seen it.
        let changed = || generation() != seen || self.ending.load(Ordering::Acquire);
        if !spin_until(spin, changed) {
            let mut guard = held(self.sleep.lock());
            self.bell.0.fetch_add(1, Ordering::AcqRel);
            while !changed() {
                guard = held(self.wake.wait(guard));
            }
            self.bell.0.fetch_sub(1, Ordering::AcqRel);
        }
        generation()
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A region whose memory loom watches: workers write their own cell, the caller everything after closing.
    struct Watched {
        next: AtomicUsize,
        cells: Vec<UnsafeCell<usize>>,
    }

    // SAFETY: every cell is touched by who claimed it, and by the caller when the gate is closed and empty;
    // that this holds is what the models check.
    unsafe impl Sync for Watched {}

    impl Watched {
        fn new(items: usize) -> Watched {
            Watched { next: AtomicUsize::new(0), cells: (0..items).map(|_| UnsafeCell::new(0)).collect() }
        }

        fn work(&self) {
            loop {
                let item = self.next.fetch_add(1, Ordering::Relaxed);
                let Some(cell) = self.cells.get(item) else { return };
                // SAFETY: an item is claimed once; loom checks that.
                cell.with_mut(|cell| unsafe { *cell += 1 });
            }
        }
    }

    /// `regions` regions of `items` items for the caller and `workers` more.
    fn model(workers: usize, regions: usize, items: usize, preemptions: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            let gate = Arc::new(Gate::<Watched>::new());
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || gate.serve(Duration::ZERO, Watched::work))
                })
                .collect();
            for _ in 0..regions {
                let region = Watched::new(items);
                // SAFETY: closed before the region goes away.
                unsafe { gate.open(&region) };
                region.work();
                gate.close(Duration::ZERO);
                for cell in &region.cells {
                    // SAFETY: nobody else is inside any more; loom checks that.
                    cell.with_mut(|cell| assert_eq!(unsafe { *cell }, 1));
                }
            }
            gate.end();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn one_worker_two_regions() {
        model(1, 2, 2, 3);
    }

    #[test]
    fn two_workers_one_region() {
        model(2, 1, 2, 2);
    }
}
