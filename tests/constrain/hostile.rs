//! Forms that are wrong, impossible, or take too much: an error of one line, soon, and never a panic.

use std::time::{Duration, Instant};

use qwip::chat::ToolFormat;
use qwip::constrain::{Allowed, Grammar, Thinking};
use serde_json::{Value, json};

use super::walk::Rng;
use super::{Loaded, loaded};

/// For the whole of it, in a test build on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// What comes of a form: an error, or nothing wrong in so many tokens.
fn outcome(loaded: &Loaded, grammar: &Grammar, name: &str) -> Result<(), String> {
    let started = Instant::now();
    let go = || -> qwip::Result<()> {
        let mut constraint = loaded.vocabulary.constraint(grammar, Thinking::None)?;
        let mut rng = Rng(7);
        for _ in 0..40 {
            let Allowed::Some(mask) = constraint.allowed()? else { break };
            let token = rng.pick(mask);
            if loaded.tokenizer.is_end_of_generation(token) {
                break;
            }
            constraint.accept(token)?;
        }
        Ok(())
    };
    let result = go().map_err(|error| error.to_string());
    let took = started.elapsed();
    println!("{name}: {:.0} ms, {result:?}", took.as_secs_f64() * 1e3);
    assert!(took < SOON, "{name}: {took:?}");
    if let Err(line) = &result {
        assert!(line.starts_with("constrained output: ") && !line.contains('\n'), "{name}: {line:?}");
        assert!(line.chars().count() < 400, "{name}: {line}");
        assert!(!line.contains("panic"), "{name}: {line}");
    }
    result
}

/// A schema inside a schema, so many times.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}))
}

/// Each of so many definitions names the next one twice.
fn doubling(levels: usize) -> Value {
    let mut defs = serde_json::Map::new();
    for i in 0..levels {
        let next = format!("#/$defs/d{}", i + 1);
        defs.insert(format!("d{i}"), json!({"allOf": [{"$ref": &next}, {"$ref": &next}]}));
    }
    defs.insert(format!("d{levels}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": defs})
}

/// Each of so many definitions names the next one, as `wrap` has it.
fn chain(levels: usize, wrap: impl Fn(Value) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for i in 0..levels {
        defs.insert(format!("d{i}"), wrap(json!({"$ref": format!("#/$defs/d{}", i + 1)})));
    }
    defs.insert(format!("d{levels}"), json!({"type": "null"}));
    json!({"$ref": "#/$defs/d0", "$defs": defs})
}

#[test]
fn impossible_and_malformed_schemas_are_errors() {
    let enumeration: Vec<String> = (0..1_000_000).map(|i| format!("value {i}")).collect();
    let cases = [
        ("bounds", json!({"type": "integer", "minimum": 5, "maximum": 1})),
        ("lengths", json!({"type": "string", "minLength": 5, "maxLength": 1})),
        ("items", json!({"type": "array", "minItems": 5, "maxItems": 1})),
        ("false", json!(false)),
        ("number", json!(5)),
        ("list", json!([])),
        ("empty enum", json!({"enum": []})),
        ("empty any", json!({"anyOf": []})),
        ("type", json!({"type": "colour"})),
        ("type of type", json!({"type": 5})),
        ("properties", json!({"type": "object", "properties": []})),
        ("required false", json!({"type": "object", "properties": {"a": false}, "required": ["a"]})),
        ("no definition", json!({"$ref": "#/$defs/none"})),
        ("elsewhere", json!({"$ref": "https://example.org/schema.json"})),
        ("deep", nested(1000)),
        ("large", json!({"enum": enumeration})),
        ("pattern", json!({"type": "string", "pattern": "("})),
        ("a large multiple", json!({"type": "integer", "multipleOf": 1_000_003})),
        ("a small multiple", json!({"type": "number", "multipleOf": 1e-300})),
        ("circle", json!({"$ref": "#"})),
        ("long pattern", json!({"type": "string", "pattern": "(a|b)?".repeat(10_000)})),
        ("long name", json!({"type": "object", "patternProperties": {"(a|b)?".repeat(10_000): {}}})),
        ("look-ahead", json!({"type": "string", "pattern": "(?=a)b"})),
        ("not", json!({"not": {}})),
    ];
    for loaded in loaded() {
        for (name, schema) in &cases {
            assert!(outcome(loaded, &Grammar::json_schema(schema), name).is_err(), "{name}");
        }
    }
}

#[test]
fn what_is_large_or_goes_round_ends_in_time() {
    let many: serde_json::Map<String, Value> =
        (0..2000).map(|i| (format!("name{i}"), json!({"type": "string"}))).collect();
    let words: Vec<String> = (0..15_000).map(|i| format!("word {i}")).collect();
    let cases = [
        (
            "a circle",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        ),
        ("a tree", json!({"type": "array", "items": {"$ref": "#"}})),
        ("all of a circle", json!({"allOf": [{"$ref": "#"}, {"type": "object"}]})),
        ("doubling", doubling(40)),
        ("chain", chain(6000, |next| next)),
        ("chain of any", chain(5000, |next| json!({"anyOf": [next]}))),
        ("chain of all", chain(4000, |next| json!({"allOf": [next, {"type": "null"}]}))),
        ("chain of lists", chain(4000, |next| json!({"items": next}))),
        ("chain of objects", chain(3000, |next| json!({"properties": {"a": next}}))),
        ("nested", nested(50)),
        ("long text", json!({"type": "string", "minLength": 1_000_000_000})),
        ("bounded text", json!({"type": "string", "maxLength": 1_000_000_000})),
        ("long list", json!({"type": "array", "items": {}, "minItems": 1_000_000_000})),
        ("bounded list", json!({"type": "array", "items": {}, "maxItems": 1_000_000_000})),
        ("many properties", json!({"type": "object", "properties": many})),
        ("many words", json!({"enum": words})),
        ("states", json!({"type": "string", "pattern": "^(.*a.{200}|.*b.{300})$"})),
        ("quantifiers", json!({"type": "string", "pattern": "^((a*)*)*(b|bb)+$"})),
        ("multiples", json!({"type": "integer", "multipleOf": 9973})),
        ("bomb", json!({"type": "string", "pattern": "((((a{99}){99}){99}){99}){99}"})),
        ("large numbers", json!({"type": "number", "minimum": -1e308, "maximum": 1e308})),
        ("names", json!({"type": "object", "patternProperties": {"^.*a.{20}$": {}, "^.*b.{20}$": {}}})),
        ("many names", json!({"type": "object", "minProperties": 100_000})),
    ];
    for loaded in loaded() {
        for (name, schema) in &cases {
            // An error or an answer: either, but soon.
            let _ = outcome(loaded, &Grammar::json_schema(schema), name);
        }
    }
}

