//! `/v1/completions`: texts continued as they are, without a template. lm-eval measures models by it, with `echo` and log
//! probabilities of the prompt.

mod answer;
mod batch;
mod request;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use qwip::model::Task;

use self::answer::{Choice, Frame};
use self::batch::Batch;
pub(super) use self::request::tokens;
use crate::engine::{Event, Failure, FailureKind};
use crate::http::{Dialect, Framing, JsonBody, Record, State, Writer, stream};

pub(super) async fn completions(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let wanted = request::parse(&body.value)?;
    drop(body);
    let lease = super::lease_for(&state.models, &wanted.model, Task::Generate).await?;
    record.model(lease.name());
    let (streams, include_usage) = (wanted.stream, wanted.include_usage);
    // Long texts take their time to become tokens.
    let batch = tokio::task::spawn_blocking(move || Batch::new(lease, wanted)).await;
    let batch =
        batch.unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "the prompt could not be read")))?;
    let frame = Frame::new(&batch, include_usage);
    if !streams {
        return collected(batch, frame, &record).await;
    }
    let work = move |writer| streamed(batch, frame, include_usage, record, writer);
    stream(&state, Dialect::OpenAi, Framing::Sse, work).await
}

async fn collected(mut batch: Batch, mut frame: Frame, record: &Record) -> Result<Response, Failure> {
    let mut choices: Vec<Choice> = (0..batch.len()).map(|_| Choice::default()).collect();
    while let Some((index, event)) = batch.next().await? {
        let choice = &mut choices[index];
        match event {
            Event::Prompt { logprobs, .. } => choice.begin(&batch, index, logprobs),
            Event::Piece { text, token } => choice.push(&text, token),
            Event::Done(summary) => {
                choice.finish(summary.reason);
                frame.add(&batch, index, &summary);
            }
            Event::Failed(failure) => return Err(failure),
        }
    }
    record.usage(frame.usage());
    Ok(axum::Json(frame.complete(&choices, &|token| batch.spell(token))).into_response())
}

async fn streamed(
    mut batch: Batch,
    mut frame: Frame,
    include_usage: bool,
    record: Record,
    mut writer: Writer,
) {
    let mut choices: Vec<Choice> = (0..batch.len()).map(|_| Choice::default()).collect();
    loop {
        let (index, event) = match batch.next().await {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(failure) => return writer.fail(failure).await,
        };
        let choice = &mut choices[index];
        match event {
            Event::Prompt { logprobs, .. } => choice.begin(&batch, index, logprobs),
            Event::Piece { text, token } => choice.push(&text, token),
            Event::Done(summary) => {
                choice.finish(summary.reason);
                frame.add(&batch, index, &summary);
                let chunk = frame.last_chunk(index, choice, &summary, &|token| batch.spell(token));
                writer.json(&chunk).await;
                continue;
            }
            Event::Failed(failure) => return writer.fail(failure).await,
        }
        if choice.has_text() {
            let chunk = frame.chunk(index, choice, &|token| batch.spell(token));
            writer.json(&chunk).await;
        }
    }
    record.usage(frame.usage());
    if include_usage {
        writer.data(&frame.usage_chunk()).await;
    }
    writer.done().await;
}
