//! What is printed and how a command can end.
//!
//! Text goes to the console through std, which on Windows writes UTF-16 whatever the code page is.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// A failure that says how the process ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The call was wrong: exit status 2.
    Usage(String),
    /// Ctrl-C: exit status 130, nothing more to say.
    Interrupted,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Usage(text) => f.write_str(text),
            Ending::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Ending {}

/// The call was wrong, with what to do about it.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Ending::Usage(text.into()).into()
}

/// Standard output could not be written. A closed pipe is the reader's way to say "enough".
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for OutputClosed {}

fn classify(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("standard output"),
    }
}

/// Writes to standard output.
pub(crate) fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    write!(io::stdout(), "{text}").map_err(classify)
}

/// Writes one line to standard output, control characters escaped.
pub(crate) fn line(text: impl fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}", visible(text)).map_err(classify)
}

/// `text` with its control characters written as JSON does: names out of a file must not steer the terminal.
pub(crate) fn visible(text: impl fmt::Display) -> String {
    let text = text.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Makes what was printed visible.
pub(crate) fn flush() -> anyhow::Result<()> {
    io::stdout().flush().map_err(classify)
}

/// Writes to standard error; that it is closed stops nothing.
pub(crate) fn print_err(text: impl fmt::Display) {
    let _ = write!(io::stderr(), "{text}");
}

/// Writes one line to standard error, control characters escaped.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Whether a person reads what is printed as it comes.
pub(crate) fn to_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether the terminal understands dimmed text and the user did not ask for plain text.
pub(crate) fn can_dim() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let old_console = cfg!(windows) && !set("WT_SESSION");
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    to_terminal() && !set("NO_COLOR") && !dumb && !old_console
}

/// An error and its causes on one line; a cause whose words are there already is not repeated.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// 1234567 as "1.2 MB": powers of 1000, three digits.
pub(crate) fn bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 9.995 => format!("{value:.2} {}", units[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// Numbers of parameters: 494032768 as "494 M".
pub(crate) fn count(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} M", n as f64 / 1e6),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_told_once_and_on_one_line() {
        let error = anyhow::anyhow!("no space").context("m.gguf: no space");
        assert_eq!(one_line(&error), "m.gguf: no space");
        let result: anyhow::Result<()> = Err(anyhow::anyhow!("two\n lines"));
        assert_eq!(one_line(&result.context("reading").unwrap_err()), "reading: two lines");
    }

    #[test]
    fn control_characters_are_escaped_as_in_json() {
        assert_eq!(visible("a\u{1b}[2Jb\n\u{9b}日"), "a\\u001b[2Jb\\u000a\\u009b日");
        let json = visible(serde_json::json!({"name": "\u{7f}\u{9b}"}));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["name"], "\u{7f}\u{9b}");
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1500), "1.50 kB");
        assert_eq!(bytes(352_000_000), "352 MB");
        assert_eq!(bytes(999_700_000), "1.00 GB");
        assert_eq!(bytes(12_345_000_000), "12.3 GB");
        assert_eq!(count(494_032_768), "494 M");
        assert_eq!(count(7_615_616_512), "7.62 B");
    }
}
