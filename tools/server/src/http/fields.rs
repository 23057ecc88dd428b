//! Fields of a JSON object, strict about their types: a wrong one is an error that names it.

use std::fmt::Display;
use std::ops::RangeInclusive;

use qwip::chat::json_kind;
use serde_json::{Map, Value};

use crate::engine::Failure;

/// The fields of a request or of an object in it. `null` counts as left out, as OpenAI's clients send it.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// What stands before a name in messages: `stream_options.`.
    path: String,
}

impl Fields {
    pub(crate) fn new(map: Map<String, Value>) -> Fields {
        Fields { map, path: String::new() }
    }

    /// The fields of an object that is called `path` in messages.
    pub(crate) fn of(value: Value, path: &str) -> Result<Fields, Failure> {
        match value {
            Value::Object(map) => Ok(Fields { map, path: format!("{path}.") }),
            other => Err(wrong(path, "an object", &other)),
        }
    }

    /// A field's whole name.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// Takes a field out, whatever it is.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    fn taken<T>(
        &mut self,
        key: &str,
        wanted: impl Display,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| wrong(&self.name(key), wanted, &value))
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.name(key), "text", &other)),
        }
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        self.taken(key, "true or false", Value::as_bool)
    }

    /// A whole number; `5.0` is one, too.
    pub(crate) fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Failure> {
        let wanted = match *range.end() {
            i64::MAX => format!("a whole number of at least {}", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        let whole = |value: &Value| {
            let exact = |x: f64| (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
            value.as_i64().or_else(|| value.as_f64().and_then(exact)).filter(|n| range.contains(n))
        };
        self.taken(key, wanted, whole)
    }

    /// A number of things, at most `most`.
    pub(crate) fn count(&mut self, key: &str, most: usize) -> Result<Option<usize>, Failure> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Ok(self.integer(key, 0..=most)?.and_then(|n| usize::try_from(n).ok()))
    }

    pub(crate) fn number(&mut self, key: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, Failure> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        self.taken(key, wanted, |value| Some(value.as_f64()? as f32).filter(|x| range.contains(x)))
    }

    pub(crate) fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(wrong(&self.name(key), "a list", &other)),
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Fields>, Failure> {
        self.take(key).map(|value| Fields::of(value, &self.name(key))).transpose()
    }

    /// A text, or a list of at most `most` texts.
    pub(crate) fn texts(&mut self, key: &str, most: usize) -> Result<Option<Vec<String>>, Failure> {
        let (name, value) = (self.name(key), self.take(key));
        let items = match value {
            None => return Ok(None),
            Some(Value::String(text)) => return Ok(Some(vec![text])),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(&name, "text or a list of texts", &other)),
        };
        if items.len() > most {
            let count = items.len();
            return Err(Failure::invalid(&name, format!("{name}: {count} texts, at most {most} are taken")));
        }
        let text = |(i, item): (usize, Value)| match item {
            Value::String(text) => Ok(text),
            other => Err(wrong(&format!("{name}[{i}]"), "text", &other)),
        };
        items.into_iter().enumerate().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// What has not been taken yet.
    pub(crate) fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// What is left.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }
}

/// A field that is not what it should be. Values of the request are shown where they are short.
pub(crate) fn wrong(name: &str, wanted: impl Display, found: &Value) -> Failure {
    let found = match found {
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => json_kind(other).to_owned(),
    };
    Failure::invalid(name, format!("{name}: expected {wanted}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { panic!("no object") };
        Fields::new(map)
    }

    #[test]
    fn types_are_strict_and_null_is_nothing() {
        let mut f = fields(json!({"a": null, "b": "t", "c": 5.0, "d": 0.5, "e": ["x"], "g": "one"}));
        assert_eq!(f.text("a"), Ok(None));
        assert_eq!(f.text("b"), Ok(Some("t".into())));
        assert_eq!(f.count("c", 9), Ok(Some(5)));
        assert_eq!(f.number("d", 0.0..=1.0), Ok(Some(0.5)));
        assert_eq!(f.texts("e", 1), Ok(Some(vec!["x".into()])));
        assert_eq!(f.texts("g", 1), Ok(Some(vec!["one".into()])));
        assert!(f.into_map().is_empty());
    }

    #[test]
    fn a_wrong_field_is_named_with_what_it_should_be() {
        let mut f = fields(
            json!({"n": 9, "t": 3, "x": {"y": [1]}, "z": "9", "l": ["a", 1], "m": ["a", "b"], "i": 1e300}),
        );
        let says = |failure: Failure, param: &str, message: &str| {
            assert_eq!((failure.param.as_deref(), failure.message.as_str()), (Some(param), message));
        };
        says(f.count("n", 8).unwrap_err(), "n", "n: expected a whole number from 0 to 8, found 9");
        says(f.text("t").unwrap_err(), "t", "t: expected text, found 3");
        let mut x = f.object("x").unwrap().unwrap();
        says(x.flag("y").unwrap_err(), "x.y", "x.y: expected true or false, found a list");
        says(f.number("z", 0.0..=2.0).unwrap_err(), "z", "z: expected a number from 0 to 2, found text");
        says(f.texts("l", 4).unwrap_err(), "l[1]", "l[1]: expected text, found 1");
        says(f.texts("m", 1).unwrap_err(), "m", "m: 2 texts, at most 1 are taken");
        assert!(f.integer("i", i64::MIN..=i64::MAX).is_err());
    }
}
