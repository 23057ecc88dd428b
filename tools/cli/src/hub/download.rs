//! Fetching one large file in parts over several connections, so that whatever ends it, little is fetched twice.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::connection::{End, Shared, State, write_error};
use super::http::Client;
use super::journal::{self, Journal, Ranges};
use crate::interrupt;
use crate::output::{self, Ending, bytes};
use crate::progress::Meter;

const SMALLEST_PART: u64 = 16 << 20;
const LARGEST_PART: u64 = 64 << 20;
/// How often progress is shown and Ctrl-C looked for.
const TICK: Duration = Duration::from_millis(100);
/// After so long without a byte it is said why.
const QUIET: Duration = Duration::from_secs(10);
/// How long a connection may take to end, beside its silence: to find a host and to connect to it.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What is to be fetched, and where to.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) url: String,
    /// What the user sees.
    pub(crate) title: String,
    pub(crate) size: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) data: PathBuf,
    pub(crate) journal: PathBuf,
}

impl Job {
    /// Bytes that are there already.
    pub(crate) fn done(&self) -> u64 {
        journal::read(&self.journal, &self.data, self.size).total()
    }

    /// Throws away what was fetched.
    pub(crate) fn discard(&self) {
        for path in [&self.data, &self.journal] {
            // It may not be there.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The file on the hub is not the one whose first bytes we have.
#[derive(Debug)]
pub(crate) struct Changed(pub(crate) String);

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Changed {}

/// Whether the server gives parts of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parts {
    Given,
    Refused,
}

/// An unfinished file and the connections that fill it.
pub(crate) struct Download {
    shared: Arc<Shared>,
}

/// Counts a thread as long as it lives, however it ends.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.wake.notify_all();
    }
}

