//! The methods of text, lists and dictionaries that the sandbox lets a template call.

use std::sync::Arc;

use super::args::Args;
use super::format::{push, to_str, write_str};
use super::lexer::is_space;
use super::ops;
use super::value::{Dict, Fail, Meter, Outcome, Seq, SeqKind, Value};

const TEXT_METHODS: [&str; 38] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
];
const DICT_METHODS: [&str; 5] = ["copy", "get", "items", "keys", "values"];
/// Methods that would change a dictionary: the sandbox makes them undefined, which hides a key of that name.
const DICT_FORBIDDEN: [&str; 6] = ["clear", "fromkeys", "pop", "popitem", "setdefault", "update"];

/// What `value.name` finds on the type itself. `None`: no such attribute; `Some(Undefined)`: a forbidden one.
pub(super) fn attribute(value: &Value, name: &str) -> Option<Value> {
    let found = match value {
        Value::Str(_) => TEXT_METHODS.contains(&name) || matches!(name, "zfill"),
        Value::Dict(_) if DICT_FORBIDDEN.contains(&name) => return Some(Value::Undefined),
        Value::Dict(_) => DICT_METHODS.contains(&name),
        Value::Seq(seq) => {
            matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range)
                && matches!(name, "count" | "index")
                || seq.kind == SeqKind::List && name == "copy"
        }
        _ => false,
    };
    found.then(|| Value::Method(Arc::new((value.clone(), name.into()))))
}

/// Calls a method that `attribute` found.
pub(super) fn call(value: &Value, name: &str, mut args: Args, meter: &mut Meter) -> Outcome<Value> {
    let result = match value {
        Value::Str(s) => {
            meter.scan(s.len())?;
            // What is searched for is read too, however short the text is.
            for argument in args.positional.iter().flatten().chain(args.named.iter().map(|(_, value)| value))
            {
                meter.scan(argument.as_str().map_or(0, str::len))?;
            }
            text_method(s, name, &mut args, meter)?
        }
        Value::Dict(dict) => dict_method(value, dict, name, &mut args, meter)?,
        Value::Seq(seq) => sequence_method(value, seq, name, &mut args, meter)?,
        other => return Fail::new(format!("{} has no method '{name}'", other.type_name())),
    };
    args.finish(name)?;
    Ok(result)
}

fn dict_method(value: &Value, dict: &Dict, name: &str, args: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    match name {
        "get" => {
            let key = args.need(0, "key", name)?;
            let default = args.take(1, "default").unwrap_or(Value::None);
            if !key.is_hashable() {
                return Fail::new(format!("a value of type {} cannot be a key", key.type_name()));
            }
            Ok(ops::dict_get(dict, &key, meter)?.cloned().unwrap_or(default))
        }
        "items" => pairs(dict, SeqKind::View, meter),
        "copy" => Ok(value.clone()),
        _ => {
            meter.values(dict.entries.len())?;
            let items =
                dict.entries.iter().map(|(k, v)| if name == "keys" { k } else { v }.clone()).collect();
            Value::seq(SeqKind::View, items)
        }
    }
}

/// The entries as pairs.
pub(super) fn pairs(dict: &Dict, kind: SeqKind, meter: &mut Meter) -> Outcome<Value> {
    meter.values(dict.entries.len() * 4)?;
    let pair = |(k, v): &(Value, Value)| Value::seq(SeqKind::Tuple, vec![k.clone(), v.clone()]);
    Value::seq(kind, dict.entries.iter().map(pair).collect::<Outcome<_>>()?)
}

fn sequence_method(
    value: &Value,
    seq: &Seq,
    name: &str,
    args: &mut Args,
    meter: &mut Meter,
) -> Outcome<Value> {
    if name == "copy" {
        return Ok(value.clone());
    }
    let wanted = args.need(0, "value", name)?;
    let mut count = 0;
    for (i, item) in seq.items.iter().enumerate() {
        if ops::equal(item, &wanted, meter)? {
            if name == "index" {
                return Ok(Value::Int(i as i128));
            }
            count += 1;
        }
    }
    if name == "index" { Fail::new("'index': the value is not in the list") } else { Ok(Value::Int(count)) }
}

fn text(s: &str, meter: &mut Meter) -> Outcome<Value> {
    meter.bytes(s.len())?;
    Ok(Value::str(s))
}

fn texts<'a>(parts: impl Iterator<Item = &'a str>, kind: SeqKind, meter: &mut Meter) -> Outcome<Value> {
    let mut items = Vec::new();
    for part in parts {
        meter.values(1)?;
        items.push(text(part, meter)?);
    }
    Value::seq(kind, items)
}

/// `strip`, `lstrip` or `rstrip` of white space or of a set of characters.
pub(super) fn strip<'s>(s: &'s str, left: bool, right: bool, set: Option<&str>) -> &'s str {
    let drop = |c: char| set.map_or_else(|| is_space(c), |set| set.contains(c));
    let s = if left { s.trim_start_matches(drop) } else { s };
    if right { s.trim_end_matches(drop) } else { s }
}

pub(super) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

