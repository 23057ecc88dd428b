//! Calls as JSON objects.

use serde::Deserialize;
use serde_json::{Deserializer, Value};

/// How far an object has been read up to its arguments.
pub(super) enum Head {
    /// More must come.
    Incomplete,
    /// The arguments, an object, begin at byte `at`.
    Arguments { name: String, at: usize },
    /// It is written in another way, or broken.
    Unusual,
}

/// Reads the beginning of an object: its name, and where its arguments begin.
pub(super) fn head(text: &str) -> Head {
    let mut at = text.len() - text.trim_start().len() + 1; // behind the brace
    let mut name = None;
    loop {
        let key = match next::<String>(text, &mut at) {
            Ok(Some(key)) => key,
            Ok(None) => return Head::Incomplete,
            Err(()) => return Head::Unusual,
        };
        match sign(text, &mut at) {
            Some(':') => {}
            None => return Head::Incomplete,
            Some(_) => return Head::Unusual,
        }
        let rest = text[at..].trim_start();
        if is_arguments(&key) {
            return match (name, rest.chars().next()) {
                (_, None) => Head::Incomplete,
                (Some(name), Some('{')) => Head::Arguments { name, at: text.len() - rest.len() },
                _ => Head::Unusual,
            };
        }
        match next::<Value>(text, &mut at) {
            Ok(Some(Value::String(value))) if key == "name" && !value.is_empty() => name = Some(value),
            // A number may go on with the next piece.
            Ok(Some(_)) if at == text.len() => return Head::Incomplete,
            Ok(Some(_)) if key != "name" => {}
            Ok(None) => return Head::Incomplete,
            _ => return Head::Unusual,
        }
        match sign(text, &mut at) {
            Some(',') => {}
            None => return Head::Incomplete,
            Some(_) => return Head::Unusual,
        }
    }
}

fn is_arguments(key: &str) -> bool {
    key == "arguments" || key == "parameters"
}

/// The value at `at`, which moves behind it; `None` if it is not complete.
fn next<'a, T: Deserialize<'a>>(text: &'a str, at: &mut usize) -> Result<Option<T>, ()> {
    let mut values = Deserializer::from_str(&text[*at..]).into_iter();
    match values.next() {
        None => Ok(None),
        Some(Ok(value)) => {
            *at += values.byte_offset();
            Ok(Some(value))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(_)) => Err(()),
    }
}

/// The next character that is no white space.
fn sign(text: &str, at: &mut usize) -> Option<char> {
    let rest = text[*at..].trim_start();
    let sign = rest.chars().next()?;
    *at = text.len() - rest.len() + sign.len_utf8();
    Some(sign)
}

/// Name and arguments of a complete object, the latter as JSON text: what stands there as a string is such text already.
pub(super) fn whole(text: &str) -> Option<(String, String)> {
    let object: Value = serde_json::from_str(text.trim()).ok()?;
    let name = object["name"].as_str().filter(|name| !name.is_empty())?;
    let arguments = match object.get("arguments").or_else(|| object.get("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    Some((name.to_owned(), arguments))
}

/// Finds the end of an object without reading it: brackets and strings are enough.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    /// How many bytes of `text` belong to the object, and whether it ends with them.
    pub(super) fn take(&mut self, text: &str) -> (usize, bool) {
        for (i, byte) in text.bytes().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return (i + 1, true);
                    }
                }
                _ => {}
            }
        }
        (text.len(), false)
    }
}
