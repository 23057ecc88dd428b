//! Calls of tools by grammar: whatever is chosen can be read, and the arguments satisfy their schemas.

use std::time::{Duration, Instant};

use qwip::chat::{ToolFormat, ToolPart, ToolSplitter};
use qwip::constrain::{Grammar, Thinking};
use qwip::tokenizer::Special;
use serde_json::{Value, json};

use super::{loaded, walk};

fn tools() -> Vec<Value> {
    let weather = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "place": {"$ref": "#/$defs/place"},
        },
        "required": ["city", "days"],
        "additionalProperties": false,
        "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"], "additionalProperties": false}},
    });
    vec![
        json!({"type": "function", "function": {"name": "get_weather", "parameters": weather}}),
        json!({"type": "function", "function": {"name": "日历", "description": "no parameters"}}),
    ]
}

/// The calls in an answer: names and arguments.
fn calls(format: ToolFormat, text: &str) -> Vec<(String, Value)> {
    let (mut found, mut arguments) = (Vec::new(), String::new());
    let mut sink = |part: ToolPart<'_>| match part {
        ToolPart::Text(text) => panic!("{text:?} is no call"),
        ToolPart::Call { name } => found.push((name.to_owned(), Value::Null)),
        ToolPart::Arguments(more) => arguments.push_str(more),
        ToolPart::End { complete } => {
            assert!(complete, "{arguments}");
            let read =
                serde_json::from_str(&arguments).unwrap_or_else(|error| panic!("{error}: {arguments}"));
            found.last_mut().unwrap().1 = read;
            arguments.clear();
        }
    };
    let mut splitter = ToolSplitter::new(format, &tools());
    splitter.push(text, &mut sink);
    splitter.finish(&mut sink);
    found
}

#[test]
fn whatever_is_chosen_can_be_read_as_calls() {
    for loaded in loaded() {
        for format in [ToolFormat::Hermes, ToolFormat::Xml] {
            let grammar =
                |several| Grammar::tool_calls(&loaded.tokenizer, format, &tools(), several, None).unwrap();
            let (mut ended, mut several_came) = (0, false);
            for seed in 0..40 {
                let several = seed % 2 == 0;
                let Some(text) = walk(loaded, &grammar(several), seed, 1500) else { continue };
                ended += 1;
                let calls = calls(format, &text);
                assert!(!calls.is_empty() && (several || calls.len() == 1), "{text}");
                several_came |= calls.len() > 1;
                for (name, arguments) in calls {
                    let arguments = arguments.as_object().unwrap();
                    if name == "日历" {
                        assert!(arguments.is_empty(), "{text}");
                        continue;
                    }
                    assert_eq!(name, "get_weather");
                    let known = ["city", "unit", "days", "place"];
                    assert!(arguments.keys().all(|key| known.contains(&key.as_str())), "{text}");
                    assert!(arguments["city"].is_string(), "{text}");
                    assert!((1..=14).contains(&arguments["days"].as_i64().unwrap()), "{text}");
                    let unit = arguments.get("unit");
                    assert!(unit.is_none_or(|unit| unit == "celsius" || unit == "fahrenheit"), "{text}");
                    assert!(arguments.get("place").is_none_or(|place| place["lat"].is_number()), "{text}");
                }
            }
            assert!(ended >= 20 && several_came, "{format:?}: {ended} of 40 came to an end");
        }
    }
}

#[test]
fn an_answer_may_be_json_in_place_of_calls() {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false});
    let loaded = &loaded()[0];
    for format in [ToolFormat::Hermes, ToolFormat::Xml] {
        let grammar = Grammar::tool_calls(&loaded.tokenizer, format, &tools(), true, Some(&schema)).unwrap();
        let texts: Vec<String> = (0..30).filter_map(|seed| walk(loaded, &grammar, seed, 1500)).collect();
        let (called, said): (Vec<&String>, Vec<&String>) =
            texts.iter().partition(|text| text.starts_with("<tool_call>"));
        assert!(!called.is_empty() && !said.is_empty(), "{texts:?}");
        assert!(said.iter().all(|text| serde_json::from_str::<Value>(text).unwrap()["ok"].is_boolean()));
    }
}

