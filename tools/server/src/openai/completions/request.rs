//! What the body of a text request says.

use qwip::chat::json_kind;
use qwip::sample::SamplingChoice;
use serde_json::Value;

use super::super::sampling;
use crate::engine::Failure;
use crate::fields::Fields;

/// Most answers to one request, over all its prompts.
const MOST: usize = 256;
/// OpenAI's limit on new tokens where the request has none.
const USUAL_TOKENS: usize = 16;
/// Most alternatives of a token. OpenAI has 5.
const MOST_ALTERNATIVES: usize = 20;

/// A prompt as it is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// A request for texts.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) model: String,
    pub(super) prompts: Vec<Prompt>,
    /// Answers to each of them.
    pub(super) n: usize,
    pub(super) echo: bool,
    pub(super) suffix: Option<String>,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) sampling: SamplingChoice,
    pub(super) seed: Option<u64>,
    pub(super) logprobs: Option<usize>,
    pub(super) ignore_eos: bool,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

pub(super) fn parse(value: &Value) -> Result<Wanted, Failure> {
    let body = Fields::body(value)?;
    sampling::refuse_unknown(&body)?;
    let n = sampling::answers(&body)?;
    if let Some(best_of) = body.count("best_of")?.filter(|&best_of| best_of != n) {
        return Err(body.bad(
            "best_of",
            format_args!("is {best_of}, but n is {n}: only as many are made as are wanted"),
        ));
    }
    let prompts = prompts(&body)?;
    if prompts.len().saturating_mul(n) > MOST {
        let count = prompts.len();
        return Err(body.bad(
            "prompt",
            format_args!("has {count} texts with {n} answers each, at most {MOST} are made"),
        ));
    }
    let suffix = body.text("suffix")?.filter(|suffix| !suffix.is_empty()).map(str::to_owned);
    let echo = body.flag("echo")?.unwrap_or(false);
    if suffix.is_some() && (echo || prompts.iter().any(|prompt| matches!(prompt, Prompt::Tokens(_)))) {
        return Err(body.bad("suffix", "goes with a prompt that is text, and without `echo`"));
    }
    let (stream, include_usage) = sampling::stream(&body)?;
    let max_tokens = sampling::without_limit(&body, "max_tokens")?.unwrap_or(Some(USUAL_TOKENS));
    let logprobs = sampling::up_to(&body, "logprobs", MOST_ALTERNATIVES)?;
    // Who measures a text asks for one token more and cuts the last entry off: there must be one, even where the model ends.
    let measures = echo && logprobs.is_some() && max_tokens == Some(1);
    Ok(Wanted {
        model: body.text("model")?.unwrap_or_default().to_owned(),
        prompts,
        n,
        echo,
        suffix,
        max_tokens,
        stop: body.stops("stop")?,
        sampling: sampling::sampling(&body)?,
        seed: body.seed("seed")?,
        logprobs,
        ignore_eos: body.flag("ignore_eos")?.unwrap_or(false) || measures,
        stream,
        include_usage,
    })
}

fn prompts(body: &Fields<'_>) -> Result<Vec<Prompt>, Failure> {
    match body.need("prompt", body.get("prompt"))? {
        Value::String(text) => Ok(vec![Prompt::Text(text.clone())]),
        Value::Array(items) if items.is_empty() => Err(body.bad("prompt", "is empty")),
        Value::Array(items) if items[0].is_number() => Ok(vec![Prompt::Tokens(tokens(items, "prompt")?)]),
        Value::Array(items) => {
            let prompt = |(i, item): (usize, &Value)| match item {
                Value::String(text) => Ok(Prompt::Text(text.clone())),
                Value::Array(ids) => Ok(Prompt::Tokens(tokens(ids, &format!("prompt[{i}]"))?)),
                _ => Err(body.wrong("prompt", "text, tokens, or a list of either")),
            };
            items.iter().enumerate().map(prompt).collect()
        }
        _ => Err(body.wrong("prompt", "text, tokens, or a list of either")),
    }
}

/// The ids in a list that is called `path`.
pub(in crate::openai) fn tokens(items: &[Value], path: &str) -> Result<Vec<u32>, Failure> {
    let id = |(i, item): (usize, &Value)| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        let wrong = || {
            // A number is short; a text could be as long as the body.
            let found = if item.is_number() { item.to_string() } else { json_kind(item).to_owned() };
            Failure::invalid(path, format!("`{path}[{i}]` is {found}, not the id of a token"))
        };
        id.ok_or_else(wrong)
    };
    items.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(value: Value) -> (String, String) {
        let failure = parse(&value).unwrap_err();
        (failure.param.unwrap_or_default(), failure.message)
    }

    #[test]
    fn prompts_come_in_four_shapes() {
        let of = |prompt: Value| parse(&json!({"prompt": prompt})).unwrap().prompts;
        let text = |text: &str| Prompt::Text(text.into());
        assert_eq!(of(json!("a")), [text("a")]);
        assert_eq!(of(json!(["a", "b"])), [text("a"), text("b")]);
        assert_eq!(of(json!([1, 2])), [Prompt::Tokens(vec![1, 2])]);
        assert_eq!(of(json!([[1], [2, 3]])), [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]);
    }

    #[test]
    fn openais_defaults_hold() {
        let wanted = parse(&json!({"prompt": "a"})).unwrap();
        assert_eq!((wanted.n, wanted.max_tokens, wanted.logprobs, wanted.echo), (1, Some(16), None, false));
        assert_eq!(parse(&json!({"prompt": "a", "max_tokens": 0})).unwrap().max_tokens, Some(0));
        assert_eq!(parse(&json!({"prompt": "a", "max_tokens": -1})).unwrap().max_tokens, None);
        assert_eq!(parse(&json!({"prompt": "a", "best_of": 1, "logprobs": 0})).unwrap().logprobs, Some(0));
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": 5}), "prompt"),
            (json!({"prompt": [1, "a"]}), "prompt"),
            (json!({"prompt": [["a"]]}), "prompt[0]"),
            (json!({"prompt": [1, -1]}), "prompt"),
            (json!({"prompt": "a", "n": 300}), "prompt"),
            (json!({"prompt": "a", "best_of": 2}), "best_of"),
            (json!({"prompt": "a", "logprobs": 21}), "logprobs"),
            (json!({"prompt": "a", "logprobs": true}), "logprobs"),
            (json!({"prompt": [1], "suffix": "b"}), "suffix"),
            (json!({"prompt": "a", "suffix": "b", "echo": true}), "suffix"),
        ] {
            assert_eq!(error(body.clone()).0, param, "{body}");
        }
        assert_eq!(
            error(json!({"prompt": [1, 99999999999u64]})).1,
            "`prompt[1]` is 99999999999, not the id of a token"
        );
        let long = "x".repeat(100_000);
        assert_eq!(error(json!({"prompt": [1, long]})).1, "`prompt[1]` is text, not the id of a token");
    }

    #[test]
    fn what_measures_a_text_gets_its_token() {
        let of = |tokens: usize, echo: bool| {
            let body = json!({"prompt": "a", "echo": echo, "logprobs": 1, "max_tokens": tokens});
            parse(&body).unwrap().ignore_eos
        };
        assert!(of(1, true));
        assert!(!of(2, true) && !of(1, false));
    }
}
