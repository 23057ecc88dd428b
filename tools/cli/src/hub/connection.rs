//! One connection of a download: requests for parts, tries after what broke, and the check of every answer.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::download::{Changed, Job};
use super::http::{Answer, Client, Failure, TRIES};
use super::journal::{Journal, Ranges};
use super::layout::is_sha256;
use crate::output::{self, bytes};

/// Bytes on one connection that are not on record yet: a part's sixteenth, within these.
const SAVED_EVERY: (u64, u64) = (16 << 10, 4 << 20);
/// And after that long, on a slow line.
const SAVED_AFTER: Duration = Duration::from_secs(2);
const BUFFER: usize = 128 << 10;
/// How often a wait looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// What all connections of a download share.
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    pub(super) job: Job,
    /// Bytes of one part.
    pub(super) part: u64,
    pub(super) stop: AtomicBool,
    /// Bytes that came in this run.
    pub(super) fetched: AtomicU64,
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
}

pub(super) struct State {
    pub(super) done: Ranges,
    /// `None` once nothing more may be put on record.
    pub(super) journal: Option<Journal>,
    pub(super) queue: VecDeque<(u64, u64)>,
    pub(super) running: usize,
    /// Why a connection waits, as long as nothing comes.
    pub(super) trouble: Option<String>,
    /// Why all connections end.
    pub(super) end: Option<End>,
    /// Host, and what it calls this state of the file.
    pub(super) etag: Option<(String, String)>,
}

pub(super) enum End {
    Failed(anyhow::Error),
    NoParts,
}

/// What ended the work on one part.
enum Broken {
    /// Another try can help, perhaps after a wait that the server wants.
    Passing(String, Option<Duration>),
    Fatal(End),
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first reason counts.
    pub(super) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.stop.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    pub(super) fn fetch_parts(&self) {
        loop {
            let Some((from, to)) = self.lock().queue.pop_front() else { return };
            self.persist(from, to, |file, at| self.fetch(file, at, Some(to)));
            if self.stopped() {
                return;
            }
        }
    }

    pub(super) fn fetch_whole(&self) {
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
        let mut progress = Instant::now();
        loop {
            let (why, wish) = match fetch(&mut file, &mut at) {
                Ok(()) => return,
                Err(Broken::Passing(why, wish)) => (why, wish),
                Err(Broken::Fatal(end)) => return self.end(end),
            };
            if self.stopped() {
                return;
            }
            if at > furthest {
                (furthest, tries, progress) = (at, 0, Instant::now());
            }
            tries += 1;
            // A line that is down for a moment, or a computer that slept, is no reason to give up what takes hours.
            if tries >= TRIES && progress.elapsed() >= self.client.tuning.outage {
                let (title, size) = (&self.job.title, self.job.size);
                return self.end(End::Failed(anyhow!(
                    "{title}: {tries} tries in a row got no further than {at} of {to} bytes ({why}); {} of {size} bytes are \
                     here, and the same command goes on from there",
                    self.lock().done.total()
                )));
            }
            self.lock().trouble = Some(why);
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
        let exact = answer.body.content_length() == Some(end - *at);
        let mut body = answer.body.into_reader().take(end - *at);
        let mut buffer = vec![0; BUFFER];
        let every = (self.part / 16).clamp(SAVED_EVERY.0, SAVED_EVERY.1);
        let (mut saved, mut last) = (*at, Instant::now());
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
            if *at - saved >= every || last.elapsed() >= SAVED_AFTER {
                self.save(file, saved, *at).map_err(write)?;
                (saved, last) = (*at, Instant::now());
            }
        };
        self.save(file, saved, *at).map_err(write)?;
        if exact && result.is_ok() {
            // Only who has seen the end of an answer may use the connection again.
            let _ = body.into_inner().read(&mut [0]);
        }
        result
    }

    /// Puts bytes on record that are written.
    fn save(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        file.sync_data()?;
        let mut state = self.lock();
        state.trouble = None;
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
                let length = answer.body.content_length();
                if let (Some(length), Some(_)) = (length.filter(|length| length != size), to) {
                    // The page of a network that wants a login first: it says nothing about the file.
                    return Err(Broken::Passing(
                        format!("the hub lists {size} bytes, but the server has {length}"),
                        None,
                    ));
                }
                length.map_or(Ok(()), of_size)?;
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
pub(super) fn write_error(error: io::Error, job: &Job, done: u64) -> anyhow::Error {
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
