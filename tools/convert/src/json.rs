//! JSON files of a checkpoint, read with errors that name the file and the key.

use crate::error::{Result, invalid, io_error};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A tokenizer.json of Qwen has 11 MB; anything beyond this is not a file of a checkpoint.
const MAX_BYTES: u64 = 256 << 20;

/// A JSON object and where it came from: a file, or a part of one ("config.json: rope_scaling").
pub(crate) struct Object {
    pub place: String,
    map: Map<String, Value>,
}

/// The bytes of `dir/name`, or `None` if there is no such file.
pub(crate) fn read_bytes(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", &path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return invalid(format!("{name} is larger than {MAX_BYTES} bytes"));
    }
    Ok(Some(bytes))
}

/// The text of `dir/name`, or `None` if there is no such file.
pub(crate) fn read_text(dir: &Path, name: &str) -> Result<Option<String>> {
    let Some(bytes) = read_bytes(dir, name)? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(e) => invalid(format!("{name} is not UTF-8 at byte {}", e.utf8_error().valid_up_to())),
    }
}

impl Object {
    /// For tests: an object in the text of a file.
    #[cfg(test)]
    pub(crate) fn of(place: &str, text: &str) -> Object {
        Object { place: place.to_string(), map: serde_json::from_str(text).unwrap() }
    }

    /// The object in `dir/name`, or `None` if there is no such file.
    pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<Object>> {
        match read_text(dir, name)? {
            None => Ok(None),
            Some(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(map)) => Ok(Some(Object { place: name.to_string(), map })),
                Ok(other) => invalid(format!("{name} holds {}, not an object", kind(&other))),
                Err(e) => invalid(format!("{name} is not JSON: {e}")),
            },
        }
    }

    /// This object with the entries of another over its own.
    pub(crate) fn under(mut self, other: Object) -> Object {
        self.map.extend(other.map);
        self
    }

    /// The value of `key`; `null` counts as absent, as it does in Hugging Face configurations.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.map.iter()
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        pick: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.map.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => match pick(value) {
                Some(found) => Ok(Some(found)),
                None => invalid(format!("{}: {key} must be {wanted}, found {}", self.place, kind(value))),
            },
        }
    }

    pub(crate) fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number that is not negative", Value::as_u64)
    }

    pub(crate) fn i32(&self, key: &str) -> Result<Option<i32>> {
        self.typed(key, "a whole number of 32 bits", |v| v.as_i64().and_then(|n| i32::try_from(n).ok()))
    }

    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number", |v| v.as_f64().map(|x| x as f32).filter(|x| x.is_finite()))
    }

    pub(crate) fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn array(&self, key: &str) -> Result<Option<&Vec<Value>>> {
        self.typed(key, "an array", Value::as_array)
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Object>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Object { place: format!("{}: {key}", self.place), map: map.clone() }))
    }

    /// `Ok` only if the key is there.
    pub(crate) fn need<T>(&self, key: &str, found: Result<Option<T>>) -> Result<T> {
        match found? {
            Some(value) => Ok(value),
            None => invalid(format!("{}: {key} is missing", self.place)),
        }
    }
}

/// A value in words for a message: short, on one line, whatever it holds.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => quote(s),
        Value::Array(a) => format!("an array of {}", a.len()),
        Value::Object(_) => "an object".into(),
    }
}

/// Untrusted text for a message: quoted, escaped, cut to 80 characters.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