#[test]
fn tools_that_are_of_no_use_are_an_error() {
    let tokenizer = &loaded()[0].tokenizer;
    let error = |format, tools: &[Value]| {
        let error = Grammar::tool_calls(tokenizer, format, tools, true, None).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    for format in [ToolFormat::Hermes, ToolFormat::Xml] {
        assert!(error(format, &[]).contains('0'));
        let many = vec![json!({"function": {"name": "f"}}); 129];
        assert!(error(format, &many).contains("129"));
        assert!(error(format, &[json!({"function": {"name": ""}})]).contains("no name"));
        assert!(error(format, &[json!({"function": {"name": "f", "parameters": [1]}})]).contains("a list"));
    }
    let missing = json!({"function": {"name": "f", "parameters": {"properties": {}, "required": ["x"]}}});
    assert!(error(ToolFormat::Xml, &[missing]).contains("'x'"));
}

/// So many tools, each with a schema of some 2 KB.
fn many_tools(n: usize) -> Vec<Value> {
    let tool = |i: usize| {
        let property = |j: usize| {
            let text = format!("what it is, and :( when it is not {}", "x".repeat(60));
            let kind = if j.is_multiple_of(2) { "string" } else { "integer" };
            (format!("p{j}"), json!({"type": kind, "description": text}))
        };
        let properties: serde_json::Map<String, Value> = (0..14usize).map(property).collect();
        let parameters = json!({"type": "object", "properties": properties, "required": ["p0"]});
        json!({"type": "function", "function": {"name": format!("tool_{i}"), "parameters": parameters}})
    };
    (0..n).map(tool).collect()
}

#[test]
fn many_tools_with_long_schemas_can_be_called() {
    let tools = many_tools(40);
    let bytes = serde_json::to_string(&tools).unwrap().len();
    assert!(bytes > 64 << 10, "{bytes}");
    for loaded in loaded() {
        for format in [ToolFormat::Hermes, ToolFormat::Xml] {
            let grammar = Grammar::tool_calls(&loaded.tokenizer, format, &tools, false, None).unwrap();
            let started = Instant::now();
            let form = loaded.vocabulary.form(&grammar).unwrap();
            let read = started.elapsed();
            let mut constraint = form.constraint(Thinking::None);
            println!("{format:?}: {read:?}, another answer {:?}", started.elapsed() - read);
            let body = match format {
                ToolFormat::Hermes => r#"{"name": "tool_39", "arguments": {"p0": "(((", "p1": 5}}"#,
                ToolFormat::Xml => {
                    "<function=tool_39>\n<parameter=p0>\n(((\n</parameter>\n<parameter=p1>\n5\n</parameter>\n</function>"
                }
            };
            let text = format!("<tool_call>\n{body}\n</tool_call>");
            for token in loaded.tokenizer.encode(&text, Special::Parse) {
                constraint.accept(token).unwrap_or_else(|error| panic!("{error}: {text}"));
            }
            assert!(form.constraint(Thinking::None).accept(0).is_err());
        }
    }
}

#[test]
fn definitions_of_many_parameters_are_not_copied_without_end() {
    let defs: serde_json::Map<String, Value> =
        (0..2000).map(|i| (format!("d{i}"), json!({"enum": ["x".repeat(80)]}))).collect();
    let properties: serde_json::Map<String, Value> =
        (0..128).map(|i| (format!("p{i}"), json!({"$ref": format!("#/$defs/d{i}")}))).collect();
    let parameters = json!({"type": "object", "properties": properties, "$defs": defs});
    let tools = vec![json!({"function": {"name": "f", "parameters": parameters}}); 40];
    let tokenizer = &loaded()[0].tokenizer;
    for format in [ToolFormat::Hermes, ToolFormat::Xml] {
        let started = Instant::now();
        let error = Grammar::tool_calls(tokenizer, format, &tools, false, None).unwrap_err().to_string();
        let took = started.elapsed();
        assert!(error.contains("at most 524288 are read"), "{error}");
        // All of them are some 1 GB.
        assert!(took < Duration::from_secs(5), "{format:?}: {took:?}");
    }
}
