//! `run --json-schema` with the built-in model: whatever a small model would say, the answer is what the schema asks for.

mod cli_common;

use std::fs;

use cli_common::{arg, outcome, program, qwip};
use serde_json::{Value, json};

/// What `run` answers, and what it thought before.
fn answer(schema: &Value, more: &[&str]) -> (Value, Value) {
    let schema = schema.to_string();
    let args = [&["run", "--json", "-n", "400", "--json-schema", &schema, "-s", "1"], more].concat();
    let object: Value = serde_json::from_str(&qwip(&args).ok()).expect("an object");
    assert_eq!(object["finish_reason"], "stop", "{object}");
    let text = object["text"].as_str().expect("a text");
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (value, object["thinking"].clone())
}

/// A schema, and whether a value satisfies it.
type Case = (Value, fn(&Value) -> bool);

fn cases() -> Vec<Case> {
    vec![
        (json!({"enum": ["red", "green", "blue"]}), |value| {
            ["red", "green", "blue"].contains(&value.as_str().unwrap_or(""))
        }),
        (
            json!({
                "type": "object",
                "properties": {
                    "city": {"type": "object", "properties": {
                        "name": {"type": "string", "maxLength": 20},
                        "country": {"enum": ["France", "Greece"]},
                    }, "required": ["name", "country"], "additionalProperties": false},
                    "capital": {"type": "boolean"},
                },
                "required": ["city", "capital"],
                "additionalProperties": false,
            }),
            |value| {
                value.as_object().is_some_and(|object| object.len() == 2)
                    && value["capital"].is_boolean()
                    && value["city"]["name"].as_str().is_some_and(|name| name.chars().count() <= 20)
                    && ["France", "Greece"].contains(&value["city"]["country"].as_str().unwrap_or(""))
            },
        ),
        (
            json!({"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 99}, "minItems": 3,
                   "maxItems": 5}),
            |value| {
                value.as_array().is_some_and(|items| {
                    (3..=5).contains(&items.len())
                        && items.iter().all(|item| item.as_i64().is_some_and(|item| (1..=99).contains(&item)))
                })
            },
        ),
        (
            json!({"type": "object", "properties": {"颜色": {"enum": ["红色", "蓝色"]}, "说明": {"const": "你好\n\"世界\""}},
                   "required": ["颜色", "说明"], "additionalProperties": false}),
            |value| {
                ["红色", "蓝色"].contains(&value["颜色"].as_str().unwrap_or(""))
                    && value["说明"] == "你好\n\"世界\""
            },
        ),
        (json!({"type": "number", "minimum": -1.5, "maximum": 2.5, "multipleOf": 0.25}), |value| {
            value.as_f64().is_some_and(|value| (-1.5..=2.5).contains(&value) && (value * 4.0).fract() == 0.0)
        }),
        (json!({"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[a-c]{2,4}$"}]}), |value| {
            let is_word = |word: &str| {
                (2..=4).contains(&word.len()) && word.bytes().all(|b| (b'a'..=b'c').contains(&b))
            };
            value.is_null() || value.as_str().is_some_and(is_word)
        }),
    ]
}

#[test]
fn answers_satisfy_their_schemas() {
    for (schema, satisfies) in cases() {
        for temperature in ["0", "1.5"] {
            let (value, _) =
                answer(&schema, &["-p", "What is the capital of France?", "--temp", temperature]);
            assert!(satisfies(&value), "{schema}: {value}");
        }
    }
}

#[test]
fn thinking_is_left_free() {
    let mut thoughts = 0;
    for (schema, satisfies) in cases() {
        let args = ["-p", "What is 3 + 4?", "--temp", "0", "--think", "on", "--think-budget", "60"];
        let (value, thinking) = answer(&schema, &args);
        assert!(satisfies(&value), "{schema}: {value}");
        thoughts += usize::from(thinking.as_str().is_some_and(|text| !text.is_empty()));
        let (value, thinking) = answer(&schema, &["-p", "What is 3 + 4?", "--temp", "0", "--think", "off"]);
        assert!(satisfies(&value) && thinking.is_null(), "{schema}: {value}, {thinking}");
    }
    assert!(thoughts > 0, "the built-in model thinks");
}

#[test]
fn the_same_on_any_number_of_threads_and_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("schema.json");
    let (schema, _) = &cases()[1];
    fs::write(&file, schema.to_string()).unwrap();
    let base = ["run", "-p", "Hello!", "-n", "200", "-s", "5", "--temp", "1"];
    let text = qwip(&[&base[..], &["-j", &schema.to_string(), "-t", "1"]].concat()).ok();
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    assert_eq!(qwip(&[&base[..], &["-j", arg(&file), "-t", "2", "-b", "3"]].concat()).ok(), text);
    let piped = outcome(program().args(base).args(["--json-schema", "-"]), schema.to_string().as_bytes());
    assert_eq!(piped.ok(), text);
    let set =
        outcome(program().args(base).env("QWIP_JSON_SCHEMA", arg(&file)).env("QWIP_ISA", "scalar"), b"");
    assert_eq!(set.ok(), text);
    // Without a template the form begins at once.
    let raw = qwip(&["run", "--raw", "-p", "{", "-n", "200", "--temp", "0", "-j", arg(&file)]).ok();
    assert!(serde_json::from_str::<Value>(&raw).is_ok(), "{raw}");
}

#[test]
fn what_cannot_be_is_one_line() {
    let line = |schema: &str| qwip(&["run", "-p", "Hello!", "-n", "5", "--json-schema", schema]).fails(1);
    let impossible = line(r#"{"type": "integer", "minimum": 5, "maximum": 1}"#);
    assert!(impossible.contains("minimum (5) is greater than maximum (1)"), "{impossible}");
    assert!(line(r#"{"type": "colour"}"#).contains("Invalid type: colour"));
    assert!(line("{").contains("--json-schema is not JSON"));
    assert!(line("no-such-file.json").contains("no-such-file.json"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("schema.json");
    fs::write(&file, "[1]").unwrap();
    assert!(line(arg(&file)).contains("the JSON schema is a list, expected an object"));
    fs::write(&file, format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).unwrap();
    assert!(line(arg(&file)).contains("is not JSON"));
    // Both from one place.
    let twice = outcome(program().args(["run", "-n", "5", "-j", "-"]), b"{}").fails(2);
    assert!(twice.contains("standard input"), "{twice}");
}
