//! Which processes of qwip have a model loaded: a file for each in a folder of the cache, and beside it a lock that its
//! process holds for as long as it lives. A crash leaves the file without the lock, and whoever reads it removes it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::model_arg::Opened;
use crate::places;

/// A file of ours is shorter, and there are fewer.
const LONGEST: u64 = 64 << 10;
const MOST: usize = 1000;
/// A lock without a file belongs to a process that is just starting, unless it is older.
const STARTING: Duration = Duration::from_secs(60);

fn folder() -> Option<PathBuf> {
    Some(places::cache_dir()?.join("running"))
}

/// This process in the list, until it is dropped.
pub(crate) struct Registered {
    json: PathBuf,
    lock: PathBuf,
    /// Its lock ends with it.
    held: Option<File>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.json);
        // Windows removes no open file.
        self.held = None;
        let _ = std::fs::remove_file(&self.lock);
    }
}

/// What others are told of this process.
pub(crate) struct Facts<'a> {
    pub(crate) command: &'a str,
    pub(crate) model: &'a str,
    /// The model's first file.
    pub(crate) file: Option<&'a Path>,
    pub(crate) weights: u64,
    pub(crate) context: usize,
    pub(crate) device: &'a str,
}

/// Puts this process, which answers with `opened`, in the list. `None` where no file can be written: nothing but
/// `ps`, `stop` and the caution of `rm` depends on it.
pub(crate) fn register(command: &str, opened: &Opened) -> Option<Registered> {
    let file = opened.model.file();
    register_as(&Facts {
        command,
        model: &opened.name,
        file: Some(file.path()),
        weights: file.len(),
        context: opened.context(),
        device: &opened.device(),
    })
}

/// As [`register`]. A process with several models has a line for each.
pub(crate) fn register_as(facts: &Facts<'_>) -> Option<Registered> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder).ok()?;
    let pid = std::process::id();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A number can come back, a name with the time does not.
    let stem = format!("{pid}-{}", since.as_nanos());
    let (json, lock) = (folder.join(format!("{stem}.json")), folder.join(format!("{stem}.lock")));
    // Windows keeps others from reading what is locked: the facts stand in another file than the lock.
    let held = OpenOptions::new().write(true).create_new(true).open(&lock).ok()?;
    held.try_lock().ok()?;
    let registered = Registered { json, lock, held: Some(held) };
    let path = facts.file.and_then(|file| std::fs::canonicalize(file).ok());
    let facts = json!({
        "pid": pid,
        "command": facts.command,
        "model": facts.model,
        "path": path.as_deref().map(Path::to_string_lossy),
        "weights": facts.weights,
        "context": facts.context,
        "device": facts.device,
        "since": since.as_secs(),
    });
    places::write_private(&registered.json, facts.to_string().as_bytes()).ok()?;
    Some(registered)
}

/// A process that has a model loaded.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
    pub(crate) model: String,
    /// Where the model's first file lies.
    pub(crate) path: Option<PathBuf>,
    pub(crate) weights: u64,
    pub(crate) context: u64,
    pub(crate) device: String,
    /// Seconds since 1970.
    pub(crate) since: u64,
    json: PathBuf,
    lock: PathBuf,
}

/// Every process that lives, the oldest first. Removes what dead ones have left.
pub(crate) fn processes() -> Vec<Process> {
    let Some(entries) = folder().and_then(|folder| std::fs::read_dir(folder).ok()) else { return Vec::new() };
    let mut processes = Vec::new();
    for entry in entries.flatten().take(MOST) {
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => processes.extend(read(&path).filter(Process::lives)),
            Some("lock") if !path.with_extension("json").exists() => remove_orphan(&path),
            _ => {}
        }
    }
    // A server has a line for each model, and one of its own that counts while there is none.
    let busy: Vec<u32> = processes.iter().filter(|p: &&Process| p.weights > 0).map(|p| p.pid).collect();
    processes.retain(|process| process.weights > 0 || !busy.contains(&process.pid));
    processes.sort_by_key(|process| (process.since, process.pid));
    processes
}

