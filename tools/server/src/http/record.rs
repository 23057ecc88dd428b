//! What is known of a request when it is over: one line of the log and the counters, never its text.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use qwip::chat::random_name;

use super::State;
use super::body::Held;
use super::metrics::Counters;
use crate::chat::Usage;
use crate::engine::{Failure, FailureKind};

/// A request while it is worked on. Its line is written when the last copy goes, which is when its answer has been
/// sent, or nobody is there any more to send it to.
#[derive(Clone)]
pub(crate) struct Record(Arc<Inner>);

struct Inner {
    counters: Arc<Counters>,
    id: String,
    method: String,
    route: String,
    started: Instant,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    status: Option<u16>,
    /// Whether all of the answer has been handed over.
    whole: bool,
    kind: Option<FailureKind>,
    model: Option<String>,
    usage: Usage,
    /// The memory of the body.
    held: Option<Held>,
}

impl Record {
    pub(super) fn begin(counters: Arc<Counters>, method: &Method, route: &str) -> Record {
        Record(Arc::new(Inner {
            counters,
            id: format!("req_{}", random_name(24)),
            method: method.to_string(),
            route: route.to_owned(),
            started: Instant::now(),
            facts: Mutex::default(),
        }))
    }

    /// The request's name.
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    /// Which model answers.
    pub(crate) fn model(&self, name: &str) {
        self.0.facts().model = Some(name.to_owned());
    }

    /// The body's memory is counted until the record ends.
    pub(super) fn hold(&self, held: Held) {
        self.0.facts().held = Some(held);
    }

    /// Tokens of the request, when they are known.
    pub(crate) fn usage(&self, usage: Usage) {
        self.0.facts().usage = usage;
    }

    /// What went wrong.
    pub(super) fn failed(&self, kind: FailureKind) {
        self.0.facts().kind = Some(kind);
    }

    /// The answer begins; the record ends with its body.
    pub(super) fn answered(self, response: Response) -> Response {
        let unread = self.0.method == "HEAD" || response.body().is_end_stream();
        let mut facts = self.0.facts();
        facts.status = Some(response.status().as_u16());
        // Nobody reads a body then, to its end or otherwise.
        facts.whole = unread;
        drop(facts);
        response.map(|inner| Body::new(Recorded { inner, record: self }))
    }
}

impl Inner {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        let facts = self.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        // nginx's number for a client that went before there was a status.
        let status = facts.status.unwrap_or(499);
        self.counters.count(&self.route, status, !facts.whole, time);
        tracing::info!(
            target: "qwip_server::request",
            id = self.id,
            method = self.method,
            route = self.route,
            status,
            aborted = !facts.whole,
            failure = facts.kind.map(tracing::field::debug),
            model = facts.model.as_deref(),
            prompt_tokens = facts.usage.prompt_tokens,
            cached_tokens = facts.usage.cached_tokens,
            answer_tokens = facts.usage.completion_tokens,
            ms = (time.as_secs_f64() * 1e3).round() as u64,
            "request"
        );
    }
}

impl FromRequestParts<Arc<State>> for Record {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Record, Failure> {
        let record = parts.extensions.get::<Record>().cloned();
        record.ok_or_else(|| Failure::new(FailureKind::Internal, "a request without a record"))
    }
}

/// A body that notices whether it was read to its end.
struct Recorded {
    inner: Body,
    record: Record,
}

impl Recorded {
    fn whole(&self) {
        self.record.0.facts().whole = true;
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        // The last one is not asked for after a body of known length.
        if frame.is_none() || self.inner.is_end_stream() {
            self.whole();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.inner.is_end_stream();
        if ended {
            self.whole();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
