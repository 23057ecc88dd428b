//! Markdown as plain terminal text, while it comes in.
//!
//! Works line by line: what a line is shows in its first characters, which are kept back until then; the rest of it is
//! written as it comes. A newline of the source stays a newline. Characters are taken one after another, so how a
//! stream is cut into pieces cannot change what is written.

use super::inline::inline;
use super::table;
use super::wrap::{Style, Styled, Wrap};

/// A longer beginning is no beginning of anything.
const LONGEST_BEGINNING: usize = 200;
/// Longer lines and tables are shown as text.
const LARGEST_TABLE: usize = 64 << 10;

/// What the current line is.
#[derive(Debug)]
enum Line {
    /// Not known yet.
    Beginning,
    /// Text in this style; `before` is the character in front of what is kept back.
    Text { style: Style, before: char },
    /// Inside a fence of `len` times `mark`, indented by `indent`; `open`: the beginning of the line was written.
    Code { mark: char, len: usize, indent: usize, open: bool },
}

/// Turns Markdown into lines of a terminal.
#[derive(Debug)]
pub(crate) struct Markdown {
    wrap: Wrap,
    line: Line,
    /// What was not written yet, of this line.
    held: String,
    /// Rows of a table that has not ended.
    rows: Vec<String>,
}

impl Markdown {
    pub(crate) fn new(columns: usize) -> Markdown {
        Markdown { wrap: Wrap::new(columns), line: Line::Beginning, held: String::new(), rows: Vec::new() }
    }

