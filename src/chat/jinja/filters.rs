//! The filters, except those that call back into the template's tests and filters by name (`map`, `select` and
//! their kin, which are in `interp`).

use super::args::Args;
use super::format::{self, to_str};
use super::methods;
use super::ops;
use super::value::{Dict, Fail, Meter, Outcome, SeqKind, Value};

/// Every filter there is.
pub(super) const NAMES: [&str; 46] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "format",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "wordcount",
    "groupby",
];

/// Applies `value|name(args)`.
pub(super) fn apply(value: &Value, name: &str, mut args: Args, meter: &mut Meter) -> Outcome<Value> {
    let a = &mut args;
    let result = match name {
        "tojson" => return format::tojson(value, args, meter),
        "default" | "d" => {
            let fallback = a.take(0, "default_value").unwrap_or_else(|| Value::str(""));
            let also_false = a.flag(1, "boolean").unwrap_or(false);
            let missing = matches!(value, Value::Undefined) || (also_false && !value.truthy());
            if missing { fallback } else { value.clone() }
        }
        "length" | "count" => Value::Int(value.len(meter)? as i128),
        "string" | "safe" => Value::Str(to_str(value, meter)?),
        "items" => match value {
            Value::Dict(dict) => methods::pairs(dict, SeqKind::Iter, meter)?,
            Value::Undefined => Value::seq(SeqKind::Iter, Vec::new())?,
            other => return Fail::new(format!("'items' needs a dictionary, not {}", other.type_name())),
        },
        "list" => Value::list(value.iterate(meter)?)?,
        "first" => value.iterate(meter)?.into_iter().next().unwrap_or(Value::Undefined),
        "last" => last(value, meter)?,
        "reverse" => reverse(value, meter)?,
        "join" => {
            let separator = a.take(0, "d").unwrap_or_else(|| Value::str(""));
            let mut values = value.iterate(meter)?;
            if let Some(key) = a.take(1, "attribute") {
                values = values.iter().map(|v| path(v, &key, meter)).collect::<Outcome<_>>()?;
            }
            methods::join(&to_str(&separator, meter)?, &values, false, meter)?
        }
        "abs" => match (value, value.as_int()) {
            (_, Some(i)) => Value::Int(i.checked_abs().unwrap_or(i128::MAX)),
            (Value::Float(f), _) => Value::Float(f.abs()),
            (other, _) => return Fail::new(format!("'abs' needs a number, not {}", other.type_name())),
        },
        "int" => {
            meter.scan(value.as_str().map_or(0, str::len))?;
            to_int(value, a)?
        }
        "float" => {
            let fallback = a.take(0, "default").unwrap_or(Value::Float(0.0));
            meter.scan(value.as_str().map_or(0, str::len))?;
            let parsed = value.as_str().and_then(parse_float).or(value.as_float());
            if matches!(value, Value::Undefined) {
                return Fail::new("the value is undefined");
            }
            parsed.map_or(fallback, Value::Float)
        }
        "round" => round(value, a)?,
        "sum" => {
            let key = a.take(0, "attribute");
            let mut total = a.take(1, "start").unwrap_or(Value::Int(0));
            for v in value.iterate(meter)? {
                let v = match &key {
                    None | Some(Value::None) => v,
                    Some(key) => path(&v, key, meter)?,
                };
                if matches!(total, Value::Str(_)) {
                    return Fail::new("'sum' does not add text");
                }
                total = ops::binary(super::ast::BinaryOp::Add, &total, &v, meter)?;
            }
            total
        }
        "min" | "max" => {
            let keys = SortKey::take(a, 0, 1)?;
            let mut best: Option<(Value, Value)> = None;
            for v in value.iterate(meter)? {
                let key = keys.of(&v, meter)?;
                let better = match &best {
                    None => true,
                    Some((found, _)) if name == "min" => {
                        ops::order(&key, found, meter)?.is_some_and(|o| o.is_lt())
                    }
                    Some((found, _)) => ops::order(&key, found, meter)?.is_some_and(|o| o.is_gt()),
                };
                if better {
                    best = Some((key, v));
                }
            }
            best.map_or(Value::Undefined, |(_, v)| v)
        }
        "sort" => {
            let reverse = a.flag(0, "reverse").unwrap_or(false);
            let keys = SortKey::take(a, 1, 2)?;
            Value::list(sorted(value.iterate(meter)?, &keys, reverse, meter)?)?
        }
        "dictsort" => {
            let Value::Dict(dict) = value else {
                return Fail::new(format!("'dictsort' needs a dictionary, not {}", value.type_name()));
            };
            let case_sensitive = a.flag(0, "case_sensitive").unwrap_or(false);
            let index = match a.text(1, "by", name)?.as_deref() {
                None | Some("key") => 0,
                Some("value") => 1,
                Some(_) => return Fail::new("'dictsort' sorts by 'key' or 'value'"),
            };
            let reverse = a.flag(2, "reverse").unwrap_or(false);
            let keys = SortKey { path: Some(Value::Int(index)), case_sensitive };
            let pairs = methods::pairs(dict, SeqKind::List, meter)?.iterate(meter)?;
            Value::list(sorted(pairs, &keys, reverse, meter)?)?
        }
        "unique" => {
            let keys = SortKey::take(a, 0, 1)?;
            let (mut seen, mut kept): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
            for v in value.iterate(meter)? {
                let key = keys.of(&v, meter)?;
                if !key.is_hashable() {
                    return Fail::new(format!(
                        "'unique' cannot tell values of type {} apart",
                        key.type_name()
                    ));
                }
                let mut known = false;
                for found in &seen {
                    known = known || ops::equal(found, &key, meter)?;
                }
                if !known {
                    seen.push(key);
                    kept.push(v);
                }
            }
            Value::seq(SeqKind::Iter, kept)?
        }
        "batch" | "slice" => groups(value, name, a, meter)?,
        "attr" => {
            let key = a.need_text(0, "name", name)?;
            if matches!(value, Value::Undefined) {
                return Fail::new(format!("the value is undefined, so it has no '{key}'"));
            }
            methods::attribute(value, &key).unwrap_or(Value::Undefined)
        }
        _ => return text_filter(value, name, args, meter),
    };
    args.finish(name)?;
    Ok(result)
}

