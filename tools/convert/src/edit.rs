//! Changes to the metadata of a GGUF file.

use crate::error::{ConvertError, Result, invalid};
use crate::json::quote;
use qwip_quant::gguf::{Gguf, Set, Value};
use std::str::FromStr;

/// A change to one key.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// Sets a key.
    Set {
        /// The key.
        key: String,
        /// The value as text, perhaps with its type before it: `str:`, `int:`, `float:` or `bool:`.
        value: String,
    },
    /// Sets a key to a text, whatever it looks like.
    Text {
        /// The key.
        key: String,
        /// The text.
        value: String,
    },
    /// Takes a key out.
    Remove {
        /// The key.
        key: String,
    },
}

impl FromStr for Edit {
    type Err = ConvertError;

    /// Reads `KEY=VALUE`.
    fn from_str(text: &str) -> Result<Edit> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Edit::Set { key: key.into(), value: value.into() }),
            _ => invalid(format!("{} is not KEY=VALUE", quote(text))),
        }
    }
}

/// What a file's metadata becomes: values for keys, `None` for one that goes.
pub(crate) type Changes = Vec<(String, Option<Set>)>;

/// Gives each edit the type that its key has in `header`.
pub(crate) fn changes(edits: &[Edit], header: &Gguf) -> Result<Changes> {
    edits
        .iter()
        .map(|edit| match edit {
            Edit::Set { key, .. } | Edit::Text { key, .. } | Edit::Remove { key }
                if key.starts_with("split.") =>
            {
                invalid(format!(
                    "{} says how the files of a model belong together, and cannot be changed",
                    quote(key)
                ))
            }
            Edit::Text { key, value } => Ok((key.clone(), Some(Set::Str(value.clone())))),
            Edit::Set { key, value } => Ok((key.clone(), Some(typed(key, value, header.get(key))?))),
            Edit::Remove { key } => match header.get(key) {
                Some(_) => Ok((key.clone(), None)),
                None => invalid(format!("the file has no key {}", quote(key))),
            },
        })
        .collect()
}

/// `text` as a value like `old`, or of the type that it names.
fn typed(key: &str, text: &str, old: Option<&Value>) -> Result<Set> {
    let named = text.split_once(':').filter(|(ty, _)| ["str", "int", "float", "bool"].contains(ty));
    let (ty, text) = match (named, old) {
        (Some(named), _) => named,
        (None, Some(Value::Str(_))) => ("str", text),
        (None, Some(Value::F32(_) | Value::F64(_))) => ("float", text),
        (None, Some(Value::Bool(_))) => ("bool", text),
        (None, Some(Value::Array(_))) => {
            return invalid(format!("{} is an array, and cannot be set", quote(key)));
        }
        (None, Some(_)) => ("int", text),
        (None, None) => {
            return invalid(format!(
                "the file has no key {}: say of which type it is to be, as in {}",
                quote(key),
                quote(&format!("{key}=str:{text}"))
            ));
        }
    };
    let wrong = || ConvertError::Invalid(format!("{}: {} is not of type {ty}", quote(key), quote(text)));
    Ok(match ty {
        "str" => Set::Str(text.into()),
        "bool" => Set::Bool(text.parse().map_err(|_| wrong())?),
        "float" => {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            match old {
                Some(Value::F64(_)) => Set::F64(number),
                _ => Set::F32(number as f32),
            }
        }
        _ => integer(text.parse().map_err(|_| wrong())?, old).ok_or_else(|| {
            ConvertError::Invalid(format!(
                "{}: {text} does not fit the type that it has in the file",
                quote(key)
            ))
        })?,
    })
}

/// A number of the old value's type; where there is none, of u32 if it fits, or else of i64.
fn integer(number: i64, old: Option<&Value>) -> Option<Set> {
    Some(match old {
        Some(Value::U8(_)) => Set::U8(number.try_into().ok()?),
        Some(Value::I8(_)) => Set::I8(number.try_into().ok()?),
        Some(Value::U16(_)) => Set::U16(number.try_into().ok()?),
        Some(Value::I16(_)) => Set::I16(number.try_into().ok()?),
        Some(Value::U32(_)) => Set::U32(number.try_into().ok()?),
        Some(Value::I32(_)) => Set::I32(number.try_into().ok()?),
        Some(Value::U64(_)) => Set::U64(number.try_into().ok()?),
        Some(Value::I64(_)) => Set::I64(number),
        _ => u32::try_from(number).map_or(Set::I64(number), Set::U32),
    })
}