fn read(path: &Path) -> Option<Process> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_string();
    let number = |key: &str| json[key].as_u64().unwrap_or_default();
    let pid = u32::try_from(number("pid")).ok().filter(|&pid| pid > 1)?;
    // The name says it, too: a file that was moved here is none of ours.
    let (named, _) = path.file_stem()?.to_str()?.split_once('-')?;
    (named == pid.to_string()).then(|| Process {
        pid,
        command: text("command"),
        model: text("model"),
        path: json["path"].as_str().map(PathBuf::from),
        weights: number("weights"),
        context: number("context"),
        device: text("device"),
        since: number("since"),
        lock: path.with_extension("lock"),
        json: path.to_path_buf(),
    })
}

fn remove_orphan(lock: &Path) {
    let old = |meta: std::fs::Metadata| meta.modified().ok()?.elapsed().ok().map(|age| age > STARTING);
    if std::fs::metadata(lock).ok().and_then(old) == Some(true) && !is_held(lock) {
        let _ = std::fs::remove_file(lock);
    }
}

/// Whether somebody holds this lock; where that cannot be found out, nobody does.
fn is_held(lock: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(lock) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

impl Process {
    /// Whether the process lives. What a dead one has left is removed.
    pub(crate) fn lives(&self) -> bool {
        if is_held(&self.lock) {
            return true;
        }
        let _ = std::fs::remove_file(&self.json);
        let _ = std::fs::remove_file(&self.lock);
        false
    }

    /// Bytes of memory that it holds, where the system says so.
    pub(crate) fn memory(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Whether it works on a file.
    pub(crate) fn uses(&self, file: &Path) -> bool {
        let path = std::fs::canonicalize(file).ok();
        path.is_some() && self.path == path
    }

    /// Asks the process to end.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.holds_its_lock(),
            "process {} is another one here (the folder of running models is shared with another computer or container)",
            self.pid
        );
        end(self.pid)
    }

    /// Whether the process of this number is the one that holds the lock: it need not be in a container.
    #[cfg(target_os = "linux")]
    fn holds_its_lock(&self) -> bool {
        let Ok(lock) = std::fs::canonicalize(&self.lock) else { return false };
        let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == lock))
    }

    #[cfg(not(target_os = "linux"))]
    fn holds_its_lock(&self) -> bool {
        true
    }
}

#[cfg(unix)]
fn end(pid: u32) -> anyhow::Result<()> {
    let number = libc::pid_t::try_from(pid)?;
    // SAFETY: no memory is involved; the number is that of one process, neither 0 nor negative, which would mean
    // several.
    match unsafe { libc::kill(number, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(anyhow::Error::new(std::io::Error::last_os_error()).context(format!("process {pid}"))),
    }
}

#[cfg(not(unix))]
fn end(pid: u32) -> anyhow::Result<()> {
    let pid = pid.to_string();
    let output = std::process::Command::new("taskkill").args(["/F", "/PID", &pid]).output()?;
    anyhow::ensure!(
        output.status.success(),
        "process {pid}: taskkill: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, name: &str, facts: serde_json::Value) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, facts.to_string()).unwrap();
        path
    }

    #[test]
    fn a_file_counts_while_its_lock_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let json = written(dir.path(), "77-1.json", json!({"pid": 77, "model": "m", "since": 5}));
        let lock = dir.path().join("77-1.lock");
        let held = File::create(&lock).unwrap();
        held.try_lock().unwrap();
        let process = read(&json).unwrap();
        assert!(process.lives() && (process.pid, process.since) == (77, 5));
        drop(held);
        assert!(!process.lives());
        assert!(!json.exists() && !lock.exists());
    }

    #[test]
    fn files_that_are_not_ours_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for (name, facts) in [
            ("1-1.json", json!({"pid": 1})),
            ("0-1.json", json!({"pid": 0})),
            ("5-1.json", json!({"pid": 6})),
            ("9-1.json", json!({"pid": -9})),
            ("x.json", json!([1])),
        ] {
            assert!(read(&written(dir.path(), name, facts)).is_none(), "{name}");
        }
    }
}
