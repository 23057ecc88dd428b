use serde_json::{Value, json};

use super::*;

/// What comes out, pieces joined: texts as they are, calls as `name(arguments)`, or `name(arguments...` if not complete.
fn split(format: ToolFormat, tools: &[Value], pieces: &[&str]) -> Vec<String> {
    let (mut out, mut open): (Vec<String>, bool) = (Vec::new(), false);
    let mut joining = false;
    let mut sink = |part: ToolPart<'_>| match part {
        ToolPart::Text(text) => {
            assert!(!text.is_empty() && !open);
            match out.last_mut() {
                Some(last) if joining => last.push_str(text),
                _ => out.push(format!("text {text}")),
            }
            joining = true;
        }
        ToolPart::Call { name } => {
            assert!(!open);
            (open, joining) = (true, false);
            out.push(format!("{name}("));
        }
        ToolPart::Arguments(more) => {
            assert!(open);
            out.last_mut().unwrap().push_str(more);
        }
        ToolPart::End { complete } => {
            assert!(open);
            open = false;
            out.last_mut().unwrap().push_str(if complete { ")" } else { "..." });
        }
    };
    let mut splitter = ToolSplitter::new(format, tools);
    pieces.iter().for_each(|piece| splitter.push(piece, &mut sink));
    splitter.finish(&mut sink);
    assert!(!open);
    out
}

fn tools() -> Vec<Value> {
    let properties = json!({
        "text": {"type": "string"}, "n": {"type": "integer"}, "on": {"type": "boolean"}, "list": {"type": "array"},
        "maybe": {"type": ["string", "null"]},
    });
    vec![
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}),
    ]
}

/// An answer and what it consists of.
fn cases(format: ToolFormat) -> Vec<(&'static str, Vec<&'static str>)> {
    match format {
        ToolFormat::Hermes => vec![
            ("just text", vec!["text just text"]),
            ("a <tool> and <tool_cal", vec!["text a <tool> and <tool_cal"]),
            ("\n\nindented\n", vec!["text \n\nindented\n"]),
            (
                "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, {\"}\": \"\\\"}\"}]}}\n</tool_call>",
                vec!["f({\"x\": [1, {\"}\": \"\\\"}\"}]})"],
            ),
            (
                "Let me see.\n\n<tool_call>\n{\"name\": \"日本\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"arguments\": {\"a\": 1}, \"name\": \"g\"}\n</tool_call>\n",
                vec!["text Let me see.", "日本({})", "g({\"a\":1})"],
            ),
            // Arguments as text of JSON, as some fine-tunes write them; none at all; another word for them.
            (
                "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
                vec!["f({\"a\": 1})"],
            ),
            ("<tool_call>{\"name\": \"f\"}</tool_call>after", vec!["f({})", "text after"]),
            ("<tool_call>{\"id\": 12, \"name\": \"f\", \"parameters\": {\"b\":2}}", vec!["f({\"b\":2})"]),
            // Closed, and no object.
            (
                "<tool_call>{\"name\": \"f\", \"arguments\": {\"city\": Rome}}</tool_call>\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
                vec!["f({\"city\": Rome}...", "f({})"],
            ),
            (
                "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": [1}]}</tool_call>",
                vec!["f({\"x\": [1}]..."],
            ),
            ("<tool_call>{\"name\": \"f\", \"arguments\": \"Rome\"}</tool_call>", vec!["f(Rome..."]),
            ("<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>", vec!["f([1]..."]),
            // Cut short, and never a call.
            ("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"cut", vec!["f({\"x\": \"cut..."]),
            ("<tool_call>\n{\"name\": \"f", vec!["text <tool_call>\n{\"name\": \"f"]),
            (
                "<tool_call>\n{\"name\" \"f\"}\n</tool_call> so",
                vec!["text <tool_call>\n{\"name\" \"f\"}\n</tool_call> so"],
            ),
            ("<tool_call>nothing</tool_call>", vec!["text <tool_call>nothing</tool_call>"]),
            ("<tool_call>", vec!["text <tool_call>"]),
            (
                "So:\n\n<tool_call>nothing</tool_call>\n\nend",
                vec!["text So:\n\n<tool_call>nothing</tool_call>\n\nend"],
            ),
            ("<tool_call>{\"name\": \"f\"}</tool_call>\none\n\ntwo\n", vec!["f({})", "text one\n\ntwo\n"]),
            ("a <function=f>", vec!["text a <function=f>"]),
            // One closing tag forgotten.
            (
                "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
                vec!["f({})", "g({})"],
            ),
            // The other form is understood, too.
            ("<tool_call>\n<function=f>\n</function>\n</tool_call>", vec!["f({})"]),
        ],
        ToolFormat::Xml => vec![
            ("just <function text", vec!["text just <function text"]),
            (
                "Yes.\n\n<tool_call>\n<function=f>\n<parameter=text>\n  say \"hi\"\nto 世界\n\n</parameter>\n<parameter=n>\n12\n</parameter>\n</function>\n</tool_call>",
                vec!["text Yes.", "f({\"text\": \"  say \\\"hi\\\"\\nto 世界\\n\", \"n\": 12})"],
            ),
            (
                "<function=f>\n<parameter=on>\nTrue\n</parameter>\n<parameter=list>\n[1,\n \"a\"]\n</parameter>\n<parameter=maybe>\nplain\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n<parameter=z>\n5\n</parameter>\n</function>\n</tool_call>",
                vec!["f({\"on\": true, \"list\": [1,\"a\"], \"maybe\": \"plain\"})", "g({\"z\": \"5\"})"],
            ),
            ("<tool_call>\n<function=f>\n</function>\n</tool_call>", vec!["f({})"]),
            (
                "<tool_call>\n<function=f>\n<parameter=text>\ncut </para",
                vec!["f({\"text\": \"cut </para\"}..."],
            ),
            ("<tool_call>\n<function=f>\n<parameter=n>\n1", vec!["f({\"n\": 1}..."]),
            (
                "<tool_call>\n<function=f>\n<parameter=n>\nmany\n</parameter>\n</function>",
                vec!["f({\"n\": \"many\"})"],
            ),
            ("<tool_call>\n<function=f>\n<par", vec!["f({}..."]),
            ("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\":1}}\n</tool_call>", vec!["f({\"x\":1})"]),
            // Without tags.
            (
                "<function=f>\n</function>\n<function=g>\n</function>\n\nDone </tool_call>.",
                vec!["f({})", "g({})", "text Done </tool_call>."],
            ),
            ("<tool_call>\n<function=f>\n</function>\n</tool_", vec!["f({})"]),
            // What only looks like a beginning, with and without the tag.
            ("Write\n<function=> here\n", vec!["text Write\n<function=> here\n"]),
            ("a <function=\nname>\n\nb", vec!["text a <function=\nname>\n\nb"]),
            ("a\n\n<function=name", vec!["text a\n\n<function=name"]),
            ("<function=  >\n<function=f>\n</function>", vec!["text <function=  >", "f({})"]),
            ("a\n<tool_call>\n<function=>\nb", vec!["text a\n<tool_call>\n<function=>\nb"]),
            (
                "a\n<tool_call>\n<function=></tool_call>\nb",
                vec!["text a\n<tool_call>\n<function=></tool_call>\nb"],
            ),
            ("<tool_call>\n<function=f", vec!["text <tool_call>\n<function=f"]),
        ],
    }
}

