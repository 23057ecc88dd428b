//! Fields that requests for chats and for texts have in common.

use std::ops::RangeInclusive;

use qwip::sample::SamplingChoice;

use crate::engine::Failure;
use crate::fields::Fields;

/// How tokens are chosen. Besides OpenAI's fields those of llama.cpp and vLLM are known.
pub(super) fn sampling(body: &Fields<'_>) -> Result<SamplingChoice, Failure> {
    let repeat = "repeat_penalty";
    let repeat = if body.get(repeat).is_some() { repeat } else { "repetition_penalty" };
    Ok(SamplingChoice {
        temperature: number(body, "temperature", 0.0..=100.0)?,
        top_p: number(body, "top_p", 0.0..=1.0)?,
        min_p: number(body, "min_p", 0.0..=1.0)?,
        top_k: without_limit(body, "top_k")?.map(|k| k.unwrap_or(0)),
        presence_penalty: number(body, "presence_penalty", -2.0..=2.0)?,
        frequency_penalty: number(body, "frequency_penalty", -2.0..=2.0)?,
        repeat_penalty: number(body, repeat, 0.01..=100.0)?,
        penalty_last_n: without_limit(body, "repeat_last_n")?.map(|n| n.unwrap_or(usize::MAX)),
    })
}

/// A number within a range.
fn number(body: &Fields<'_>, name: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, Failure> {
    match body.number(name)? {
        Some(x) if !range.contains(&x) => {
            Err(body.bad(name, format_args!("is {x}, expected {} to {}", range.start(), range.end())))
        }
        found => Ok(found),
    }
}

/// A whole number of things, where -1 stands for no limit: then the inner one is none.
pub(super) fn without_limit(body: &Fields<'_>, name: &str) -> Result<Option<Option<usize>>, Failure> {
    match body.integer(name)? {
        None => Ok(None),
        Some(-1) => Ok(Some(None)),
        Some(n) => match usize::try_from(n) {
            Ok(n) => Ok(Some(Some(n))),
            Err(_) => Err(body.bad(name, format_args!("is {n}, at least 0 is wanted, or -1 for no limit"))),
        },
    }
}

/// How many answers, at least 1.
pub(super) fn answers(body: &Fields<'_>) -> Result<usize, Failure> {
    match body.count("n")? {
        Some(0) => Err(body.bad("n", "is 0, at least 1 is wanted")),
        n => Ok(n.unwrap_or(1)),
    }
}

/// A count from 0 to `most`.
pub(super) fn up_to(body: &Fields<'_>, name: &str, most: usize) -> Result<Option<usize>, Failure> {
    match body.count(name)? {
        Some(n) if n > most => Err(body.bad(name, format_args!("is {n}, at most {most} is possible"))),
        n => Ok(n),
    }
}

/// Whether the answer comes as a stream, and whether its last chunk says what it took.
pub(super) fn stream(body: &Fields<'_>) -> Result<(bool, bool), Failure> {
    let options = body.object("stream_options")?;
    let usage = options.map(|options| options.flag("include_usage")).transpose()?.flatten();
    Ok((body.flag("stream")?.unwrap_or(false), usage.unwrap_or(false)))
}

/// Fields that would change the answer and are not understood: leaving them out silently would be a lie.
pub(super) fn refuse_unknown(body: &Fields<'_>) -> Result<(), Failure> {
    let some =
        |name: &str| body.get(name).is_some_and(|value| !value.as_object().is_some_and(|map| map.is_empty()));
    match some("logit_bias") {
        true => Err(body.bad("logit_bias", "is not supported")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(value: &Value) -> Result<SamplingChoice, Failure> {
        sampling(&Fields::body(value).unwrap())
    }

    #[test]
    fn fields_of_all_clients_are_known() {
        let value = json!({"temperature": 0, "top_p": 0.5, "top_k": -1, "repetition_penalty": 1.1, "min_p": 0.05,
            "presence_penalty": -2, "repeat_last_n": -1});
        let choice = of(&value).unwrap();
        assert_eq!((choice.temperature, choice.top_p, choice.top_k), (Some(0.0), Some(0.5), Some(0)));
        assert_eq!((choice.repeat_penalty, choice.penalty_last_n), (Some(1.1), Some(usize::MAX)));
        assert_eq!(of(&json!({})).unwrap(), SamplingChoice::default());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = |value: Value| of(&value).unwrap_err();
        let failure = error(json!({"temperature": -1}));
        assert_eq!(failure.param.as_deref(), Some("temperature"));
        assert_eq!(failure.message, "`temperature` is -1, expected 0 to 100");
        assert!(error(json!({"top_p": 1.5})).message.contains("top_p"));
        assert!(error(json!({"top_k": -2})).message.contains("-2"));
        assert!(error(json!({"frequency_penalty": "1"})).message.contains("text"));
        let body = json!({"n": 0, "logit_bias": {"5": 1}, "top_logprobs": 21});
        let body = Fields::body(&body).unwrap();
        assert!(answers(&body).is_err() && refuse_unknown(&body).is_err());
        assert_eq!(
            up_to(&body, "top_logprobs", 20).unwrap_err().message,
            "`top_logprobs` is 21, at most 20 is possible"
        );
        assert!(refuse_unknown(&Fields::body(&json!({"logit_bias": {}})).unwrap()).is_ok());
    }
}
