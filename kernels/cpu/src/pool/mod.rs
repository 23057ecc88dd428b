//! One persistent thread pool for the kernels.
//!
//! A forward pass is some hundreds of parallel regions of ten to a few hundred microseconds, one after
//! another. So workers spin a little between regions before they sleep, the calling thread is worker 0 and
//! takes part, and work items are claimed from a counter, which keeps slow cores, throttled cores and busy
//! neighbours from holding up the rest.
//!
//! A region does not wait for workers that never came. It has a gate: a worker that finds it open is
//! counted in, and the caller, when no items are left, closes the gate and waits only for those inside. A
//! worker that wakes too late finds the gate closed and goes back to sleep.

mod affinity;
mod cores;
mod gate;

use crate::Scratch;
use crate::fpenv::IeeeDefaults;
pub use affinity::pin_this_thread;
pub use cores::usable_cores;
use gate::{Gate, MOST_WORKERS, Padded};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LockResult, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The region's cancellation flag was set before all its items had been done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// What a work item gets from the thread that runs it.
#[derive(Debug)]
pub struct Worker<'a> {
    /// Which worker, 0..threads; 0 is the caller.
    pub index: usize,
    /// The worker's buffers, kept between regions.
    pub scratch: &'a mut Scratch,
}

/// One work item: `f(worker, item)`.
type Work<'a> = dyn Fn(&mut Worker, usize) + Sync + 'a;

/// The pool. Dropping it ends its threads.
pub struct Pool {
    gate: Arc<Gate<Region<'static>>>,
    handles: Vec<JoinHandle<()>>,
    /// Held for the length of a region: regions of several callers take turns. The buffers are worker 0's.
    region: Mutex<Scratch>,
    spin: Duration,
}

impl Pool {
    /// A pool of `threads` workers with the calling thread among them, so it starts `threads - 1` threads;
    /// 0 means as many as [`usable_cores`]. One worker means that everything runs on the caller.
    ///
    /// # Errors
    /// If the system refuses to start a thread.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let threads = if threads == 0 { usable_cores() } else { threads };
        // Spinning pays only where the processor would otherwise idle.
        let spin = match cores::allowed_cpus() {
            cpus if threads > cpus => Duration::ZERO,
            1 => Duration::ZERO,
            2..=3 => Duration::from_micros(20),
            _ => Duration::from_micros(100),
        };
        Pool::with_spin(threads, spin)
    }

    /// As [`Pool::new`], with the time that an idle thread looks for work before it sleeps; 0 threads are taken for
    /// 1, and there are at most 65535.
    ///
    /// # Errors
    /// If the system refuses to start a thread.
    pub fn with_spin(threads: usize, spin: Duration) -> std::io::Result<Pool> {
        let mut pool = Pool {
            gate: Arc::new(Gate::new()),
            handles: Vec::new(),
            region: Mutex::new(Scratch::default()),
            spin,
        };
        for index in 1..threads.clamp(1, MOST_WORKERS) {
            let gate = Arc::clone(&pool.gate);
            // On an error the pool is dropped, which ends the threads started so far.
            let handle = std::thread::Builder::new()
                .name(format!("qwip-{index}"))
                .spawn(move || serve(&gate, index, spin))?;
            pool.handles.push(handle);
        }
        Ok(pool)
    }

    /// As [`Pool::new`], with threads that run on the given logical processors only, each on all of them; 0 means as many as
    /// there are of them. The caller, which takes part, is the host's, and runs where it did.
    ///
    /// # Errors
    /// As [`pin_this_thread`], or if the system refuses to start a thread.
    pub fn pinned(threads: usize, cores: &[usize]) -> std::io::Result<Pool> {
        let distinct = || cores.iter().collect::<BTreeSet<_>>().len();
        let threads = if threads == 0 { distinct() } else { threads };
        // A thread runs where the one that started it does.
        let start = || pin_this_thread(cores).and_then(|()| Pool::new(threads));
        std::thread::scope(|scope| {
            let starter = std::thread::Builder::new().name("qwip-0".into()).spawn_scoped(scope, start)?;
            starter.join().unwrap_or_else(|payload| resume_unwind(payload))
        })
    }

    /// Workers, the caller included.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Runs `f(worker, item)` once for each item below `items`, in any order, on the pool's workers, under
    /// IEEE float defaults; returns when all is done. `cancel` is looked at before each item.
    ///
    /// Calls from several threads take turns. A call from inside an item runs on that thread alone. If an
    /// item panics, the remaining items are dropped and the panic goes on in the caller; the pool stays
    /// usable.
    ///
    /// # Errors
    /// [`Cancelled`], if the flag kept an item from being run.
    pub fn run(
        &self,
        items: usize,
        cancel: Option<&AtomicBool>,
        f: &(dyn Fn(&mut Worker, usize) + Sync),
    ) -> Result<(), Cancelled> {
        let _ieee = IeeeDefaults::enter();
        if INSIDE.get() {
            return Claims::new(items, cancel)
                .run(&mut Worker { index: 0, scratch: &mut Scratch::default() }, f);
        }
        let mut scratch = held(self.region.lock());
        let _inside = Inside::enter();
        let mut caller = Worker { index: 0, scratch: &mut scratch };
        if items <= 1 || self.handles.is_empty() {
            return Claims::new(items, cancel).run(&mut caller, f);
        }
        self.run_region(&mut caller, Claims::new(items, cancel), f)
    }

    fn run_region(&self, caller: &mut Worker, claims: Claims, f: &Work) -> Result<(), Cancelled> {
        let region = Region { claims, work: f, panic: Mutex::new(None) };
        // SAFETY: `close` follows on every way out of here, and `caller` is behind the lock of the pool's
        // regions, so there is no other caller. Only the lifetimes are cast away.
        unsafe { self.gate.open(std::ptr::from_ref(&region).cast()) };
        let outcome = catch_unwind(AssertUnwindSafe(|| region.claims.run(caller, f)));
        if outcome.is_err() {
            region.claims.stop();
        }
        // From here on no worker holds the region: it may leave this stack frame.
        self.gate.close(self.spin);
        let payload = held(region.panic.into_inner());
        match (outcome, payload) {
            (Err(payload), _) | (_, Some(payload)) => resume_unwind(payload),
            // Another worker may have met the flag after the caller found no more items.
            (Ok(_), None) if region.claims.refused.load(Ordering::Relaxed) => Err(Cancelled),
            (Ok(outcome), None) => outcome,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.gate.end();
        for handle in self.handles.drain(..) {
            // A worker catches what its items throw, so it ends normally.
            let _ = handle.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} threads, spin {:?})", self.threads(), self.spin)
    }
}

