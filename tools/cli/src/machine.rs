//! What this computer has: memory, caches, and how fast memory can be read.

mod memory;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, mpsc};
use std::thread::{self, Builder};
use std::time::Instant;

use anyhow::Context;
pub(crate) use memory::{Memory, memory};
use qwip::Cpu;

/// Cache size to assume where the system does not say.
const ASSUMED_CACHE: u64 = 32 << 20;
const ATTEMPTS: usize = 5;

/// The name of the processor (Linux and Android), else the architecture.
pub(crate) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        matches!(key.trim(), "model name" | "Hardware" | "Model").then(|| value.trim().to_string())
    });
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

/// Size of the last-level cache in bytes, where the system says.
fn last_level_cache() -> Option<u64> {
    let sizes = (0..8).filter_map(|i| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{i}/size");
        let text = std::fs::read_to_string(path).ok()?;
        let text = text.trim();
        let (number, unit) = text.split_at(text.len().checked_sub(1)?);
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit)
    });
    sizes.max()
}

/// How fast memory can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bandwidth {
    /// Bytes a second.
    pub(crate) rate: f64,
    /// Bytes of memory that were read.
    pub(crate) region: u64,
    /// Streams of each thread in the fastest attempt.
    pub(crate) streams: usize,
}

/// Reads a region of four times the last-level cache (or what memory allows) with `threads` threads of one to
/// four streams each; the best of five attempts.
pub(crate) fn bandwidth(threads: usize) -> anyhow::Result<Bandwidth> {
    let wanted = 4 * last_level_cache().unwrap_or(ASSUMED_CACHE);
    let most = memory().available.map_or(1 << 30, |available| available / 4);
    let words = (wanted.min(most).max(1 << 20) / 8) as usize;
    let each = (words / threads.max(1)).max(64);
    // Every page is written, or all would be one page of zeros.
    let mut region = vec![0u64; each * threads.max(1)];
    let start = || format!("cannot start {threads} threads");
    thread::scope(|scope| -> io::Result<()> {
        for part in region.chunks_exact_mut(each) {
            let fill = move || part.iter_mut().zip(1..).for_each(|(word, i)| *word = i);
            Builder::new().spawn_scoped(scope, fill)?;
        }
        Ok(())
    })
    .with_context(start)?;
    let mut best = Bandwidth { rate: 0.0, region: region.len() as u64 * 8, streams: 1 };
    for streams in [1, 2, 4] {
        for _ in 0..ATTEMPTS {
            let rate = read_once(&region, each, streams, Builder::new).with_context(start)?;
            if rate > best.rate {
                best = Bandwidth { rate, streams, ..best };
            }
        }
    }
    Ok(best)
}

/// Multiplications and additions of bytes a second in registers, with all threads of `cpu`; the best of five
/// attempts. `None` where the compiler chooses the instructions.
pub(crate) fn integer_peak(cpu: &Cpu) -> Option<f64> {
    let measure = cpu.kernels.integer_peak?;
    const ROUNDS: usize = 8;
    let items = cpu.pool.threads() * ROUNDS;
    let attempt = |_| {
        let operations = AtomicU64::new(0);
        let started = Instant::now();
        let done = cpu.pool.run(items, None, &|_, _| {
            operations.fetch_add(measure(), Ordering::Relaxed);
        });
        done.map_or(0.0, |()| operations.into_inner() as f64 / started.elapsed().as_secs_f64().max(1e-9))
    };
    (0..ATTEMPTS).map(attempt).max_by(f64::total_cmp)
}

/// Bytes a second of one pass over the region, each thread from its first word to its last.
fn read_once(region: &[u64], each: usize, streams: usize, builder: impl Fn() -> Builder) -> io::Result<f64> {
    let gate = RwLock::new(());
    let (ready, is_ready) = mpsc::channel();
    let seconds = thread::scope(|scope| {
        // Dropped when a thread cannot be had, too: those that wait at the gate then go on and end.
        let closed = gate.write();
        let mut readers = Vec::new();
        for part in region.chunks_exact(each) {
            let (gate, ready) = (&gate, ready.clone());
            readers.push(builder().spawn_scoped(scope, move || {
                let _ = ready.send(());
                drop(gate.read());
                std::hint::black_box(sum(part, streams))
            })?);
        }
        for _ in &readers {
            let _ = is_ready.recv();
        }
        // Before the gate opens: readers on every core can keep this thread from its next line for a while.
        let started = Instant::now();
        drop(closed);
        for reader in readers {
            let _ = reader.join();
        }
        io::Result::Ok(started.elapsed().as_secs_f64())
    })?;
    Ok(region.len() as f64 * 8.0 / seconds.max(1e-9))
}

/// The sum of all words, read from `streams` places at once.
fn sum(part: &[u64], streams: usize) -> u64 {
    const CHUNK: usize = 16;
    let stream = part.len() / streams;
    let mut lanes = [0u64; CHUNK];
    let parts: Vec<&[u64]> = part.chunks_exact(stream.max(1)).take(streams).collect();
    for at in (0..stream / CHUNK * CHUNK).step_by(CHUNK) {
        for part in &parts {
            let chunk = &part[at..at + CHUNK];
            for i in 0..CHUNK {
                lanes[i] = lanes[i].wrapping_add(chunk[i]);
            }
        }
    }
    lanes.iter().fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_reads_every_word_of_whole_chunks() {
        let words: Vec<u64> = (0..1024).collect();
        for streams in [1, 2, 4] {
            assert_eq!(sum(&words, streams), 1023 * 1024 / 2);
        }
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_an_error() {
        let count = std::cell::Cell::new(0);
        let builder = || {
            count.set(count.get() + 1);
            // No address space holds such a stack.
            if count.get() < 3 { Builder::new() } else { Builder::new().stack_size(1 << 60) }
        };
        assert!(read_once(&[0; 4096], 1024, 1, builder).is_err());
    }

    #[test]
    fn the_integer_peak_is_plausible() {
        let cpu = qwip::cpu(2).unwrap();
        if let Some(rate) = integer_peak(&cpu) {
            assert!(rate > 1e8 && rate < 1e16, "{rate}");
        }
    }

    #[test]
    fn bandwidth_is_plausible() {
        let found = bandwidth(2).unwrap();
        assert!(found.rate > 1e8 && found.rate < 1e13, "{found:?}");
    }
}
