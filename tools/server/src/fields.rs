//! The fields of a request, taken out one by one. A field that is null is absent, one of the wrong kind is named in the
//! error together with what it is and what it should be.

use qwip::chat::json_kind;
use serde_json::{Map, Value};

use crate::chat::ChatRequest;
use crate::engine::Failure;

/// Texts that may end an answer; each costs time at every token.
const MOST_STOPS: usize = 64;
/// Bytes of one: so much of an answer may have to wait until it is certain.
const LONGEST_STOP: usize = 1024;
/// Characters of an error.
const LONGEST_MESSAGE: usize = 300;

/// An object of a request.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Where it is: empty for the whole body.
    path: String,
}

impl<'a> Fields<'a> {
    /// The fields of the whole body.
    pub(crate) fn body(value: &'a Value) -> Result<Fields<'a>, Failure> {
        match value {
            Value::Object(map) => Ok(Fields { map, path: String::new() }),
            other => Err(Failure::invalid("", format!("the body is {}, not an object", json_kind(other)))),
        }
    }

    /// The fields of something inside, which is at `path`.
    pub(crate) fn inside(value: &'a Value, path: String) -> Result<Fields<'a>, Failure> {
        match value {
            Value::Object(map) => Ok(Fields { map, path }),
            other => {
                let message = format!("`{path}` is {}, not an object", json_kind(other));
                Err(Failure::invalid(&path, message))
            }
        }
    }

    /// Where a field is, as `messages[2].content`.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field, unless it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(crate) fn need<T>(&self, name: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| {
            let path = self.path(name);
            Failure::invalid(&path, format!("`{path}` is missing"))
        })
    }

    /// What is said about a field of the wrong kind.
    pub(crate) fn wrong(&self, name: &str, want: &str) -> Failure {
        let path = self.path(name);
        let found = self.map.get(name).map_or("missing", json_kind);
        Failure::invalid(&path, format!("`{path}` is {found}, not {want}"))
    }

    /// What is said about a field whose value does not fit.
    pub(crate) fn bad(&self, name: &str, message: impl std::fmt::Display) -> Failure {
        let path = self.path(name);
        let mut message = format!("`{path}` {message}");
        // It may repeat a word of the request, which may be as long as that.
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.replace_range(end.., "..");
        }
        Failure::invalid(&path, message)
    }

    fn take<T>(
        &self,
        name: &str,
        want: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(name, want)),
        }
    }

    /// What is said about a word that is not one of those that are known there.
    pub(crate) fn unknown(&self, name: &str, word: &str, known: &str) -> Failure {
        self.bad(name, format_args!("is \"{word}\": {known} are known"))
    }

    /// The objects of a list; an absent list has none.
    pub(crate) fn entries(&self, name: &str) -> Result<Vec<Fields<'a>>, Failure> {
        let list = self.list(name)?.iter().enumerate();
        list.map(|(index, value)| self.entry(name, index, value)).collect()
    }

    /// A text that must be there.
    pub(crate) fn need_text(&self, name: &str) -> Result<&'a str, Failure> {
        self.need(name, self.text(name)?)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.take(name, "text", Value::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.take(name, "true or false", Value::as_bool)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f32>, Failure> {
        self.take(name, "a number", |value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite()))
    }

    /// A whole number, which may be written as `5.0`.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Failure> {
        let read = |value: &Value| {
            let whole = value.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 9e15);
            value.as_i64().or_else(|| whole.map(|x| x as i64))
        };
        match self.take(name, "a whole number", read) {
            Err(_) if self.map[name].is_number() => {
                let (found, least, most) = (&self.map[name], i64::MIN, i64::MAX);
                Err(self.bad(name, format_args!("is {found}, not a whole number from {least} to {most}")))
            }
            result => result,
        }
    }

    /// A seed: 64 bits, with a sign or without; one is as good as any.
    pub(crate) fn seed(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.get(name).and_then(Value::as_u64) {
            None => Ok(self.integer(name)?.map(i64::cast_unsigned)),
            seed => Ok(seed),
        }
    }

    /// A whole number, 0 or more.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, Failure> {
        let Some(number) = self.integer(name)? else { return Ok(None) };
        match usize::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.bad(name, format_args!("is {number}, at least 0 is wanted"))),
        }
    }

    /// A list; an absent one is empty.
    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], Failure> {
        Ok(self.take(name, "a list", Value::as_array)?.map_or(&[], Vec::as_slice))
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, Failure> {
        self.get(name).map(|value| Fields::inside(value, self.path(name))).transpose()
    }

    /// Entry number `index` of the list `name`.
    pub(crate) fn entry(&self, name: &str, index: usize, value: &'a Value) -> Result<Fields<'a>, Failure> {
        Fields::inside(value, format!("{}[{index}]", self.path(name)))
    }

    /// One text or a list of texts that end the answer.
    pub(crate) fn stops(&self, name: &str) -> Result<Vec<String>, Failure> {
        let wrong = || self.wrong(name, "text or a list of texts");
        let stops: Vec<String> = match self.get(name) {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(list)) => {
                let texts = list.iter().map(|stop| stop.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        if stops.len() > MOST_STOPS {
            let found = stops.len();
            return Err(
                self.bad(name, format_args!("has {found} entries, at most {MOST_STOPS} are possible"))
            );
        }
        if let Some(long) = stops.iter().map(String::len).find(|&len| len > LONGEST_STOP) {
            let message = format_args!("has an entry of {long} bytes, at most {LONGEST_STOP} are possible");
            return Err(self.bad(name, message));
        }
        Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
    }
}

/// How hard the model should think, in the words that all dialects share: `none` and `minimal` are not at all. Templates that know of
/// grades see the word as `reasoning_effort`.
///
/// # Errors
/// A [`Failure`] that names the field, if it is not one of the words.
pub(crate) fn set_effort(fields: &Fields, name: &str, request: &mut ChatRequest) -> Result<(), Failure> {
    let Some(effort) = fields.text(name)? else { return Ok(()) };
    match effort {
        "none" | "minimal" => request.thinking = Some(false),
        "low" | "medium" | "high" | "xhigh" | "max" => {
            request.thinking = Some(true);
            request.template_kwargs.insert("reasoning_effort".to_owned(), effort.into());
        }
        other => return Err(fields.unknown(name, other, "none, minimal, low, medium, high, xhigh and max")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_read_and_faults_are_named() {
        let value = json!({
            "text": "a", "flag": true, "number": 0.5, "count": 3.0, "minus": -1, "list": [{"x": 1}], "none": null,
            "stop": ["a", "", "b"], "most": u64::MAX,
        });
        let fields = Fields::body(&value).unwrap();
        assert_eq!(fields.text("text").unwrap(), Some("a"));
        assert_eq!(fields.text("none").unwrap(), None);
        assert_eq!(fields.text("absent").unwrap(), None);
        assert_eq!(fields.flag("flag").unwrap(), Some(true));
        assert_eq!(fields.number("number").unwrap(), Some(0.5));
        assert_eq!(fields.count("count").unwrap(), Some(3));
        assert_eq!(fields.stops("stop").unwrap(), ["a", "b"]);
        assert_eq!(fields.stops("text").unwrap(), ["a"]);
        let message = |result: Result<Option<usize>, Failure>| result.unwrap_err().message;
        assert_eq!(message(fields.count("minus")), "`minus` is -1, at least 0 is wanted");
        assert_eq!(
            message(fields.count("number")),
            "`number` is 0.5, not a whole number from -9223372036854775808 to 9223372036854775807"
        );
        assert_eq!(fields.seed("minus").unwrap(), Some(u64::MAX));
        assert_eq!(fields.seed("most").unwrap(), Some(u64::MAX));
        assert!(fields.seed("number").is_err());
        assert_eq!(message(fields.count("text")), "`text` is text, not a whole number");
        let entry = fields.entry("list", 0, &value["list"][0]).unwrap();
        let failure = entry.text("x").unwrap_err();
        assert_eq!(failure.message, "`list[0].x` is a number, not text");
        assert_eq!(failure.param.as_deref(), Some("list[0].x"));
        assert_eq!(fields.need("gone", None::<u8>).unwrap_err().message, "`gone` is missing");
    }

    #[test]
    fn stops_are_bounded() {
        let value = json!({"stop": vec!["x"; 65], "other": [1], "long": "x".repeat(1025)});
        let fields = Fields::body(&value).unwrap();
        let message = fields.stops("stop").unwrap_err().message;
        assert_eq!(message, "`stop` has 65 entries, at most 64 are possible");
        let message = fields.stops("long").unwrap_err().message;
        assert_eq!(message, "`long` has an entry of 1025 bytes, at most 1024 are possible");
        assert!(fields.stops("other").is_err());
        assert!(Fields::body(&json!([])).is_err());
        assert_eq!(fields.bad("other", "é".repeat(9999)).message.chars().count(), 302);
    }
}