/// Pads to `width` characters; Python puts the odd one of `center` on the left where width and length ask it to.
pub(super) fn pad(s: &str, width: i128, align: &str, fill: &str, meter: &mut Meter) -> Outcome<Value> {
    let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
    let len = s.chars().count();
    let missing = width.saturating_sub(len);
    meter.bytes(s.len().saturating_add(missing.saturating_mul(fill.len())))?;
    let left = match align {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(Value::str([&fill.repeat(left), s, &fill.repeat(missing - left)].concat()))
}

/// `str.replace`; a negative `count` replaces all.
pub(super) fn replace(s: &str, old: &str, new: &str, count: i128, meter: &mut Meter) -> Outcome<Value> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    meter.scan(s.len() + old.len())?;
    let found = s.matches(old).take(count).count();
    meter.steps(found)?;
    meter.bytes(s.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::str(s.replacen(old, new, count)))
}

/// The texts of `values` with `separator` between them. `strict`: they must be texts, as `str.join` asks.
pub(super) fn join(separator: &str, values: &[Value], strict: bool, meter: &mut Meter) -> Outcome<Value> {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        if strict && value.as_str().is_none() {
            return Fail::new(format!("'join' takes texts, not {}", value.type_name()));
        }
        push(&mut out, if i > 0 { separator } else { "" }, meter)?;
        write_str(value, &mut out, meter)?;
    }
    Ok(Value::str(out))
}

/// A text, or a tuple of texts of which one must fit.
fn fits(s: &str, argument: &Value, name: &str, meter: &mut Meter) -> Outcome<bool> {
    let test = |wanted: &str| if name == "startswith" { s.starts_with(wanted) } else { s.ends_with(wanted) };
    match argument {
        Value::Str(wanted) => Ok(test(wanted)),
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => {
            meter.steps(seq.items.len())?;
            let texts: Option<Vec<&str>> = seq.items.iter().map(Value::as_str).collect();
            let Some(texts) = texts else { return Fail::new(format!("'{name}' takes texts")) };
            for wanted in texts {
                meter.scan(wanted.len().min(s.len()))?;
                if test(wanted) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Fail::new(format!("'{name}' takes text, not {}", other.type_name())),
    }
}

fn text_method(s: &str, name: &str, args: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let all = |test: fn(char) -> bool| Ok(Value::Bool(!s.is_empty() && s.chars().all(test)));
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let set = args.text(0, "chars", name)?;
            meter.scan(s.len() * set.as_ref().map_or(1, |set| 1 + set.len()))?;
            text(strip(s, name != "rstrip", name != "lstrip", set.as_deref()), meter)
        }
        "startswith" | "endswith" => {
            let wanted = args.need(0, "prefix", name)?;
            Ok(Value::Bool(fits(s, &wanted, name, meter)?))
        }
        "removeprefix" | "removesuffix" => {
            let wanted = args.need_text(0, "prefix", name)?;
            let stripped =
                if name == "removeprefix" { s.strip_prefix(&*wanted) } else { s.strip_suffix(&*wanted) };
            text(stripped.unwrap_or(s), meter)
        }
        "split" | "rsplit" => split(s, name == "rsplit", args, meter),
        "splitlines" => splitlines(s, args.flag(0, "keepends").unwrap_or(false), meter),
        "partition" | "rpartition" => {
            let separator = args.need_text(0, "sep", name)?;
            if separator.is_empty() {
                return Fail::new("an empty separator");
            }
            let parts = match name {
                "partition" => s.split_once(&*separator).map_or([s, "", ""], |(a, b)| [a, &separator, b]),
                _ => s.rsplit_once(&*separator).map_or(["", "", s], |(a, b)| [a, &separator, b]),
            };
            texts(parts.into_iter(), SeqKind::Tuple, meter)
        }
        "replace" => {
            let (old, new) = (args.need_text(0, "old", name)?, args.need_text(1, "new", name)?);
            replace(s, &old, &new, args.int(2, "count", name)?.unwrap_or(-1), meter)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let wanted = args.need_text(0, "sub", name)?;
            let at = if name.starts_with('r') { s.rfind(&*wanted) } else { s.find(&*wanted) };
            match at {
                Some(at) => Ok(Value::Int(s[..at].chars().count() as i128)),
                None if name.ends_with("find") => Ok(Value::Int(-1)),
                None => Fail::new(format!("'{name}': the text is not there")),
            }
        }
        "count" => {
            let wanted = args.need_text(0, "sub", name)?;
            Ok(Value::Int(s.matches(&*wanted).count() as i128))
        }
        "join" => {
            let values = args.need(0, "iterable", name)?.iterate(meter)?;
            join(s, &values, true, meter)
        }
        "format" => brace_format(s, args, meter),
        "lower" | "casefold" | "upper" | "swapcase" | "capitalize" | "title" => {
            meter.bytes(s.len() * 3)?;
            Ok(Value::str(match name {
                "lower" | "casefold" => s.to_lowercase(),
                "upper" => s.to_uppercase(),
                "capitalize" => capitalize(s),
                "swapcase" => swap_case(s),
                _ => title(s),
            }))
        }
        "center" | "ljust" | "rjust" => {
            let Some(width) = args.int(0, "width", name)? else {
                return Fail::new(format!("'{name}' needs a width"));
            };
            let fill = args.text(1, "fillchar", name)?.unwrap_or_else(|| " ".into());
            if fill.chars().count() != 1 {
                return Fail::new(format!("'{name}' fills with exactly one character"));
            }
            pad(s, width, name, &fill, meter)
        }
        "zfill" => {
            let width = args.int(0, "width", name)?.unwrap_or(0);
            let digits = s.strip_prefix(['+', '-']).unwrap_or(s);
            let sign = &s[..s.len() - digits.len()];
            let padded = pad(digits, width.saturating_sub(sign.len() as i128), "rjust", "0", meter)?;
            ops::concat(&[Value::str(sign), padded], meter)
        }
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isnumeric" => all(char::is_numeric),
        "isdigit" | "isdecimal" => all(|c| c.is_ascii_digit()),
        "isspace" => all(is_space),
        "isascii" => Ok(Value::Bool(s.is_ascii())),
        "islower" => Ok(Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase))),
        "isupper" => Ok(Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase))),
        other => Fail::new(format!("text has no method '{other}'")),
    }
}

