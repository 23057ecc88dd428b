//! `/v1/models`: what there is, in OpenAI's form or, for clients that say so, in Anthropic's.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use qwip::model::Task;
use serde_json::{Value, json};

use crate::anthropic;
use crate::engine::{Failure, FailureKind};
use crate::http::{Dialect, State};
use crate::models::Entry;

pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Extension(dialect): Extension<Dialect>,
) -> Response {
    let entries = state.models.list().await;
    let object = match dialect == Dialect::Anthropic {
        true => anthropic::model_list(entries.iter().map(|entry| &entry.listed)),
        false => json!({"object": "list", "data": entries.iter().map(object).collect::<Vec<_>>()}),
    };
    axum::Json(object).into_response()
}

pub(super) async fn one(
    Shared(state): Shared<Arc<State>>,
    Extension(dialect): Extension<Dialect>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(id) = path.map_err(|error| Failure::new(FailureKind::Invalid, error.body_text()))?;
    let entries = state.models.list().await;
    let Some(entry) = entries.iter().find(|entry| entry.listed.name == id) else {
        return Err(Failure::new(
            FailureKind::UnknownModel,
            format!("there is no model '{}' here", id.chars().take(200).collect::<String>()),
        ));
    };
    let object = match dialect == Dialect::Anthropic {
        true => anthropic::model_object(&entry.listed),
        false => object(entry),
    };
    Ok(axum::Json(object).into_response())
}

/// A model; `meta` is ours.
fn object(entry: &Entry) -> Value {
    let Entry { listed, running } = entry;
    let created = listed.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let task = match listed.task {
        Task::Generate => "chat",
        Task::Embed => "embedding",
        Task::Rerank => "rerank",
    };
    json!({
        "id": listed.name,
        "object": "model",
        "created": created.map_or(0, |since| since.as_secs()),
        "owned_by": "qwip",
        "meta": {
            "architecture": listed.architecture,
            "parameters": listed.parameters,
            "bytes": listed.bytes,
            "type": listed.file_type,
            "context": running.as_ref().map(|running| running.context).or(listed.context),
            "task": task,
            "loaded": running.is_some(),
            "memory_bytes": running.as_ref().map(|running| running.bytes + running.memory),
            "device": running.as_ref().map(|running| &running.device),
            "thinks": running.as_ref().map(|running| running.thinks),
        },
    })
}