    /// Takes more of the text, and adds to `out` what is certain by now.
    pub(crate) fn push(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            match c {
                '\n' => self.end_line(out),
                '\t' if !matches!(self.line, Line::Code { .. }) => self.take(' ', out),
                '\r' => {}
                '\t' => self.take(c, out),
                c if c.is_control() => {
                    crate::output::visible(c).chars().for_each(|c| self.take(c, out));
                }
                c => self.take(c, out),
            }
        }
    }

    /// Writes what was kept back; the text has ended. The last line is left open.
    pub(crate) fn finish(&mut self, out: &mut String) {
        if let Line::Code { indent, .. } = self.line {
            match self.closes_fence() {
                true => self.end_line(out),
                false => self.write_code(indent, out),
            }
        } else {
            if self.is_row() {
                self.rows.push(std::mem::take(&mut self.held));
            }
            self.end_table(out);
            self.look(true, out);
            self.flow(true, out);
        }
        self.wrap.finish(out);
        self.line = Line::Beginning;
    }

    /// Whether something stands on the last line.
    pub(crate) fn is_open(&self) -> bool {
        self.wrap.column() > 0
    }

    fn is_row(&self) -> bool {
        matches!(self.line, Line::Beginning) && self.held.trim_start().starts_with('|')
    }

    fn take(&mut self, c: char, out: &mut String) {
        self.held.push(c);
        match self.line {
            Line::Beginning => {
                if !c.is_whitespace() && !self.is_row() {
                    self.end_table(out);
                }
                if !self.is_row() || self.held.len() > LARGEST_TABLE {
                    self.look(false, out);
                }
            }
            Line::Text { .. } => self.flow(false, out),
            Line::Code { indent, open, .. } => {
                if open || !self.may_close_fence() || self.held.len() > LONGEST_BEGINNING {
                    self.write_code(indent, out);
                }
            }
        }
    }

    fn end_line(&mut self, out: &mut String) {
        if let Line::Code { indent, .. } = self.line {
            if self.closes_fence() {
                self.held.clear();
                self.line = Line::Beginning;
                self.aside("└─", out);
            } else {
                self.write_code(indent, out);
                if let Line::Code { open, .. } = &mut self.line {
                    *open = false;
                }
            }
            return self.wrap.newline(out);
        }
        if matches!(self.line, Line::Beginning) {
            if self.is_row() {
                self.rows.push(std::mem::take(&mut self.held));
                let bytes: usize = self.rows.iter().map(String::len).sum();
                let is_table = self.rows.len() < 2 || table::is_delimiter(&self.rows[1]);
                if !is_table || bytes > LARGEST_TABLE {
                    self.end_table(out);
                }
                return;
            }
            self.end_table(out);
            self.look(true, out);
        }
        if matches!(self.line, Line::Text { .. }) {
            self.flow(true, out);
            self.line = Line::Beginning;
        }
        // Of a fence that opens nothing more is to be written on this line.
        self.wrap.newline(out);
    }

    /// Finds out what the line is, if that can be known. `end`: nothing more of it will come.
    fn look(&mut self, end: bool, out: &mut String) {
        if !matches!(self.line, Line::Beginning) {
            return;
        }
        let (mut first, mut hang): (Vec<Styled>, Vec<Styled>) = (Vec::new(), Vec::new());
        let mut at = 0;
        let style = loop {
            let rest = &self.held[at..];
            let indent = rest.len() - rest.trim_start_matches(' ').len();
            let text = &rest[indent..];
            match beginning(text, end, at == 0) {
                Beginning::Unknown if self.held.len() <= LONGEST_BEGINNING => return,
                Beginning::Row if self.held.len() <= LARGEST_TABLE => return,
                Beginning::Unknown | Beginning::Row | Beginning::Text => {
                    pad(indent, &mut first, &mut hang);
                    at += indent;
                    break Style::PLAIN;
                }
                Beginning::Heading(len, level) => {
                    at += indent + len;
                    break if level == 1 { Style::BOLD.and(Style::UNDERLINED) } else { Style::BOLD };
                }
                Beginning::Quote(len) => {
                    let bar = [('│', Style::DIM), (' ', Style::PLAIN)];
                    first.extend(bar);
                    hang.extend(bar);
                    at += indent + len;
                }
                Beginning::Bullet => {
                    pad(indent, &mut first, &mut hang);
                    first.extend([('•', Style::PLAIN), (' ', Style::PLAIN)]);
                    hang.extend([(' ', Style::PLAIN); 2]);
                    at += indent + 2;
                }
                Beginning::Number(len) => {
                    pad(indent, &mut first, &mut hang);
                    first.extend(text[..len].chars().map(|c| (c, Style::PLAIN)));
                    hang.extend(std::iter::repeat_n((' ', Style::PLAIN), len));
                    at += indent + len;
                }
                Beginning::Rule => {
                    self.held.clear();
                    self.line = Line::Text { style: Style::PLAIN, before: ' ' };
                    let line = "─".repeat(self.wrap.columns());
                    return self.aside(&line, out);
                }
                Beginning::Fence(mark, len) => {
                    let language = text[len..].trim();
                    let title = format!("┌─ {language}");
                    self.held.clear();
                    self.line = Line::Code { mark, len, indent, open: false };
                    return self.aside(title.trim_end(), out);
                }
            }
        };
        self.held.drain(..at);
        self.wrap.begin(&first, &hang, out);
        self.line = Line::Text { style, before: ' ' };
        self.flow(end, out);
    }

    /// Writes what is certain of a line of text.
    fn flow(&mut self, end: bool, out: &mut String) {
        let Line::Text { style, before } = &mut self.line else { return };
        let wrap = &mut self.wrap;
        let len = inline(&self.held, end, *before, *style, &mut |c| wrap.put(c, out));
        *before = self.held[..len].chars().next_back().unwrap_or(*before);
        self.held.drain(..len);
    }

    /// A line of our own.
    fn aside(&mut self, text: &str, out: &mut String) {
        text.chars().for_each(|c| self.wrap.write((c, Style::DIM), out));
    }

    /// Writes a piece of a line of code, as it is but for the indentation of its fence.
    fn write_code(&mut self, fence: usize, out: &mut String) {
        let Line::Code { open, .. } = &mut self.line else { return };
        let spaces = self.held.len() - self.held.trim_start_matches(' ').len();
        let skip = if *open { 0 } else { spaces.min(fence) };
        *open = true;
        for c in std::mem::take(&mut self.held).chars().skip(skip) {
            self.wrap.write((c, Style::PLAIN), out);
        }
    }

    /// Whether what is held of a line of code may become the end of it.
    fn may_close_fence(&self) -> bool {
        let Line::Code { mark, open: false, .. } = self.line else { return false };
        self.held.trim().chars().all(|c| c == mark)
    }

    fn closes_fence(&self) -> bool {
        let Line::Code { len, .. } = self.line else { return false };
        self.may_close_fence() && self.held.trim().len() >= len
    }

    /// Writes the table, or the lines that turned out to be none.
    fn end_table(&mut self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        if rows.len() >= 2 && table::is_delimiter(&rows[1]) {
            return table::write(&rows, &mut self.wrap, out);
        }
        let held = std::mem::take(&mut self.held);
        for row in rows {
            self.held = row;
            self.line = Line::Text { style: Style::PLAIN, before: ' ' };
            self.flow(true, out);
            self.wrap.newline(out);
        }
        self.line = Line::Beginning;
        self.held = held;
    }
}