#[test]
fn any_two_cuts_give_the_same_parts() {
    for format in [ToolFormat::Hermes, ToolFormat::Xml] {
        for (text, wanted) in cases(format) {
            let cuts: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            for &a in &cuts {
                for &b in cuts.iter().filter(|&&b| b >= a) {
                    let found = split(format, &tools(), &[&text[..a], &text[a..b], &text[b..]]);
                    assert_eq!(found, wanted, "{text:?} {a} {b}");
                }
            }
        }
    }
}

#[test]
fn single_characters_give_the_same_parts() {
    for format in [ToolFormat::Hermes, ToolFormat::Xml] {
        for (text, wanted) in cases(format) {
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(split(format, &tools(), &pieces), wanted, "{text:?}");
        }
    }
}

#[test]
fn text_that_is_no_call_is_not_held_back() {
    let long = format!("<function={}> and <function=", "n".repeat(257));
    for text in [long.as_str(), "<function=> and", "<function=\nand"] {
        for piece in [1, 5, text.len()] {
            let mut splitter = ToolSplitter::new(ToolFormat::Xml, &tools());
            let mut out = String::new();
            for piece in text.as_bytes().chunks(piece) {
                let piece = std::str::from_utf8(piece).unwrap();
                splitter.push(piece, &mut |part| match part {
                    ToolPart::Text(text) => out.push_str(text),
                    other => panic!("{other:?}"),
                });
            }
            let certain = text.strip_suffix(" and <function=").map_or(text, |_| &text[..text.len() - 10]);
            assert_eq!(out, certain, "pieces of {piece}");
        }
    }
}

#[test]
fn arguments_stream_before_they_are_complete() {
    let mut splitter = ToolSplitter::new(ToolFormat::Hermes, &[]);
    let mut parts = 0;
    splitter.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"a long", &mut |_| parts += 1);
    assert_eq!(parts, 2);
    let mut splitter = ToolSplitter::new(ToolFormat::Xml, &tools());
    let mut streamed = String::new();
    splitter.push("<tool_call>\n<function=f>\n<parameter=text>\na long", &mut |part| {
        if let ToolPart::Arguments(more) = part {
            streamed.push_str(more);
        }
    });
    assert_eq!(streamed, "{\"text\": \"a long");
}

#[test]
fn megabytes_without_an_end_take_no_long_time() {
    let piece = "x".repeat(64);
    for beginning in ["<tool_call>", "<tool_call>{\"name\": \"", "<function=f><parameter=n>", "<function="] {
        let mut splitter = ToolSplitter::new(ToolFormat::Xml, &tools());
        let mut bytes = 0;
        let mut sink = |part: ToolPart<'_>| {
            if let ToolPart::Text(text) | ToolPart::Arguments(text) = part {
                bytes += text.len();
            }
        };
        splitter.push(beginning, &mut sink);
        (0..20_000).for_each(|_| splitter.push(&piece, &mut sink));
        splitter.finish(&mut sink);
        assert!(bytes >= 20_000 * 64, "{beginning}: {bytes}");
    }
}
