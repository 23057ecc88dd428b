//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use qwip::chat::random_name;
use qwip::model::Task;
use serde_json::json;

use super::encode::Encoder;
use super::request::{Messages, parse};
use crate::chat;
use crate::engine::Failure;
use crate::events::{collected, streamed};
use crate::http::{Dialect, Framing, JsonBody, Record, State, stream};
use crate::openai::lease_for;

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new().route("/v1/messages", post(messages)).route("/v1/messages/count_tokens", post(count_tokens))
}

async fn messages(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let Messages { chat: mut request, stream: streams, hide_thinking } = parse(&body.value, false)?;
    drop(body);
    let lease = lease_for(&state.models, &request.model, Task::Generate).await?;
    record.model(lease.name());
    request.model = lease.name().to_owned();
    let answers = chat::answer(&state.models, request).await?;
    drop(lease);
    let key = random_name(24);
    let mut encoder = Encoder::new(&key, answers.model(), answers.prompt_tokens, hide_thinking);
    if !streams {
        collected(answers, &mut encoder, &record).await?;
        return Ok(axum::Json(encoder.message()).into_response());
    }
    let work = move |writer| streamed(answers, encoder, record, writer);
    stream(&state, Dialect::Anthropic, Framing::Sse, work).await
}

async fn count_tokens(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let mut request = parse(&body.value, true)?.chat;
    drop(body);
    let lease = lease_for(&state.models, &request.model, Task::Generate).await?;
    record.model(lease.name());
    request.model = lease.name().to_owned();
    let tokens = chat::count_tokens(&state.models, request).await?;
    Ok(axum::Json(json!({"input_tokens": tokens})).into_response())
}
