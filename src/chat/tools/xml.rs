//! Calls as `<function=NAME>` with a `<parameter=NAME>` for each argument. Values are plain text; the tool's schema says
//! what they mean.

use std::collections::HashMap;

use serde_json::Value;

use super::{FUNCTION, OPEN, State, ToolPart, ToolSplitter, partial_tag};

const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const FUNCTION_END: &str = "</function>";
const TOOL_END: &str = "</tool_call>";
/// Names of more bytes are none.
const LONGEST_NAME: usize = 256;

/// What the parameters of the declared tools are.
#[derive(Debug)]
pub(super) struct Types(HashMap<String, HashMap<String, Kind>>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Json,
}

impl Types {
    pub(super) fn of(tools: &[Value]) -> Types {
        let properties = |tool: &Value| {
            let function = if tool["function"].is_object() { &tool["function"] } else { tool };
            let name = function["name"].as_str()?.to_owned();
            let properties = function["parameters"]["properties"].as_object();
            let kinds =
                properties.into_iter().flatten().map(|(name, schema)| (name.clone(), kind_of(schema)));
            Some((name, kinds.collect()))
        };
        Types(tools.iter().filter_map(properties).collect())
    }

    fn is_text(&self, tool: &str, name: &str) -> bool {
        self.0.get(tool).and_then(|kinds| kinds.get(name)).is_none_or(|kind| *kind == Kind::Text)
    }

    /// The JSON text of a value: what it spells, else a string.
    pub(super) fn json(&self, tool: &str, name: &str, value: &str) -> String {
        let trimmed = value.trim();
        let python = match trimmed {
            "True" => Some("true"),
            "False" => Some("false"),
            "None" => Some("null"),
            _ => None,
        };
        match serde_json::from_str::<Value>(python.unwrap_or(trimmed)) {
            Ok(found) if !self.is_text(tool, name) => found.to_string(),
            _ => Value::from(value).to_string(),
        }
    }
}

/// A parameter is text if its schema says so, or says nothing.
fn kind_of(schema: &Value) -> Kind {
    match &schema["type"] {
        Value::String(name) if name == "string" => Kind::Text,
        Value::String(_) | Value::Array(_) => Kind::Json,
        _ if ["anyOf", "oneOf", "allOf", "$ref"].iter().any(|key| schema.get(key).is_some()) => Kind::Json,
        _ if schema["enum"].as_array().is_some_and(|values| !values.iter().all(Value::is_string)) => {
            Kind::Json
        }
        _ => Kind::Text,
    }
}

/// The characters of a string, as they stand between the quotes of JSON.
pub(super) fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A value without the newline on either side.
pub(super) fn inner(text: &str) -> &str {
    let text = text.strip_prefix('\n').unwrap_or(text);
    text.strip_suffix('\n').unwrap_or(text)
}

impl ToolSplitter {
    /// At `<function=`: begins a call once its name is complete.
    pub(super) fn function(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let rest = &self.held[FUNCTION.len()..];
        match rest.find(['>', '\n']) {
            Some(end)
                if end <= LONGEST_NAME && rest[end..].starts_with('>') && !rest[..end].trim().is_empty() =>
            {
                let name = rest[..end].trim().to_owned();
                sink(ToolPart::Call { name: &name });
                self.begun(name);
                self.held.drain(..FUNCTION.len() + end + 1);
                self.state = State::Function { first: true };
                true
            }
            None if rest.len() <= LONGEST_NAME => {
                self.state = State::Opened;
                false
            }
            // Without `<tool_call>` it is text like any other.
            _ if !self.before.contains(OPEN) => {
                self.say(FUNCTION.len(), sink);
                self.state = State::Text;
                true
            }
            _ => {
                self.state = State::Whole(0);
                true
            }
        }
    }

    /// Between parameters: the next one, or the end of the function.
    pub(super) fn parameters(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let State::Function { first } = self.state else { return false };
        let parameter = self.held.find(PARAMETER);
        let ends = [
            self.held.find(FUNCTION_END).map(|at| (at, FUNCTION_END.len())),
            self.held.find(TOOL_END).map(|at| (at, 0)),
        ];
        let end = ends.into_iter().flatten().min();
        match (parameter, end) {
            (Some(at), end) if end.is_none_or(|(end, _)| at < end) => {
                let rest = &self.held[at + PARAMETER.len()..];
                let Some(len) = rest.find('>') else { return false };
                let name = rest[..len].trim().to_owned();
                let key = format!("{}{}: ", if first { "{" } else { ", " }, Value::from(name.as_str()));
                sink(ToolPart::Arguments(&key));
                let behind = at + PARAMETER.len() + len + 1;
                self.state = match self.types.is_text(&self.tool, &name) {
                    true => {
                        sink(ToolPart::Arguments("\""));
                        State::Verbatim { begun: false }
                    }
                    false => State::Typed { name, searched: 0 },
                };
                self.held.drain(..behind);
                true
            }
            (_, Some((at, len))) => {
                sink(ToolPart::Arguments(if first { "{}" } else { "}" }));
                self.held.drain(..at + len);
                self.state = State::Behind;
                true
            }
            _ => false,
        }
    }
    /// In a text: hands on what cannot be its end.
    pub(super) fn verbatim(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let State::Verbatim { begun } = &mut self.state else { return false };
        if self.held.is_empty() {
            return false;
        }
        if !*begun {
            *begun = true;
            if self.held.starts_with('\n') {
                self.held.remove(0);
            }
        }
        let end = self.held.find(PARAMETER_END);
        let partial = partial_tag(&self.held, PARAMETER_END);
        let value = &self.held[..end.unwrap_or(self.held.len() - partial)];
        let value = value.strip_suffix('\n').unwrap_or(value);
        if !value.is_empty() {
            sink(ToolPart::Arguments(&escaped(value)));
        }
        match end {
            Some(at) => {
                sink(ToolPart::Arguments("\""));
                self.held.drain(..at + PARAMETER_END.len());
                self.state = State::Function { first: false };
                true
            }
            None => {
                let len = value.len();
                self.held.drain(..len);
                false
            }
        }
    }

    /// In a value that is read as a whole.
    pub(super) fn typed(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let State::Typed { name, searched } = &mut self.state else { return false };
        let from = self.held.floor_char_boundary(searched.saturating_sub(PARAMETER_END.len()));
        let Some(at) = self.held[from..].find(PARAMETER_END) else {
            *searched = self.held.len();
            return false;
        };
        let at = from + at;
        let value = self.types.json(&self.tool, name, inner(&self.held[..at]));
        sink(ToolPart::Arguments(&value));
        self.held.drain(..at + PARAMETER_END.len());
        self.state = State::Function { first: false };
        true
    }
}