/// What a line, or what stands behind a bullet or a quote's mark, begins with. Numbers are lengths in bytes.
enum Beginning {
    Unknown,
    Text,
    Heading(usize, usize),
    Quote(usize),
    Bullet,
    Number(usize),
    Rule,
    Fence(char, usize),
    Row,
}

/// `end`: `text` is all of the line. `whole`: nothing stands in front of it.
fn beginning(text: &str, end: bool, whole: bool) -> Beginning {
    let more = if end { Beginning::Text } else { Beginning::Unknown };
    let Some(c) = text.chars().next() else { return more };
    if c == '|' && whole {
        return Beginning::Row;
    }
    let run = text.len() - text.trim_start_matches(c).len();
    let rest = &text[run..];
    match c {
        '`' | '~' if whole => match rest.is_empty() || (run >= 3 && !rest.contains('`')) {
            true if !end => Beginning::Unknown,
            true if run >= 3 => Beginning::Fence(c, run),
            _ => Beginning::Text,
        },
        '#' if rest.is_empty() => more,
        '#' if run <= 6 && rest.starts_with(' ') => Beginning::Heading(run + 1, run),
        '>' if text.len() == 1 => more,
        '>' => Beginning::Quote(if text[1..].starts_with(' ') { 2 } else { 1 }),
        '-' | '*' | '_' if text.chars().all(|x| x == c || x == ' ') => {
            match text.chars().filter(|&x| x == c).count() {
                3.. if end => Beginning::Rule,
                _ => more,
            }
        }
        '+' if text.len() == 1 => more,
        '-' | '*' | '+' if text[1..].starts_with(' ') => Beginning::Bullet,
        '0'..='9' => {
            let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let mut rest = text[digits..].chars();
            match (rest.next(), rest.next()) {
                _ if digits > 9 => Beginning::Text,
                (None, _) | (Some('.' | ')'), None) => more,
                (Some('.' | ')'), Some(' ')) => Beginning::Number(digits + 2),
                _ => Beginning::Text,
            }
        }
        _ => Beginning::Text,
    }
}

