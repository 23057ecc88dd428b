//! What follows a slash.

use std::path::Path;

use anyhow::Context;

use super::lines::Lines;
use super::transcript::{self, Role, Transcript, Turn, beginning};
use super::{Talk, device_of, note, tell};
use crate::args::{ModelArgs, Think};
use crate::model_arg::{self, Opened};
use crate::output::{bytes, line, one_line, to_terminal, visible};
use crate::screen::{Screen, harmless};
use crate::voice;
use crate::{input, running};

/// Commands and what they do.
pub(crate) const NAMES: [(&str, &str); 17] = [
    ("help", "this list"),
    ("system", "[TEXT] sets the system message, or removes it, and starts again"),
    ("set", "[NAME VALUE] changes a setting; alone it lists them"),
    ("think", "on|off|auto: whether the model thinks before it answers; show: what it thought last"),
    ("regen", "answer the last message again"),
    ("edit", "[TEXT] change the last message and send it again"),
    ("undo", "take back the last message and its answer"),
    ("save", "[NAME|FILE] where the conversation is kept from now on"),
    ("load", "[NAME|FILE] go on with a conversation; alone it lists the newest 20 (all are kept)"),
    ("file", "PATH sends a text file along with the next message"),
    ("stats", "context, speed, memory, model"),
    ("model", "[MODEL] go on with another model; alone it says which one this is"),
    ("clear", "start again"),
    ("exit", "leave (also Ctrl-D)"),
    ("quit", ""),
    ("bye", ""),
    ("?", ""),
];

const MORE_HELP: &str = "\
A line that ends with \\ goes on in the next one; \"\"\" opens and closes a message of several lines.
A message that begins with / is sent as //... Ctrl-C stops an answer, Tab completes commands and names.";

/// A conversation list shows so many.
const LISTED: usize = 20;
/// A longer message is not given back for editing.
const LONGEST_EDIT: usize = 8 << 10;

