//! Values as text: Python's `str` and `repr`, and `json.dumps` as Hugging Face's `tojson` calls it.

use std::fmt::Write as _;

use super::args::Args;
use super::value::{Fail, Meter, Outcome, SeqKind, Value};

/// The widest `indent` of `tojson`.
const MAX_INDENT: usize = 64;

/// Appends `text`, paying for it first.
pub(super) fn push(out: &mut String, text: &str, meter: &mut Meter) -> Outcome<()> {
    meter.bytes(text.len())?;
    out.push_str(text);
    Ok(())
}

/// Appends `str(value)`.
pub(super) fn write_str(value: &Value, out: &mut String, meter: &mut Meter) -> Outcome<()> {
    match value {
        Value::Str(s) => push(out, s, meter),
        Value::Undefined => Ok(()),
        other => write_repr(other, out, meter),
    }
}

/// `str(value)`.
pub(super) fn to_str(value: &Value, meter: &mut Meter) -> Outcome<std::sync::Arc<str>> {
    if let Value::Str(s) = value {
        return Ok(s.clone());
    }
    let mut out = String::new();
    write_str(value, &mut out, meter)?;
    Ok(out.into())
}

/// Appends `repr(value)`.
pub(super) fn write_repr(value: &Value, out: &mut String, meter: &mut Meter) -> Outcome<()> {
    meter.steps(1)?;
    match value {
        Value::Undefined => push(out, "Undefined", meter),
        Value::None => push(out, "None", meter),
        Value::Bool(true) => push(out, "True", meter),
        Value::Bool(false) => push(out, "False", meter),
        Value::Int(i) => push(out, &i.to_string(), meter),
        Value::Float(f) => push(out, &float_repr(*f), meter),
        Value::Str(s) => {
            meter.bytes(s.len())?;
            meter.scan(s.len() * 4)?;
            write_str_repr(s, out);
            Ok(())
        }
        Value::Seq(seq) => {
            let (open, close) = match seq.kind {
                SeqKind::List => ("[", "]"),
                SeqKind::Tuple => ("(", if seq.items.len() == 1 { ",)" } else { ")" }),
                SeqKind::Range | SeqKind::View | SeqKind::Iter => {
                    return Fail::new(format!("a value of type {} cannot be printed", value.type_name()));
                }
            };
            push(out, open, meter)?;
            for (i, item) in seq.items.iter().enumerate() {
                push(out, if i > 0 { ", " } else { "" }, meter)?;
                write_repr(item, out, meter)?;
            }
            push(out, close, meter)
        }
        Value::Dict(dict) => {
            push(out, "{", meter)?;
            for (i, (key, item)) in dict.entries.iter().enumerate() {
                push(out, if i > 0 { ", " } else { "" }, meter)?;
                write_repr(key, out, meter)?;
                push(out, ": ", meter)?;
                write_repr(item, out, meter)?;
            }
            push(out, "}", meter)
        }
        other => Fail::new(format!("a value of type {} cannot be printed", other.type_name())),
    }
}