thread_local! {
    /// Whether this thread is running an item, of any pool: a region inside a region stays on its thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Inside;

impl Inside {
    fn enter() -> Inside {
        INSIDE.set(true);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// The counter from which workers claim items.
struct Claims<'a> {
    next: Padded<AtomicUsize>,
    items: usize,
    cancel: Option<&'a AtomicBool>,
    /// Some item was not run because of the cancellation flag.
    refused: AtomicBool,
}

impl<'a> Claims<'a> {
    fn new(items: usize, cancel: Option<&'a AtomicBool>) -> Self {
        Claims { next: Padded(AtomicUsize::new(0)), items, cancel, refused: AtomicBool::new(false) }
    }

    fn run(&self, worker: &mut Worker, f: &Work) -> Result<(), Cancelled> {
        loop {
            let item = self.next.0.fetch_add(1, Ordering::Relaxed);
            if item >= self.items {
                return Ok(());
            }
            if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                self.refused.store(true, Ordering::Relaxed);
                return Err(Cancelled);
            }
            f(worker, item);
        }
    }

    /// Lets nobody claim another item.
    fn stop(&self) {
        self.next.0.store(self.items, Ordering::Relaxed);
    }
}

/// A region lives on the caller's stack while its gate is open and someone is inside.
struct Region<'a> {
    claims: Claims<'a>,
    work: &'a Work<'a>,
    /// What the first item that panicked threw, if it ran on a worker.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Region<'_> {
    /// Takes part in the region as a worker.
    fn work_on(&self, worker: &mut Worker) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.claims.run(worker, self.work))) {
            self.claims.stop();
            held(self.panic.lock()).get_or_insert(payload);
        }
    }
}

/// The life of worker `index`.
fn serve(gate: &Gate<Region<'static>>, index: usize, spin: Duration) {
    let _ieee = IeeeDefaults::enter();
    let _inside = Inside::enter();
    let mut scratch = Scratch::default();
    gate.serve(spin, |region| region.work_on(&mut Worker { index, scratch: &mut scratch }));
}

