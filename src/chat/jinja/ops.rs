//! Operators, indexing and slicing with Python's meaning.

use std::cmp::Ordering;

use super::ast::{BinaryOp, CompareOp};
use super::format::{push, write_repr, write_str};
use super::value::{Dict, Fail, Meter, Outcome, Seq, SeqKind, Value};

pub(super) fn binary(op: BinaryOp, a: &Value, b: &Value, meter: &mut Meter) -> Outcome<Value> {
    match (op, a, b) {
        (BinaryOp::Add, Value::Str(a), Value::Str(b)) => {
            meter.bytes(a.len() + b.len())?;
            Ok(Value::str([&**a, &**b].concat()))
        }
        (BinaryOp::Add, Value::Seq(x), Value::Seq(y))
            if x.kind == y.kind && matches!(x.kind, SeqKind::List | SeqKind::Tuple) =>
        {
            meter.values(x.items.len() + y.items.len())?;
            Value::seq(x.kind, [x.items.as_slice(), &y.items].concat())
        }
        (BinaryOp::Mul, Value::Str(s), n) | (BinaryOp::Mul, n, Value::Str(s)) if n.as_int().is_some() => {
            let n = repetitions(n);
            meter.bytes(s.len().saturating_mul(n))?;
            Ok(Value::str(s.repeat(if s.is_empty() { 0 } else { n })))
        }
        (BinaryOp::Mul, Value::Seq(s), n) | (BinaryOp::Mul, n, Value::Seq(s))
            if n.as_int().is_some() && matches!(s.kind, SeqKind::List | SeqKind::Tuple) =>
        {
            let n = if s.items.is_empty() { 0 } else { repetitions(n) };
            meter.values(s.items.len().saturating_mul(n))?;
            Value::seq(s.kind, (0..n).flat_map(|_| s.items.iter().cloned()).collect())
        }
        (BinaryOp::Rem, Value::Str(format), args) => percent_format(format, args, meter),
        _ => arithmetic(op, a, b),
    }
}

fn repetitions(n: &Value) -> usize {
    n.as_int().map_or(0, |n| usize::try_from(n.max(0)).unwrap_or(usize::MAX))
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Rem => "%",
        BinaryOp::Pow => "**",
    }
}

fn arithmetic(op: BinaryOp, a: &Value, b: &Value) -> Outcome<Value> {
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        let whole = match op {
            BinaryOp::Add => x.checked_add(y),
            BinaryOp::Sub => x.checked_sub(y),
            BinaryOp::Mul => x.checked_mul(y),
            BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem if y == 0 => {
                return Fail::new("division by zero");
            }
            BinaryOp::Div => return Ok(Value::Float(x as f64 / y as f64)),
            BinaryOp::FloorDiv => floor_div(x, y).map(|(quotient, _)| quotient),
            BinaryOp::Rem => floor_div(x, y).map(|(_, remainder)| remainder),
            BinaryOp::Pow if y < 0 => return power(x as f64, y as f64),
            BinaryOp::Pow => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        };
        return match whole {
            Some(value) => Ok(Value::Int(value)),
            None => Fail::new(format!("{x} {} {y} does not fit into 128 bits", symbol(op))),
        };
    }
    let (Some(x), Some(y)) = (a.as_float(), b.as_float()) else {
        return Fail::new(format!(
            "'{}' does not work on {} and {}",
            symbol(op),
            a.type_name(),
            b.type_name()
        ));
    };
    Ok(Value::Float(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem if y == 0.0 => {
            return Fail::new("division by zero");
        }
        BinaryOp::Div => x / y,
        BinaryOp::FloorDiv => ((x - floor_rem(x, y)) / y).round_ties_even(),
        BinaryOp::Rem => floor_rem(x, y),
        BinaryOp::Pow => return power(x, y),
    }))
}

fn power(x: f64, y: f64) -> Outcome<Value> {
    let result = libm::pow(x, y);
    if !result.is_finite() && x.is_finite() && y.is_finite() {
        return Fail::new(format!("{x} ** {y} has no finite value"));
    }
    Ok(Value::Float(result))
}

/// Quotient rounded down and the remainder with the divisor's sign. `None`: overflow.
fn floor_div(x: i128, y: i128) -> Option<(i128, i128)> {
    let (quotient, remainder) = (x.checked_div(y)?, x.checked_rem(y)?);
    if remainder != 0 && (remainder < 0) != (y < 0) {
        Some((quotient - 1, remainder + y))
    } else {
        Some((quotient, remainder))
    }
}

fn floor_rem(x: f64, y: f64) -> f64 {
    let remainder = x % y;
    if remainder == 0.0 {
        0.0f64.copysign(y)
    } else if (remainder < 0.0) != (y < 0.0) {
        remainder + y
    } else {
        remainder
    }
}

