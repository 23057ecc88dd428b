//! Fetching one large file in parts over several connections, so that whatever ends it, little is fetched twice.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::http::{Answer, Client, Failure, TRIES};
use super::journal::{self, Journal, Ranges};
use super::layout::is_sha256;
use crate::output::{self, Ending, bytes};
use crate::progress::Meter;
use crate::{interrupt, output::note};

const SMALLEST_PART: u64 = 16 << 20;
const LARGEST_PART: u64 = 64 << 20;
/// Bytes on one connection that are not on record yet: a part's sixteenth, within these.
const SAVED_EVERY: (u64, u64) = (16 << 10, 4 << 20);
const BUFFER: usize = 128 << 10;
/// How often progress is shown and Ctrl-C looked for.
const TICK: Duration = Duration::from_millis(100);

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

struct Shared {
    client: Arc<Client>,
    job: Job,
    /// Bytes of one part.
    part: u64,
    stop: AtomicBool,
    /// Bytes that came in this run.
    fetched: AtomicU64,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    done: Ranges,
    /// `None` once nothing more may be put on record.
    journal: Option<Journal>,
    queue: VecDeque<(u64, u64)>,
    running: usize,
    /// Why all connections end.
    end: Option<End>,
    /// Host, and what it calls this state of the file.
    etag: Option<(String, String)>,
}

enum End {
    Failed(anyhow::Error),
    NoParts,
}

/// What ended the work on one part.
enum Broken {
    /// Another try can help, perhaps after a wait that the server wants.
    Passing(String, Option<Duration>),
    Fatal(End),
}

impl Download {
    /// Opens the unfinished file, or begins one.
    pub(crate) fn open(client: Arc<Client>, job: Job) -> anyhow::Result<Download> {
        let done = journal::read(&job.journal, &job.data, job.size);
        let begin = || -> io::Result<Journal> {
            if done == Ranges::default() {
                // Whatever may lie there: its bytes are of no known origin.
                File::create(&job.data)?.set_len(job.size)?;
            }
            Journal::open(&job.journal, job.size, &done)
        };
        let journal = begin().map_err(|error| write_error(error, &job, done.total()))?;
        let part = (job.size / 64).clamp(SMALLEST_PART, LARGEST_PART);
        let part = client.tuning.part.unwrap_or(part);
        let state =
            State { done, journal: Some(journal), queue: VecDeque::new(), running: 0, end: None, etag: None };
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
        self.work(workers, meter, Shared::fetch_parts)
    }

    /// Fetches the whole file over one connection, from a server that gives no parts.
    pub(crate) fn stream(&self, meter: &mut Meter) -> anyhow::Result<()> {
        let mut state = self.shared.lock();
        (state.end, state.done) = (None, Ranges::default());
        let started = Journal::open(&self.shared.job.journal, self.shared.job.size, &state.done);
        state.journal = Some(started.map_err(|error| write_error(error, &self.shared.job, 0))?);
        drop(state);
        self.shared.stop.store(false, Ordering::Relaxed);
        self.work(1, meter, Shared::fetch_whole).map(|_| ())
    }

