//! What outlives an answer: the transcript, written after every turn. Everything that must happen when a conversation
//! begins, changes, is taken up again or ends goes through here.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::lines::Lines;
use super::transcript::{self, Transcript, merged};
use super::{Talk, note};
use crate::args::Think;
use crate::kept::Found;
use crate::output::{bytes, one_line};
use crate::{interrupt, places, voice};

/// Where a conversation is kept.
#[derive(Debug, Default)]
pub(crate) struct Record {
    path: Option<PathBuf>,
    /// A person talks: what has no place yet gets one in our folder.
    automatic: bool,
    /// The place was chosen by us, or in the course of the talk: another conversation gets another one. A script that was
    /// called with a place keeps all it says there.
    chosen: bool,
    created: String,
    /// Size and time of what we wrote or read last.
    stamp: Option<(u64, SystemTime)>,
    /// That it cannot be written was said.
    failed: bool,
}

impl Record {
    pub(crate) fn new(path: Option<PathBuf>, automatic: bool) -> Record {
        let chosen = automatic && path.as_deref().is_some_and(is_ours);
        Record { path, automatic, chosen, created: transcript::timestamp(), ..Record::default() }
    }

    /// The place of a conversation that is taken up in the course of the talk.
    pub(crate) fn loaded(&self, path: PathBuf) -> Record {
        Record { chosen: true, ..Record::new(Some(path), self.automatic) }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Takes a new name in our folder, which nobody else has.
    fn claim(&mut self) -> anyhow::Result<()> {
        let dir = transcript::folder().context("there is no folder for conversations: set QWIP_DATA_DIR")?;
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let name = transcript::new_name();
        for i in 1..1000 {
            let number = if i == 1 { String::new() } else { format!("-{i}") };
            let path = dir.join(format!("{name}{number}.json"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => {
                    self.stamp = stamp(&path);
                    (self.path, self.chosen) = (Some(path), true);
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        bail!("{}: there are a thousand conversations of this second", dir.display())
    }

    /// Removes the file of a conversation in which nothing was said, if we made up its name; true if it did.
    fn drop_empty(&mut self) -> bool {
        let Some(path) = self.path.as_ref().filter(|path| is_numbered(path)) else {
            return false;
        };
        if stamp(path) != self.stamp || fs::remove_file(path).is_err() {
            return false;
        }
        (self.path, self.stamp) = (None, None);
        true
    }

    fn write(&mut self, transcript: &Transcript) -> anyhow::Result<()> {
        if let Some(path) = &self.path
            && let found @ Some(_) = stamp(path)
            && found != self.stamp
        {
            // Whoever wrote it would lose what he said.
            note(format_args!(
                "qwip: note: {} was changed by somebody else; this conversation is kept in another file",
                path.display()
            ));
            self.path = None;
        }
        if self.path.is_none() {
            self.claim()?;
        }
        let path = self.path.as_ref().context("there is a path now")?;
        if let Err(error) = places::write_private(path, &transcript.to_bytes()) {
            if self.chosen && fs::metadata(path).is_ok_and(|meta| meta.len() == 0) {
                let _ = fs::remove_file(path);
                self.stamp = None;
            }
            return Err(error).with_context(|| path.display().to_string());
        }
        self.stamp = stamp(path);
        Ok(())
    }
}

fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

impl Talk {
    /// An answer has come, or what was said has changed otherwise.
    pub(crate) fn changed(&mut self) {
        self.forgotten = self.forgotten.min(self.history.len());
        if self.history.is_empty() && self.record.drop_empty() {
            return;
        }
        let has_place = self.record.path.is_some();
        if has_place || (self.record.automatic && !self.history.is_empty()) {
            let written = self.record.write(&self.transcript());
            self.report(written);
        }
    }

    fn report(&mut self, written: anyhow::Result<()>) {
        match written {
            Ok(()) => self.record.failed = false,
            // Once is enough; the conversation goes on.
            Err(_) if self.record.failed => {}
            Err(error) => {
                note(format_args!("qwip: note: the conversation is not kept: {}", one_line(&error)));
                self.record.failed = true;
            }
        }
    }

    /// Keeps what the model has read of this conversation, if the conversation itself is kept; the bytes that takes.
    pub(crate) fn keep_read(&mut self) -> Option<u64> {
        let (Some(kept), Some(path)) = (&self.kept, self.record.path()) else { return None };
        // What was read before the conversation was taken up belongs to another, or is what was kept.
        if self.record.failed || !self.read {
            return None;
        }
        let _armed = interrupt::arm();
        match kept.store(path, &mut self.session, interrupt::flag()) {
            Ok(bytes) => bytes,
            Err(error) => {
                note(format_args!("qwip: note: what was read is not kept: {}", one_line(&error)));
                None
            }
        }
    }

    /// Takes up what was read of this conversation before; says so, or why it is read again.
    pub(crate) fn take_up_read(&mut self) {
        let (Some(kept), Some(path)) = (&self.kept, self.record.path()) else { return };
        let _armed = interrupt::arm();
        match kept.restore(path, &mut self.session, interrupt::flag()) {
            Ok(Found::Tokens(_)) => {
                let prompt =
                    self.prompt_from(self.forgotten).map_or_else(|_| Vec::new(), |prompt| prompt.tokens);
                let same = self.session.tokens().iter().zip(&prompt).take_while(|(a, b)| a == b).count();
                note(format_args!("{same} tokens of it were kept and need not be read again."));
            }
            Ok(Found::Useless(why)) => {
                note(format_args!("qwip: note: {why}; the conversation is read again"));
            }
            Ok(Found::Nothing) => {}
            Err(error) => {
                note(format_args!("qwip: note: the conversation is read again: {}", one_line(&error)));
            }
        }
    }

    /// Whether this conversation has no place but here; says so.
    pub(crate) fn would_be_lost(&self) -> bool {
        let lost = self.record.failed && !self.history.is_empty();
        if lost {
            note("This conversation could not be kept and would be lost: /save FILE first, or /undo it.");
        }
        lost
    }

    /// Begins another conversation. The one before stays in its file, or moves to our folder where the call says which
    /// file it is. False if it would be lost: then nothing changes.
    pub(crate) fn start_again(&mut self) -> bool {
        let leaves = self.record.chosen;
        if self.would_be_lost() {
            return false;
        }
        self.keep_read();
        if self.record.path.is_some() && !leaves && !self.history.is_empty() {
            let mut old = Record::new(None, false);
            old.created.clone_from(&self.record.created);
            let written = old.write(&self.transcript());
            if let (Ok(()), Some(path)) = (&written, old.path()) {
                note(format_args!("What was said is kept in {}", path.display()));
            }
            let failed = written.is_err();
            self.report(written);
            if failed {
                note("It is not cleared: /save FILE first, or /undo it.");
                return false;
            }
        }
        self.history.clear();
        self.read = false;
        self.files.clear();
        (self.forgotten, self.declined, self.last) = (0, false, None);
        if leaves {
            self.record = Record::new(None, self.record.automatic);
        } else {
            self.changed();
        }
        true
    }

    /// Goes on with the conversation in `path`.
    pub(crate) fn adopt(&mut self, record: Record, found: Transcript) {
        let Some(path) = record.path.clone() else { return };
        let path = path.as_path();
        self.keep_read();
        let model = &found.model;
        let is_known = !model[1].is_empty() || !model[2].is_empty();
        let is_other =
            is_known && (model[1] != self.opened.title() || model[2] != self.opened.model.architecture());
        self.record = Record { created: found.created.clone(), stamp: stamp(path), ..record };
        // What the call says counts more than what was asked for once.
        self.system = self.answer.system.clone().or(found.system);
        self.think = if self.answer.think == Think::Auto { found.think } else { self.answer.think };
        let sampling = merged(&self.flags, &found.sampling);
        match voice::sampling(&self.voice, self.opened.model.file(), self.think, &sampling) {
            Ok(params) => {
                self.sampling = sampling;
                self.sampler = qwip::Sampler::new(params);
            }
            Err(error) => note(format_args!("qwip: note: its settings are not used: {}", one_line(&error))),
        }
        (self.history, self.forgotten, self.declined) = (found.turns, found.forgotten, false);
        self.files.clear();
        (self.last, self.read) = (None, false);
        let tokens = self.count(self.forgotten).map_or(String::new(), |n| format!(", {n} tokens"));
        note(format_args!("{}: {} messages{tokens}", path.display(), self.history.len()));
        if is_other && !self.history.is_empty() {
            note(format_args!(
                "qwip: note: this was said with {} ({}); {} reads it again",
                if model[1].is_empty() { "another model" } else { &model[1] },
                model[2],
                self.opened.title()
            ));
        }
        self.take_up_read();
    }

    /// Keeps the conversation in a file or under a name from now on.
    pub(crate) fn save_as(&mut self, name: &str, lines: &mut Lines) -> anyhow::Result<()> {
        if name.is_empty() {
            self.record.write(&self.transcript())?;
        } else {
            let path = transcript::place(name)?;
            if fs::symlink_metadata(&path).is_ok() && self.record.path() != Some(&path) {
                Transcript::read(&path).context("this is not overwritten")?;
                let question = format!("{} is another conversation. Write over it?", path.display());
                match lines.ask(&question)? {
                    Some(true) => {}
                    Some(false) => return Ok(()),
                    None => bail!("{} is another conversation: it is not overwritten", path.display()),
                }
            }
            let mut record = Record {
                stamp: stamp(&path),
                path: Some(path),
                automatic: self.record.automatic,
                ..Record::new(None, false)
            };
            record.created.clone_from(&self.record.created);
            record.write(&self.transcript())?;
            // It has got a name; the one that we gave it would be a copy.
            if self.record.chosen
                && let Some(old) = self.record.path.as_ref().filter(|old| record.path.as_ref() != Some(*old))
                && self.record.stamp == stamp(old)
                && is_numbered(old)
            {
                let _ = fs::remove_file(old);
            }
            record.chosen = true;
            self.record = record;
        }
        self.record.failed = false;
        if let Some(path) = self.record.path() {
            note(format_args!("Kept in {}", path.display()));
        }
        Ok(())
    }

    /// The conversation ends in an orderly way.
    pub(crate) fn leave(&mut self) {
        let read = self.keep_read();
        let Some(path) = self.record.path.as_ref() else { return };
        if !self.record.automatic || self.record.failed {
            return;
        }
        let name = if is_ours(path) { path.file_stem().unwrap_or_default().into() } else { path.clone() };
        let name = name.display().to_string();
        let quote = if name.contains(char::is_whitespace) { "\"" } else { "" };
        note(format_args!("The conversation is kept: qwip chat --session {quote}{name}{quote}"));
        if let (Some(read), Some(kept)) = (read, &self.kept) {
            note(format_args!(
                "What was read of it takes {}; all that is kept of conversations {} of {}.",
                bytes(read),
                bytes(kept.bytes()),
                bytes(kept.most())
            ));
        }
    }

    /// The conversation as it is kept.
    pub(crate) fn transcript(&self) -> Transcript {
        Transcript {
            created: self.record.created.clone(),
            updated: transcript::timestamp(),
            model: [
                self.opened.name.clone(),
                self.opened.title(),
                self.opened.model.architecture().to_string(),
            ],
            system: self.system.clone(),
            think: self.think,
            sampling: self.sampling.clone(),
            forgotten: self.forgotten,
            turns: self.history.clone(),
        }
    }
}

/// Whether a file is in our folder of conversations.
fn is_ours(path: &Path) -> bool {
    path.parent().is_some_and(|dir| transcript::folder().as_deref() == Some(dir))
}

/// Whether a file has a name that we made up.
fn is_numbered(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    is_ours(path) && name.len() >= 17 && name.chars().all(|c| c.is_ascii_digit() || c == '-')
}
