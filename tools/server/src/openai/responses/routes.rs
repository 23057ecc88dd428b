//! The route.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use qwip::chat::random_name;
use qwip::model::Task;

use super::encode::Encoder;
use super::request::{Asked, parse};
use crate::chat;
use crate::engine::Failure;
use crate::events::{collected, streamed};
use crate::http::{Dialect, Framing, JsonBody, Record, State, stream};
use crate::openai::lease_for;

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new().route("/v1/responses", post(responses))
}

async fn responses(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let Asked { chat: mut request, stream: streams, echo } = parse(&body.value)?;
    drop(body);
    let lease = lease_for(&state.models, &request.model, Task::Generate).await?;
    record.model(lease.name());
    request.model = lease.name().to_owned();
    let answers = chat::answer(&state.models, request).await?;
    drop(lease);
    let mut encoder = Encoder::new(&random_name(24), answers.model(), answers.created, echo);
    if !streams {
        collected(answers, &mut encoder, &record).await?;
        return Ok(axum::Json(encoder.response()).into_response());
    }
    let work = move |writer| streamed(answers, encoder, record, writer);
    stream(&state, Dialect::OpenAi, Framing::Sse, work).await
}
