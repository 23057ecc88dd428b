//! SHA-256 of a file, also of one that is still growing.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use sha2::{Digest, Sha256};

use crate::interrupt;
use crate::output::Ending;
use crate::progress::{Meter, Unit};

const BUFFER: usize = 1 << 20;

/// What a meter makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shown {
    /// It measures this.
    AsWork,
    /// It measured what came before, and is full.
    AsTail,
}

/// A thread that reads a file as far as it is there.
pub(crate) struct Follower {
    thread: Option<JoinHandle<io::Result<String>>>,
    hashed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// Hashes the first `size` bytes of the file; `frontier` says how many there are, and waits a little if asked again.
    pub(crate) fn start(
        path: &Path,
        size: u64,
        frontier: impl Fn() -> u64 + Send + 'static,
    ) -> anyhow::Result<Follower> {
        let (hashed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        let (so_far, stopped) = (hashed.clone(), stop.clone());
        let run = move || {
            let mut hash = Sha256::new();
            let (mut buffer, mut at) = (vec![0; BUFFER], 0);
            while at < size {
                let there = frontier().min(size);
                while at < there {
                    if stopped.load(Ordering::Relaxed) {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    let most = (there - at).min(BUFFER as u64) as usize;
                    match file.read(&mut buffer[..most])? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => {
                            hash.update(&buffer[..n]);
                            at += n as u64;
                        }
                    }
                    so_far.store(at, Ordering::Relaxed);
                }
                if stopped.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            Ok(hex(&hash.finalize()))
        };
        let thread = std::thread::Builder::new().spawn(run).context("cannot start a thread")?;
        Ok(Follower { thread: Some(thread), hashed, stop })
    }

    /// Waits until everything is hashed.
    pub(crate) fn finish(mut self, title: &str, meter: &mut Meter, shown: Shown) -> anyhow::Result<String> {
        let Some(thread) = self.thread.take() else { return Err(anyhow!("hashed already")) };
        let mut so_far = 0;
        while !thread.is_finished() {
            if interrupt::flag().is_cancelled() {
                return Err(Ending::Interrupted.into());
            }
            std::thread::sleep(Duration::from_millis(20));
            let hashed = self.hashed.load(Ordering::Relaxed);
            match shown {
                Shown::AsWork => meter.advance(hashed - so_far, title),
                Shown::AsTail => meter.advance(0, &format!("{title}: checking")),
            }
            so_far = hashed;
        }
        match thread.join() {
            Ok(hash) => Ok(hash.with_context(|| format!("reading {title} again"))?),
            Err(_) => Err(anyhow!("{title} could not be hashed")),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The hash of a file.
pub(crate) fn of_file(path: &Path, title: &str) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    let mut meter = Meter::new("checking", size, Unit::Bytes);
    Follower::start(path, size, move || size)?.finish(title, &mut meter, Shown::AsWork)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_also_as_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path, "f").unwrap(), want);
        let there = Arc::new(AtomicU64::new(0));
        let frontier = {
            let there = there.clone();
            move || there.fetch_add(1, Ordering::Relaxed).min(3)
        };
        let mut meter = Meter::new("checking", 3, Unit::Bytes);
        let grown = Follower::start(&path, 3, frontier).unwrap();
        assert_eq!(grown.finish("f", &mut meter, Shown::AsTail).unwrap(), want);
        std::fs::write(&path, "").unwrap();
        assert!(of_file(&path, "f").unwrap().starts_with("e3b0c442"));
    }
}
