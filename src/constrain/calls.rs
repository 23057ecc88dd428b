//! A grammar for calls of tools, for when the model must make one.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::Grammar;
use crate::chat::ToolFormat;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Tools that one answer may call.
const MOST_TOOLS: usize = 128;
/// Bytes of the grammar of all tools, which holds their schemas.
const MOST_GRAMMAR: usize = 512 << 10;
/// Parameters of a tool.
const MOST_PARAMETERS: usize = 128;
/// Longer texts may have any length.
const LONGEST_COUNTED: u64 = 1000;

impl Grammar {
    /// Calls of the given tools (OpenAI's `{"type": "function", "function": {..}}`), written as `format` says, with arguments
    /// that their schemas allow: one, or with `several` any number after each other. With `otherwise` the answer may also be
    /// JSON of that schema, and no call.
    ///
    /// # Errors
    /// [`Error::Constraint`] if there is no tool, one has no name, a schema is of no use, or all together are too large.
    pub fn tool_calls(
        tokenizer: &Tokenizer,
        format: ToolFormat,
        tools: &[Value],
        several: bool,
        otherwise: Option<&Value>,
    ) -> Result<Grammar> {
        if tools.is_empty() || tools.len() > MOST_TOOLS {
            let found = tools.len();
            return Err(Error::constraint(&format!(
                "{found} tools are declared, expected 1 to {MOST_TOOLS}"
            )));
        }
        // The tags are tokens of their own in newer vocabularies.
        let tag = |tag: &str| match tokenizer.find(tag) {
            Some(_) => tag.to_owned(),
            None => quoted(tag),
        };
        let (open, close) = (tag("<tool_call>"), tag("</tool_call>"));
        let mut rules = match otherwise {
            Some(schema) => format!("start: calls | answer\nanswer: {}\n", inline(schema)?),
            None => "start: calls\n".to_owned(),
        };
        let more = if several { format!(" ({} call)*", quoted("\n")) } else { String::new() };
        let bodies: Vec<String> = (0..tools.len()).map(|i| format!("body{i}")).collect();
        write(&mut rules, format_args!("calls: call{more}\n"))?;
        write(&mut rules, format_args!("call: {open} {} body {} {close}\n", quoted("\n"), quoted("\n")))?;
        write(&mut rules, format_args!("body: {}\n", bodies.join(" | ")))?;
        for (i, tool) in tools.iter().enumerate() {
            let function = if tool["function"].is_object() { &tool["function"] } else { tool };
            let Some(name) = function["name"].as_str().filter(|name| !name.is_empty()) else {
                return Err(Error::constraint(&format!("tool {} has no name", i + 1)));
            };
            match format {
                ToolFormat::Hermes => hermes(&mut rules, i, name, &function["parameters"])?,
                ToolFormat::Xml => xml(&mut rules, i, name, &function["parameters"])?,
            }
        }
        Ok(Grammar::calls(rules))
    }
}

/// `{"name": "f", "arguments": {..}}`, in the template's own spacing.
fn hermes(rules: &mut String, i: usize, name: &str, parameters: &Value) -> Result<()> {
    let begin = quoted(&format!("{{\"name\": {}, \"arguments\": ", Value::from(name)));
    write(rules, format_args!("body{i}: {begin} arguments{i} {}\n", quoted("}")))?;
    write(rules, format_args!("arguments{i}: {}\n", inline(&Value::Object(object(parameters)?))?))
}

/// `<function=f>`, and in the order of their declaration the parameters, each on lines of its own.
fn xml(rules: &mut String, i: usize, name: &str, parameters: &Value) -> Result<()> {
    let schema = object(parameters)?;
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    if properties.len() > MOST_PARAMETERS {
        let found = properties.len();
        let message = format!("tool '{name}' has {found} parameters, at most {MOST_PARAMETERS} are taken");
        return Err(Error::constraint(&message));
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(missing) = required.iter().find(|name| !properties.contains_key(**name)) {
        let message = format!("tool '{name}' requires the parameter '{missing}', which it does not declare");
        return Err(Error::constraint(&message));
    }
    let mut body = quoted(&format!("<function={name}>\n"));
    let mut values = String::new();
    for (j, (parameter, kind)) in properties.iter().enumerate() {
        let optional = if required.contains(&parameter.as_str()) { "" } else { "?" };
        write(&mut body, format_args!(" parameter{i}_{j}{optional}"))?;
        let begin = quoted(&format!("<parameter={parameter}>\n"));
        let end = quoted("\n</parameter>\n");
        let texts: Option<Vec<&str>> =
            kind["enum"].as_array().map(|values| values.iter().filter_map(Value::as_str).collect());
        match (kind["type"].as_str(), texts) {
            // Text stands there as it is.
            (None | Some("string"), Some(texts)) if !texts.is_empty() => {
                let texts: Vec<String> = texts.into_iter().map(quoted).collect();
                write(
                    &mut values,
                    format_args!("parameter{i}_{j}: {begin} ({}) {end}\n", texts.join(" | ")),
                )?;
            }
            (Some("string"), _) => {
                write(&mut values, format_args!("parameter{i}_{j}: {begin} value{i}_{j}\n"))?;
                // As many characters as the schema says, if it does; the parser counts them one by one.
                let most = kind["maxLength"].as_u64().filter(|most| *most <= LONGEST_COUNTED);
                let times = most.map_or("*".to_owned(), |most| format!("{{0,{most}}}"));
                write(&mut values, format_args!("value{i}_{j}[suffix={end}]: /(.|\\n){times}/\n"))?;
            }
            _ => {
                let mut kind = kind.as_object().cloned().unwrap_or_default();
                for definitions in ["$defs", "definitions"] {
                    if let Some(found) = schema.get(definitions) {
                        kind.insert(definitions.to_owned(), found.clone());
                    }
                }
                write(&mut values, format_args!("parameter{i}_{j}: {begin} value{i}_{j} {end}\n"))?;
                write(&mut values, format_args!("value{i}_{j}: {}\n", inline(&Value::Object(kind))?))?;
            }
        }
    }
    write(rules, format_args!("body{i}: {body} {}\n{values}", quoted("</function>")))
}

/// The schema of a tool's arguments, which are an object. A tool without one takes none.
fn object(parameters: &Value) -> Result<Map<String, Value>> {
    match parameters {
        Value::Null => Ok(Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), json!({})),
            ("additionalProperties".to_owned(), json!(false)),
        ])),
        Value::Object(schema) => {
            let mut schema = schema.clone();
            schema.entry("type").or_insert_with(|| json!("object"));
            Ok(schema)
        }
        other => {
            let kind = crate::chat::json_kind(other);
            Err(Error::constraint(&format!("a tool's parameters are {kind}, expected a JSON schema")))
        }
    }
}

/// A schema as a part of a grammar.
fn inline(schema: &Value) -> Result<String> {
    Ok(format!("%json {}", Grammar::embedded_schema(schema)?))
}

/// Text as a string of the grammar: those of JSON are.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Adds to a part of the grammar, and says so as soon as it is too large: definitions stand in it once for each parameter.
fn write(out: &mut String, text: std::fmt::Arguments<'_>) -> Result<()> {
    // Writing into a string does not fail.
    let _ = out.write_fmt(text);
    if out.len() > MOST_GRAMMAR {
        let bytes = out.len();
        let message =
            format!("the grammar of the tools has {bytes} bytes or more, at most {MOST_GRAMMAR} are read");
        return Err(Error::constraint(&message));
    }
    Ok(())
}
