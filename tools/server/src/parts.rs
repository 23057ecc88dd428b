//! What an answer consists of, for the dialects that send it as a list of blocks.

use qwip::chat::Delta;
use serde_json::{Map, Value};

/// A block of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// Thinking.
    Reasoning(String),
    /// Text for the user.
    Text(String),
    /// A call of a tool.
    Call {
        /// `call_` and 24 letters and digits.
        id: String,
        /// The tool.
        name: String,
        /// JSON text; broken off where the answer is.
        arguments: String,
    },
}

/// What a delta did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// Nothing: it was empty.
    Nothing,
    /// It belongs to the last part.
    Same,
    /// It began a new one.
    New,
}

/// The blocks in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<Part>);

impl Parts {
    /// Adds a delta.
    pub(crate) fn push(&mut self, delta: &Delta) -> Added {
        let new = match (delta, self.0.last_mut()) {
            (Delta::Reasoning(text) | Delta::Content(text), _) if text.is_empty() => return Added::Nothing,
            (Delta::Reasoning(more), Some(Part::Reasoning(text)))
            | (Delta::Content(more), Some(Part::Text(text)))
            | (Delta::Arguments { fragment: more, .. }, Some(Part::Call { arguments: text, .. })) => {
                text.push_str(more);
                return if more.is_empty() { Added::Nothing } else { Added::Same };
            }
            // Arguments come behind the beginning of their call, with nothing in between.
            (Delta::Arguments { .. }, _) => return Added::Nothing,
            (Delta::Reasoning(text), _) => Part::Reasoning(text.clone()),
            (Delta::Content(text), _) => Part::Text(text.clone()),
            (Delta::ToolCall { id, name, .. }, _) => {
                Part::Call { id: id.clone(), name: name.clone(), arguments: String::new() }
            }
        };
        self.0.push(new);
        Added::New
    }

    /// The blocks.
    pub(crate) fn all(&self) -> &[Part] {
        &self.0
    }

    /// Number of the last block.
    pub(crate) fn last_index(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

/// The object that arguments spell; none if they were broken off.
pub(crate) fn arguments_object(arguments: &str) -> Option<Map<String, Value>> {
    if arguments.trim().is_empty() { Some(Map::new()) } else { serde_json::from_str(arguments).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_become_blocks() {
        let call =
            |index: usize| Delta::ToolCall { index, id: format!("call_{index}"), name: "f".to_owned() };
        let fragment = |index, text: &str| Delta::Arguments { index, fragment: text.to_owned() };
        let text = |text: &str| Delta::Content(text.to_owned());
        let mut parts = Parts::default();
        let deltas = [
            (Delta::Reasoning("a".to_owned()), Added::New),
            (Delta::Reasoning("b".to_owned()), Added::Same),
            (text(""), Added::Nothing),
            (text("c"), Added::New),
            (call(0), Added::New),
            (fragment(0, "{"), Added::Same),
            (fragment(0, ""), Added::Nothing),
            (fragment(0, "}"), Added::Same),
            (call(1), Added::New),
            (text("d"), Added::New),
            (fragment(1, "{}"), Added::Nothing),
        ];
        for (delta, added) in deltas {
            assert_eq!(parts.push(&delta), added, "{delta:?}");
        }
        let made = |id: &str, arguments: &str| Part::Call {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
        };
        let text = |text: &str| Part::Text(text.to_owned());
        let want = [
            Part::Reasoning("ab".to_owned()),
            text("c"),
            made("call_0", "{}"),
            made("call_1", ""),
            text("d"),
        ];
        assert_eq!(parts.all(), want);
        assert_eq!(parts.last_index(), 4);
    }

    #[test]
    fn arguments_are_objects_or_broken() {
        assert_eq!(arguments_object(" "), Some(Map::new()));
        assert_eq!(arguments_object(r#"{"a": 1}"#).unwrap()["a"], 1);
        assert_eq!(arguments_object(r#"{"a": "#), None);
        assert_eq!(arguments_object("[]"), None);
    }
}