fn swap_case(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
    }
    out
}

/// `str.title`: a letter behind something that is none begins a word.
fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut in_word = false;
    for c in s.chars() {
        if in_word {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        in_word = c.is_lowercase() || c.is_uppercase();
    }
    out
}

fn split(s: &str, from_right: bool, args: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let separator = args.text(0, "sep", "split")?;
    let limit = usize::try_from(args.int(1, "maxsplit", "split")?.unwrap_or(-1)).ok();
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = s;
    match separator {
        Some(separator) => {
            if separator.is_empty() {
                return Fail::new("'split' by an empty text");
            }
            meter.values(s.matches(&*separator).take(limit.unwrap_or(usize::MAX)).count())?;
            while limit.is_none_or(|limit| parts.len() < limit) {
                let cut =
                    if from_right { rest.rsplit_once(&*separator) } else { rest.split_once(&*separator) };
                let Some((before, after)) = cut else { break };
                parts.push(if from_right { after } else { before });
                rest = if from_right { before } else { after };
            }
            parts.push(rest);
        }
        None => {
            meter.values(s.len() / 2 + 1)?;
            rest = strip(rest, !from_right, from_right, None);
            while !rest.is_empty() {
                let cut = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
                let Some(at) = cut.filter(|_| limit.is_none_or(|limit| parts.len() < limit)) else {
                    // The last part keeps the white space at its far end only if the limit cut it short.
                    parts.push(rest);
                    break;
                };
                let behind = at + rest[at..].chars().next().map_or(1, char::len_utf8);
                parts.push(if from_right { &rest[behind..] } else { &rest[..at] });
                rest = if from_right {
                    strip(&rest[..at], false, true, None)
                } else {
                    strip(&rest[behind..], true, false, None)
                };
            }
        }
    }
    if from_right {
        parts.reverse();
    }
    texts(parts.into_iter(), SeqKind::List, meter)
}

fn splitlines(s: &str, keep_ends: bool, meter: &mut Meter) -> Outcome<Value> {
    let is_break = |c: char| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut parts = Vec::new();
    let mut rest = s;
    while !rest.is_empty() {
        meter.values(1)?;
        let at = rest.find(is_break).unwrap_or(rest.len());
        let tail = &rest[at..];
        let len = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(0, char::len_utf8) };
        parts.push(&rest[..if keep_ends { at + len } else { at }]);
        rest = &rest[at + len..];
    }
    texts(parts.into_iter(), SeqKind::List, meter)
}

/// `str.format` with plain `{}`, `{0}` and `{name}` fields.
fn brace_format(s: &str, args: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let positional: Vec<Value> = std::mem::take(&mut args.positional).into_iter().flatten().collect();
    let named = std::mem::take(&mut args.named);
    let mut out = String::new();
    let mut rest = s;
    let mut automatic = 0;
    while let Some(at) = rest.find(['{', '}']) {
        push(&mut out, &rest[..at], meter)?;
        meter.steps(1 + named.len() / 8)?;
        let mark = &rest[at..at + 1];
        let tail = &rest[at + 1..];
        if let Some(tail) = tail.strip_prefix(mark) {
            push(&mut out, mark, meter)?;
            rest = tail;
            continue;
        }
        let (true, Some((field, tail))) = (mark == "{", tail.split_once('}')) else {
            return Fail::new("a format has a single brace");
        };
        let value = if field.is_empty() {
            automatic += 1;
            positional.get(automatic - 1)
        } else if let Ok(index) = field.parse::<usize>() {
            positional.get(index)
        } else {
            named.iter().find(|(name, _)| **name == *field).map(|(_, value)| value)
        };
        let Some(value) = value else {
            let shown: String = field.chars().take(40).collect();
            return Fail::new(format!("a format has no value for the field '{{{shown}}}'"));
        };
        push(&mut out, &to_str(value, meter)?, meter)?;
        rest = tail;
    }
    push(&mut out, rest, meter)?;
    Ok(Value::str(out))
}
