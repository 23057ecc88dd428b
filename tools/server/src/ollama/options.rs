//! What `/api/chat` and `/api/generate` have in common: `options`, `format`, `think`.

use qwip::chat::Format;
use serde_json::Value;

use super::duration::keep_alive;
use crate::chat::ChatRequest;
use crate::engine::Failure;
use crate::fields::{Fields, set_effort};

/// A request with all fields but the conversation.
pub(super) fn common(body: &Fields) -> Result<ChatRequest, Failure> {
    let mut chat = ChatRequest {
        model: model(body)?,
        keep_alive: keep_alive(body)?,
        format: format(body)?,
        whole_calls: true,
        ..ChatRequest::default()
    };
    set_think(body, &mut chat)?;
    if let Some(options) = body.object("options")? {
        set_options(&options, &mut chat)?;
    }
    if body.flag("logprobs")? == Some(true) {
        chat.logprobs = Some(body.count("top_logprobs")?.unwrap_or(0));
    }
    Ok(chat)
}

/// The name of the model. Names there end with a tag, and `latest` is what is meant without one.
pub(super) fn model(body: &Fields) -> Result<String, Failure> {
    // An old name of the field that clients still use.
    let name = match body.text("model")? {
        Some(name) => Some(name),
        None => body.text("name")?,
    };
    let name = body.need("model", name)?;
    Ok(name.strip_suffix(":latest").unwrap_or(name).to_owned())
}

fn format(body: &Fields) -> Result<Format, Failure> {
    match body.get("format") {
        None => Ok(Format::Text),
        Some(Value::String(word)) => match word.as_str() {
            "" => Ok(Format::Text),
            "json" => Ok(Format::JsonObject),
            other => Err(body.unknown("format", other, "\"json\" and schemas")),
        },
        Some(schema @ Value::Object(_)) => Ok(Format::JsonSchema(schema.clone())),
        Some(_) => Err(body.wrong("format", "\"json\" or a schema")),
    }
}

fn set_think(body: &Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    match body.get("think") {
        None => {}
        Some(Value::Bool(think)) => chat.thinking = Some(*think),
        Some(Value::String(level)) => match level.as_str() {
            "low" | "medium" | "high" | "max" => set_effort(body, "think", chat)?,
            other => return Err(body.unknown("think", other, "true, false, low, medium, high and max")),
        },
        Some(_) => return Err(body.wrong("think", "true, false or a level")),
    }
    Ok(())
}

/// Options that only say how Ollama's own engine computes (`num_gpu`, `num_batch`, ..) are passed over, and so is
/// `num_ctx`: the context is fixed when the server starts, and a prompt that does not fit gets an error, never a cut.
fn set_options(options: &Fields, chat: &mut ChatRequest) -> Result<(), Failure> {
    // -1 and -2 are without a limit there, and so is 0.
    let most = options.integer("num_predict")?;
    chat.max_tokens = most.and_then(|most| usize::try_from(most).ok()).filter(|&most| most > 0);
    chat.seed = options.integer("seed")?.and_then(|seed| u64::try_from(seed).ok());
    chat.stop = options.stops("stop")?;
    let sampling = &mut chat.sampling;
    sampling.temperature = options.number("temperature")?;
    // Not positive: all tokens.
    let top_k = options.integer("top_k")?;
    sampling.top_k = top_k.map(|top_k| usize::try_from(top_k).unwrap_or(0));
    sampling.top_p = options.number("top_p")?;
    sampling.min_p = options.number("min_p")?;
    sampling.repeat_penalty = options.number("repeat_penalty")?;
    sampling.presence_penalty = options.number("presence_penalty")?;
    sampling.frequency_penalty = options.number("frequency_penalty")?;
    // -1: the whole context.
    let last = options.integer("repeat_last_n")?;
    sampling.penalty_last_n = last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::KeepAlive;

    fn read(mut body: Value) -> Result<ChatRequest, Failure> {
        body["model"] = "m:latest".into();
        common(&Fields::body(&body).unwrap())
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
        assert_eq!(error(json!({"format": "xml"})), "`format` is \"xml\": \"json\" and schemas are known");
        assert_eq!(
            error(json!({"think": "hard"})),
            "`think` is \"hard\": true, false, low, medium, high and max are known"
        );
        assert_eq!(error(json!({"options": {"top_p": "2"}})), "`options.top_p` is text, not a number");
        assert_eq!(error(json!({"options": []})), "`options` is a list, not an object");
        assert_eq!(common(&Fields::body(&json!({})).unwrap()).unwrap_err().message, "`model` is missing");
        assert_eq!(model(&Fields::body(&json!({"name": "a:b"})).unwrap()).unwrap(), "a:b");
    }
}
