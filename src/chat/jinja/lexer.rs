//! Source text to tokens, with jinja2's whitespace rules under `trim_blocks` and `lstrip_blocks`.

use super::value::{Fail, Outcome};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) line: u32,
    pub(super) tok: Tok,
}

/// White space as Python's `str.strip` and `\s` see it.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

struct Lexer<'s> {
    source: &'s str,
    pos: usize,
    line: u32,
    tokens: Vec<Token>,
}

/// The tokens of a template; the last one is `End`.
pub(super) fn tokenize(source: &str) -> Outcome<Vec<Token>> {
    let normal = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut lexer =
        Lexer { source: normal.strip_suffix('\n').unwrap_or(&normal), pos: 0, line: 1, tokens: Vec::new() };
    lexer.run()?;
    lexer.push(Tok::End);
    Ok(lexer.tokens)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.pos..]
    }

    fn push(&mut self, tok: Tok) {
        self.tokens.push(Token { line: self.line, tok });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.pos..self.pos + bytes];
        self.line += passed.bytes().filter(|&b| b == b'\n').count() as u32;
        self.pos += bytes;
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start_matches(is_space).len());
    }

    fn fail<T>(&self, message: impl Into<String>) -> Outcome<T> {
        Err(Fail::at(self.line, message))
    }

    fn run(&mut self) -> Outcome<()> {
        while let Some(text) = self.text_before_tag() {
            let kind = self.rest().as_bytes()[text.len() + 1];
            self.data(text, kind != b'{');
            let tag_line = self.line;
            self.advance(2);
            if self.rest().starts_with(['-', '+']) {
                self.advance(1);
            }
            match kind {
                b'#' => self.comment(tag_line)?,
                b'%' if self.raw_begin() => self.raw(tag_line)?,
                b'%' => {
                    self.push(Tok::BlockBegin);
                    self.inside(true)?;
                }
                _ => {
                    self.push(Tok::VariableBegin);
                    self.inside(false)?;
                }
            }
        }
        let rest = self.rest();
        if !rest.is_empty() {
            self.push(Tok::Data(rest.to_owned()));
        }
        Ok(())
    }

    /// The text up to the next `{{`, `{%` or `{#`; `None` when there is no further tag.
    fn text_before_tag(&self) -> Option<&'s str> {
        let rest = self.rest();
        let at =
            rest.as_bytes().windows(2).position(|w| w[0] == b'{' && matches!(w[1], b'{' | b'%' | b'#'))?;
        Some(&rest[..at])
    }

    /// Emits the text in front of a tag, stripped as the tag's sign and `lstrip_blocks` ask, and moves to the tag.
    fn data(&mut self, text: &'s str, is_block: bool) {
        let sign = self.source[self.pos + text.len() + 2..].bytes().next();
        let at_line_start = self.pos == 0 || self.source.as_bytes()[self.pos - 1] == b'\n';
        let mut kept = text;
        if sign == Some(b'-') {
            kept = text.trim_end_matches(is_space);
        } else if sign != Some(b'+') && is_block {
            let line_start = text.rfind('\n').map_or(0, |at| at + 1);
            if (line_start > 0 || at_line_start) && text[line_start..].chars().all(is_space) {
                kept = &text[..line_start];
            }
        }
        if !kept.is_empty() {
            self.push(Tok::Data(kept.to_owned()));
        }
        self.advance(text.len());
    }

    /// Moves behind a closing mark of `len` bytes, whose sign is the byte in front of it.
    fn close(&mut self, sign: Option<u8>, len: usize, trim_newline: bool) {
        self.advance(len);
        if sign == Some(b'-') {
            self.skip_space();
        } else if trim_newline && sign != Some(b'+') && self.rest().starts_with('\n') {
            self.advance(1);
        }
    }

    fn comment(&mut self, tag_line: u32) -> Outcome<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else {
            return Err(Fail::at(tag_line, "a comment is never closed"));
        };
        let sign = rest[..end].bytes().last();
        self.advance(end);
        self.close(sign, 2, true);
        Ok(())
    }

    /// Whether a `raw` tag stands here (behind `{%` and its sign); moves behind it if so.
    fn raw_begin(&mut self) -> bool {
        let Some(rest) = self.rest().trim_start_matches(is_space).strip_prefix("raw") else {
            return false;
        };
        let tail = rest.trim_start_matches(is_space);
        let (len, strip) = match tail {
            _ if tail.starts_with("-%}") => (3, true),
            _ if tail.starts_with("%}") => (2, false),
            _ => return false,
        };
        self.advance(self.rest().len() - tail.len() + len);
        if strip {
            self.skip_space();
        }
        true
    }

    fn raw(&mut self, tag_line: u32) -> Outcome<()> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let tag = &rest[at + 2..];
            let tag = tag.strip_prefix(['-', '+']).unwrap_or(tag).trim_start_matches(is_space);
            let Some(tail) = tag.strip_prefix("endraw") else { continue };
            let tail = tail.trim_start_matches(is_space);
            let sign = tail.bytes().next().filter(|b| matches!(b, b'-' | b'+'));
            let tail = &tail[usize::from(sign.is_some())..];
            if tail.starts_with("%}") {
                self.data(&rest[..at], true);
                self.advance(self.rest().len() - tail.len());
                self.close(sign, 2, true);
                return Ok(());
            }
        }
        Err(Fail::at(tag_line, "a raw block is never closed"))
    }

    /// The tokens between the marks of a block (`{% %}`) or a variable (`{{ }}`).
    fn inside(&mut self, block: bool) -> Outcome<()> {
        let end = if block { "%}" } else { "}}" };
        let mut open: Vec<&'static str> = Vec::new();
        loop {
            self.skip_space();
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return self.fail("a tag is never closed");
            };
            if open.is_empty() {
                let sign = Some(rest.as_bytes()[0]).filter(|&b| b == b'-' || (b == b'+' && block));
                let signed = usize::from(sign.is_some());
                if rest[signed..].starts_with(end) {
                    self.push(if block { Tok::BlockEnd } else { Tok::VariableEnd });
                    self.close(sign, 2 + signed, block);
                    return Ok(());
                }
            }
            if c.is_ascii_digit() {
                self.number()?;
            } else if c.is_alphanumeric() || c == '_' {
                let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.push(Tok::Name(rest[..len].to_owned()));
                self.advance(len);
            } else if c == '\'' || c == '"' {
                self.string(c)?;
            } else {
                let Some(op) = OPERATORS
                    .iter()
                    .find(|op| op.as_bytes()[0] == rest.as_bytes()[0] && rest.starts_with(**op))
                else {
                    return self.fail(format!("unexpected character {c:?}"));
                };
                match *op {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" if open.pop() != Some(*op) => {
                        return self.fail(format!("unexpected '{op}'"));
                    }
                    _ => {}
                }
                self.push(Tok::Op(op));
                self.advance(op.len());
            }
        }
    }

    fn number(&mut self) -> Outcome<()> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if rest.get(..2).is_some_and(|p| p.eq_ignore_ascii_case(prefix)) {
                let len =
                    rest[2..].find(|c: char| !c.is_digit(radix) && c != '_').map_or(rest.len(), |n| n + 2);
                let Ok(value) = i128::from_str_radix(&rest[2..len].replace('_', ""), radix) else {
                    return self.fail("a number is malformed or too large");
                };
                self.push(Tok::Int(value));
                self.advance(len);
                return Ok(());
            }
        }
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .position(|b| !b.is_ascii_digit() && *b != b'_')
                .map_or(bytes.len(), |n| from + n)
        };
        let starts_digits = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let after_dot = self.source[..self.pos].ends_with('.');
        let whole = digits(0);
        let mut end = whole;
        if !after_dot && bytes.get(end) == Some(&b'.') && starts_digits(end + 1) {
            end = digits(end + 1);
        }
        if !after_dot && matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if starts_digits(end + 1 + sign) {
                end = digits(end + 1 + sign);
            }
        }
        let text = rest[..end].replace('_', "");
        let tok =
            if end == whole { text.parse().map(Tok::Int).ok() } else { text.parse().map(Tok::Float).ok() };
        let Some(tok) = tok else {
            return self.fail("a number is malformed or too large");
        };
        self.push(tok);
        self.advance(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Outcome<()> {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                let Some(text) = unescape(&rest[1..at]) else {
                    return self.fail("a string has a malformed escape");
                };
                self.push(Tok::Str(text));
                self.advance(at + 1);
                return Ok(());
            }
        }
        self.fail("a string is never closed")
    }
}

/// The text of a string literal, with Python's escapes. `None`: an escape is cut short or names no character.
fn unescape(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let c = rest[at + 1..].chars().next()?;
        let tail = &rest[at + 1 + c.len_utf8()..];
        let mut used = 0;
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'v' => out.push('\x0b'),
            'x' | 'u' | 'U' => {
                used = [('x', 2), ('u', 4), ('U', 8)].iter().find(|(name, _)| *name == c)?.1;
                let digits = tail.get(..used).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
            }
            '0'..='7' => {
                used = tail.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = &rest[at + 1..at + 2 + used];
                out.push(char::from_u32(u32::from_str_radix(digits, 8).ok()?)?);
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = &tail[used..];
    }
    out.push_str(rest);
    Some(out)
}