/// Whether the condition became true within the budget.
fn spin_until(budget: Duration, condition: impl Fn() -> bool) -> bool {
    if condition() {
        return true;
    }
    if budget.is_zero() {
        return false;
    }
    let start = Instant::now();
    loop {
        for _ in 0..32 {
            std::hint::spin_loop();
            if condition() {
                return true;
            }
        }
        if start.elapsed() >= budget {
            return false;
        }
    }
}

/// What our locks guard stays consistent when a holder panics, so a poisoned one is as good as any.
fn held<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Few and many workers, that spin, that sleep at once, and that do both.
    fn pools() -> Vec<Pool> {
        let spins = [Duration::ZERO, Duration::from_micros(5), Duration::from_micros(200)];
        let pools = [1, 2, 3, 7].map(|threads| spins.map(|spin| Pool::with_spin(threads, spin).unwrap()));
        pools.into_iter().flatten().collect()
    }

    #[test]
    fn every_item_is_run_once() {
        for pool in pools() {
            for round in 0..300 {
                let items = [0, 1, 2, 3, 10, 100][round % 6];
                let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                let run = pool.run(items, None, &|worker, item| {
                    assert!(worker.index < pool.threads());
                    counts[item].fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(run, Ok(()));
                // Plain loads: `run` has synchronised with the workers.
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{pool:?}");
                if round % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    #[test]
    fn scratch_is_kept_between_regions() {
        let pool = Pool::with_spin(1, Duration::ZERO).unwrap();
        pool.run(1, None, &|worker, _| worker.scratch.driver.resize(1000, 1.0)).unwrap();
        pool.run(1, None, &|worker, _| assert_eq!(worker.scratch.driver.len(), 1000)).unwrap();
    }

    #[test]
    fn regions_nest_and_take_turns() {
        for pool in pools() {
            let total = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let outer = pool.run(4, None, &|_, _| {
                                let inner = pool.run(5, None, &|_, _| {
                                    total.fetch_add(1, Ordering::Relaxed);
                                });
                                assert_eq!(inner, Ok(()));
                            });
                            assert_eq!(outer, Ok(()));
                        }
                    });
                }
            });
            assert_eq!(total.into_inner(), 3 * 20 * 4 * 5);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for pool in pools() {
            for bad in [0, 13, 63] {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(64, None, &|_, item| {
                        std::thread::sleep(Duration::from_micros(10));
                        assert_ne!(item, bad, "item {bad} is bad");
                    })
                }));
                let payload = outcome.expect_err("the item panics");
                let message = payload.downcast_ref::<String>().expect("the message of the item's panic");
                assert!(message.contains(&format!("item {bad} is bad")), "{message}");
                let sum = AtomicUsize::new(0);
                pool.run(64, None, &|_, item| {
                    sum.fetch_add(item, Ordering::Relaxed);
                })
                .unwrap();
                assert_eq!(sum.into_inner(), 64 * 63 / 2);
            }
        }
    }

    #[test]
    fn cancelling_stops_between_items() {
        for pool in pools() {
            let flag = AtomicBool::new(false);
            let done = AtomicUsize::new(0);
            let outcome = pool.run(10_000, Some(&flag), &|_, _| {
                if done.fetch_add(1, Ordering::Relaxed) == 20 {
                    flag.store(true, Ordering::Relaxed);
                }
            });
            assert_eq!(outcome, Err(Cancelled), "{pool:?}");
            // Each worker may have been past its look at the flag.
            assert!(done.into_inner() <= 21 + pool.threads());
            // Work that is already done is not cancelled.
            let last =
                pool.run(1, Some(&AtomicBool::new(false)), &|_, _| flag.store(true, Ordering::Relaxed));
            assert_eq!(last, Ok(()));
        }
    }

    #[test]
    fn workers_keep_denormals() {
        let pool = Pool::with_spin(3, Duration::ZERO).unwrap();
        pool.run(30, None, &|_, _| {
            std::thread::sleep(Duration::from_micros(50));
            assert_eq!(black_box(f32::MIN_POSITIVE) * black_box(0.5), f32::MIN_POSITIVE / 2.0);
        })
        .unwrap();
    }

    #[test]
    fn zero_threads_means_the_cores_we_may_use() {
        assert_eq!(Pool::new(0).unwrap().threads(), usable_cores());
        assert_eq!(Pool::new(1).unwrap().threads(), 1);
    }
}
