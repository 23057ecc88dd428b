//! What an answer may be: a JSON schema, a grammar or a regular expression, checked before anything is made of it.

use llguidance::JsonCompileOptions;
use llguidance::api::{GrammarWithLexer, ParserLimits, TopLevelGrammar};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Bytes of a JSON schema, written without white space.
const MOST_SCHEMA: usize = 256 << 10;
/// Bytes of a grammar.
const MOST_TEXT: usize = 64 << 10;
/// Bytes of a regular expression: what it takes may grow with their square.
const MOST_PATTERN: usize = 8 << 10;
/// Levels of a schema, and of brackets in a grammar or a regular expression: their parsers call themselves.
const DEEPEST: usize = 64;
/// The largest number that numbers may be multiples of, without its decimal point; of several, their least common multiple.
/// The parser visits each remainder.
const MOST_REMAINDERS: u64 = 10_000;
/// Digits behind its decimal point.
const MOST_DIGITS: u32 = 6;

/// What an answer may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Json(Value),
    Lark(String),
    /// One of our own, in Lark's form: its length and its schemas were checked when it was made.
    Calls(String),
    Regex(String),
}

impl Grammar {
    /// Any JSON object.
    pub fn json_object() -> Grammar {
        Grammar(Kind::Json(json!({"type": "object"})))
    }

    /// JSON that a schema describes. Between its parts there may be a space, or a newline and some spaces, no more: a model
    /// could go on with white space for ever.
    pub fn json_schema(schema: &Value) -> Grammar {
        Grammar(Kind::Json(schema.clone()))
    }

    /// What a grammar in llguidance's variant of Lark describes. `<name>` stands for the special token of that name; for
    /// schemas behind `%json` see [`embedded_schema`](Grammar::embedded_schema).
    pub fn lark(grammar: &str) -> Grammar {
        Grammar(Kind::Lark(grammar.to_owned()))
    }

    /// What a regular expression, in the syntax of the crate `regex`, matches as a whole.
    pub fn regex(pattern: &str) -> Grammar {
        Grammar(Kind::Regex(pattern.to_owned()))
    }

    /// A schema to put behind `%json` in a [grammar](Grammar::lark): with the white space of
    /// [`json_schema`](Grammar::json_schema).
    ///
    /// # Errors
    /// [`Error::Constraint`] if it is no schema, too large or too deep.
    pub fn embedded_schema(schema: &Value) -> Result<String> {
        Ok(checked_schema(schema)?.to_string())
    }

    /// A grammar of our own making, of schemas that [`embedded_schema`](Grammar::embedded_schema) has checked.
    pub(super) fn calls(grammar: String) -> Grammar {
        Grammar(Kind::Calls(grammar))
    }

    /// In the form that the parser takes it.
    pub(super) fn top_level(&self) -> Result<TopLevelGrammar> {
        let grammar = match &self.0 {
            Kind::Json(schema) => GrammarWithLexer::from_json_schema(checked_schema(schema)?),
            Kind::Calls(text) => GrammarWithLexer::from_lark(text.clone()),
            Kind::Lark(text) => {
                let text = checked_text("grammar", text, MOST_TEXT)?;
                // What is no schema there is for the parser to say.
                for (at, keyword) in text.match_indices("%json") {
                    let rest = &text[at + keyword.len()..];
                    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                    if let Some(Ok(schema)) = values.next() {
                        check_levels(&schema)?;
                    }
                }
                GrammarWithLexer::from_lark(text.to_owned())
            }
            Kind::Regex(text) => {
                GrammarWithLexer::from_regex(checked_text("regular expression", text, MOST_PATTERN)?)
            }
        };
        Ok(TopLevelGrammar::from_grammar(grammar))
    }
}

/// What a grammar may take, to be read and for a token: mostly milliseconds, and tens of MiB.
pub(super) fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        // Runs over the whole vocabulary, for what may never be needed.
        precompute_large_lexemes: false,
        // They would hold the answer and the grammar.
        verbose_errors: false,
    }
}

/// The schema with our own settings, if it is of a size and depth that can be read.
fn checked_schema(schema: &Value) -> Result<Value> {
    let schema = match schema {
        Value::Object(schema) => schema.clone(),
        Value::Bool(true) => Map::new(),
        Value::Bool(false) => {
            return Err(Error::constraint("the JSON schema is false: nothing satisfies it"));
        }
        other => {
            let kind = crate::chat::json_kind(other);
            return Err(Error::constraint(&format!("the JSON schema is {kind}, expected an object")));
        }
    };
    let mut schema = Value::Object(schema);
    check_levels(&schema)?;
    let bytes = serde_json::to_string(&schema).map_or(usize::MAX, |text| text.len());
    if bytes > MOST_SCHEMA {
        let message = format!("the JSON schema has {bytes} bytes, at most {MOST_SCHEMA} are read");
        return Err(Error::constraint(&message));
    }
    let options = JsonCompileOptions {
        // Once at a place; deeper lines than 16 spaces are not indented further.
        whitespace_pattern: Some(r"\x20|\x0A\x20{0,16}".to_owned()),
        ..JsonCompileOptions::default()
    };
    // In place of settings that the schema may bring: white space without end among them.
    let options = serde_json::to_value(options).map_err(|error| Error::constraint(&error.to_string()))?;
    schema["x-guidance"] = options;
    Ok(schema)
}