/// The filters that first turn their input into text.
fn text_filter(value: &Value, name: &str, mut args: Args, meter: &mut Meter) -> Outcome<Value> {
    if !NAMES.contains(&name) {
        let shown: String = name.chars().take(40).collect();
        return Fail::new(format!("there is no filter '{shown}'"));
    }
    let a = &mut args;
    if name == "format" {
        let format = to_str(value, meter)?;
        let values: Vec<Value> = std::mem::take(&mut a.positional).into_iter().flatten().collect();
        args.finish(name)?;
        return ops::percent_format(&format, &Value::seq(SeqKind::Tuple, values)?, meter);
    }
    if matches!(name, "indent" | "truncate") && value.as_str().is_none() {
        return Fail::new(format!("'{name}' needs text, not {}", value.type_name()));
    }
    let s = to_str(value, meter)?;
    meter.scan(s.len())?;
    let result = match name {
        "trim" => {
            let set = a.text(0, "chars", name)?;
            meter.scan(s.len() * set.as_ref().map_or(1, |set| 1 + set.len()))?;
            let kept = methods::strip(&s, true, true, set.as_deref());
            meter.bytes(kept.len())?;
            Value::str(kept)
        }
        "upper" | "lower" | "capitalize" | "title" => {
            meter.bytes(s.len() * 3)?;
            Value::str(match name {
                "upper" => s.to_uppercase(),
                "lower" => s.to_lowercase(),
                "capitalize" => methods::capitalize(&s),
                _ => title_words(&s),
            })
        }
        "replace" => {
            let (old, new) = (a.need(0, "old", name)?, a.need(1, "new", name)?);
            let (old, new) = (to_str(&old, meter)?, to_str(&new, meter)?);
            methods::replace(&s, &old, &new, a.int(2, "count", name)?.unwrap_or(-1), meter)?
        }
        "indent" => indent(&s, a, meter)?,
        "center" => methods::pad(&s, a.int(0, "width", name)?.unwrap_or(80), "center", " ", meter)?,
        "wordcount" => Value::Int(
            s.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).count() as i128,
        ),
        "truncate" => truncate(&s, a, meter)?,
        "e" | "escape" | "forceescape" => {
            let marks = s.bytes().filter(|b| matches!(b, b'&' | b'<' | b'>' | b'"' | b'\'')).count();
            meter.bytes(s.len() + marks * 4)?;
            let escaped = s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            Value::str(escaped.replace('\'', "&#39;").replace('"', "&#34;"))
        }
        other => return Fail::new(format!("the filter '{other}' needs a name of a filter or test")),
    };
    args.finish(name)?;
    Ok(result)
}

