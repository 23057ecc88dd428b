//! `/v1/chat/completions`.

mod answer;
mod request;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use qwip::model::Task;

use self::answer::{Complete, Frame};
use self::request::Wanted;
use crate::chat::{self, Answers, ChatEvent};
use crate::engine::{Failure, FailureKind};
use crate::http::{Dialect, Framing, JsonBody, Record, State, Writer, stream};

pub(super) async fn completions(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let Wanted { chat: mut request, stream: streams, include_usage } = request::parse(&body.value)?;
    drop(body);
    let lease = super::lease_for(&state.models, &request.model, Task::Generate).await?;
    record.model(lease.name());
    // The same one, whatever "the default" is by then.
    request.model = lease.name().to_owned();
    let with_logprobs = request.logprobs.is_some();
    let answers = chat::answer(&state.models, request).await?;
    drop(lease);
    let frame = Frame::new(&answers, with_logprobs);
    if !streams {
        return Ok(axum::Json(collected(answers, frame, &record).await?).into_response());
    }
    let work = move |writer| streamed(answers, frame, include_usage, record, writer);
    stream(&state, Dialect::OpenAi, Framing::Sse, work).await
}

async fn collected(
    mut answers: Answers,
    frame: Frame,
    record: &Record,
) -> Result<serde_json::Value, Failure> {
    let mut complete = Complete::default();
    while let Some(event) = answers.next().await {
        match event {
            ChatEvent::Started => {}
            ChatEvent::Delta { choice, deltas, logprobs } => {
                let logprobs = logprobs.iter().map(|token| frame.logprob(&answers, token));
                complete.push(choice, deltas, logprobs);
            }
            ChatEvent::Finished { choice, reason, calls, summary } => {
                complete.finish(choice, reason, calls, &summary);
            }
            ChatEvent::End(usage) => {
                record.usage(usage);
                return Ok(frame.complete(complete, &usage));
            }
            ChatEvent::Failed(failure) => return Err(failure),
        }
    }
    Err(broken_off())
}

async fn streamed(
    mut answers: Answers,
    mut frame: Frame,
    include_usage: bool,
    record: Record,
    mut writer: Writer,
) {
    frame.promise_usage(include_usage);
    while let Some(event) = answers.next().await {
        match event {
            ChatEvent::Started => {}
            ChatEvent::Delta { choice, deltas, logprobs } => {
                let logprobs: Vec<_> = logprobs.iter().map(|token| frame.logprob(&answers, token)).collect();
                for chunk in frame.chunks(choice, deltas, logprobs) {
                    writer.data(&chunk).await;
                }
            }
            ChatEvent::Finished { choice, reason, calls, summary } => {
                for chunk in frame.last_chunks(choice, reason, calls, &summary) {
                    writer.data(&chunk).await;
                }
            }
            ChatEvent::End(usage) => {
                record.usage(usage);
                if include_usage {
                    writer.data(&frame.usage_chunk(&usage)).await;
                }
                return writer.done().await;
            }
            ChatEvent::Failed(failure) => return writer.fail(failure).await,
        }
    }
    writer.fail(broken_off()).await;
}

fn broken_off() -> Failure {
    Failure::new(FailureKind::Internal, "the answer broke off")
}