/// `repr` of a float: the shortest digits that read back the same, with an exponent outside of 1e-4..1e16.
pub(super) fn float_repr(f: f64) -> String {
    if f.is_nan() {
        return "nan".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{f:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if f != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{f}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// Whether Python's `str.isprintable` holds: Rust escapes the same categories, and combining marks only where they
/// start a text, hence the letter in front.
fn is_printable(c: char) -> bool {
    let text: String = ['a', c].into_iter().collect();
    text.escape_debug().nth(1) != Some('\\')
}

fn write_str_repr(s: &str, out: &mut String) {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

struct Json {
    ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(value: &Value, mut args: Args, meter: &mut Meter) -> Outcome<Value> {
    let ascii = args.flag(0, "ensure_ascii").unwrap_or(false);
    let indent = match args.take(1, "indent") {
        None | Some(Value::None) => None,
        Some(Value::Str(s)) => Some(s.to_string()),
        Some(other) => match other.as_int() {
            Some(n) => Some(" ".repeat(usize::try_from(n.clamp(0, MAX_INDENT as i128 + 1)).unwrap_or(0))),
            None => return Fail::new(format!("'tojson' cannot indent by {}", other.type_name())),
        },
    };
    if indent.as_ref().is_some_and(|indent| indent.len() > MAX_INDENT) {
        return Fail::new(format!("'tojson' indents by at most {MAX_INDENT}"));
    }
    let default_separator = if indent.is_some() { "," } else { ", " };
    let (item_separator, key_separator) = match args.take(2, "separators") {
        None | Some(Value::None) => (default_separator.to_owned(), ": ".to_owned()),
        Some(Value::Seq(seq)) => match seq.items.as_slice() {
            [Value::Str(item), Value::Str(key)] => (item.to_string(), key.to_string()),
            _ => return Fail::new("'tojson' takes two texts as 'separators'"),
        },
        Some(_) => return Fail::new("'tojson' takes two texts as 'separators'"),
    };
    let sort_keys = args.flag(3, "sort_keys").unwrap_or(false);
    args.finish("tojson")?;
    let mut out = String::new();
    Json { ascii, indent, item_separator, key_separator, sort_keys }.write(value, 0, &mut out, meter)?;
    Ok(Value::str(out))
}

impl Json {
    fn write(&self, value: &Value, level: usize, out: &mut String, meter: &mut Meter) -> Outcome<()> {
        meter.steps(1)?;
        match value {
            Value::Str(s) => self.string(s, out, meter),
            Value::Seq(seq) if matches!(seq.kind, SeqKind::List | SeqKind::Tuple) => {
                if seq.items.is_empty() {
                    return push(out, "[]", meter);
                }
                push(out, "[", meter)?;
                for (i, item) in seq.items.iter().enumerate() {
                    self.gap(i > 0, level + 1, out, meter)?;
                    self.write(item, level + 1, out, meter)?;
                }
                self.gap(false, level, out, meter)?;
                push(out, "]", meter)
            }
            Value::Dict(dict) => {
                if dict.entries.is_empty() {
                    return push(out, "{}", meter);
                }
                let mut entries: Vec<&(Value, Value)> = dict.entries.iter().collect();
                if self.sort_keys {
                    if entries.iter().any(|(key, _)| key.as_str().is_none()) {
                        return Fail::new("'tojson' sorts text keys only");
                    }
                    meter.steps(entries.len() * 16)?;
                    entries.sort_by(|a, b| a.0.as_str().cmp(&b.0.as_str()));
                }
                push(out, "{", meter)?;
                for (i, (key, item)) in entries.into_iter().enumerate() {
                    self.gap(i > 0, level + 1, out, meter)?;
                    match key {
                        Value::Str(key) => self.string(key, out, meter)?,
                        other => match scalar(other) {
                            Some(text) => push(out, &format!("\"{text}\""), meter)?,
                            None => return Fail::new(format!("a JSON key cannot be {}", other.type_name())),
                        },
                    }
                    push(out, &self.key_separator, meter)?;
                    self.write(item, level + 1, out, meter)?;
                }
                self.gap(false, level, out, meter)?;
                push(out, "}", meter)
            }
            other => match scalar(other) {
                Some(text) => push(out, &text, meter),
                None => Fail::new(format!("a value of type {} is not JSON", other.type_name())),
            },
        }
    }

    /// What stands in front of an item or a closing bracket.
    fn gap(&self, separator: bool, level: usize, out: &mut String, meter: &mut Meter) -> Outcome<()> {
        push(out, if separator { &self.item_separator } else { "" }, meter)?;
        if let Some(indent) = &self.indent {
            push(out, "\n", meter)?;
            for _ in 0..level {
                push(out, indent, meter)?;
            }
        }
        Ok(())
    }

    fn string(&self, s: &str, out: &mut String, meter: &mut Meter) -> Outcome<()> {
        meter.bytes(s.len() + 2)?;
        meter.scan(s.len())?;
        out.push('"');
        for c in s.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
        Ok(())
    }
}

fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::None => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) if f.is_nan() => "NaN".to_owned(),
        Value::Float(f) if f.is_infinite() => if *f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Value::Float(f) => float_repr(*f),
        _ => return None,
    })
}
