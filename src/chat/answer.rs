//! An answer told apart as it comes: thinking, text, calls of tools.

use serde_json::Value;

use super::calls::Calls;
use super::{Part, Prompt, ThinkingSplitter, ToolFormat, Voice};

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Thinking.
    Reasoning(String),
    /// Text for the user.
    Content(String),
    /// Call number `index` of this answer begins.
    ToolCall {
        /// From 0.
        index: usize,
        /// `call_` and 24 letters and digits.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of the JSON text of that call's arguments.
    Arguments {
        /// The call's.
        index: usize,
        /// Joined they are a JSON object.
        fragment: String,
    },
}

/// Tells thinking, text and calls of tools apart while an answer comes: a [`ThinkingSplitter`], and behind it a
/// [`ToolSplitter`](super::ToolSplitter) where the model was told of tools. However the text is cut into pieces, the same
/// comes out.
pub struct AnswerSplitter {
    thinking: ThinkingSplitter,
    thought: String,
    calls: Option<Calls>,
}

impl AnswerSplitter {
    /// For one answer to `prompt`. `tools` are those that the model was told of (see [`declared`](super::declared)); if there
    /// are none, nothing is read as a call. With `whole` a call comes when it is complete, and what is broken or cut short is
    /// text; otherwise calls stream, whatever comes of them.
    pub fn new(voice: &Voice, prompt: &Prompt, tools: &[Value], whole: bool) -> AnswerSplitter {
        AnswerSplitter::of_parts(prompt.inside_thinking, voice.tool_format(), tools, whole)
    }

    fn of_parts(inside_thinking: bool, format: ToolFormat, tools: &[Value], whole: bool) -> AnswerSplitter {
        AnswerSplitter {
            thinking: ThinkingSplitter::new(inside_thinking),
            thought: String::new(),
            calls: (!tools.is_empty()).then(|| Calls::new(format, tools, whole)),
        }
    }

    /// Takes the next piece of the answer and adds what is certain by now.
    pub fn push(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        let AnswerSplitter { thinking, thought, calls } = self;
        thinking.push(text, &mut |part| split(part, thought, calls, deltas));
    }

    /// The answer has ended: adds what was held back.
    pub fn finish(&mut self, deltas: &mut Vec<Delta>) {
        let AnswerSplitter { thinking, thought, calls } = self;
        thinking.finish(&mut |part| split(part, thought, calls, deltas));
        if let Some(calls) = calls {
            calls.finish(deltas);
        }
    }

    /// Calls that have been handed out so far.
    pub fn calls(&self) -> usize {
        self.calls.as_ref().map_or(0, Calls::count)
    }

    /// All the thinking so far, for counting its tokens.
    pub fn thought(&self) -> &str {
        &self.thought
    }
}

fn split(part: Part<'_>, thought: &mut String, calls: &mut Option<Calls>, deltas: &mut Vec<Delta>) {
    match (part, calls) {
        (Part::Thinking(text), _) => {
            thought.push_str(text);
            deltas.push(Delta::Reasoning(text.to_owned()));
        }
        (Part::Answer(text), None) => deltas.push(Delta::Content(text.to_owned())),
        (Part::Answer(text), Some(calls)) => calls.push(text, deltas),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What comes of an answer in pieces of one character: thinking, content, and calls with their arguments.
    fn of(mut splitter: AnswerSplitter, text: &str) -> (String, String, Vec<(String, String)>) {
        let mut deltas = Vec::new();
        for (i, _) in text.char_indices() {
            splitter.push(&text[i..text.ceil_char_boundary(i + 1)], &mut deltas);
        }
        splitter.finish(&mut deltas);
        let (mut thought, mut content, mut calls) = (String::new(), String::new(), Vec::new());
        for delta in deltas {
            match delta {
                Delta::Reasoning(text) => thought += &text,
                Delta::Content(text) => content += &text,
                Delta::ToolCall { name, .. } => calls.push((name, String::new())),
                Delta::Arguments { index, fragment } => calls[index].1 += &fragment,
            }
        }
        assert_eq!((splitter.thought(), splitter.calls()), (thought.as_str(), calls.len()));
        (thought, content, calls)
    }

    #[test]
    fn thinking_text_and_calls_come_apart() {
        let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"城\": 1}}\n</tool_call>";
        let tools = [json!({"type": "function", "function": {"name": "f"}})];
        let calls = || vec![("f".to_owned(), "{\"城\": 1}".to_owned())];
        // A call in the thinking is none.
        let text = format!("Hm, {call}?\n</think>\n\nSo:{call}");
        for whole in [true, false] {
            let splitter = |inside| AnswerSplitter::of_parts(inside, ToolFormat::Hermes, &tools, whole);
            let want = (format!("Hm, {call}?"), "So:".to_owned(), calls());
            assert_eq!(of(splitter(true), &text), want);
            assert_eq!(of(splitter(false), &format!("<think>\n{text}")), want);
            // Thinking that never ends stays thinking.
            assert_eq!(of(splitter(true), "Hm"), ("Hm".to_owned(), String::new(), Vec::new()));
        }
    }

    #[test]
    fn without_tools_nothing_is_a_call() {
        let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
        let splitter = AnswerSplitter::of_parts(false, ToolFormat::Hermes, &[], true);
        assert_eq!(of(splitter, call), (String::new(), call.to_owned(), Vec::new()));
    }
}
