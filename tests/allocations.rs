//! Decoding allocates nothing once its buffers have grown: a test of its own, because it counts every allocation of
//! the process.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{load, options};
use qwip::{Cancel, KvType, Session, SessionOptions, Together, Turn};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn decode(session: &mut Session, token: u32, cancel: &Cancel) {
    session.extend(&[token], cancel, &mut |_| {}).expect("room for a token");
}

#[test]
fn steady_decoding_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, ty) in [
        ("qwen2-gqa", "q4_0"),
        ("qwen3-kquant", "f16"),
        ("qwen2moe-shared", "q8_0"),
        ("qwen35-tiled", "q8_0"),
    ] {
        let model = load(dir.path(), name, ty);
        for kernels in qwip::Kernels::available() {
            let cpu = qwip::cpu_with(kernels, 2).expect("a CPU");
            let options = SessionOptions { context: 8 * 64, ..options(KvType::F16, 8) };
            let mut session = Session::new(model.clone(), cpu, &options).expect("a session");
            let cancel = Cancel::new();
            // Which thread takes which work is chance, so a thread's buffer may grow late: one page of 64 positions has
            // to do without, but for its first.
            let allocations = (0..8).map(|_| {
                decode(&mut session, 5, &cancel);
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                (1..64).for_each(|token| decode(&mut session, token, &cancel));
                ALLOCATIONS.load(Ordering::Relaxed) - before
            });
            let fewest = allocations.min();
            assert_eq!(fewest, Some(0), "{name} {}", kernels.isa);

            // Several in a pass: two short lists of who takes part.
            let mut other = session.fork(8 * 64 - 64).expect("a fork");
            session.truncate(other.tokens().len());
            let mut together = Together::new();
            let mut pass = |session: &mut Session, other: &mut Session, token: u32| {
                let tokens = [token];
                let mut turns = [Turn::new(session, &tokens, true), Turn::new(other, &tokens, true)];
                together.extend(&mut turns, &cancel).expect("a pass");
                assert!(turns.iter().all(|turn| turn.result.is_ok()));
            };
            // The first brings pages and buffers, and threads may need theirs later.
            let allocations = (0..8).map(|part| {
                let passes = if part == 0 { 0..1 } else { 1..8 };
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                passes.for_each(|token| pass(&mut session, &mut other, token));
                ALLOCATIONS.load(Ordering::Relaxed) - before
            });
            let fewest = allocations.skip(1).min();
            assert_eq!(fewest, Some(2 * 7), "{name} {}", kernels.isa);
        }
    }
}
