//! What `/api/chat` and `/api/generate` have in common: `options`, `format`, `think`.

use serde_json::Value;

use super::duration::keep_alive;
use crate::chat::{ChatRequest, Format};
use crate::engine::Failure;
use crate::fields::set_effort;
use crate::http::{Fields, wrong};

/// A request with all fields but the conversation.
pub(super) fn common(body: &mut Fields) -> Result<ChatRequest, Failure> {
    let mut chat = ChatRequest {
        model: model(body)?,
        keep_alive: keep_alive(body)?,
        format: format(body)?,
        ..ChatRequest::default()
    };
    set_think(body, &mut chat)?;
    if let Some(mut options) = body.object("options")? {
        set_options(&mut options, &mut chat)?;
    }
    if body.flag("logprobs")? == Some(true) {
        chat.logprobs = Some(body.count("top_logprobs", 20)?.unwrap_or(0));
    }
    Ok(chat)
}

/// The name of the model. Names there end with a tag, and `latest` is what is meant without one.
pub(super) fn model(body: &mut Fields) -> Result<String, Failure> {
    // An old name of the field that clients still use.
    let name = match body.text("model")? {
        Some(name) => name,
        None => body.text("name")?.ok_or_else(|| body.bad("model", "missing"))?,
    };
    Ok(name.strip_suffix(":latest").unwrap_or(&name).to_owned())
}

fn format(body: &mut Fields) -> Result<Format, Failure> {
    match body.take("format") {
        None => Ok(Format::Text),
        Some(Value::String(word)) => match word.as_str() {
            "" => Ok(Format::Text),
            "json" => Ok(Format::JsonObject),
            other => Err(body.unknown("format", other, "\"json\" or a schema")),
        },
        Some(schema @ Value::Object(_)) => Ok(Format::JsonSchema(schema)),
        Some(other) => Err(wrong("format", "\"json\" or a schema", &other)),
    }
}

fn set_think(body: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    match body.take("think") {
        None => {}
        Some(Value::Bool(think)) => chat.thinking = Some(think),
        Some(Value::String(level)) if matches!(level.as_str(), "low" | "medium" | "high" | "max") => {
            set_effort(chat, &level);
        }
        Some(Value::String(other)) => {
            return Err(body.unknown("think", &other, "true, false, low, medium, high or max"));
        }
        Some(other) => return Err(wrong("think", "true, false or a level", &other)),
    }
    Ok(())
}

/// Options that only say how Ollama's own engine computes (`num_gpu`, `num_batch`, ..) are passed over, and so is
/// `num_ctx`: the context is fixed when the server starts, and a prompt that does not fit gets an error, never a cut.
fn set_options(options: &mut Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    let whole = i64::MIN..=i64::MAX;
    // -1 and -2 are without a limit there, and so is 0.
    let most = options.integer("num_predict", whole.clone())?;
    chat.max_tokens = most.and_then(|most| usize::try_from(most).ok()).filter(|&most| most > 0);
    chat.seed = options.integer("seed", whole.clone())?.and_then(|seed| u64::try_from(seed).ok());
    chat.stop = options.stops("stop")?;
    let sampling = &mut chat.sampling;
    sampling.temperature = options.number("temperature", 0.0..=f32::MAX)?;
    // Not positive: all tokens.
    let top_k = options.integer("top_k", whole.clone())?;
    sampling.top_k = top_k.map(|top_k| usize::try_from(top_k).unwrap_or(0));
    sampling.top_p = options.number("top_p", 0.0..=1.0)?;
    sampling.min_p = options.number("min_p", 0.0..=1.0)?;
    sampling.repeat_penalty = options.number("repeat_penalty", f32::MIN_POSITIVE..=f32::MAX)?;
    sampling.presence_penalty = options.number("presence_penalty", -2.0..=2.0)?;
    sampling.frequency_penalty = options.number("frequency_penalty", -2.0..=2.0)?;
    // -1: the whole context.
    let last = options.integer("repeat_last_n", whole)?;
    sampling.penalty_last_n = last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::KeepAlive;
    use crate::fields::fields;

    fn read(mut body: Value) -> Result<ChatRequest, Failure> {
        body["model"] = "m:latest".into();
        common(&mut fields(body))
    }

    #[test]
    fn every_field_finds_its_place() {
        let chat = read(json!({
            "keep_alive": -1, "format": {"type": "object"}, "think": "high", "logprobs": true, "top_logprobs": 2,
            "options": {
                "num_predict": 20, "num_ctx": 1_000_000, "seed": 7, "stop": ["x"], "temperature": 0, "top_k": 5,
                "top_p": 0.9, "min_p": 0.1, "repeat_penalty": 1.1, "presence_penalty": 0.5, "num_gpu": 99,
                "frequency_penalty": -0.5, "repeat_last_n": -1, "mirostat": 0,
            },
        }))
        .unwrap();
        assert_eq!((chat.model.as_str(), chat.keep_alive), ("m", Some(KeepAlive::Forever)));
        assert_eq!(chat.format, Format::JsonSchema(json!({"type": "object"})));
        assert_eq!((chat.thinking, &chat.template_kwargs["reasoning_effort"]), (Some(true), &json!("high")));
        assert_eq!((chat.max_tokens, chat.seed, chat.logprobs), (Some(20), Some(7), Some(2)));
        assert_eq!(chat.stop, ["x"]);
        let s = &chat.sampling;
        assert_eq!((s.temperature, s.top_k, s.top_p, s.min_p), (Some(0.0), Some(5), Some(0.9), Some(0.1)));
        assert_eq!((s.repeat_penalty, s.penalty_last_n), (Some(1.1), Some(usize::MAX)));
        assert_eq!((s.presence_penalty, s.frequency_penalty), (Some(0.5), Some(-0.5)));
    }

    #[test]
    fn numbers_that_mean_no_limit() {
        let options = |options: Value| read(json!({"options": options})).unwrap();
        for most in [-2, -1, 0] {
            assert_eq!(options(json!({"num_predict": most})).max_tokens, None);
        }
        assert_eq!(options(json!({"seed": -1})).seed, None);
        assert_eq!(options(json!({"top_k": -1})).sampling.top_k, Some(0));
        assert_eq!(read(json!({"format": ""})).unwrap().format, Format::Text);
        assert_eq!(read(json!({"format": "json"})).unwrap().format, Format::JsonObject);
        assert_eq!(read(json!({"think": false})).unwrap().thinking, Some(false));
    }

    #[test]
    fn faults_are_named() {
        let error = |body: Value| read(body).unwrap_err().message;
        assert_eq!(error(json!({"format": "xml"})), "format: expected \"json\" or a schema, found \"xml\"");
        assert_eq!(
            error(json!({"think": "hard"})),
            "think: expected true, false, low, medium, high or max, found \"hard\""
        );
        assert_eq!(
            error(json!({"options": {"top_p": 2}})),
            "options.top_p: expected a number from 0 to 1, found 2"
        );
        assert_eq!(error(json!({"options": []})), "options: expected an object, found a list");
        assert_eq!(common(&mut fields(json!({}))).unwrap_err().message, "model: missing");
        assert_eq!(model(&mut fields(json!({"name": "a:b"}))).unwrap(), "a:b");
    }
}
