//! The tests behind `is`.

use super::args::Args;
use super::ast::{BinaryOp, CompareOp};
use super::ops;
use super::value::{Fail, Meter, Outcome, SeqKind, Value};

/// Evaluates `value is name(args)`.
pub(super) fn test(value: &Value, name: &str, mut args: Args, meter: &mut Meter) -> Outcome<bool> {
    let comparison = match name {
        "eq" | "equalto" | "==" => Some(CompareOp::Eq),
        "ne" | "!=" => Some(CompareOp::Ne),
        "lt" | "lessthan" | "<" => Some(CompareOp::Lt),
        "le" | "<=" => Some(CompareOp::Le),
        "gt" | "greaterthan" | ">" => Some(CompareOp::Gt),
        "ge" | ">=" => Some(CompareOp::Ge),
        "in" => Some(CompareOp::In),
        _ => None,
    };
    let holds = match name {
        _ if comparison.is_some() => {
            let other = args.need(0, "other", name)?;
            ops::compare(comparison.unwrap_or(CompareOp::Eq), value, &other, meter)?
        }
        "defined" => !matches!(value, Value::Undefined),
        "undefined" => matches!(value, Value::Undefined),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // An undefined value has a length and can be iterated, as in jinja2.
        "sequence" => match value {
            Value::Seq(seq) => matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range),
            other => matches!(other, Value::Str(_) | Value::Dict(_) | Value::Undefined),
        },
        "iterable" => {
            matches!(
                value,
                Value::Str(_) | Value::Dict(_) | Value::Seq(_) | Value::Undefined | Value::Loop(_)
            )
        }
        "callable" => {
            matches!(
                value,
                Value::Macro(_) | Value::Function(_) | Value::Method(_) | Value::Loop(_) | Value::Undefined
            )
        }
        "escaped" => false,
        "sameas" => {
            let other = args.need(0, "other", name)?;
            std::mem::discriminant(value) == std::mem::discriminant(&other)
                && ops::equal(value, &other, meter)?
        }
        "odd" | "even" => {
            let remainder = ops::binary(BinaryOp::Rem, &number(value, name)?, &Value::Int(2), meter)?;
            ops::equal(&remainder, &Value::Int(i128::from(name == "odd")), meter)?
        }
        "divisibleby" => {
            let divisor = number(&args.need(0, "num", name)?, name)?;
            let remainder = ops::binary(BinaryOp::Rem, &number(value, name)?, &divisor, meter)?;
            ops::equal(&remainder, &Value::Int(0), meter)?
        }
        "lower" | "upper" => {
            let text = super::format::to_str(value, meter)?;
            meter.scan(text.len() * 2)?;
            let (lower, upper) = (text.chars().any(char::is_lowercase), text.chars().any(char::is_uppercase));
            if name == "lower" { lower && !upper } else { upper && !lower }
        }
        "filter" | "test" => match value {
            Value::Str(s) if name == "filter" => super::filters::NAMES.contains(&&**s),
            Value::Str(s) => NAMES.contains(&&**s),
            _ => false,
        },
        other => {
            let shown: String = other.chars().take(40).collect();
            return Fail::new(format!("there is no test '{shown}'"));
        }
    };
    args.finish(name)?;
    Ok(holds)
}

const NAMES: [&str; 39] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

fn number(value: &Value, name: &str) -> Outcome<Value> {
    match value.as_float() {
        Some(_) => Ok(value.clone()),
        None => Fail::new(format!("'{name}' needs a number, not {}", value.type_name())),
    }
}