/// `format % args` with the conversions s, r, d, i and f, without flags but with a precision.
pub(super) fn percent_format(format: &str, args: &Value, meter: &mut Meter) -> Outcome<Value> {
    let mut values = match args {
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => args.iterate(meter)?,
        single => vec![single.clone()],
    }
    .into_iter();
    let mut out = String::new();
    let plain = format.find('%').unwrap_or(format.len());
    push(&mut out, &format[..plain], meter)?;
    let mut rest = &format[plain..];
    while let Some(spec) = rest.strip_prefix('%') {
        meter.steps(1)?;
        let conversion = spec.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(spec.len());
        let Some(kind) = spec[conversion..].chars().next() else {
            return Fail::new("a format ends in the middle of a conversion");
        };
        let precision = spec[..conversion].strip_prefix('.').and_then(|p| p.parse::<usize>().ok());
        if kind == '%' {
            push(&mut out, "%", meter)?;
        } else {
            let Some(value) = values.next() else {
                return Fail::new("a format has more conversions than arguments");
            };
            match (kind, precision) {
                ('s', None) if conversion == 0 => write_str(&value, &mut out, meter)?,
                ('r', None) if conversion == 0 => write_repr(&value, &mut out, meter)?,
                ('d' | 'i', None) if conversion == 0 => match (value.as_int(), value.as_float()) {
                    (Some(i), _) => push(&mut out, &i.to_string(), meter)?,
                    (None, Some(f)) => push(&mut out, &(f as i128).to_string(), meter)?,
                    _ => return Fail::new(format!("'%d' needs a number, not {}", value.type_name())),
                },
                ('f', precision) if conversion == 0 || precision.is_some_and(|p| p <= 30) => {
                    let Some(f) = value.as_float() else {
                        return Fail::new(format!("'%f' needs a number, not {}", value.type_name()));
                    };
                    push(&mut out, &format!("{f:.*}", precision.unwrap_or(6)), meter)?;
                }
                _ => {
                    return Fail::new(format!(
                        "the conversion '%{}{kind}' is not supported",
                        &spec[..conversion]
                    ));
                }
            }
        }
        let tail = &spec[conversion + kind.len_utf8()..];
        let plain = tail.find('%').unwrap_or(tail.len());
        push(&mut out, &tail[..plain], meter)?;
        rest = &tail[plain..];
    }
    // What could be looked up by name need not be used up.
    let lookup = match args {
        Value::Seq(seq) => seq.kind != SeqKind::Tuple,
        other => matches!(other, Value::Dict(_)),
    };
    if values.next().is_some() && !lookup {
        return Fail::new("a format has fewer conversions than arguments");
    }
    Ok(Value::str(out))
}

/// `~`: the texts of all values, joined.
pub(super) fn concat(values: &[Value], meter: &mut Meter) -> Outcome<Value> {
    let mut out = String::new();
    for value in values {
        write_str(value, &mut out, meter)?;
    }
    Ok(Value::str(out))
}

pub(super) fn equal(a: &Value, b: &Value, meter: &mut Meter) -> Outcome<bool> {
    meter.steps(1)?;
    Ok(match (a, b) {
        (Value::Undefined, Value::Undefined) | (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => {
            meter.scan(a.len().min(b.len()))?;
            a == b
        }
        (Value::Seq(a), Value::Seq(b)) => {
            if a.kind != b.kind || a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (x, y) in a.items.iter().zip(&b.items) {
                if !equal(x, y, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, x) in &a.entries {
                match dict_get(b, key, meter)? {
                    Some(y) if equal(x, y, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Namespace(a), Value::Namespace(b)) | (Value::Macro(a), Value::Macro(b)) => a == b,
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Loop(a), Value::Loop(b)) => a == b,
        _ => match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => x == y,
            _ => matches!((a.as_float(), b.as_float()), (Some(x), Some(y)) if x == y),
        },
    })
}

pub(super) fn dict_get<'d>(dict: &'d Dict, key: &Value, meter: &mut Meter) -> Outcome<Option<&'d Value>> {
    if let Value::Str(key) = key {
        return dict.get_str(key, meter);
    }
    for (found, value) in &dict.entries {
        if equal(found, key, meter)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The order of two values, as `<` and `sort` see it. `None`: unordered numbers (NaN).
pub(super) fn order(a: &Value, b: &Value, meter: &mut Meter) -> Outcome<Option<Ordering>> {
    meter.steps(1)?;
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => {
            meter.scan(a.len().min(b.len()))?;
            return Ok(Some(a.cmp(b)));
        }
        (Value::Seq(a), Value::Seq(b))
            if a.kind == b.kind && matches!(a.kind, SeqKind::List | SeqKind::Tuple) =>
        {
            for (x, y) in a.items.iter().zip(&b.items) {
                if !equal(x, y, meter)? {
                    return order(x, y, meter);
                }
            }
            return Ok(Some(a.items.len().cmp(&b.items.len())));
        }
        _ => {}
    }
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return Ok(Some(x.cmp(&y)));
    }
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => Ok(x.partial_cmp(&y)),
        _ => Fail::new(format!("{} and {} have no order", a.type_name(), b.type_name())),
    }
}