fn pad(spaces: usize, first: &mut Vec<Styled>, hang: &mut Vec<Styled>) {
    for text in [first, hang] {
        text.extend(std::iter::repeat_n((' ', Style::PLAIN), spaces));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("sample.md");

    fn shown(pieces: &[&str], columns: usize) -> String {
        let mut markdown = Markdown::new(columns + 1);
        let mut out = String::new();
        pieces.iter().for_each(|piece| markdown.push(piece, &mut out));
        markdown.finish(&mut out);
        out
    }

    /// Without the escape sequences.
    fn plain(text: &str, columns: usize) -> String {
        let mut out = String::new();
        let shown = shown(&[text], columns);
        let mut rest = shown.chars();
        while let Some(c) = rest.next() {
            match c {
                '\x1b' => drop(rest.by_ref().find(|&c| c == 'm')),
                c => out.push(c),
            }
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_bytes() {
        for columns in [20, 60] {
            let whole = shown(&[TEXT], columns);
            for at in (0..=TEXT.len()).filter(|&at| TEXT.is_char_boundary(at)) {
                assert_eq!(shown(&[&TEXT[..at], &TEXT[at..]], columns), whole, "cut at {at}");
            }
            let single: Vec<String> = TEXT.chars().map(String::from).collect();
            let single: Vec<&str> = single.iter().map(String::as_str).collect();
            assert_eq!(shown(&single, columns), whole);
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_but_code() {
        let code = "let x = 1; // a line of code that is much longer";
        for columns in [20, 33, 60] {
            for line in plain(TEXT, columns).lines().filter(|line| *line != code && !line.contains("http")) {
                let width: usize = line.chars().map(super::super::wrap::width).sum();
                assert!(width <= columns, "{columns}: {line}");
            }
            assert!(plain(TEXT, columns).lines().any(|line| line == code));
        }
    }

    #[test]
    fn each_kind_of_line_has_its_look() {
        let cases = [
            ("# One\n## Two", "\x1b[0;1;4mOne\x1b[0m\n\x1b[0;1mTwo\x1b[0m"),
            ("- a\n  * b\n+ c", "• a\n  • b\n• c"),
            ("1. a\n10) b\n2024 c\n3.14", "1. a\n10) b\n2024 c\n3.14"),
            ("> a\n>b", "\x1b[0;2m│\x1b[0m a\n\x1b[0;2m│\x1b[0m b"),
            ("a\n---\nb", "a\n\x1b[0;2m────────────────────\x1b[0m\nb"),
            ("* * *", "\x1b[0;2m────────────────────\x1b[0m"),
            ("**a** b", "\x1b[0;1ma\x1b[0m b"),
            ("--", "--"),
            ("#no", "#no"),
            ("| no table", "| no table\n"),
            ("```rs\n **x**\n```\ny", "\x1b[0;2m┌─ rs\x1b[0m\n **x**\n\x1b[0;2m└─\x1b[0m\ny"),
            ("  ```\n  a\n\n    b\n  ```", "\x1b[0;2m┌─\x1b[0m\na\n\n  b\n\x1b[0;2m└─\x1b[0m\n"),
            ("````\n```\n````", "\x1b[0;2m┌─\x1b[0m\n```\n\x1b[0;2m└─\x1b[0m\n"),
            ("``` open", "\x1b[0;2m┌─ open\x1b[0m"),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(&[text], 20), wanted, "{text}");
        }
    }

    #[test]
    fn what_would_steer_the_terminal_is_shown_instead() {
        let out = plain("a\x1b[2Jb\r\n```\n\x1b]0;x\x07\n```\n| a\x1b |\n|---|\n| \u{9b}1 |", 60);
        assert!(out.contains("a\\u001b[2Jb") && out.contains("\\u001b]0;x\\u0007"), "{out}");
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out}");
    }

    #[test]
    fn text_is_written_as_soon_as_it_is_certain() {
        let mut markdown = Markdown::new(60);
        let mut out = String::new();
        let mut step = |text: &str| {
            out.clear();
            markdown.push(text, &mut out);
            out.clone()
        };
        assert_eq!(step("some words"), "some");
        assert_eq!(step(" and *a"), " words and");
        assert_eq!(step(" b* c "), " \x1b[0;3ma b\x1b[0m c");
        assert_eq!(step("\n```\n"), "\n\x1b[0;2m┌─\x1b[0m\n");
        assert_eq!(step("let x"), "let x");
        assert_eq!(step("\n``"), "\n");
        assert_eq!(step("x"), "``x");
    }

    #[test]
    fn endless_lines_take_little_memory() {
        for text in ["|", "-", "`", "*", "[", "#", ">", " ", "1", "x", "\\"] {
            let mut markdown = Markdown::new(60);
            let mut out = String::new();
            let (most, count) = if text == "|" { (LARGEST_TABLE, 2 * LARGEST_TABLE) } else { (700, 3000) };
            (0..count).for_each(|_| markdown.push(text, &mut out));
            assert!(markdown.held.len() <= most, "{text}: {}", markdown.held.len());
            markdown.finish(&mut out);
        }
    }
}
