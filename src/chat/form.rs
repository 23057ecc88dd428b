//! The form that an answer is held to, from what is asked of it.

use serde_json::{Value, json};

use super::{Format, ToolChoice, Voice, declared};
use crate::constrain::Grammar;

/// A part of a request that decides on the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormField {
    /// The declared tools.
    Tools,
    /// Whether they are called.
    ToolChoice,
    /// What the answer must look like.
    ResponseFormat,
}

impl FormField {
    /// OpenAI's name of it.
    pub fn name(self) -> &'static str {
        match self {
            FormField::Tools => "tools",
            FormField::ToolChoice => "tool_choice",
            FormField::ResponseFormat => "response_format",
        }
    }

    /// What the grammar of an answer is made of: at fault if no constraint can be made of the grammar.
    pub fn of_grammar(tools: &[Value], choice: &ToolChoice) -> FormField {
        match declared(tools, choice) {
            [] => FormField::ResponseFormat,
            _ => FormField::Tools,
        }
    }
}

/// A form that no answer can be held to. Shows as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FormError {
    /// What is at fault.
    pub field: FormField,
    /// What is wrong with it.
    pub message: String,
}

/// The form of the answer, if it is held to one: calls of `tools` if `choice` demands them, one alone or `several`; else the
/// `format`, in whose place the model may call the tools that it was told of.
///
/// # Errors
/// [`FormError`] if a call is required and there is nothing to call, or no grammar can be made of the tools.
pub fn answer_grammar(
    voice: &Voice,
    tools: &[Value],
    choice: &ToolChoice,
    several: bool,
    format: &Format,
) -> Result<Option<Grammar>, FormError> {
    let tools = declared(tools, choice);
    let calls = |tools: &[Value], otherwise: Option<&Value>| {
        Grammar::tool_calls(voice.tokenizer(), voice.tool_format(), tools, several, otherwise)
            .map(Some)
            .map_err(|error| FormError { field: FormField::Tools, message: error.to_string() })
    };
    let no_call = |message: String| Err(FormError { field: FormField::ToolChoice, message });
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            return no_call("a call is required, but no tools are declared".to_owned());
        }
        ToolChoice::Required => return calls(tools, None),
        ToolChoice::Named(name) => {
            let named: Vec<Value> =
                tools.iter().filter(|tool| name_of(tool) == Some(name)).cloned().collect();
            if named.is_empty() {
                return no_call(format!("there is no tool '{name}' among the {}", tools.len()));
            }
            return calls(&named, None);
        }
        ToolChoice::Auto | ToolChoice::None => {}
    }
    let schema = match format {
        Format::Text => return Ok(None),
        Format::JsonObject => json!({"type": "object"}),
        Format::JsonSchema(schema) => schema.clone(),
    };
    match tools.is_empty() {
        true => Ok(Some(Grammar::json_schema(&schema))),
        false => calls(tools, Some(&schema)),
    }
}

fn name_of(tool: &Value) -> Option<&String> {
    match &tool["function"]["name"] {
        Value::String(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{ModelFile, Tokenizer};

    /// That of the built-in model.
    fn voice() -> Voice {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/builtin/builtin.gguf");
        let file = ModelFile::open(&path, Default::default()).unwrap();
        let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).unwrap();
        Voice::new(&file, tokenizer).unwrap()
    }

    fn tool(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
    }

    #[test]
    fn the_choice_comes_before_the_format() {
        let (voice, tools) = (voice(), [tool("f"), tool("g")]);
        let schema = json!({"type": "array"});
        let format = Format::JsonSchema(schema.clone());
        let calls = |tools: &[Value], several, otherwise| {
            Some(
                Grammar::tool_calls(voice.tokenizer(), voice.tool_format(), tools, several, otherwise)
                    .unwrap(),
            )
        };
        let of = |tools: &[Value], choice: ToolChoice, several, format: &Format| {
            answer_grammar(&voice, tools, &choice, several, format).unwrap()
        };
        assert_ne!(calls(&tools, true, None), calls(&tools, false, None));
        for several in [true, false] {
            assert_eq!(of(&tools, ToolChoice::Required, several, &format), calls(&tools, several, None));
            let named = of(&tools, ToolChoice::Named("g".to_owned()), several, &format);
            assert_eq!(named, calls(&tools[1..], several, None));
            assert_eq!(of(&tools, ToolChoice::Auto, several, &format), calls(&tools, several, Some(&schema)));
            assert_eq!(of(&tools, ToolChoice::Auto, several, &Format::Text), None);
            let json = Some(Grammar::json_schema(&schema));
            assert_eq!(of(&tools, ToolChoice::None, several, &format), json);
            assert_eq!(of(&[], ToolChoice::Auto, several, &format), json);
            let object = of(&[], ToolChoice::Auto, several, &Format::JsonObject);
            assert_eq!(object, Some(Grammar::json_object()));
        }
    }

    #[test]
    fn errors_say_what_is_at_fault() {
        let voice = voice();
        let error = |tools: &[Value], choice: &ToolChoice| {
            let error = answer_grammar(&voice, tools, choice, true, &Format::JsonObject).unwrap_err();
            (error.field.name(), error.to_string())
        };
        let (required, named) = (ToolChoice::Required, ToolChoice::Named("h".to_owned()));
        let nothing = "a call is required, but no tools are declared".to_owned();
        assert_eq!(error(&[], &required), ("tool_choice", nothing));
        let tools = [tool("f"), tool("g")];
        let unknown = "there is no tool 'h' among the 2".to_owned();
        assert_eq!(error(&tools, &named), ("tool_choice", unknown));
        for choice in [ToolChoice::Auto, ToolChoice::Required] {
            let (field, message) = error(&[tool("f"), tool("")], &choice);
            assert!(field == "tools" && message.contains("tool 2 has no name"), "{field}: {message}");
        }
        assert_eq!(FormField::of_grammar(&tools, &ToolChoice::Auto).name(), "tools");
        assert_eq!(FormField::of_grammar(&tools, &ToolChoice::None).name(), "response_format");
        assert_eq!(FormField::of_grammar(&[], &ToolChoice::Auto).name(), "response_format");
    }
}