fn last(value: &Value, meter: &mut Meter) -> Outcome<Value> {
    match value {
        Value::Seq(seq) if seq.kind == SeqKind::Iter => Fail::new("'last' cannot read an iterator backwards"),
        other => Ok(other.iterate(meter)?.pop().unwrap_or(Value::Undefined)),
    }
}

fn reverse(value: &Value, meter: &mut Meter) -> Outcome<Value> {
    if let Value::Str(s) = value {
        meter.bytes(s.len())?;
        return Ok(Value::str(s.chars().rev().collect::<String>()));
    }
    let mut items = value.iterate(meter)?;
    items.reverse();
    Value::seq(SeqKind::Iter, items)
}

/// `value.a.b` or `value[0]` for the `attribute` argument of a filter.
pub(super) fn path(value: &Value, key: &Value, meter: &mut Meter) -> Outcome<Value> {
    let Value::Str(dotted) = key else {
        return Ok(ops::item(value, key, meter)?.unwrap_or(Value::Undefined));
    };
    meter.scan(dotted.len())?;
    let mut found = value.clone();
    for part in dotted.split('.') {
        if matches!(found, Value::Undefined) {
            return Fail::new("an attribute of an undefined value");
        }
        let index = if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
            part.parse().map_or(Value::Undefined, Value::Int)
        } else {
            Value::str(part)
        };
        found = match ops::item(&found, &index, meter)? {
            Some(value) => value,
            None => methods::attribute(&found, part).unwrap_or(Value::Undefined),
        };
    }
    Ok(found)
}

/// What `sort`, `min`, `max` and `unique` compare.
struct SortKey {
    path: Option<Value>,
    case_sensitive: bool,
}

impl SortKey {
    fn take(args: &mut Args, case_at: usize, path_at: usize) -> Outcome<SortKey> {
        let case_sensitive = args.flag(case_at, "case_sensitive").unwrap_or(false);
        let path = args.take(path_at, "attribute").filter(|path| !matches!(path, Value::None));
        Ok(SortKey { path, case_sensitive })
    }

    fn of(&self, value: &Value, meter: &mut Meter) -> Outcome<Value> {
        let key = match &self.path {
            None => value.clone(),
            Some(path_) => path(value, path_, meter)?,
        };
        match key {
            Value::Str(s) if !self.case_sensitive => {
                meter.bytes(s.len() * 3)?;
                Ok(Value::str(s.to_lowercase()))
            }
            other => Ok(other),
        }
    }
}

fn sorted(values: Vec<Value>, keys: &SortKey, reverse: bool, meter: &mut Meter) -> Outcome<Vec<Value>> {
    let mut keyed = Vec::with_capacity(values.len());
    for v in values {
        keyed.push((keys.of(&v, meter)?, v));
    }
    let mut failed = None;
    let mut compare = |a: &Value, b: &Value| match ops::order(a, b, meter) {
        Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
        Err(fail) => {
            failed.get_or_insert(fail);
            std::cmp::Ordering::Equal
        }
    };
    // Stable in both directions, as Python's `sorted(reverse=True)` is.
    if keyed.len() > 1 {
        merge_sort(&mut keyed, &mut |a, b| if reverse { compare(b, a) } else { compare(a, b) });
    }
    match failed {
        Some(fail) => Err(fail),
        None => Ok(keyed.into_iter().map(|(_, v)| v).collect()),
    }
}

/// A stable sort that takes any comparison: the standard one may panic if NaN or a spent budget make it inconsistent.
fn merge_sort(
    items: &mut Vec<(Value, Value)>,
    compare: &mut impl FnMut(&Value, &Value) -> std::cmp::Ordering,
) {
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for run in items.chunks(width * 2) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                let from = if compare(&a.0, &b.0).is_le() { &mut left } else { &mut right };
                merged.push(from[0].clone());
                *from = &from[1..];
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        *items = merged;
        width *= 2;
    }
}

