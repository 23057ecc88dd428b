//! YAML as far as a model card needs it: texts, lists and mappings. Texts stay as they are written: a version `1.10` is
//! no number and the language `no` is not false.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// Tables of benchmark results, the deepest that cards hold, take eight levels.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
    /// What another place of the document says. It is not followed: ten lines of aliases can stand for a
    /// billion texts.
    Alias,
}

impl Node {
    /// In words, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "empty",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
            Node::Alias => "an alias",
        }
    }
}

/// The one document in `text`; an empty one is [`Node::Null`]. Of equal keys the last counts.
///
/// # Errors
/// What is wrong, in words, on one line.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| at(e.marker().line(), e.info()))?;
        let fault = |what: &str| at(span.start.line(), what);
        let node = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MAX_DEPTH => {
                return Err(fault("it is nested too deep"));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(BTreeMap::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Node::List(list),
                Some(Open::Map(map, _)) => Node::Map(map),
                None => return Err(fault("an end without a beginning")),
            },
            Event::Alias(_) => Node::Alias,
            Event::Scalar(text, ScalarStyle::Plain, ..)
                if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") =>
            {
                Node::Null
            }
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            _ => continue,
        };
        match open.last_mut() {
            Some(Open::List(list)) => list.push(node),
            Some(Open::Map(map, key)) => match (key.take(), node) {
                (Some(key), node) => {
                    map.insert(key, node);
                }
                (None, Node::Text(text)) => *key = Some(text),
                (None, other) => return Err(fault(&format!("a key is {}, not text", other.kind()))),
            },
            None if root.is_none() => root = Some(node),
            None => return Err(fault("a second document begins")),
        }
    }
    Ok(root.unwrap_or(Node::Null))
}

/// A list or mapping that has begun; of a mapping also the key whose value comes next.
enum Open {
    List(Vec<Node>),
    Map(BTreeMap<String, Node>, Option<String>),
}

fn at(line: usize, what: &str) -> String {
    format!("line {line}: {}", what.replace(char::is_control, " "))
}
