//! Where messages come from: a line editor at a terminal, the lines of standard input elsewhere.

use std::cell::Cell;
use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};

use super::{complete, note};
use crate::{input, places};

/// Opens and closes a message of several lines.
const BLOCK: &str = "\"\"\"";
/// So much of what was typed is remembered.
const REMEMBERED: usize = 1000;
/// Longer messages are not remembered, and a longer file is not read.
const LONGEST_ENTRY: usize = 64 << 10;
const LARGEST_HISTORY: u64 = 16 << 20;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Nothing,
    /// What follows the slash.
    Command(String),
    Message(String),
}

/// What became of a line.
enum Got {
    Line(String),
    /// Ctrl-C.
    Cleared,
    End,
}

/// Where messages come from.
pub(crate) enum Lines {
    Terminal(Box<Terminal>),
    Script,
}

/// A person with a keyboard.
pub(crate) struct Terminal {
    editor: Editor<Aid, DefaultHistory>,
    /// Where what was typed is kept.
    history: Option<PathBuf>,
    /// Ctrl-C on an empty line: once more leaves.
    leaving: bool,
}

impl Lines {
    pub(crate) fn open() -> anyhow::Result<Lines> {
        if !input::from_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Lines::Script);
        }
        let config = Config::builder()
            .max_history_size(REMEMBERED)
            .and_then(|config| config.history_ignore_dups(true))
            .context("the terminal")?
            .completion_type(CompletionType::List)
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::with_config(config).context("the terminal")?;
        editor.set_helper(Some(Aid { empty: Cell::new(true) }));
        let history = places::data_dir().map(|dir| dir.join("history"));
        let history = history.filter(|path| match load(&mut editor, path) {
            Ok(()) => true,
            Err(error) => {
                note(format_args!(
                    "qwip: note: {}: {error:#}; what is typed now will not be remembered",
                    path.display()
                ));
                false
            }
        });
        Ok(Lines::Terminal(Box::new(Terminal { editor, history, leaving: false })))
    }

    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self, Lines::Terminal(_))
    }

    /// The next message or command; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Typed>> {
        Ok(self.text("> ", "")?.map(|text| sort(&text)))
    }

    /// A text, where `initial` stands already; `None` at the end, or when the user did not want to.
    pub(crate) fn text(&mut self, prompt: &str, initial: &str) -> anyhow::Result<Option<String>> {
        'anew: loop {
            let mut text = match self.line(prompt, initial)? {
                Got::Line(text) => text,
                Got::Cleared if initial.is_empty() => continue,
                Got::Cleared | Got::End => return Ok(None),
            };
            while text.ends_with('\\') || is_open_block(&text) {
                if !is_open_block(&text) {
                    text.pop();
                }
                text.push('\n');
                match self.line(". ", "")? {
                    Got::Line(more) => text.push_str(&more),
                    Got::Cleared => continue 'anew,
                    Got::End => break,
                }
            }
            if let Lines::Terminal(terminal) = self {
                terminal.remember(&text);
            }
            return Ok(Some(text));
        }
    }

    /// A question to a person; `None` where there is none.
    pub(crate) fn ask(&mut self, question: &str) -> anyhow::Result<Option<bool>> {
        if !self.is_interactive() {
            return Ok(None);
        }
        loop {
            let Got::Line(answer) = self.line(&format!("{question} [y/n] "), "")? else {
                return Ok(Some(false));
            };
            match answer.trim().to_lowercase().as_str() {
                "y" | "yes" | "是" => return Ok(Some(true)),
                "n" | "no" | "否" => return Ok(Some(false)),
                _ => {}
            }
        }
    }

    fn line(&mut self, prompt: &str, initial: &str) -> anyhow::Result<Got> {
        match self {
            Lines::Terminal(terminal) => terminal.line(prompt, initial),
            Lines::Script => Ok(script_line()?.map_or(Got::End, Got::Line)),
        }
    }
}

impl Terminal {
    fn line(&mut self, prompt: &str, initial: &str) -> anyhow::Result<Got> {
        if let Some(aid) = self.editor.helper() {
            aid.empty.set(initial.is_empty());
        }
        match self.editor.readline_with_initial(prompt, (initial, "")) {
            Ok(text) => {
                self.leaving = false;
                Ok(Got::Line(text))
            }
            Err(ReadlineError::Eof) => Ok(Got::End),
            Err(ReadlineError::Interrupted) => {
                let empty = self.editor.helper().is_none_or(|aid| aid.empty.get());
                if empty && self.leaving {
                    return Ok(Got::End);
                }
                if empty {
                    note("(Ctrl-C again leaves, as does Ctrl-D)");
                }
                self.leaving = empty;
                Ok(Got::Cleared)
            }
            Err(error) => Err(error).context("the terminal"),
        }
    }

