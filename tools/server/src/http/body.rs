//! The body of a request: read within limits of size and time, and taken as a JSON object whatever its header says.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use qwip::chat::json_kind;
use serde_json::Value;

use super::error::Refusal;
use super::{HttpSettings, Record, State};
use crate::engine::{Failure, FailureKind};

/// Of a body that is too large so many times the limit is read and thrown away: a client that is still sending does
/// not see the answer.
const DRAINED: usize = 4;
/// Larger texts are parsed where that holds up nobody.
const LARGE: usize = 256 << 10;
/// Bytes that a value takes at most for each sign of the text that makes one: an object with one field has three.
const VALUE: usize = 160;

/// How many bytes of bodies, and of what is made of them, there are at a time.
pub(super) struct Bodies {
    held: Arc<AtomicUsize>,
    most: usize,
}

impl Bodies {
    pub(super) fn new(settings: &HttpSettings) -> Bodies {
        Bodies { held: Arc::default(), most: settings.max_bodies }
    }
}

/// A share of [`Bodies`].
pub(super) struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
    most: usize,
}

impl Held {
    fn new(bodies: &Bodies) -> Held {
        Held { all: bodies.held.clone(), bytes: 0, most: bodies.most }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let (most, own) = (self.most, self.bytes.saturating_add(bytes));
        if own > most {
            let message = format!("the body would take {own} bytes of memory; at most {most} are given");
            return Err(Failure::new(FailureKind::TooLarge, message));
        }
        let now = self.all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes = own;
        match now <= most {
            true => Ok(()),
            false => Err(Failure::new(
                FailureKind::Busy,
                format!("the bodies of all requests would take {now} bytes; the limit is {most}"),
            )),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The JSON object that a request carries. Its memory, or what has been made of it, is counted until the answer ends.
pub(crate) struct JsonBody {
    /// An object.
    pub(crate) value: Value,
}

impl FromRequest<Arc<State>> for JsonBody {
    type Rejection = axum::response::Response;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<JsonBody, Self::Rejection> {
        use axum::response::IntoResponse;
        let time = state.settings.body_timeout;
        let mut held = Held::new(&state.bodies);
        let record = request.extensions().get::<Record>().cloned();
        let read = tokio::time::timeout(time, read(request.into_body(), state, &mut held)).await;
        let bytes = read.unwrap_or_else(|_| {
            let message = format!("the body did not come within {} s", time.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, FailureKind::Invalid, message))
        });
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        let parsed = match bytes.len() > LARGE {
            false => object(&bytes, held),
            true => tokio::task::spawn_blocking(move || object(&bytes, held))
                .await
                .unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "the body could not be parsed"))),
        };
        let (value, held) = parsed.map_err(IntoResponse::into_response)?;
        if let Some(record) = record {
            record.hold(held);
        }
        Ok(JsonBody { value })
    }
}

async fn read(mut body: Body, state: &State, held: &mut Held) -> Result<Vec<u8>, Refusal> {
    let limit = state.settings.max_body;
    let (mut bytes, mut seen) = (Vec::new(), 0usize);
    let too_large = |size: u64| {
        Failure::new(FailureKind::TooLarge, format!("the body has {size} bytes; at most {limit} are taken"))
    };
    let announced = body.size_hint().lower();
    let far_too_large = announced > (limit as u64).saturating_mul(DRAINED as u64);
    if far_too_large {
        return Err(too_large(announced).into());
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let gone = |_| Refusal::from(Failure::new(FailureKind::Invalid, "the body broke off"));
        let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen > limit {
            // What was read is of no use any more.
            bytes = Vec::new();
            if seen > limit.saturating_mul(DRAINED) {
                break;
            }
            continue;
        }
        held.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    match seen > limit {
        true => Err(too_large(announced.max(seen as u64)).into()),
        false => Ok(bytes),
    }
}

fn object(bytes: &[u8], mut held: Held) -> Result<(Value, Held), Failure> {
    let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
    if bytes.is_empty() {
        return Err(invalid("the body is empty; a JSON object is expected".into()));
    }
    held.grow(bytes.len().saturating_add(values(bytes).saturating_mul(VALUE)))?;
    match serde_json::from_slice(bytes) {
        Ok(value @ Value::Object(_)) => Ok((value, held)),
        Ok(other) => Err(invalid(format!("the body is {}, not an object", json_kind(&other)))),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}

/// The signs outside of texts that make values: what begins one, separates two, or gives one a name.
fn values(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' | b',' | b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str, bodies: &Bodies) -> Result<(Value, Held), Failure> {
        object(json.as_bytes(), Held::new(bodies))
    }

    #[test]
    fn what_becomes_values_is_counted_and_text_is_not() {
        assert_eq!(values(br#"{"a": [1, 2, "x, y: {[\\", "\",["]}"#), 6);
        assert_eq!(values(b"{}"), 1);
    }

    #[test]
    fn memory_of_bodies_is_bounded_whatever_they_hold() {
        let settings = HttpSettings { max_bodies: 1 << 20, ..HttpSettings::default() };
        let bodies = Bodies::new(&settings);
        let text = format!(r#"{{"text": "{}"}}"#, "a, ".repeat(100_000));
        let held = parsed(&text, &bodies).map(|(_, held)| held).unwrap();
        assert!(held.bytes < text.len() + 1000);
        // 30 kB that would be megabytes.
        let empty = format!(r#"{{"a": [{}]}}"#, vec!["{}"; 10_000].join(","));
        assert_eq!(parsed(&empty, &bodies).map(drop).unwrap_err().kind, FailureKind::TooLarge);
        let others: Vec<Held> = std::iter::from_fn(|| Some(parsed(&text, &bodies).ok()?.1)).collect();
        assert_eq!(others.len(), 2);
        assert_eq!(parsed(&text, &bodies).map(drop).unwrap_err().kind, FailureKind::Busy);
        drop((held, others));
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
    }
}
