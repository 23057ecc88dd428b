//! Calls of tools in a model's answer, taken out while the text streams in.
//!
//! Qwen writes them in two forms, told apart by what follows `<tool_call>`: an object with `name` and `arguments`
//! (Hermes: Qwen2.5, Qwen3), or `<function=NAME>` with a `<parameter=NAME>` for each argument (XML: Qwen3-Coder, Qwen3.5).
//! What looks like a call and cannot be read as one stays text.

mod hermes;
mod xml;

use serde_json::{Map, Value};

use super::thinking::partial_tag;
use xml::Types;

const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";
const FUNCTION: &str = "<function=";

/// How a model writes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// `{"name": "f", "arguments": {"x": 1}}`.
    Hermes,
    /// `<function=f><parameter=x>1</parameter></function>`, each on a line of its own.
    Xml,
}

impl ToolFormat {
    /// The form that a chat template asks the model for.
    pub fn of_template(source: &str) -> ToolFormat {
        if source.contains(FUNCTION) { ToolFormat::Xml } else { ToolFormat::Hermes }
    }
}

/// A piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolPart<'a> {
    /// Text for the user; never empty.
    Text(&'a str),
    /// A call begins.
    Call {
        /// The tool.
        name: &'a str,
    },
    /// More of the arguments' JSON text, which belongs to the call that began last. Joined they are an object if
    /// the end says so.
    Arguments(&'a str),
    /// The call that began last ends.
    End {
        /// The model has closed the arguments, and joined they are a JSON object. Else it made mistakes or was cut short.
        complete: bool,
    },
}

#[derive(Debug)]
enum State {
    /// Outside.
    Text,
    /// Behind `<tool_call>`, or at a `<function=` without it, before it is clear what follows.
    Opened,
    /// In a Hermes object, before its arguments.
    Head,
    /// In an object that has to be read as a whole; so many bytes hold no end of it.
    Whole(usize),
    /// In the arguments of a Hermes object.
    Arguments(hermes::Scanner),
    /// Behind a Hermes object's arguments: nothing but the end should follow.
    Tail,
    /// Behind `</function>`: some models forget the closing tag, others the opening one.
    Behind,
    /// In a function, between its parameters.
    Function { first: bool },
    /// In a parameter whose text streams as a JSON string.
    Verbatim { begun: bool },
    /// In a parameter that is read as a whole; so many bytes hold no end of it.
    Typed { name: String, searched: usize },
}

/// Splits an answer into text and calls. All text that belongs to no call comes out exactly once and in order, however the
/// stream was cut, except for white space next to calls.
#[derive(Debug)]
pub struct ToolSplitter {
    state: State,
    held: String,
    /// What was read in front of `held` and is text if no call comes of it: newlines, and `<tool_call>`.
    before: String,
    /// Newlines that come now stand behind a call.
    behind_call: bool,
    /// Also `<function=` without `<tool_call>` is a call: some models forget it.
    bare: bool,
    types: Types,
    /// The tool that is being called.
    tool: String,
    /// Its arguments so far.
    arguments: String,
    calls: usize,
}

/// Heads of more bytes are read as a whole.
const LONGEST_HEAD: usize = 4096;

impl ToolSplitter {
    /// `tools` are the declared ones (OpenAI's objects), whose schemas say how the values of the XML form are read.
    pub fn new(format: ToolFormat, tools: &[Value]) -> ToolSplitter {
        ToolSplitter {
            state: State::Text,
            held: String::new(),
            before: String::new(),
            behind_call: false,
            bare: format == ToolFormat::Xml,
            types: Types::of(tools),
            tool: String::new(),
            arguments: String::new(),
            calls: 0,
        }
    }

    /// Calls that have begun.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Takes the next piece of the answer and hands on what is certain by now.
    pub fn push(&mut self, text: &str, sink: &mut impl FnMut(ToolPart<'_>)) {
        self.held.push_str(text);
        let mut arguments = std::mem::take(&mut self.arguments);
        self.work(false, &mut judging(&mut arguments, sink));
        self.arguments = arguments;
    }

    /// Hands on what was held back when the answer has ended. The splitter is then as new.
    pub fn finish(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) {
        let mut arguments = std::mem::take(&mut self.arguments);
        let sink = &mut judging(&mut arguments, sink);
        self.work(true, sink);
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => self.say(self.held.len(), sink),
            State::Opened | State::Head | State::Whole(_) => {
                if !self.whole(self.held.len(), sink) {
                    self.say(self.held.len(), sink);
                }
            }
            State::Arguments(_) => sink(ToolPart::End { complete: false }),
            State::Tail | State::Behind => sink(ToolPart::End { complete: true }),
            State::Function { first } => {
                sink(ToolPart::Arguments(if first { "{}" } else { "}" }));
                sink(ToolPart::End { complete: false });
            }
            State::Verbatim { .. } => {
                let value = self.held.strip_suffix('\n').unwrap_or(&self.held);
                sink(ToolPart::Arguments(&xml::escaped(value)));
                sink(ToolPart::Arguments("\"}"));
                sink(ToolPart::End { complete: false });
            }
            State::Typed { name, .. } => {
                let value = self.types.json(&self.tool, &name, xml::inner(&self.held));
                sink(ToolPart::Arguments(&value));
                sink(ToolPart::Arguments("}"));
                sink(ToolPart::End { complete: false });
            }
        }
        self.held.clear();
        self.before.clear();
        self.behind_call = false;
    }

    /// Works off all that can be decided (`last`: nothing more comes).
    fn work(&mut self, last: bool, sink: &mut impl FnMut(ToolPart<'_>)) {
        while self.step(last, sink) {}
    }

    /// Works off what can be decided next; true if the state changed and there is more to look at.
    fn step(&mut self, last: bool, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        match &mut self.state {
            State::Text => self.text(sink),
            State::Opened => {
                let trimmed = self.held.trim_start();
                if trimmed.is_empty() {
                    return false;
                }
                if trimmed.starts_with('{') {
                    self.state = State::Head;
                    return true;
                }
                if trimmed.starts_with(FUNCTION) {
                    let space = self.held.len() - trimmed.len();
                    self.before.extend(self.held.drain(..space));
                    return self.function(sink);
                }
                if FUNCTION.starts_with(trimmed) && !last {
                    return false;
                }
                self.state = State::Whole(0);
                true
            }
            State::Head => match hermes::head(&self.held) {
                hermes::Head::Incomplete if self.held.len() <= LONGEST_HEAD => false,
                hermes::Head::Arguments { name, at } => {
                    sink(ToolPart::Call { name: &name });
                    self.begun(name);
                    self.drop_to(at);
                    self.state = State::Arguments(hermes::Scanner::default());
                    true
                }
                _ => {
                    self.state = State::Whole(0);
                    true
                }
            },
            State::Whole(searched) => {
                let from = self.held.floor_char_boundary(searched.saturating_sub(CLOSE.len()));
                let Some(at) = self.held[from..].find(CLOSE) else {
                    *searched = self.held.len();
                    return false;
                };
                let at = from + at;
                if self.whole(at, sink) {
                    self.drop_to(at + CLOSE.len());
                } else {
                    self.say(at + CLOSE.len(), sink);
                }
                self.state = State::Text;
                true
            }
            State::Arguments(scanner) => {
                let (len, ended) = scanner.take(&self.held);
                if len > 0 {
                    sink(ToolPart::Arguments(&self.held[..len]));
                }
                self.drop_to(len);
                if ended {
                    self.state = State::Tail;
                }
                ended
            }
            State::Tail => {
                // Whatever stands between the object and the closing tag is of no use; some models forget the tag.
                let (close, open) = (self.held.find(CLOSE), self.held.find(OPEN));
                let Some(at) = close.map(|at| at + CLOSE.len()).into_iter().chain(open).min() else {
                    let kept = self.held.len().saturating_sub(CLOSE.len());
                    self.drop_to(self.held.floor_char_boundary(kept));
                    return false;
                };
                sink(ToolPart::End { complete: true });
                self.drop_to(at);
                self.state = State::Text;
                true
            }
            State::Behind => {
                let rest = self.held.trim_start();
                if CLOSE.starts_with(rest) && rest != CLOSE {
                    return false;
                }
                let len =
                    if rest.starts_with(CLOSE) { self.held.len() - rest.len() + CLOSE.len() } else { 0 };
                sink(ToolPart::End { complete: true });
                self.drop_to(len);
                self.state = State::Text;
                true
            }
            State::Function { .. } => self.parameters(sink),
            State::Verbatim { .. } => self.verbatim(sink),
            State::Typed { .. } => self.typed(sink),
        }
    }

    /// Outside of calls: hands on what cannot be the beginning of one, nor white space in front of one.
    fn text(&mut self, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let opened = self.held.find(OPEN).map(|at| (at, OPEN));
        let bare = self.held.find(FUNCTION).filter(|_| self.bare).map(|at| (at, FUNCTION));
        let tag = opened.into_iter().chain(bare).min_by_key(|(at, _)| *at);
        let (end, partial) = match tag {
            Some((at, _)) => (at, 0),
            None => {
                let function = if self.bare { partial_tag(&self.held, FUNCTION) } else { 0 };
                (self.held.len(), partial_tag(&self.held, OPEN).max(function))
            }
        };
        if self.behind_call {
            // Between calls there are newlines.
            let skipped = self.held[..end].len() - self.held[..end].trim_start_matches(['\n', '\r']).len();
            if skipped > 0 {
                self.drop_to(skipped);
                return true;
            }
        }
        let certain = self.held[..end - partial].trim_end_matches(['\n', '\r']).len();
        self.say(certain, sink);
        let Some((at, tag)) = tag else { return false };
        // Newlines in front of a call are none of the text's, once it is one.
        let tag_len = if tag == OPEN { OPEN.len() } else { 0 };
        self.before.extend(self.held.drain(..at - certain + tag_len));
        if tag == OPEN {
            self.state = State::Opened;
            return true;
        }
        self.function(sink)
    }

    /// Hands on as text what was read before and the first `len` bytes.
    fn say(&mut self, len: usize, sink: &mut impl FnMut(ToolPart<'_>)) {
        for text in [self.before.as_str(), &self.held[..len]] {
            if !text.is_empty() {
                sink(ToolPart::Text(text));
                self.behind_call = false;
            }
        }
        self.before.clear();
        self.drop_to(len);
    }

    /// A call has begun: what stood in front of it belongs to it.
    fn begun(&mut self, tool: String) {
        self.tool = tool;
        self.calls += 1;
        self.before.clear();
        self.behind_call = true;
    }

    /// Reads the first `len` bytes as an object with a name; false if they are none.
    fn whole(&mut self, len: usize, sink: &mut impl FnMut(ToolPart<'_>)) -> bool {
        let Some((name, arguments)) = hermes::whole(&self.held[..len]) else { return false };
        sink(ToolPart::Call { name: &name });
        sink(ToolPart::Arguments(&arguments));
        sink(ToolPart::End { complete: true });
        self.begun(name);
        true
    }

    fn drop_to(&mut self, at: usize) {
        self.held.drain(..at);
    }
}

/// A sink that reads the arguments along, so that a call which the model has closed is complete only if they are an object.
fn judging(arguments: &mut String, sink: &mut impl FnMut(ToolPart<'_>)) -> impl FnMut(ToolPart<'_>) {
    move |part| match part {
        ToolPart::Arguments(more) => {
            arguments.push_str(more);
            sink(part);
        }
        ToolPart::End { complete: closed } => {
            let complete = closed && serde_json::from_str::<Map<String, Value>>(arguments).is_ok();
            arguments.clear();
            sink(ToolPart::End { complete });
        }
        ToolPart::Text(_) | ToolPart::Call { .. } => sink(part),
    }
}

#[cfg(test)]
mod tests;