impl Download {
    /// Opens the unfinished file, or begins one.
    pub(crate) fn open(client: Arc<Client>, job: Job) -> anyhow::Result<Download> {
        let done = journal::read(&job.journal, &job.data, job.size);
        let begin = || -> io::Result<Journal> {
            if done == Ranges::default() {
                // Whatever may lie there: its bytes are of no known origin. A record of others would vouch for zeros.
                match std::fs::remove_file(&job.journal) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                File::create(&job.data)?.set_len(job.size)?;
            }
            Journal::open(&job.journal, job.size, &done)
        };
        let journal = begin().map_err(|error| write_error(error, &job, done.total()))?;
        let part = (job.size / 64).clamp(SMALLEST_PART, LARGEST_PART);
        let part = client.tuning.part.unwrap_or(part);
        let state = State {
            done,
            journal: Some(journal),
            queue: VecDeque::new(),
            running: 0,
            trouble: None,
            end: None,
            etag: None,
        };
        let (state, wake) = (Mutex::new(state), Condvar::new());
        let (stop, fetched) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Download { shared: Arc::new(Shared { client, job, part, stop, fetched, state, wake }) })
    }

    /// Bytes that are there.
    pub(crate) fn done(&self) -> u64 {
        self.shared.lock().done.total()
    }

    /// Fetches what is missing before `end`.
    pub(crate) fn fill(&self, end: u64, meter: &mut Meter) -> anyhow::Result<Parts> {
        let shared = &self.shared;
        let connections = shared.client.tuning.connections;
        let missing = shared.lock().done.missing(end);
        let wanted: u64 = missing.iter().map(|(from, to)| to - from).sum();
        // Of little, too, every connection gets something.
        let part = shared.part.min(wanted.div_ceil(connections as u64)).max(shared.part.min(1 << 20)).max(1);
        let pieces = missing.into_iter().flat_map(|(from, to)| {
            (from..to).step_by(part as usize).map(move |at| (at, (at + part).min(to)))
        });
        let pieces: VecDeque<(u64, u64)> = pieces.collect();
        let workers = connections.min(pieces.len());
        shared.lock().queue = pieces;
        let parts = self.work(workers, meter, Shared::fetch_parts)?;
        if parts == Parts::Given {
            self.check_complete(end)?;
        }
        Ok(parts)
    }

    /// Whoever waits for bytes that no connection fetches any more would wait for ever.
    fn check_complete(&self, end: u64) -> anyhow::Result<()> {
        let holes = self.shared.lock().done.missing(end);
        let missing: u64 = holes.iter().map(|(from, to)| to - from).sum();
        if missing > 0 {
            bail!(
                "{}: all connections ended, and {missing} of {end} bytes are missing; the same command goes on",
                self.shared.job.title
            );
        }
        Ok(())
    }

    /// Fetches the whole file over one connection, from a server that gives no parts.
    pub(crate) fn stream(&self, meter: &mut Meter) -> anyhow::Result<()> {
        self.settle(meter)?;
        let mut state = self.shared.lock();
        state.done = Ranges::default();
        let started = Journal::open(&self.shared.job.journal, self.shared.job.size, &state.done);
        state.journal = Some(started.map_err(|error| write_error(error, &self.shared.job, 0))?);
        drop(state);
        self.work(1, meter, Shared::fetch_whole)?;
        self.check_complete(self.shared.job.size)
    }

    /// Waits until no thread of an earlier run is left: a silent one would take part in the next, with the old orders.
    fn settle(&self, meter: &mut Meter) -> anyhow::Result<()> {
        let shared = &self.shared;
        let most = shared.client.tuning.stall + LAST_WORDS;
        let deadline = Instant::now() + most;
        let mut state = shared.lock();
        while state.running > 0 {
            if interrupt::flag().is_cancelled() {
                return Err(Ending::Interrupted.into());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{}: {} connections did not end in {} s; the same command goes on",
                    shared.job.title,
                    state.running,
                    most.as_secs()
                );
            }
            meter.advance(0, &shared.job.title);
            state = shared.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.end = None;
        shared.stop.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Runs threads until they are done, shows how far they are, and listens to Ctrl-C.
    fn work(&self, workers: usize, meter: &mut Meter, run: fn(&Shared)) -> anyhow::Result<Parts> {
        self.settle(meter)?;
        let shared = &self.shared;
        for _ in 0..workers {
            shared.lock().running += 1;
            let own = Running(shared.clone());
            let started = std::thread::Builder::new().spawn(move || run(&own.0));
            if let Err(error) = started {
                // The thread's count went with what it was to run.
                shared.end(End::Failed(anyhow!(error).context("cannot start a thread")));
            }
        }
        let (mut quiet, mut is_said) = (Instant::now(), false);
        loop {
            let state = shared.lock();
            let (mut state, _) =
                shared.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            let item = match &state.trouble {
                Some(why) => format!("{}: {why}; trying again", shared.job.title),
                None => shared.job.title.clone(),
            };
            let came = shared.fetched.swap(0, Ordering::Relaxed);
            meter.advance(came, &item);
            if came > 0 {
                (quiet, is_said) = (Instant::now(), false);
            } else if !is_said && state.trouble.is_some() && quiet.elapsed() >= QUIET {
                // A bar shows it all the time; a log has to be told.
                meter.note(&format!("qwip: note: {}", output::visible(&item)));
                is_said = true;
            }
            let interrupted = interrupt::flag().is_cancelled();
            if !interrupted && state.end.is_none() && state.running > 0 {
                continue;
            }
            if !interrupted && state.end.is_none() {
                return Ok(Parts::Given);
            }
            state.queue.clear();
            // What has come is put on record, unless a connection is just silent.
            shared.stop.store(true, Ordering::Relaxed);
            let deadline = Instant::now() + 3 * TICK;
            while state.running > 0 && Instant::now() < deadline {
                state = shared.wake.wait_timeout(state, TICK / 5).unwrap_or_else(PoisonError::into_inner).0;
            }
            let end = state.end.take();
            state.journal = None;
            if interrupted {
                let (done, size) = (bytes(state.done.total()), bytes(shared.job.size));
                let title = &shared.job.title;
                meter.note(&format!(
                    "qwip: note: {title}: {done} of {size} are here; the same command goes on from there"
                ));
                return Err(Ending::Interrupted.into());
            }
            return match end {
                None => Ok(Parts::Given),
                Some(End::NoParts) => Ok(Parts::Refused),
                Some(End::Failed(error)) => Err(error),
            };
        }
    }

    /// A thread that hashes the file as far as it is there, and goes on as more comes.
    pub(crate) fn hasher(&self) -> anyhow::Result<super::hash::Follower> {
        let shared = self.shared.clone();
        let size = shared.job.size;
        let frontier = move || {
            let state = shared.lock();
            let (state, _) = shared.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            state.done.frontier()
        };
        super::hash::Follower::start(&self.shared.job.data, size, frontier)
    }

    /// The first bytes, as far as they are there.
    pub(crate) fn start(&self, most: u64) -> anyhow::Result<Vec<u8>> {
        let job = &self.shared.job;
        let mut bytes = Vec::new();
        let most = most.min(self.shared.lock().done.frontier());
        let read = File::open(&job.data).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.with_context(|| job.data.display().to_string())?;
        Ok(bytes)
    }
}