fn groups(value: &Value, name: &str, a: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let count = match a.int(0, "count", name)?.map(usize::try_from) {
        Some(Ok(count)) if count > 0 => count,
        _ => return Fail::new(format!("'{name}' needs a number above zero")),
    };
    let fill = a.take(1, "fill_with").filter(|fill| !matches!(fill, Value::None));
    let items = value.iterate(meter)?;
    let mut lists: Vec<Vec<Value>> = Vec::new();
    if name == "batch" {
        lists.extend(items.chunks(count).map(<[Value]>::to_vec));
        if let (Some(fill), Some(last)) = (fill, lists.last_mut()) {
            meter.values(count - last.len())?;
            last.resize(count, fill);
        }
    } else {
        meter.values(count)?;
        let (short, longer) = (items.len() / count, items.len() % count);
        let mut at = 0;
        for i in 0..count {
            let len = short + usize::from(i < longer);
            let mut list = items[at..at + len].to_vec();
            at += len;
            if let Some(fill) = fill.as_ref().filter(|_| i >= longer) {
                list.push(fill.clone());
            }
            lists.push(list);
        }
    }
    Value::seq(SeqKind::Iter, lists.into_iter().map(Value::list).collect::<Outcome<_>>()?)
}

fn parse_float(s: &str) -> Option<f64> {
    let s = methods::strip(s, true, true, None);
    let digits = s.strip_prefix(['+', '-']).unwrap_or(s).to_ascii_lowercase();
    let word = matches!(digits.as_str(), "inf" | "infinity" | "nan");
    if word || digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') { s.parse().ok() } else { None }
}

fn to_int(value: &Value, a: &mut Args) -> Outcome<Value> {
    let fallback = a.take(0, "default").unwrap_or(Value::Int(0));
    let base = a.int(1, "base", "int")?.unwrap_or(10);
    let of_float = |f: f64| (f.abs() < 1e37).then_some(f as i128);
    let parsed = match value {
        Value::Undefined => return Fail::new("the value is undefined"),
        Value::Str(s) => {
            let Some(base) = u32::try_from(base).ok().filter(|b| (2..=36).contains(b)) else {
                return Fail::new("'int' takes a base from 2 to 36");
            };
            let plain = methods::strip(s, true, true, None);
            let prefix = [(16, "0x"), (8, "0o"), (2, "0b")].iter().find(|(b, _)| *b == base).map(|(_, p)| *p);
            let digits = prefix.and_then(|p| plain.strip_prefix(p)).unwrap_or(plain);
            let whole = i128::from_str_radix(digits, base).ok();
            whole.or_else(|| parse_float(plain).and_then(of_float))
        }
        Value::Float(f) => of_float(*f),
        other => other.as_int(),
    };
    Ok(parsed.map_or(fallback, Value::Int))
}

fn round(value: &Value, a: &mut Args) -> Outcome<Value> {
    let precision = a.int(0, "precision", "round")?.unwrap_or(0);
    let method = a.text(1, "method", "round")?;
    let Some(x) = value.as_float() else {
        return Fail::new(format!("'round' needs a number, not {}", value.type_name()));
    };
    let Ok(precision) = usize::try_from(precision) else {
        return Fail::new("'round' takes a precision of zero or more");
    };
    if precision > 30 || !x.is_finite() {
        return Ok(Value::Float(x));
    }
    let scale = libm::pow(10.0, precision as f64);
    match method.as_deref() {
        None | Some("common") if value.as_int().is_some() => Ok(Value::Int(value.as_int().unwrap_or(0))),
        None | Some("common") => Ok(Value::Float(format!("{x:.precision$}").parse().unwrap_or(x))),
        Some("ceil") => Ok(Value::Float((x * scale).ceil() / scale)),
        Some("floor") => Ok(Value::Float((x * scale).floor() / scale)),
        Some(_) => Fail::new("'round' rounds 'common', 'ceil' or 'floor'"),
    }
}

