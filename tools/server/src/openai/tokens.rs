//! llama.cpp's `/tokenize` and `/detokenize`, for programs that count tokens.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use qwip::tokenizer::Special;
use serde_json::json;

use super::completions::tokens;
use crate::engine::{Failure, FailureKind};
use crate::fields::Fields;
use crate::http::{JsonBody, Record, State};

pub(super) async fn tokenize(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let fields = Fields::body(&body.value)?;
    let text = fields.need("content", fields.text("content")?)?.to_owned();
    let begin = fields.flag("add_special")?.unwrap_or(false);
    let special = if fields.flag("parse_special")?.unwrap_or(true) { Special::Parse } else { Special::Text };
    let lease = state.models.get(fields.text("model")?.unwrap_or_default()).await?;
    record.model(lease.name());
    let work = move || {
        let tokenizer = lease.voice().tokenizer();
        if begin { tokenizer.encode_with_bos(&text, special) } else { tokenizer.encode(&text, special) }
    };
    let lost = |_| Failure::new(FailureKind::Internal, "the text could not be read");
    let tokens = tokio::task::spawn_blocking(work).await.map_err(lost)?;
    Ok(axum::Json(json!({"tokens": tokens})).into_response())
}

pub(super) async fn detokenize(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let fields = Fields::body(&body.value)?;
    let ids = tokens(fields.list("tokens")?, "tokens")?;
    let lease = state.models.get(fields.text("model")?.unwrap_or_default()).await?;
    record.model(lease.name());
    let tokenizer = lease.voice().tokenizer();
    let count = tokenizer.len();
    if let Some(id) = ids.iter().find(|&&id| id as usize >= count) {
        return Err(Failure::invalid("tokens", format!("token {id} is not in the vocabulary of {count}")));
    }
    Ok(axum::Json(json!({"content": tokenizer.decode(&ids, true)})).into_response())
}