impl Talk {
    /// Obeys what follows the slash; true to leave. What goes wrong with it is a note.
    pub(crate) fn command(&mut self, command: &str, lines: &mut Lines) -> anyhow::Result<bool> {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "exit" | "quit" | "bye" => return Ok(true),
            "help" | "?" => help()?,
            "clear" if !self.start_again() => {}
            "clear" => note("The conversation starts again."),
            "system" if !self.start_again() => {}
            "system" => {
                self.system = (!rest.is_empty()).then(|| rest.to_string());
                self.changed();
                let what = if rest.is_empty() { "removed" } else { "set" };
                note(format_args!("The system message is {what}; the conversation starts again."));
            }
            "set" => self.command_set(rest)?,
            "think" => match rest {
                "on" => self.set_think(Think::On)?,
                "off" => self.set_think(Think::Off)?,
                "auto" => self.set_think(Think::Auto)?,
                "show" => self.show_thinking()?,
                _ => note("/think on, /think off, /think auto or /think show"),
            },
            "regen" => match self.last_message() {
                Some(last) => {
                    let before = (self.history.clone(), self.forgotten);
                    self.history.truncate(last + 1);
                    self.forgotten = self.forgotten.min(last);
                    self.answer_or_restore(before, lines)?;
                }
                None => note("There is nothing to answer yet."),
            },
            "edit" => self.edit(rest, lines)?,
            "undo" => match self.last_message() {
                Some(last) => {
                    let text =
                        beginning(self.history[last].text.get(self.history[last].files..).unwrap_or(""), 60);
                    self.history.truncate(last);
                    self.forgotten = self.forgotten.min(last);
                    self.changed();
                    note(format_args!("Taken back: {text}"));
                }
                None => note("There is nothing to take back."),
            },
            "save" => noted(self.save_as(rest, lines)),
            "load" if rest.is_empty() => self.list()?,
            "load" => {
                let loaded = self.load(rest);
                noted(loaded);
            }
            "file" => noted(self.attach(rest)),
            "stats" => self.stats().into_iter().try_for_each(tell)?,
            "model" if rest.is_empty() => tell(self.which_model())?,
            "model" => noted(self.change_model(rest)),
            _ => match nearest(name) {
                Some(near) => {
                    note(format_args!("/{name} is not a command; did you mean /{near}? /help lists them."))
                }
                None => note(format_args!(
                    "/{name} is not a command; /help lists them. A message that begins with / is sent as //..."
                )),
            },
        }
        Ok(false)
    }

    fn command_set(&mut self, rest: &str) -> anyhow::Result<()> {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else {
            return match rest.is_empty() {
                true => self.settings().into_iter().try_for_each(tell),
                false => {
                    note("/set NAME VALUE, or /set to list the settings");
                    Ok(())
                }
            };
        };
        match self.set(name, value.trim()) {
            Ok(done) => {
                note(done);
                self.changed();
            }
            Err(error) => note(format_args!("qwip: {}", one_line(&error))),
        }
        Ok(())
    }

    fn show_thinking(&self) -> anyhow::Result<()> {
        let last = self.history.iter().rev().find(|turn| turn.role == Role::Assistant);
        match last.map(|turn| turn.thinking.as_str()) {
            Some(text) if !text.is_empty() => harmless(text).replace('\t', "    ").lines().try_for_each(tell),
            _ => {
                note("There was no thinking before the last answer.");
                Ok(())
            }
        }
    }

    /// Where the last message of the user stands.
    fn last_message(&self) -> Option<usize> {
        self.history.iter().rposition(|turn| turn.role == Role::User)
    }

    fn edit(&mut self, rest: &str, lines: &mut Lines) -> anyhow::Result<()> {
        let Some(last) = self.last_message() else {
            note("There is no message to change yet.");
            return Ok(());
        };
        let old = self.history[last].clone();
        let (files, typed) = old.text.split_at_checked(old.files).unwrap_or(("", &old.text));
        let new = match rest.is_empty() {
            false => Some(rest.to_string()),
            true if !lines.is_interactive() => {
                note("/edit TEXT");
                return Ok(());
            }
            true if typed.len() > LONGEST_EDIT => {
                note(format_args!(
                    "The last message has {} bytes, more than the {LONGEST_EDIT} that can be edited: /edit TEXT replaces it.",
                    typed.len()
                ));
                return Ok(());
            }
            // The editor would print them as they are.
            true if typed.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) => {
                note("The last message has control characters in it: /edit TEXT replaces it.");
                return Ok(());
            }
            true => lines.text("> ", typed)?,
        };
        let Some(new) = new.filter(|text| !text.trim().is_empty()) else {
            note("The message stays as it is.");
            return Ok(());
        };
        let before = (self.history.clone(), self.forgotten);
        let turn = Turn { files: files.len(), ..Turn::new(Role::User, format!("{files}{}", new.trim())) };
        self.history.truncate(last);
        self.forgotten = self.forgotten.min(last);
        self.history.push(turn);
        self.answer_or_restore(before, lines)
    }

    /// Answers a history that was changed; if that does not work out it is again what it was.
    fn answer_or_restore(&mut self, before: (Vec<Turn>, usize), lines: &mut Lines) -> anyhow::Result<()> {
        let end = self.history.len() - 1;
        let answered = self.answer(end, lines);
        if !matches!(answered, Ok(true)) {
            (self.history, self.forgotten) = before;
        }
        answered.map(drop)
    }

    /// Takes a file along with the next message.
    fn attach(&mut self, rest: &str) -> anyhow::Result<()> {
        if rest.is_empty() {
            anyhow::bail!("/file PATH");
        }
        let path = transcript::expand(rest);
        let meta = std::fs::metadata(&path).with_context(|| visible(path.display()))?;
        // Opening something else may wait for ever.
        if !meta.is_file() {
            anyhow::bail!("{} is not a file", path.display());
        }
        let text = input::read_prompt(&path)?;
        let block = file_block(&path, &text);
        let tokens = self.voice.tokenizer().encode(&block, qwip::tokenizer::Special::Text).len();
        let free = self.opened.context().saturating_sub(self.count(self.forgotten).unwrap_or(0));
        if tokens >= free {
            anyhow::bail!(
                "{} has {tokens} tokens, but of the context of {} only {free} are free: a larger -c, /clear or a \
                 shorter file",
                path.display(),
                self.opened.context()
            );
        }
        self.files.push_str(&block);
        note(format_args!("{}: {tokens} tokens go along with the next message.", path.display()));
        Ok(())
    }

    fn stats(&self) -> Vec<String> {
        let context = self.opened.context();
        let used = self.count(self.forgotten).unwrap_or(0);
        let turns = self.history.iter().filter(|turn| turn.role == Role::User).count();
        let mut context =
            format!("{used} of {context} tokens ({} %), {turns} turns", used * 100 / context.max(1));
        if self.forgotten > 0 {
            context += &format!(", the {} oldest messages are forgotten", self.forgotten);
        }
        let mut stats = vec![
            format!("  model     {}", self.which_model()),
            format!("  device    {}", device_of(&self.opened, &self.session)),
            format!("  context   {context}"),
            format!("  cache     {}", bytes(self.session.kv_bytes())),
            format!("  sampling  {}", voice::in_effect(self.sampler.params())),
        ];
        if let Some(last) = &self.last {
            stats.push(format!("  last      {last}"));
        }
        if let Some(path) = self.record.path() {
            stats.push(format!("  kept in   {}", path.display()));
        }
        if self.session.device().is_some() {
            stats.push("  on disk   nothing of what is read: it is on a GPU".into());
        } else if let Some(kept) = &self.kept {
            let (all, most) = (bytes(kept.bytes()), bytes(kept.most()));
            stats.push(format!("  on disk   {all} of what was read in conversations, at most {most}"));
        }
        stats
    }

    fn which_model(&self) -> String {
        let opened = &self.opened;
        match opened.is_builtin() {
            true => opened.title(),
            false => format!("{} ({}, {})", opened.title(), opened.model.architecture(), opened.name),
        }
    }

    /// Goes on with another model. If that cannot be opened, nothing changes.
    fn change_model(&mut self, name: &str) -> anyhow::Result<()> {
        self.keep_read();
        let wanted = ModelArgs { positional: Some(transcript::expand(name)), ..ModelArgs::default() };
        let opened = Opened::new(&model_arg::choose(&wanted)?, &self.compute)?;
        opened.check_answers()?;
        let voice = voice::of(&opened)?;
        voice::check_chat(&voice).with_context(|| opened.name.clone())?;
        let params = voice::sampling(&voice, opened.model.file(), self.think, &self.sampling)?;
        let session = opened.session_with_notes()?;
        self.running = running::register("chat", &opened);
        (self.session, self.opened, self.voice) = (session, opened, voice);
        self.sampler.set_params(params);
        (self.declined, self.read) = (false, false);
        self.changed();
        note(format_args!("{}, context {}", self.which_model(), self.opened.context()));
        self.take_up_read();
        Ok(())
    }

    fn list(&mut self) -> anyhow::Result<()> {
        let saved = transcript::saved();
        if saved.is_empty() {
            note("No conversation was kept yet.");
            return Ok(());
        }
        let shown = &saved[..saved.len().min(LISTED)];
        for (i, path) in shown.iter().enumerate() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let about = match Transcript::read(path) {
                Ok(found) => {
                    let when = found.updated.get(..16).unwrap_or("").replace('T', " ");
                    format!("{when}  {}  {}", beginning(&found.model[1], 24), found.title())
                }
                Err(_) => "(cannot be read)".into(),
            };
            tell(format_args!("  {:>2}  {name}  {about}", i + 1))?;
        }
        if saved.len() > shown.len() {
            tell(format_args!(
                "  and {} older ones in {}",
                saved.len() - shown.len(),
                saved[0].with_file_name("").display()
            ))?;
        }
        tell("/load NAME or /load NUMBER goes on with one.")?;
        self.listed = shown.to_vec();
        Ok(())
    }

    fn load(&mut self, name: &str) -> anyhow::Result<()> {
        let path = transcript::place(name)?;
        let number = name.parse::<usize>().ok().filter(|_| !path.exists());
        let path = number.and_then(|n| self.listed.get(n.checked_sub(1)?)).cloned().unwrap_or(path);
        let found = Transcript::read(&path)?;
        if self.would_be_lost() {
            return Ok(());
        }
        self.adopt(self.record.loaded(path), found);
        if to_terminal() {
            self.show_last()?;
        }
        Ok(())
    }

    /// Prints the last exchange, so that people know where they are.
    pub(crate) fn show_last(&self) -> anyhow::Result<()> {
        let Some(last) = self.last_message() else { return Ok(()) };
        const MOST: usize = 200;
        let said = &self.history[last];
        let files = if said.files > 0 { "(with files) " } else { "" };
        line(format_args!("> {files}{}", beginning(said.text.get(said.files..).unwrap_or(""), MOST)))?;
        let answer = self.history[last..].iter().rev().find(|turn| turn.role == Role::Assistant);
        if let Some(answer) = answer.filter(|answer| !answer.text.is_empty()) {
            let mut screen = Screen::new(self.look);
            screen.show(qwip::chat::Part::Answer(&answer.text))?;
            screen.finish()?;
        }
        Ok(())
    }
}

