//! What several dialects ask of a request's fields besides their types.

use serde_json::Value;

use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::http::Fields;

/// Texts that may end an answer; each costs time at every token.
const MOST_STOPS: usize = 64;

impl Fields {
    /// A field that stays, whatever it is.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map().get(key).filter(|value| !value.is_null())
    }

    /// A text that must be there.
    pub(crate) fn need_text(&mut self, key: &str) -> Result<String, Failure> {
        let text = self.text(key)?;
        self.need(key, text)
    }

    /// Something that must be there.
    pub(crate) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| self.bad(key, "missing"))
    }

    /// What is said about a field that cannot be used.
    pub(crate) fn bad(&self, key: &str, message: impl std::fmt::Display) -> Failure {
        let name = self.name(key);
        Failure::invalid(&name, format!("{name}: {message}"))
    }

    /// What is said about a field that is not one of the words that are known there.
    pub(crate) fn unknown(&self, key: &str, word: &str, known: &str) -> Failure {
        self.bad(key, format_args!("expected {known}, found \"{word}\""))
    }

    /// The objects of a list; an absent list has none.
    pub(crate) fn entries(&mut self, key: &str) -> Result<Vec<Fields>, Failure> {
        let items = self.list(key)?.unwrap_or_default();
        self.objects(key, items)
    }

    /// `items` of the list `key`, which must be objects.
    pub(crate) fn objects(&self, key: &str, items: Vec<Value>) -> Result<Vec<Fields>, Failure> {
        let object = |(i, item)| Fields::of(item, &format!("{}[{i}]", self.name(key)));
        items.into_iter().enumerate().map(object).collect()
    }

    /// A text or texts that end the answer; empty ones end nothing.
    pub(crate) fn stops(&mut self, key: &str) -> Result<Vec<String>, Failure> {
        let stops = self.texts(key, MOST_STOPS)?.unwrap_or_default();
        Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
    }
}

/// How hard the model should think, in the words that all dialects share: `none` is not at all. Templates that know of
/// grades see the word as `reasoning_effort`.
pub(crate) fn set_effort(request: &mut ChatRequest, effort: &str) {
    request.thinking = Some(effort != "none");
    if effort != "none" {
        request.template_kwargs.insert("reasoning_effort".to_owned(), effort.into());
    }
}

/// The fields of a literal, for tests.
#[cfg(test)]
pub(crate) fn fields(value: Value) -> Fields {
    match value {
        Value::Object(map) => Fields::new(map),
        other => panic!("{other} is no object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_say_where_they_are() {
        let mut body = fields(json!({"list": [{"x": 1}, 2], "stop": ["a", "", "b"], "many": vec!["x"; 65]}));
        assert_eq!(body.need_text("gone").unwrap_err().message, "gone: missing");
        assert_eq!(body.entries("list").unwrap_err().message, "list[1]: expected an object, found 2");
        assert_eq!(body.stops("stop").unwrap(), ["a", "b"]);
        assert_eq!(body.stops("many").unwrap_err().message, "many: 65 texts, at most 64 are taken");
        let mut body = fields(json!({"list": [{"x": 1}]}));
        let failure = body.entries("list").unwrap()[0].text("x").unwrap_err();
        assert_eq!(failure.param.as_deref(), Some("list[0].x"));
        assert!(body.entries("list").unwrap().is_empty());
    }

    #[test]
    fn effort_is_thinking_and_a_word_for_templates() {
        let mut request = ChatRequest::default();
        set_effort(&mut request, "low");
        assert_eq!(
            (request.thinking, &request.template_kwargs["reasoning_effort"]),
            (Some(true), &json!("low"))
        );
        let mut request = ChatRequest::default();
        set_effort(&mut request, "none");
        assert_eq!((request.thinking, request.template_kwargs.len()), (Some(false), 0));
    }
}
