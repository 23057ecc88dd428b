//! `/v1/embeddings`.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use qwip::model::Task;
use qwip::tokenizer::{Special, Tokenizer};
use serde_json::{Value, json};

use super::completions::tokens;
use crate::chat::Usage;
use crate::engine::{Failure, FailureKind};
use crate::fields::Fields;
use crate::http::{JsonBody, Record, State};

/// Most texts of one request, as OpenAI has it.
const MOST_TEXTS: usize = 2048;

enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

struct Wanted {
    model: String,
    inputs: Vec<Input>,
    base64: bool,
    dimensions: Option<usize>,
}

pub(super) async fn embeddings(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let wanted = parse(&body.value)?;
    drop(body);
    let lease = super::lease_for(&state.models, &wanted.model, Task::Embed).await?;
    record.model(lease.name());
    let (lease, texts) = {
        let inputs = wanted.inputs;
        let work = move || {
            let texts = encode(lease.voice().tokenizer(), inputs);
            texts.map(|texts| (lease, texts))
        };
        let lost = |_| Err(Failure::new(FailureKind::Internal, "the texts could not be read"));
        tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)?
    };
    let prompt_tokens = texts.iter().map(Vec::len).sum();
    let vectors = lease.embed(texts, wanted.dimensions).await?;
    record.usage(Usage { prompt_tokens, ..Usage::default() });
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = if wanted.base64 { json!(packed(&vector)) } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let object = json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": lease.name(),
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    });
    Ok(axum::Json(object).into_response())
}

/// Little-endian 32-bit numbers in base64, which OpenAI's Python package asks for.
fn packed(vector: &[f32]) -> String {
    BASE64_STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

fn parse(value: &Value) -> Result<Wanted, Failure> {
    let body = Fields::body(value)?;
    let base64 = match body.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(
                body.bad("encoding_format", format_args!("is \"{other}\": float and base64 are known"))
            );
        }
    };
    let dimensions = body.count("dimensions")?;
    if dimensions == Some(0) {
        return Err(body.bad("dimensions", "is 0, at least 1 is wanted"));
    }
    let model = body.text("model")?.unwrap_or_default().to_owned();
    Ok(Wanted { model, inputs: inputs(&body)?, base64, dimensions })
}

fn inputs(body: &Fields<'_>) -> Result<Vec<Input>, Failure> {
    let wrong = || body.wrong("input", "text, tokens, or a list of either");
    let items = match body.need("input", body.get("input"))? {
        Value::String(text) => return Ok(vec![Input::Text(text.clone())]),
        Value::Array(items) if items.is_empty() => return Err(body.bad("input", "is empty")),
        Value::Array(items) if items[0].is_number() => {
            return Ok(vec![Input::Tokens(tokens(items, "input")?)]);
        }
        Value::Array(items) => items,
        _ => return Err(wrong()),
    };
    if items.len() > MOST_TEXTS {
        return Err(
            body.bad("input", format_args!("has {} texts, at most {MOST_TEXTS} are taken", items.len()))
        );
    }
    let input = |(i, item): (usize, &Value)| match item {
        Value::String(text) => Ok(Input::Text(text.clone())),
        Value::Array(ids) => Ok(Input::Tokens(tokens(ids, &format!("input[{i}]"))?)),
        _ => Err(wrong()),
    };
    items.iter().enumerate().map(input).collect()
}

fn encode(tokenizer: &Tokenizer, inputs: Vec<Input>) -> Result<Vec<Vec<u32>>, Failure> {
    let encode = |(i, input)| {
        let tokens = match input {
            Input::Text(text) => tokenizer.encode_sequence(&text, Special::Text),
            Input::Tokens(tokens) => tokens,
        };
        let count = tokenizer.len();
        match tokens.iter().find(|&&id| id as usize >= count) {
            Some(id) => Err(Failure::invalid(
                "input",
                format!("text {i}: token {id} is not in the vocabulary of {count}"),
            )),
            None if tokens.is_empty() => Err(Failure::invalid("input", format!("text {i} is empty"))),
            None => Ok(tokens),
        }
    };
    inputs.into_iter().enumerate().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_packed_as_the_python_package_reads_them() {
        assert_eq!(packed(&[1.0, -2.0]), "AACAPwAAAMA=");
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, param) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": {"a": 1}}), "input"),
            (json!({"input": ["a", 1]}), "input"),
            (json!({"input": [["a"]]}), "input[0]"),
            (json!({"input": vec!["a"; 2049]}), "input"),
            (json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
            (json!({"input": "a", "dimensions": 0}), "dimensions"),
            (json!({"input": "a", "model": 1}), "model"),
        ] {
            assert_eq!(parse(&body).err().and_then(|failure| failure.param).as_deref(), Some(param));
        }
    }
}