fn help() -> anyhow::Result<()> {
    for (name, what) in NAMES.iter().filter(|(_, what)| !what.is_empty()) {
        tell(format_args!("  /{name:<8} {what}"))?;
    }
    MORE_HELP.lines().try_for_each(tell)
}

/// What concerns only one command is no reason to end.
fn noted(result: anyhow::Result<()>) {
    if let Err(error) = result {
        note(format_args!("qwip: {}", one_line(&error)));
    }
}

/// A file as it stands in a message, in a fence that it does not contain.
fn file_block(path: &Path, text: &str) -> String {
    let mut fence = "```".to_string();
    while text.contains(&fence) {
        fence.push('`');
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{name}:\n{fence}\n{text}{end}{fence}\n\n")
}

/// The command that was probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    let names = NAMES.iter().map(|(known, _)| *known).filter(|known| known.len() > 1);
    let by_beginning = names.clone().find(|known| name.len() > 1 && known.starts_with(name));
    by_beginning.or_else(|| {
        let near = names.map(|known| (distance(name, known), known)).min()?;
        (near.0 <= 2 && near.0 < name.chars().count()).then_some(near.1)
    })
}

/// How many letters must change, come or go.
fn distance(a: &str, b: &str) -> usize {
    // A longer word is no command that was mistyped.
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(16).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut above = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = above + usize::from(x != y);
            above = row[j + 1];
            row[j + 1] = change.min(above + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_was_meant_is_found() {
        assert_eq!(nearest("sytem"), Some("system"));
        assert_eq!(nearest("sta"), Some("stats"));
        assert_eq!(nearest("hepl"), Some("help"));
        assert_eq!(nearest("etc/hosts"), None);
        assert_eq!(nearest("xy"), None);
    }

    #[test]
    fn a_file_cannot_end_its_fence() {
        let block = file_block(Path::new("/a/b.md"), "x\n```\ny");
        assert_eq!(block, "b.md:\n````\nx\n```\ny\n````\n\n");
    }
}