    fn remember(&mut self, text: &str) {
        if text.len() > LONGEST_ENTRY || text.trim().is_empty() {
            return;
        }
        // In memory this cannot fail for a reason that the user could do something about.
        let _ = self.editor.add_history_entry(text);
        let Some(path) = &self.history else { return };
        let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let kept = kept.map_err(ReadlineError::from).and_then(|()| self.editor.append_history(path));
        if let Err(error) = kept {
            note(format_args!("qwip: note: what is typed is not remembered: {}: {error}", path.display()));
            self.history = None;
        }
    }
}

/// Reads what was typed in earlier conversations, if there were any.
fn load(editor: &mut Editor<Aid, DefaultHistory>, path: &Path) -> anyhow::Result<()> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    if !meta.is_file() {
        bail!("not a file");
    }
    if meta.len() > LARGEST_HISTORY {
        bail!("{} bytes are more than the {LARGEST_HISTORY} that are read", meta.len());
    }
    Ok(editor.load_history(path)?)
}

fn script_line() -> anyhow::Result<Option<String>> {
    const LONGEST: u64 = 16 << 20;
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().lock().take(LONGEST);
    let read = stdin.read_until(b'\n', &mut bytes).context("standard input")?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == LONGEST {
        bail!("standard input: a line is longer than {LONGEST} bytes");
    }
    let text = String::from_utf8(bytes).ok().context("standard input is not UTF-8 text")?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_string()))
}

/// Whether a block has begun and not ended.
fn is_open_block(text: &str) -> bool {
    let Some(inside) = text.trim_start().strip_prefix(BLOCK) else { return false };
    // Nobody says more at once than fits a prompt.
    const LONGEST: usize = 64 << 20;
    !inside.trim_end().ends_with(BLOCK) && text.len() < LONGEST
}

/// Tells commands from messages.
fn sort(text: &str) -> Typed {
    if let Some(inside) = text.trim().strip_prefix(BLOCK) {
        let inside = inside.strip_suffix(BLOCK).unwrap_or(inside);
        let inside = inside.strip_prefix('\n').unwrap_or(inside);
        let inside = inside.strip_suffix('\n').unwrap_or(inside);
        return if inside.trim().is_empty() { Typed::Nothing } else { Typed::Message(inside.into()) };
    }
    let text = text.trim();
    match text.strip_prefix('/') {
        _ if text.is_empty() => Typed::Nothing,
        // A message that begins with a slash.
        Some(rest) if rest.starts_with('/') => Typed::Message(rest.into()),
        Some(command) => Typed::Command(command.into()),
        None => Typed::Message(text.into()),
    }
}

/// What helps at the keyboard.
pub(crate) struct Aid {
    /// Whether nothing stands on the line: for Ctrl-C.
    empty: Cell<bool>,
}

impl Helper for Aid {}
impl Highlighter for Aid {}

impl Hinter for Aid {
    type Hint = String;

    // Called on every change. There is no hint.
    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<String> {
        self.empty.set(line.is_empty());
        None
    }
}

impl Validator for Aid {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_open_block(context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Aid {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete::complete(&line[..at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        let message = |text: &str| Typed::Message(text.into());
        assert_eq!(sort("  hello "), message("hello"));
        assert_eq!(sort("/set a b"), Typed::Command("set a b".into()));
        assert_eq!(sort("//etc/hosts?"), message("/etc/hosts?"));
        assert_eq!(sort("  "), Typed::Nothing);
        assert_eq!(sort("\"\"\"\n/a\n  b\n\"\"\""), message("/a\n  b"));
        assert_eq!(sort("\"\"\"one\"\"\" "), message("one"));
        assert_eq!(sort("\"\"\"\"\"\""), Typed::Nothing);
        assert_eq!(sort("\"\"\"open\nto the end"), message("open\nto the end"));
    }

    #[test]
    fn blocks_end_where_they_are_closed() {
        assert!(is_open_block("\"\"\"") && is_open_block("  \"\"\"a\nb") && is_open_block("\"\"\"a\"\"\" b"));
        assert!(!is_open_block("\"\"\"a\"\"\"") && !is_open_block("a \"\"\"") && !is_open_block("\"\""));
        assert!(!is_open_block("\"\"\"a\nb\n\"\"\"\n"));
    }
}
