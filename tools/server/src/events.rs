//! Answers as events with names, the way Anthropic's messages and OpenAI's responses are streamed.

use serde_json::Value;

use crate::chat::{Answers, ChatEvent};
use crate::engine::{Failure, FailureKind};
use crate::http::{Record, Writer};

/// An event of a stream: its name, and its data, which carries the name as `type`.
pub(crate) type Event = (&'static str, Value);

/// What makes events of an answer.
pub(crate) trait Encode {
    /// The events that say what has happened. Of a failure there need be none: then the stream ends with the dialect's
    /// error.
    fn events(&mut self, event: &ChatEvent) -> Vec<Event>;
}

/// Sends an answer as it comes.
pub(crate) async fn streamed(
    mut answers: Answers,
    mut encoder: impl Encode,
    record: Record,
    mut writer: Writer,
) {
    let mut begun = false;
    while let Some(event) = answers.next().await {
        // Before the first event a failure still has an HTTP status.
        let events = match event {
            ChatEvent::Failed(_) if !begun => Vec::new(),
            _ => encoder.events(&event),
        };
        let told = !events.is_empty();
        begun |= told;
        for (name, data) in events {
            writer.event(name, &data).await;
        }
        match event {
            ChatEvent::Failed(failure) if !told => return writer.fail(failure).await,
            ChatEvent::Failed(_) => return,
            ChatEvent::End(usage) => return record.usage(usage),
            ChatEvent::Started | ChatEvent::Delta { .. } | ChatEvent::Finished { .. } => {}
        }
    }
    writer.fail(broken_off()).await;
}

/// Has `encoder` see an answer to its end.
///
/// # Errors
/// What the answer fails with.
pub(crate) async fn collected(
    mut answers: Answers,
    encoder: &mut impl Encode,
    record: &Record,
) -> Result<(), Failure> {
    while let Some(event) = answers.next().await {
        encoder.events(&event);
        match event {
            ChatEvent::Failed(failure) => return Err(failure),
            ChatEvent::End(usage) => {
                record.usage(usage);
                return Ok(());
            }
            ChatEvent::Started | ChatEvent::Delta { .. } | ChatEvent::Finished { .. } => {}
        }
    }
    Err(broken_off())
}

/// An answer that ends without an end.
pub(crate) fn broken_off() -> Failure {
    Failure::new(FailureKind::Internal, "the answer broke off: the model was unloaded or the server ends")
}
