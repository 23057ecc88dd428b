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
use crate::engine::Failure;
use crate::events::broken_off;
use crate::http::{Dialect, Framing, JsonBody, Record, State, Writer, stream};
use crate::logprob;

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
        return collected(answers, frame, &record).await;
    }
    let work = move |writer| streamed(answers, frame, include_usage, record, writer);
    stream(&state, Dialect::OpenAi, Framing::Sse, work).await
}

async fn collected(mut answers: Answers, frame: Frame, record: &Record) -> Result<Response, Failure> {
    let mut complete = Complete::default();
    while let Some(event) = answers.next().await {
        match event {
            ChatEvent::Started => {}
            ChatEvent::Delta { choice, deltas, logprobs } => {
                complete.push(choice, deltas, logprobs);
            }
            ChatEvent::Finished { choice, reason, calls, summary } => {
                complete.finish(choice, reason, calls, &summary);
            }
            ChatEvent::End(usage) => {
                record.usage(usage);
                let spell = |token: u32| answers.token(token);
                return Ok(axum::Json(frame.complete(&complete, &usage, &spell)).into_response());
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
                let spell = |token: u32| answers.token(token);
                let logprobs = logprobs.iter().map(|token| logprob::object(token, &spell)).collect();
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