    /// Runs threads until they are done, shows how far they are, and listens to Ctrl-C.
    fn work(&self, workers: usize, meter: &mut Meter, run: fn(&Shared)) -> anyhow::Result<Parts> {
        let shared = &self.shared;
        for _ in 0..workers {
            shared.lock().running += 1;
            let own = shared.clone();
            let started = std::thread::Builder::new().spawn(move || {
                run(&own);
                own.lock().running -= 1;
                own.wake.notify_all();
            });
            if let Err(error) = started {
                shared.lock().running -= 1;
                shared.end(End::Failed(anyhow!(error).context("cannot start a thread")));
            }
        }
        loop {
            let state = shared.lock();
            let (mut state, _) =
                shared.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            meter.advance(shared.fetched.swap(0, Ordering::Relaxed), &shared.job.title);
            let interrupted = interrupt::flag().is_cancelled();
            if !interrupted && state.end.is_none() && state.running > 0 {
                continue;
            }
            // What has come is put on record, unless a connection is just silent.
            shared.stop.store(true, Ordering::Relaxed);
            let deadline = Instant::now() + 3 * TICK;
            while state.running > 0 && Instant::now() < deadline {
                state = shared.wake.wait_timeout(state, TICK / 5).unwrap_or_else(PoisonError::into_inner).0;
            }
            let end = state.end.take();
            if interrupted || end.is_some() {
                state.journal = None;
            }
            if interrupted {
                let (done, size) = (bytes(state.done.total()), bytes(shared.job.size));
                let title = &shared.job.title;
                note(format_args!(
                    "qwip: note: {title}: {done} of {size} are here; the same command goes on from there"
                ));
                return Err(Ending::Interrupted.into());
            }
            shared.stop.store(false, Ordering::Relaxed);
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first reason counts.
    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.stop.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    fn fetch_parts(&self) {
        loop {
            let Some((from, to)) = self.lock().queue.pop_front() else { return };
            self.persist(from, to, |file, at| self.fetch(file, at, Some(to)));
            if self.stopped() {
                return;
            }
        }
    }

    fn fetch_whole(&self) {
        self.persist(0, self.job.size, |file, at| {
            *at = 0;
            self.fetch(file, at, None)
        });
    }

    /// Tries until everything up to `to` is there, or until several tries in a row got no further than one before.
    fn persist(&self, from: u64, to: u64, fetch: impl Fn(&mut File, &mut u64) -> Result<(), Broken>) {
        let mut file = match OpenOptions::new().write(true).open(&self.job.data) {
            Ok(file) => file,
            Err(error) => {
                return self.end(End::Failed(write_error(error, &self.job, self.lock().done.total())));
            }
        };
        let (mut at, mut furthest, mut tries) = (from, from, 0);
        loop {
            let (why, wish) = match fetch(&mut file, &mut at) {
                Ok(()) => return,
                Err(Broken::Passing(why, wish)) => (why, wish),
                Err(Broken::Fatal(end)) => return self.end(end),
            };
            if self.stopped() {
                return;
            }
            tries = if at > furthest { 0 } else { tries };
            (furthest, tries) = (furthest.max(at), tries + 1);
            if tries >= TRIES {
                let (title, size) = (&self.job.title, self.job.size);
                return self.end(End::Failed(anyhow!(
                    "{title}: {TRIES} tries in a row got no further than {at} of {to} bytes ({why}); {} of {size} bytes are \
                     here, and the same command goes on from there",
                    self.lock().done.total()
                )));
            }
            let until = Instant::now() + self.client.pause(tries, wish);
            while Instant::now() < until && !self.stopped() {
                std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// One request: from `at` up to `to`, or the whole file if that is `None`. `at` moves with what was written.
    fn fetch(&self, file: &mut File, at: &mut u64, to: Option<u64>) -> Result<(), Broken> {
        let fatal = |error: anyhow::Error| Broken::Fatal(End::Failed(error));
        let end = to.unwrap_or(self.job.size);
        let range = to.map(|to| (*at, to));
        let answer = match self.client.get(&self.job.url, range, self.client.tuning.stall) {
            Ok(answer) => answer,
            Err(Failure::Status { code: 416, .. }) => {
                return Err(self.changed(format!("it has no byte {at} any more")));
            }
            Err(failure) => {
                return Err(match failure.passes() {
                    Some(wish) => Broken::Passing(failure.to_string(), wish),
                    None => fatal(failure.into()),
                });
            }
        };
        self.check(&answer, *at, to)?;
        let write = |error| fatal(write_error(error, &self.job, self.lock().done.total()));
        file.seek(SeekFrom::Start(*at)).map_err(write)?;
        let mut body = answer.body.into_reader().take(end - *at);
        let mut buffer = vec![0; BUFFER];
        let every = (self.part / 16).clamp(SAVED_EVERY.0, SAVED_EVERY.1);
        let mut saved = *at;
        let result = loop {
            if *at == end {
                break Ok(());
            }
            let read = body.read(&mut buffer);
            if self.stopped() {
                break Err(Broken::Passing("stopped".into(), None));
            }
            match read {
                Ok(0) => break Err(Broken::Passing(format!("the connection ended at byte {at}"), None)),
                Ok(n) => {
                    if let Err(error) = file.write_all(&buffer[..n]) {
                        break Err(write(error));
                    }
                    *at += n as u64;
                    self.fetched.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(Broken::Passing(error.to_string(), None)),
            }
            if *at - saved >= every {
                self.save(file, saved, *at).map_err(write)?;
                saved = *at;
            }
        };
        self.save(file, saved, *at).map_err(write)?;
        result
    }

    /// Puts bytes on record that are written.
    fn save(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        file.sync_data()?;
        let mut state = self.lock();
        if let Some(journal) = &mut state.journal {
            journal.add(from, to)?;
            state.done.add(from, to);
        }
        drop(state);
        self.wake.notify_all();
        Ok(())
    }

    /// Whether the answer is what was asked for, of the file that the hub lists.
    fn check(&self, answer: &Answer, at: u64, to: Option<u64>) -> Result<(), Broken> {
        let Job { title, size, sha256, .. } = &self.job;
        let wrong = |text: String| Broken::Fatal(End::Failed(anyhow!("{title}: {text}")));
        let of_size = |found: u64| match found == *size {
            true => Ok(()),
            false => Err(wrong(format!("the hub lists {size} bytes, but the server has {found}"))),
        };
        if let (Some(stated), Some(linked)) = (sha256, &answer.linked_etag)
            && is_sha256(linked)
            && stated != linked
        {
            return Err(self.changed(format!("its SHA-256 was {stated} in the list and is {linked} now")));
        }
        answer.linked_size.map_or(Ok(()), of_size)?;
        match (answer.status, answer.content_range, to) {
            (206, Some((first, last, total)), Some(to)) => {
                of_size(total)?;
                if first != at || last >= to {
                    return Err(wrong(format!(
                        "bytes {at} to {} were asked for, and the server gives {first} to {last}",
                        to - 1
                    )));
                }
            }
            (206, ..) => return Err(wrong("the server does not say which bytes it gives".into())),
            // All of it, asked for or not.
            _ => {
                answer.body.content_length().map_or(Ok(()), of_size)?;
                if to.is_some_and(|to| (at, to) != (0, *size)) {
                    return Err(Broken::Fatal(End::NoParts));
                }
            }
        }
        if let Some(etag) = &answer.etag {
            let mut state = self.lock();
            match &state.etag {
                // Another host of the hub may name it in another way.
                Some(known) if known.0 == etag.0 && known.1 != etag.1 => {
                    let text = format!(
                        "it was {} and is {} now",
                        output::visible(&known.1),
                        output::visible(&etag.1)
                    );
                    drop(state);
                    return Err(self.changed(text));
                }
                Some(_) => {}
                None => state.etag = Some(etag.clone()),
            }
        }
        Ok(())
    }

    fn changed(&self, how: String) -> Broken {
        let text = format!("{}: the file changed on the hub while it was fetched: {how}", self.job.title);
        Broken::Fatal(End::Failed(Changed(text).into()))
    }
}

/// Names the folder, and what to do when the disk is full.
fn write_error(error: io::Error, job: &Job, done: u64) -> anyhow::Error {
    let dir = job.data.parent().unwrap_or(Path::new(".")).display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => anyhow!(
            "{}: the disk of {dir} is full at {} of {}; once there is room, the same command goes on from there",
            job.title,
            bytes(done),
            bytes(job.size)
        ),
        _ => anyhow!(error).context(format!("{dir} cannot be written")),
    }
}
