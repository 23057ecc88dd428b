//! `/api/embed` and its older form `/api/embeddings`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use qwip::model::Task;
use qwip::tokenizer::Special;
use serde_json::{Value, json};

use super::duration::keep_alive;
use super::encode::nanoseconds;
use super::options::model;
use crate::chat::{KeepAlive, Usage};
use crate::engine::{Failure, FailureKind};
use crate::fields::Fields;
use crate::http::{JsonBody, Record, State};
use crate::models::Lease;
use crate::openai::lease_for;

/// Most texts of one request.
const MOST_TEXTS: usize = 2048;

/// What is asked.
#[derive(Debug)]
struct Asked {
    model: String,
    texts: Vec<String>,
    /// Texts that are too long lose their end instead of being refused.
    truncate: bool,
    dimensions: Option<usize>,
    keep_alive: Option<KeepAlive>,
}

pub(super) async fn embed(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let begun = Instant::now();
    let asked = parse(&body.value, "input")?;
    drop(body);
    let lease = lease(&state, &record, &asked).await?;
    let load = begun.elapsed();
    let name = lease.name().to_owned();
    let (vectors, tokens) = vectors(lease, asked, &record).await?;
    let answer = json!({
        "model": name,
        "embeddings": vectors,
        "total_duration": nanoseconds(begun.elapsed()),
        "load_duration": nanoseconds(load),
        "prompt_eval_count": tokens,
    });
    Ok(axum::Json(answer).into_response())
}

pub(super) async fn embeddings(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let asked = parse(&body.value, "prompt")?;
    drop(body);
    let lease = lease(&state, &record, &asked).await?;
    let (vectors, _) = vectors(lease, asked, &record).await?;
    let vector = vectors.into_iter().next().unwrap_or_default();
    Ok(axum::Json(json!({"embedding": vector})).into_response())
}

/// `input` is what the field with the texts is called; only in the newer form are there several.
fn parse(body: &Value, input: &str) -> Result<Asked, Failure> {
    let body = Fields::body(body)?;
    let several = input == "input";
    let texts = match body.get(input) {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if several => {
            if items.len() > MOST_TEXTS {
                let found = items.len();
                let message = format_args!("has {found} texts, at most {MOST_TEXTS} are possible");
                return Err(body.bad(input, message));
            }
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| body.wrong(input, "a list of texts alone"))?
        }
        Some(_) if several => return Err(body.wrong(input, "text or a list of texts")),
        Some(_) => return Err(body.wrong(input, "text")),
    };
    Ok(Asked {
        model: model(&body)?,
        texts,
        truncate: body.flag("truncate")?.unwrap_or(true),
        dimensions: body.count("dimensions")?.filter(|&dimensions| dimensions > 0),
        keep_alive: keep_alive(&body)?,
    })
}

async fn lease(state: &State, record: &Record, asked: &Asked) -> Result<Lease, Failure> {
    let mut lease = lease_for(&state.models, &asked.model, Task::Embed).await?;
    record.model(lease.name());
    if let Some(keep_alive) = asked.keep_alive {
        lease.set_keep_alive(keep_alive);
    }
    Ok(lease)
}

/// The vectors, and how many tokens the texts had.
async fn vectors(lease: Lease, asked: Asked, record: &Record) -> Result<(Vec<Vec<f32>>, usize), Failure> {
    if asked.texts.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let Asked { texts, truncate, dimensions, .. } = asked;
    let encode = move || {
        let (tokenizer, longest) = (lease.voice().tokenizer(), lease.context());
        let tokens = |text: String| {
            let mut tokens = tokenizer.encode_sequence(&text, Special::Text);
            if truncate {
                cut(&mut tokens, longest);
            }
            tokens
        };
        let tokens: Vec<Vec<u32>> = texts.into_iter().map(tokens).collect();
        (lease, tokens)
    };
    let lost = |_| Failure::new(FailureKind::Internal, "the texts could not be read");
    let (lease, tokens) = tokio::task::spawn_blocking(encode).await.map_err(lost)?;
    if let Some(empty) = tokens.iter().position(Vec::is_empty) {
        return Err(Failure::invalid("input", format!("text {empty} has no tokens, at least one is wanted")));
    }
    let count = tokens.iter().map(Vec::len).sum();
    let vectors = lease.embed(tokens, dimensions).await?;
    record.usage(Usage { prompt_tokens: count, ..Usage::default() });
    Ok((vectors, count))
}

/// Cuts a text to so many tokens. The last one stays, since models are trained to look there.
fn cut(tokens: &mut Vec<u32>, longest: usize) {
    if tokens.len() > longest
        && let Some(last) = tokens.last().copied()
    {
        tokens.truncate(longest.saturating_sub(1));
        tokens.push(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let body =
            json!({"model": "e", "input": ["a", "b"], "truncate": false, "dimensions": 8, "keep_alive": 0});
        let asked = parse(&body, "input").unwrap();
        assert_eq!((asked.texts.len(), asked.truncate, asked.dimensions), (2, false, Some(8)));
        assert!(asked.keep_alive.is_some());
        let asked = parse(&json!({"model": "e", "prompt": "a"}), "prompt").unwrap();
        assert_eq!((asked.texts, asked.truncate), (vec!["a".to_owned()], true));
        assert!(parse(&json!({"model": "e", "input": []}), "input").unwrap().texts.is_empty());
    }

    #[test]
    fn faults_are_named() {
        let error = |body: Value, field: &str| parse(&body, field).unwrap_err().message;
        assert_eq!(error(json!({"model": "e", "prompt": ["a"]}), "prompt"), "`prompt` is a list, not text");
        assert_eq!(
            error(json!({"model": "e", "input": [1]}), "input"),
            "`input` is a list, not a list of texts alone"
        );
        assert_eq!(
            error(json!({"model": "e", "input": vec!["x"; 2049]}), "input"),
            "`input` has 2049 texts, at most 2048 are possible"
        );
        assert_eq!(error(json!({"input": "x"}), "input"), "`model` is missing");
    }

    #[test]
    fn a_text_that_is_cut_keeps_its_end() {
        let cut_to = |longest: usize| {
            let mut tokens = vec![1, 2, 3, 9];
            cut(&mut tokens, longest);
            tokens
        };
        assert_eq!(cut_to(4), [1, 2, 3, 9]);
        assert_eq!(cut_to(3), [1, 2, 9]);
        assert_eq!(cut_to(1), [9]);
    }
}
