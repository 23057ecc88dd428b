//! Calls of tools in an answer, as they come or each as a whole.

use serde_json::Value;

use super::{Delta, ToolFormat, ToolPart, ToolSplitter, random_name};

/// Takes the calls out of one answer.
pub(super) struct Calls {
    splitter: ToolSplitter,
    state: State,
}

struct State {
    /// A call comes when it is complete; what is broken is text.
    whole: bool,
    /// Calls that have been handed out.
    count: usize,
    /// Of the call that is on its way, where whole ones are wanted.
    name: String,
    arguments: String,
}

impl Calls {
    pub(super) fn new(format: ToolFormat, tools: &[Value], whole: bool) -> Calls {
        let state = State { whole, count: 0, name: String::new(), arguments: String::new() };
        Calls { splitter: ToolSplitter::new(format, tools), state }
    }

    /// Calls that have been handed out.
    pub(super) fn count(&self) -> usize {
        self.state.count
    }

    pub(super) fn push(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        let Calls { splitter, state } = self;
        splitter.push(text, &mut |part| state.take(part, deltas));
    }

    /// The answer is over.
    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) {
        let Calls { splitter, state } = self;
        splitter.finish(&mut |part| state.take(part, deltas));
    }
}

impl State {
    fn take(&mut self, part: ToolPart<'_>, deltas: &mut Vec<Delta>) {
        match part {
            ToolPart::Text(text) => deltas.push(Delta::Content(text.to_owned())),
            ToolPart::Call { name } if self.whole => {
                name.clone_into(&mut self.name);
                self.arguments.clear();
            }
            ToolPart::Arguments(more) if self.whole => self.arguments.push_str(more),
            ToolPart::Call { name } => self.begin(name.to_owned(), deltas),
            ToolPart::Arguments(more) => self.more(more.to_owned(), deltas),
            ToolPart::End { complete: true } if self.whole => {
                let (name, arguments) = (std::mem::take(&mut self.name), std::mem::take(&mut self.arguments));
                self.begin(name, deltas);
                self.more(arguments, deltas);
            }
            // Nobody is to run a tool with arguments that are broken or cut short: it is said as text.
            ToolPart::End { complete: false } if self.whole => {
                let (name, arguments) = (Value::from(self.name.as_str()), &self.arguments);
                let text =
                    format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>");
                deltas.push(Delta::Content(text));
            }
            ToolPart::End { .. } => {}
        }
    }

    fn begin(&mut self, name: String, deltas: &mut Vec<Delta>) {
        let id = format!("call_{}", random_name(24));
        deltas.push(Delta::ToolCall { index: self.count, id, name });
        self.count += 1;
    }

    fn more(&mut self, fragment: String, deltas: &mut Vec<Delta>) {
        deltas.push(Delta::Arguments { index: self.count.saturating_sub(1), fragment });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an answer that ends behind `text`: contents, and calls with their arguments.
    fn of(text: &str, whole: bool) -> (String, Vec<(String, String)>) {
        let (mut calls, mut deltas) = (Calls::new(ToolFormat::Hermes, &[], whole), Vec::new());
        for (i, _) in text.char_indices() {
            calls.push(&text[i..text.ceil_char_boundary(i + 1)], &mut deltas);
        }
        calls.finish(&mut deltas);
        let (mut content, mut found) = (String::new(), Vec::new());
        for delta in deltas {
            match delta {
                Delta::Content(text) => content += &text,
                Delta::ToolCall { index, id, name } => {
                    assert!(index == found.len() && id.len() == 29, "{id}");
                    found.push((name, String::new()));
                }
                Delta::Arguments { index, fragment } => found[index].1 += &fragment,
                Delta::Reasoning(text) => panic!("{text}"),
            }
        }
        assert_eq!(calls.count(), found.len());
        (content, found)
    }

    #[test]
    fn broken_calls_are_text_where_whole_ones_are_wanted() {
        let good = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"城\": 1}}\n</tool_call>";
        let call = ("f".to_owned(), "{\"城\": 1}".to_owned());
        for whole in [true, false] {
            assert_eq!(of(good, whole), (String::new(), vec![call.clone()]));
        }
        let broken = "So: <tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": Rome}}\n</tool_call>";
        assert_eq!(of(broken, true), (broken.to_owned(), Vec::new()));
        assert_eq!(of(broken, false).1, [("f".to_owned(), "{\"city\": Rome}".to_owned())]);
        let cut = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Ro";
        let (content, calls) = of(cut, true);
        assert!(calls.is_empty() && content.contains("{\"city\": \"Ro"), "{content}");
        // The good one before it counts.
        let (content, calls) = of(&format!("{good}\n{cut}"), true);
        assert!(calls.len() == 1 && content.contains("Ro"), "{content}");
    }
}