/// `needle in haystack`.
pub(super) fn contains(haystack: &Value, needle: &Value, meter: &mut Meter) -> Outcome<bool> {
    match haystack {
        Value::Undefined => Ok(false),
        Value::Str(text) => match needle {
            Value::Str(needle) => {
                meter.scan(text.len())?;
                Ok(text.contains(&**needle))
            }
            other => Fail::new(format!("'in' a text needs a text, not {}", other.type_name())),
        },
        Value::Seq(seq) => {
            for item in &seq.items {
                if equal(item, needle, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Dict(_) if !needle.is_hashable() => {
            Fail::new(format!("a value of type {} cannot be a key", needle.type_name()))
        }
        Value::Dict(dict) => Ok(dict_get(dict, needle, meter)?.is_some()),
        other => Fail::new(format!("'in' does not work on {}", other.type_name())),
    }
}

pub(super) fn compare(op: CompareOp, a: &Value, b: &Value, meter: &mut Meter) -> Outcome<bool> {
    Ok(match op {
        CompareOp::Eq => equal(a, b, meter)?,
        CompareOp::Ne => !equal(a, b, meter)?,
        CompareOp::In => contains(b, a, meter)?,
        CompareOp::NotIn => !contains(b, a, meter)?,
        CompareOp::Lt => order(a, b, meter)? == Some(Ordering::Less),
        CompareOp::Le => matches!(order(a, b, meter)?, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Gt => order(a, b, meter)? == Some(Ordering::Greater),
        CompareOp::Ge => matches!(order(a, b, meter)?, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// `base[index]` for anything but text keys that name an attribute; what is missing is undefined.
pub(super) fn item(base: &Value, index: &Value, meter: &mut Meter) -> Outcome<Option<Value>> {
    match base {
        Value::Dict(dict) => Ok(dict_get(dict, index, meter)?.cloned()),
        Value::Seq(seq) => match index.as_int() {
            Some(i) if has_index(seq) => Ok(position(i, seq.items.len()).map(|i| seq.items[i].clone())),
            _ => Ok(None),
        },
        Value::Str(s) => {
            let Some(i) = index.as_int() else { return Ok(None) };
            meter.scan(s.len())?;
            let len = if s.is_ascii() { s.len() } else { s.chars().count() };
            let c = position(i, len).and_then(|i| s.chars().nth(i));
            Ok(c.map(|c| Value::str(c.encode_utf8(&mut [0; 4]) as &str)))
        }
        _ => Ok(None),
    }
}

fn has_index(seq: &Seq) -> bool {
    matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range)
}

fn position(index: i128, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i128)? } else { index };
    usize::try_from(index).ok().filter(|&i| i < len)
}

/// `base[start:stop:step]`.
pub(super) fn slice(base: &Value, parts: [Option<Value>; 3], meter: &mut Meter) -> Outcome<Value> {
    let mut bounds = [None; 3];
    for (bound, part) in bounds.iter_mut().zip(&parts) {
        match part {
            None | Some(Value::None) => {}
            Some(value) => match value.as_int() {
                Some(i) => *bound = Some(i),
                None => return Fail::new(format!("a slice needs whole numbers, not {}", value.type_name())),
            },
        }
    }
    match base {
        Value::Seq(seq) if has_index(seq) => {
            let positions = slice_positions(seq.items.len(), bounds)?;
            meter.values(positions.len())?;
            Value::seq(seq.kind, positions.map(|i| seq.items[i].clone()).collect())
        }
        Value::Str(s) => {
            meter.bytes(s.len() * 4)?;
            let chars: Vec<char> = s.chars().collect();
            Ok(Value::str(slice_positions(chars.len(), bounds)?.map(|i| chars[i]).collect::<String>()))
        }
        other => Fail::new(format!("a value of type {} cannot be sliced", other.type_name())),
    }
}

/// The positions that a slice visits, in order.
fn slice_positions(
    len: usize,
    [start, stop, step]: [Option<i128>; 3],
) -> Outcome<impl ExactSizeIterator<Item = usize>> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Fail::new("a slice has a step of zero");
    }
    let n = len as i128;
    let (lowest, highest) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let clamp = |bound: Option<i128>, default| match bound {
        None => default,
        Some(b) if b < 0 => b.saturating_add(n).max(lowest),
        Some(b) => b.min(highest),
    };
    let (start, stop) = if step > 0 {
        (clamp(start, lowest), clamp(stop, highest))
    } else {
        (clamp(start, highest), clamp(stop, lowest))
    };
    // With both ends inside -1..=len the step can be cut to that range too.
    let step = step.clamp(-(n + 1), n + 1);
    let span = if step > 0 { stop - start } else { start - stop };
    let count = if span <= 0 { 0 } else { (span - 1) / step.abs() + 1 };
    Ok((0..count as usize).map(move |k| (start + k as i128 * step) as usize))
}
