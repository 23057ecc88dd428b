//! Lengths of time as Ollama's clients write them: `5m`, `1h30m`, `1.5s`, or a number of seconds.

use std::time::Duration;

use serde_json::Value;

use crate::chat::KeepAlive;
use crate::engine::Failure;
use crate::fields::Fields;

/// A century; a longer time is for ever.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

/// The field `keep_alive`: less than nothing is for ever.
pub(super) fn keep_alive(body: &Fields) -> Result<Option<KeepAlive>, Failure> {
    let seconds = match body.get("keep_alive") {
        None => return Ok(None),
        Some(Value::String(text)) => seconds(text).ok_or_else(|| text.clone()),
        Some(value) => value.as_f64().ok_or_else(|| value.to_string()),
    };
    match seconds {
        Ok(seconds) if !(0.0..=LONGEST).contains(&seconds) => Ok(Some(KeepAlive::Forever)),
        Ok(seconds) => Ok(Some(KeepAlive::For(Duration::from_secs_f64(seconds)))),
        Err(found) => {
            let found: String = found.chars().take(40).collect();
            let want = "a number of seconds or a text like \"5m\", \"1h30m\" or \"-1\"";
            Err(body.bad("keep_alive", format_args!("is {found}, not {want}")))
        }
    }
}

/// The seconds of a text; the last number may go without a unit.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Option<KeepAlive>, Failure> {
        keep_alive(&Fields::body(&json!({"keep_alive": value})).unwrap())
    }

    #[test]
    fn all_ways_to_say_how_long() {
        let read = |value: Value| of(value).unwrap();
        let lasts = |seconds: f64| Some(KeepAlive::For(Duration::from_secs_f64(seconds)));
        assert_eq!(read(json!("5m")), lasts(300.0));
        assert_eq!(read(json!("1h30m")), lasts(5400.0));
        assert_eq!(read(json!("1.5s")), lasts(1.5));
        assert_eq!(read(json!("250ms")), lasts(0.25));
        assert_eq!(read(json!("30")), lasts(30.0));
        assert_eq!(read(json!(0)), lasts(0.0));
        assert_eq!(read(json!("0s")), lasts(0.0));
        assert_eq!(read(json!(2.5)), lasts(2.5));
        assert_eq!(read(json!(-1)), Some(KeepAlive::Forever));
        assert_eq!(read(json!("-1m")), Some(KeepAlive::Forever));
        assert_eq!(read(json!("9999999999h")), Some(KeepAlive::Forever));
        assert_eq!(read(Value::Null), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "-", "5 minutes", "m", "1.2.3s", "5mm"] {
            let failure = of(json!(text)).unwrap_err();
            assert!(failure.message.ends_with("\"1h30m\" or \"-1\""), "{text}");
        }
        assert!(of(json!([1])).is_err());
    }
}
