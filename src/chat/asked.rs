//! What is asked of an answer besides the conversation: whether it calls tools, what it looks like.

use serde_json::Value;

use super::tools;

/// Whether tools are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// The tools are not even declared to the model.
    None,
    /// At least one call.
    Required,
    /// A call of this one.
    Named(String),
}

/// What an answer must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Anything.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema(Value),
}

/// Behind every call.
pub const CALL_END: &str = tools::CLOSE;

/// The tools that the model is told of.
pub fn declared<'a>(tools: &'a [Value], choice: &ToolChoice) -> &'a [Value] {
    match choice {
        ToolChoice::None => &[],
        _ => tools,
    }
}

/// The text that ends the answer behind its first call, where the model decides whether it calls tools and `several` calls
/// are not wanted. Where a call is required, the grammar knows of one alone.
pub fn call_stop(tools: &[Value], choice: &ToolChoice, several: bool) -> Option<&'static str> {
    (*choice == ToolChoice::Auto && !several && !tools.is_empty()).then_some(CALL_END)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_choice_says_what_is_declared_and_where_the_answer_stops() {
        let tools = [json!({"type": "function", "function": {"name": "f"}})];
        let named = ToolChoice::Named("f".to_owned());
        for choice in [ToolChoice::Auto, ToolChoice::Required, named.clone()] {
            assert_eq!(declared(&tools, &choice), tools);
        }
        assert!(declared(&tools, &ToolChoice::None).is_empty());
        assert_eq!(call_stop(&tools, &ToolChoice::Auto, false), Some("</tool_call>"));
        assert_eq!(call_stop(&tools, &ToolChoice::Auto, true), None);
        assert_eq!(call_stop(&[], &ToolChoice::Auto, false), None);
        for choice in [ToolChoice::None, ToolChoice::Required, named] {
            assert_eq!(call_stop(&tools, &choice, false), None);
        }
    }
}
