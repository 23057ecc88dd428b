//! What a person sees of an answer while it comes: the thinking dimmed or folded, Markdown as plain text. Where a
//! program reads the output it gets the bytes of the model.

mod inline;
mod markdown;
mod table;
mod wrap;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::FalseyValueParser;
use qwip::chat::Part;

use crate::output;
use markdown::Markdown;
use wrap::{Style, Wrap};

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct LookArgs {
    /// On a terminal, print the Markdown of answers as it is
    #[arg(long, env = "QWIP_NO_MARKDOWN", value_parser = FalseyValueParser::new())]
    pub(crate) no_markdown: bool,
}

/// How answers are shown on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) markdown: bool,
    /// One line in place of the thinking.
    pub(crate) fold: bool,
}

impl From<&LookArgs> for Look {
    fn from(args: &LookArgs) -> Look {
        Look { markdown: !args.no_markdown, fold: false }
    }
}

/// Columns of the terminal.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}

/// A line of ours in lines that end between words. What continues one in columns stands below its last column.
pub(crate) fn wrapped(text: &str) -> String {
    let name = text.trim_start();
    let indent = text.len() - name.len();
    let value = name.find("  ").map_or(name, |at| name[at..].trim_start());
    let hang = if indent > 0 { text.len() - value.len() } else { 0 };
    let plain = |text: &str| text.chars().map(|c| (c, Style::PLAIN)).collect::<Vec<_>>();
    let (mut wrap, mut out) = (Wrap::new(columns()), String::new());
    wrap.begin(&plain(&text[..hang]), &plain(&" ".repeat(hang)), &mut out);
    plain(&text[hang..]).into_iter().for_each(|c| wrap.put(c, &mut out));
    wrap.finish(&mut out);
    out
}

/// Text of a model without what would steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(steers) {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars().filter(|&c| c != '\r') {
        match steers(c) {
            true => out.push_str(&output::visible(c)),
            false => out.push(c),
        }
    }
    out
}

/// Prints an answer as it comes: the answer to standard output, the thinking dimmed or folded on a terminal, between
/// markers where it cannot be dimmed, and to standard error where a program reads standard output.
pub(crate) struct Screen {
    terminal: bool,
    dim: bool,
    look: Look,
    thinking: Option<Thinking>,
    answer: Option<Markdown>,
    /// Whether the last line of the answer is open.
    open: bool,
}

/// Thinking that is being shown.
struct Thinking {
    wrap: Wrap,
    started: Instant,
    /// Pieces of text, which are tokens but where a character needs several.
    pieces: usize,
    /// When the folded line was written.
    told: Option<Instant>,
}

impl Screen {
    pub(crate) fn new(look: Look) -> Screen {
        let (terminal, dim) = (output::to_terminal(), output::can_dim());
        let look = Look { markdown: look.markdown && dim, ..look };
        Screen { terminal, dim, look, thinking: None, answer: None, open: false }
    }

    pub(crate) fn show(&mut self, part: Part<'_>) -> anyhow::Result<()> {
        match part {
            Part::Thinking(text) => self.think(text),
            Part::Answer(text) => {
                self.end_thinking()?;
                self.say(text)?;
                output::flush()
            }
        }
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if !self.terminal {
            self.open = !text.ends_with('\n');
            return output::print(text);
        }
        if !self.look.markdown {
            self.open = !text.ends_with('\n');
            return output::print(harmless(text));
        }
        let markdown = self.answer.get_or_insert_with(|| Markdown::new(columns()));
        let mut out = String::new();
        markdown.push(text, &mut out);
        output::print(out)
    }

    fn think(&mut self, text: &str) -> anyhow::Result<()> {
        let (first, now) = (self.thinking.is_none(), Instant::now());
        let thinking = self.thinking.get_or_insert_with(|| Thinking {
            wrap: Wrap::new(columns()),
            started: now,
            pieces: 0,
            told: None,
        });
        thinking.pieces += 1;
        if !self.terminal {
            if first {
                output::print_err("[thinking]\n");
            }
            match std::io::stderr().is_terminal() {
                true => output::print_err(harmless(text)),
                false => output::print_err(text),
            }
            return Ok(());
        }
        if self.look.fold {
            const OFTEN: Duration = Duration::from_millis(100);
            if first && !self.dim {
                output::print("thinking…")?;
            } else if self.dim && thinking.told.is_none_or(|told| now - told >= OFTEN) {
                thinking.told = Some(now);
                output::print(format_args!("\r\x1b[2K\x1b[2m{}\x1b[0m", thinking.line("thinking…")))?;
            }
            return output::flush();
        }
        if !self.dim {
            if first {
                output::print("[thinking]\n")?;
            }
            output::print(harmless(text))?;
            return output::flush();
        }
        let mut out = String::new();
        for c in harmless(text).chars() {
            match c {
                '\n' => thinking.wrap.newline(&mut out),
                '\t' => thinking.wrap.put((' ', Style::DIM), &mut out),
                c => thinking.wrap.put((c, Style::DIM), &mut out),
            }
        }
        output::print(out)?;
        output::flush()
    }

    fn end_thinking(&mut self) -> anyhow::Result<()> {
        let Some(mut thinking) = self.thinking.take() else { return Ok(()) };
        if !self.terminal {
            output::print_err("\n[answer]\n");
            return Ok(());
        }
        match (self.look.fold, self.dim) {
            (true, true) => {
                let line = thinking.line("thought for");
                output::print(format_args!("\r\x1b[2K\x1b[2m{line}; /think show\x1b[0m\n\n"))
            }
            (true, false) => output::print(format_args!(" {}\n\n", thinking.line(""))),
            (false, true) => {
                let mut out = String::new();
                thinking.wrap.finish(&mut out);
                output::print(format_args!("{out}\n\n"))
            }
            (false, false) => output::print("\n[answer]\n"),
        }
    }

    /// Ends the last line.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.end_thinking()?;
        if let Some(mut markdown) = self.answer.take() {
            let mut out = String::new();
            markdown.finish(&mut out);
            self.open = markdown.is_open();
            output::print(out)?;
        }
        if std::mem::take(&mut self.open) {
            output::line("")?;
        }
        output::flush()
    }
}

impl Thinking {
    fn line(&self, what: &str) -> String {
        format!("{what} {} s, {} tokens", self.started.elapsed().as_secs(), self.pieces)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_lines_end_between_words_and_columns_line_up() {
        // Tests have no terminal, which counts as one of 80 columns.
        let words = "word ".repeat(17);
        assert_eq!(super::wrapped(&words), format!("{}\nword", "word ".repeat(16).trim_end()));
        let line = super::wrapped(&format!("  name      {words}"));
        assert!(
            line.starts_with("  name      word")
                && line.lines().nth(1).is_some_and(|l| l.starts_with(&(" ".repeat(12) + "word"))),
            "{line}"
        );
    }

    #[test]
    fn what_would_steer_a_terminal_becomes_visible() {
        assert_eq!(super::harmless("a\tb\r\n\x1b[2J\u{9b}日"), "a\tb\n\\u001b[2J\\u009b日");
    }
}