#[test]
fn grammars_and_regular_expressions_that_are_wrong_are_errors() {
    let deep = format!("{}a{}", "(".repeat(5000), ")".repeat(5000));
    let cases = [
        ("none", Grammar::lark("")),
        ("no start", Grammar::lark("a: \"b\"")),
        ("no rule", Grammar::lark("start: other")),
        ("not closed", Grammar::lark("start: (\"a\"")),
        ("no text", Grammar::lark("start: \"a")),
        ("deep", Grammar::lark(&format!("start: {deep}"))),
        ("no schema", Grammar::lark("start: %json {\"type\": ")),
        ("no token", Grammar::lark("start: <no_such_token_here>")),
        ("bytes", Grammar::lark("start: \u{0}\u{7f}")),
        ("regex", Grammar::regex("(")),
        ("class", Grammar::regex("[z-a]")),
        ("deep regex", Grammar::regex(&deep)),
        ("nothing", Grammar::regex("[a&&b]")),
        ("itself", Grammar::lark("start: start")),
        ("long", Grammar::regex(&"a".repeat(10_000))),
    ];
    for loaded in loaded() {
        for (name, grammar) in &cases {
            assert!(outcome(loaded, grammar, name).is_err(), "{name}");
        }
    }
}

#[test]
fn grammars_that_go_round_end_in_time() {
    let long = "a".repeat(60_000);
    let rules: String = (0..2500).map(|i| format!("r{i}: \"a\" r{} | \"b\"\n", i + 1)).collect();
    let short: String = (0..5000).map(|i| format!("r{i}:r{}\n", i + 1)).collect();
    let terminals: String = (0..4000).map(|i| format!("R{i}:\"a\" R{}\n", i + 1)).collect();
    let cases = [
        ("ambiguous", Grammar::lark("start: start start | \"a\" | \"\"")),
        ("left", Grammar::lark("start: start \"a\" | \"a\"")),
        ("repeated", Grammar::lark("start: \"a\"{1000000}")),
        ("repeated twice", Grammar::lark("start: (\"a\"{1000}){1000}")),
        ("many rules", Grammar::lark(&format!("start: r0\n{rules}r2500: \"c\""))),
        ("many short rules", Grammar::lark(&format!("start: r0\n{short}r5000: \"c\""))),
        ("many terminals", Grammar::lark(&format!("start: R0\n{terminals}R4000: \"c\""))),
        ("long text", Grammar::lark(&format!("start: \"{long}\""))),
        ("long regex", Grammar::regex(&long[..8000])),
        ("alternatives", Grammar::regex(&"a|".repeat(4000))),
        ("groups", Grammar::regex(&"(a|b)?".repeat(1300))),
        ("states", Grammar::regex("(.*a.{200}|.*b.{300})")),
        ("empty", Grammar::regex("")),
        ("bomb", Grammar::regex("((((a{99}){99}){99}){99}){99}")),
    ];
    for loaded in loaded() {
        for (name, grammar) in &cases {
            let _ = outcome(loaded, grammar, name);
        }
    }
}

/// As large as the grammar of tools may be.
#[test]
fn the_largest_tools_are_read_in_time() {
    let schema = |n: usize, property: &dyn Fn(usize) -> Value| {
        let properties: serde_json::Map<String, Value> =
            (0..n).map(|i| (format!("p{i}"), property(i))).collect();
        json!({"type": "object", "properties": properties})
    };
    let words: Vec<String> = (0..800).map(|i| format!("word {i}")).collect();
    let cases = [
        ("counted texts", 22, schema(128, &|_| json!({"type": "string", "maxLength": 1000}))),
        (
            "patterns",
            22,
            schema(100, &|i| json!({"type": "string", "pattern": format!("^(.*a.{{{i}}}|b)$")})),
        ),
        ("words", 30, schema(1, &|_| json!({"enum": words}))),
        ("numbers", 40, schema(64, &|i| json!({"type": "number", "minimum": i, "maximum": 1e6}))),
        ("lists", 40, schema(64, &|_| json!({"type": "array", "items": {}, "maxItems": 1000}))),
        ("trees", 40, schema(40, &|_| nested(20))),
    ];
    for loaded in loaded() {
        for (name, n, schema) in &cases {
            let tools: Vec<Value> = (0..*n)
                .map(|i| json!({"function": {"name": format!("f{i}"), "parameters": schema}}))
                .collect();
            for format in [ToolFormat::Hermes, ToolFormat::Xml] {
                match Grammar::tool_calls(&loaded.tokenizer, format, &tools, true, None) {
                    Ok(grammar) => _ = outcome(loaded, &grammar, &format!("{name}, {format:?}")),
                    Err(error) => assert!(error.to_string().contains("524288"), "{name}: {error}"),
                }
            }
        }
    }
}