/// Whether the schema is of a depth that can be read, and no number or pattern in it asks for too much.
fn check_levels(schema: &Value) -> Result<()> {
    let mut multiples = Vec::new();
    let (mut level, mut depth) = (vec![schema], 0);
    while !level.is_empty() {
        depth += 1;
        if depth > DEEPEST {
            let message = format!("the JSON schema has more than {DEEPEST} levels");
            return Err(Error::constraint(&message));
        }
        for value in &level {
            multiples.extend(value.get("multipleOf").and_then(Value::as_f64));
            let names = value.get("patternProperties").and_then(Value::as_object);
            let names = names.into_iter().flat_map(|names| names.keys().map(String::as_str));
            for pattern in value.get("pattern").and_then(Value::as_str).into_iter().chain(names) {
                checked_text("pattern", pattern, MOST_PATTERN)?;
            }
        }
        level = level.into_iter().flat_map(children).collect();
    }
    check_multiples(&multiples)
}

/// Whether the numbers of `multipleOf` are such that all remainders can be visited.
fn check_multiples(multiples: &[f64]) -> Result<()> {
    let too_much = |number: f64| {
        let message = format!(
            "multipleOf is {number}, expected at most {MOST_REMAINDERS} without its decimal point, also as the least \
             common multiple of all, and {MOST_DIGITS} digits behind it"
        );
        Error::constraint(&message)
    };
    // In units of the smallest digit that is allowed.
    let unit = 10u64.pow(MOST_DIGITS);
    let mut common = 1u64;
    for &number in multiples {
        let units = number * unit as f64;
        // What is not above 0 is for the parser to say.
        if units <= 0.0 {
            continue;
        }
        let whole = units.round();
        if whole < 1.0 || whole > (MOST_REMAINDERS * unit) as f64 || (units - whole).abs() > 1e-9 * whole {
            return Err(too_much(number));
        }
        let whole = whole as u64;
        let multiple = (common / gcd(common, whole)).checked_mul(whole);
        let Some(multiple) = multiple.filter(|&multiple| without_zeros(multiple) <= MOST_REMAINDERS) else {
            return Err(too_much(number));
        };
        common = multiple;
    }
    Ok(())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The number without the zeros that may stand behind the decimal point.
fn without_zeros(mut number: u64) -> u64 {
    for _ in 0..MOST_DIGITS {
        if !number.is_multiple_of(10) {
            break;
        }
        number /= 10;
    }
    number
}

/// What a value holds.
fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(values) => Box::new(values.iter()),
        Value::Object(values) => Box::new(values.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The text, if it is of a size and depth that can be read.
fn checked_text<'a>(what: &str, text: &'a str, most: usize) -> Result<&'a str> {
    if text.len() > most {
        let message = format!("the {what} has {} bytes, at most {most} are read", text.len());
        return Err(Error::constraint(&message));
    }
    let (mut depth, mut escaped) = (0usize, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(Error::constraint(&format!("the {what} has more than {DEEPEST} levels of brackets")));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_multiples_of_what_people_ask_for() {
        let ok = |multiples: &[f64]| check_multiples(multiples).is_ok();
        assert!(ok(&[0.01]) && ok(&[0.1, 0.25, 5.0]) && ok(&[1000.0, 60.0]) && ok(&[1e-6]) && ok(&[10000.0]));
        assert!(ok(&[7.0; 100]) && ok(&[0.0, -3.0]) && ok(&[]));
        assert!(
            // The least common multiple of the first two takes more than 64 bits.
            !ok(&[10000.0, 9999.999967])
                && !ok(&[1e-7])
                && !ok(&[10_001.0])
                && !ok(&[1.0 / 3.0])
                && !ok(&[9973.0, 9967.0])
                && !ok(&[1e300])
        );
    }

    #[test]
    fn levels_are_counted_also_behind_a_grammars_schemas() {
        let nested = |n: usize| (0..n).fold(json!({}), |inner, _| json!({"items": inner}));
        let top = |grammar: Grammar| grammar.top_level().map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(top(Grammar::json_schema(&nested(DEEPEST - 1))), Ok(()));
        assert!(top(Grammar::json_schema(&nested(DEEPEST))).unwrap_err().contains("more than 64 levels"));
        let lark = |schema: &str| Grammar::lark(&format!("start: %json {schema}"));
        assert_eq!(top(lark("{\"multipleOf\": 10}")), Ok(()));
        assert!(top(lark("{\"multiple\\u004ff\": 123457}")).unwrap_err().contains("multipleOf is 123457"));
        // A long one is not looked through.
        let long = lark(&format!("{{\"multipleOf\": 123457}}\n{}", " ".repeat(MOST_TEXT)));
        assert!(top(long).unwrap_err().contains("at most 65536 are read"));
        let regex = |n: usize| Grammar::regex(&format!("\\(\\[{}{}", "(".repeat(n), ")".repeat(n)));
        assert_eq!(top(regex(DEEPEST)), Ok(()));
        assert!(top(regex(DEEPEST + 1)).is_err());
    }
}
