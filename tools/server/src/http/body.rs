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
use super::{HttpSettings, State};
use crate::engine::{Failure, FailureKind};

/// Of a body that is too large so many times the limit is read and thrown away: a client that is still sending does
/// not see the answer.
const DRAINED: usize = 4;
/// Larger texts are parsed where that holds up nobody.
const LARGE: usize = 256 << 10;

/// How many bytes of bodies there are at a time.
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
struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    fn grow(&mut self, bytes: usize, most: usize) -> Result<(), Failure> {
        let now = self.all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        match now <= most {
            true => Ok(()),
            false => Err(Failure::new(
                FailureKind::Busy,
                format!("the bodies of all requests would be {now} bytes; the limit is {most}"),
            )),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The JSON object that a request carries.
pub(crate) struct JsonBody {
    /// An object.
    pub(crate) value: Value,
    /// Counted for as long as the value is there.
    _held: Held,
}

impl FromRequest<Arc<State>> for JsonBody {
    type Rejection = axum::response::Response;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<JsonBody, Self::Rejection> {
        use axum::response::IntoResponse;
        let time = state.settings.body_timeout;
        let mut held = Held { all: state.bodies.held.clone(), bytes: 0 };
        let read = tokio::time::timeout(time, read(request.into_body(), state, &mut held)).await;
        let bytes = read.unwrap_or_else(|_| {
            let message = format!("the body did not come within {} s", time.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, FailureKind::Invalid, message))
        });
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        let parsed = match bytes.len() > LARGE {
            false => object(&bytes),
            true => tokio::task::spawn_blocking(move || object(&bytes))
                .await
                .unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "the body could not be parsed"))),
        };
        let value = parsed.map_err(IntoResponse::into_response)?;
        Ok(JsonBody { value, _held: held })
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
        held.grow(data.len(), state.bodies.most)?;
        bytes.extend_from_slice(&data);
    }
    match seen > limit {
        true => Err(too_large(announced.max(seen as u64)).into()),
        false => Ok(bytes),
    }
}

fn object(bytes: &[u8]) -> Result<Value, Failure> {
    let invalid = |message: String| Failure::new(FailureKind::Invalid, message);
    if bytes.is_empty() {
        return Err(invalid("the body is empty; a JSON object is expected".into()));
    }
    match serde_json::from_slice(bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(other) => Err(invalid(format!("the body is {}, not an object", json_kind(&other)))),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}