/// The `title` filter: words end at white space, hyphens and brackets, unlike those of `str.title`.
fn title_words(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut starts = true;
    for c in s.chars() {
        if starts {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        starts = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    out
}

fn indent(s: &str, a: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let pad = match a.take(0, "width") {
        None => "    ".to_owned(),
        Some(Value::Str(text)) => text.to_string(),
        Some(width) => {
            let Some(width) = width.as_int() else {
                return Fail::new(format!("'indent' takes a number or text, not {}", width.type_name()));
            };
            let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
            meter.bytes(width)?;
            " ".repeat(width)
        }
    };
    let first = a.flag(1, "first").unwrap_or(false);
    let blank = a.flag(2, "blank").unwrap_or(false);
    let mut out = String::new();
    // jinja2 splits at every kind of line end, joins with "\n" and keeps a final line end.
    let lines =
        methods::call(&Value::str(format!("{s}\n")), "splitlines", Args::default(), meter)?.iterate(meter)?;
    for (i, line) in lines.iter().enumerate() {
        let line = line.as_str().unwrap_or("");
        if i > 0 {
            format::push(&mut out, "\n", meter)?;
        }
        let padded = if i == 0 { first } else { blank || !line.is_empty() };
        if padded {
            format::push(&mut out, &pad, meter)?;
        }
        format::push(&mut out, line, meter)?;
    }
    Ok(Value::str(out))
}

fn truncate(s: &str, a: &mut Args, meter: &mut Meter) -> Outcome<Value> {
    let length = usize::try_from(a.int(0, "length", "truncate")?.unwrap_or(255)).unwrap_or(0);
    let kill_words = a.flag(1, "killwords").unwrap_or(false);
    let end = a.text(2, "end", "truncate")?.unwrap_or_else(|| "...".into());
    let leeway = usize::try_from(a.int(3, "leeway", "truncate")?.unwrap_or(5)).unwrap_or(0);
    let end_len = end.chars().count();
    if length < end_len {
        return Fail::new(format!("'truncate' to {length} characters is shorter than its end mark"));
    }
    meter.bytes(s.len() + end.len())?;
    if s.chars().count() <= length.saturating_add(leeway) {
        return Ok(Value::str(s));
    }
    let cut: String = s.chars().take(length - end_len).collect();
    let kept =
        if kill_words { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept) };
    Ok(Value::str([kept, &end].concat()))
}

/// The groups of `groupby`: pairs of a key and the values that have it, ordered by key.
pub(super) fn group_by(value: &Value, mut args: Args, meter: &mut Meter) -> Outcome<Value> {
    let key = args.need(0, "attribute", "groupby")?;
    let default = args.take(1, "default");
    let case_sensitive = args.flag(2, "case_sensitive").unwrap_or(false);
    args.finish("groupby")?;
    let keys = SortKey { path: Some(key.clone()), case_sensitive };
    let mut result: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for v in sorted(value.iterate(meter)?, &keys, false, meter)? {
        let (mut compared, mut shown) = (keys.of(&v, meter)?, path(&v, &key, meter)?);
        if let (Value::Undefined, Some(default)) = (&shown, &default) {
            (compared, shown) = (default.clone(), default.clone());
        }
        match result.last_mut() {
            Some((found, _, members)) if ops::equal(found, &compared, meter)? => members.push(v),
            _ => result.push((compared, shown, vec![v])),
        }
    }
    let pair = |(_, shown, members): (Value, Value, Vec<Value>)| {
        Value::seq(SeqKind::Tuple, vec![shown, Value::list(members)?])
    };
    Value::list(result.into_iter().map(pair).collect::<Outcome<_>>()?)
}

/// The entries of two dictionaries, the second one's winning.
pub(super) fn merged(
    base: Option<&Dict>,
    named: Vec<(Value, Value)>,
    meter: &mut Meter,
) -> Outcome<Vec<(Value, Value)>> {
    meter.values(base.map_or(0, |dict| dict.entries.len()) + named.len())?;
    let mut entries = base.map(|dict| dict.entries.clone()).unwrap_or_default();
    for (key, value) in named {
        if !key.is_hashable() {
            return Fail::new(format!("a value of type {} cannot be a key", key.type_name()));
        }
        let mut known = None;
        for (i, (found, _)) in entries.iter().enumerate() {
            if ops::equal(found, &key, meter)? {
                known = Some(i);
                break;
            }
        }
        match known {
            Some(i) => entries[i].1 = value,
            None => entries.push((key, value)),
        }
    }
    Ok(entries)
}
