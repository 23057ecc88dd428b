//! Keeps text from outside from becoming control tokens.
//!
//! A prompt is encoded as a whole, with the control tokens that its template wrote. A message that spells one out could
//! end its own turn and speak in another role. So a mark is put inside each of them before rendering, and the prompt
//! is cut there again before it is encoded: what it spelt is then text.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{ChatError, Message};
use crate::tokenizer::{Special, Tokenizer};

/// Messages and tools that are safe to render, and the way from the prompt to its tokens.
#[derive(Debug)]
pub struct Guarded {
    messages: Vec<Message>,
    tools: Vec<Value>,
    /// A character that no message holds; none if there was nothing to mark.
    mark: Option<char>,
}

impl Guarded {
    /// Marks the control tokens in every text of `messages` and `tools`, keys included.
    ///
    /// # Errors
    /// [`ChatError::Messages`] if they contain a control token and all 65534 characters that a mark could be.
    pub fn new(tokenizer: &Tokenizer, messages: &[Message], tools: &[Value]) -> Result<Guarded, ChatError> {
        let (mut messages, mut tools) = (messages.to_vec(), tools.to_vec());
        let mut texts = Vec::new();
        messages.iter().for_each(|message| texts_of_map(message.as_map(), &mut texts));
        tools.iter().for_each(|tool| texts_of(tool, &mut texts));
        let mut mark = None;
        if texts.iter().any(|text| tokenizer.find_control(text).is_some()) {
            let used: HashSet<char> = texts.iter().flat_map(|text| text.chars()).collect();
            let free = ('\u{f0000}'..='\u{ffffd}').find(|c| !used.contains(c)).ok_or_else(|| {
                ChatError::Messages("the messages use every private-use character of a plane".into())
            })?;
            mark = Some(free);
            let marked = |value: &Value| map_texts(value, &|text| with_marks(tokenizer, text, free));
            tools = tools.iter().map(marked).collect();
            messages = messages
                .iter()
                .map(|message| match marked(&Value::Object(message.as_map().clone())) {
                    Value::Object(map) => Message::from_map(map),
                    _ => message.clone(),
                })
                .collect();
        }
        Ok(Guarded { messages, tools, mark })
    }

    /// What the template is to see.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What the template is to see.
    pub fn tools(&self) -> &[Value] {
        &self.tools
    }

    /// The tokens of the prompt that a template made of these messages and tools, as of the beginning of a sequence.
    pub fn encode(&self, tokenizer: &Tokenizer, prompt: &str) -> Vec<u32> {
        let mut parts = prompt.split(|c| Some(c) == self.mark);
        let mut ids = tokenizer.encode_with_bos(parts.next().unwrap_or(""), Special::Parse);
        for part in parts {
            ids.extend(tokenizer.encode_part(part, Special::Parse, false));
        }
        ids
    }

    /// The prompt without the marks, for people to read.
    pub fn text(&self, prompt: &str) -> String {
        prompt.replace(|c| Some(c) == self.mark, "")
    }
}

/// `text` with the mark behind the first character of every control token, so that no part between marks holds one.
fn with_marks(tokenizer: &Tokenizer, text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = tokenizer.find_control(rest) {
        let cut = found.start + rest[found.start..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[..cut]);
        out.push(mark);
        rest = &rest[cut..];
    }
    out + rest
}

fn texts_of<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, out)),
        Value::Object(map) => texts_of_map(map, out),
        _ => {}
    }
}

fn texts_of_map<'a>(map: &'a Map<String, Value>, out: &mut Vec<&'a str>) {
    for (key, value) in map {
        out.push(key);
        texts_of(value, out);
    }
}

fn map_texts(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| map_texts(item, change)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (change(key), map_texts(value, change)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}
