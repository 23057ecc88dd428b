//! Errors, in the words of whoever asks.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Record;
use crate::anthropic;
use crate::engine::{Failure, FailureKind};

/// Whose API a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Ollama,
}

/// A failure on its way to the client. The dialect's words are put around it where all answers pass.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// In place of the kind's own, for what only HTTP knows.
    pub(super) status: Option<StatusCode>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, kind: FailureKind, message: impl Into<String>) -> Refusal {
        Refusal { failure: Failure::new(kind, message), status: Some(status) }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { failure, status: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status.unwrap_or(status(self.failure.kind));
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}

/// The status of a kind.
fn status(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::Invalid | FailureKind::TooLong => StatusCode::BAD_REQUEST,
        FailureKind::Unauthorized => StatusCode::UNAUTHORIZED,
        FailureKind::Forbidden => StatusCode::FORBIDDEN,
        FailureKind::UnknownModel | FailureKind::NotFound => StatusCode::NOT_FOUND,
        FailureKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FailureKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        FailureKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// OpenAI's `type` and `code` of a kind.
fn openai_words(kind: FailureKind) -> (&'static str, Option<&'static str>) {
    match kind {
        FailureKind::Invalid => ("invalid_request_error", None),
        FailureKind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
        FailureKind::Unauthorized => ("authentication_error", Some("invalid_api_key")),
        FailureKind::Forbidden => ("permission_error", None),
        FailureKind::UnknownModel => ("not_found_error", Some("model_not_found")),
        FailureKind::NotFound => ("not_found_error", None),
        FailureKind::TooLarge => ("invalid_request_error", Some("request_too_large")),
        FailureKind::Unsupported => ("not_supported_error", None),
        FailureKind::Busy => ("unavailable_error", None),
        FailureKind::Internal => ("server_error", None),
    }
}

impl Dialect {
    /// The dialect of a path, also of one that there is not. The lists of models have one path for two: with a header Anthropic's
    /// clients ask.
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Dialect {
        let below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if below("/v1/messages") => Dialect::Anthropic,
            () if below("/v1/models") && headers.contains_key("anthropic-version") => Dialect::Anthropic,
            () if below("/api") => Dialect::Ollama,
            () => Dialect::OpenAi,
        }
    }

    /// The object that tells a failure; in a stream, too.
    pub(super) fn object(self, failure: &Failure) -> Value {
        let message = &failure.message;
        match self {
            Dialect::OpenAi => {
                let (ty, code) = openai_words(failure.kind);
                json!({"error": {"message": message, "type": ty, "param": failure.param, "code": code}})
            }
            Dialect::Anthropic => anthropic::error_body(failure, None),
            Dialect::Ollama => json!({"error": message}),
        }
    }

    /// Anthropic has numbers of its own.
    fn status(self, failure: &Failure) -> StatusCode {
        let usual = status(failure.kind);
        match self {
            Dialect::Anthropic => StatusCode::from_u16(anthropic::error_status(failure)).unwrap_or(usual),
            Dialect::OpenAi | Dialect::Ollama => usual,
        }
    }
}

/// Puts the words of `dialect` into a response that is a failure; any other stays.
pub(super) fn finish(mut response: Response, method: &Method, dialect: Dialect, record: &Record) -> Response {
    let refusal = response.extensions_mut().remove::<Refusal>();
    // The router's own answer to a method that a route does not have is empty.
    let refusal = refusal.or_else(|| {
        let message = format!("the method {method} is not for this path; see the header Allow");
        (response.status() == StatusCode::METHOD_NOT_ALLOWED)
            .then(|| Refusal::new(StatusCode::METHOD_NOT_ALLOWED, FailureKind::Invalid, message))
    });
    let Some(Refusal { failure, status }) = refusal else { return response };
    record.failed(failure.kind);
    let object = match dialect {
        Dialect::Anthropic => anthropic::error_body(&failure, Some(record.id())),
        other => other.object(&failure),
    };
    let (mut parts, _) = response.into_parts();
    parts.status = status.unwrap_or(dialect.status(&failure));
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The router has counted its empty body.
    parts.headers.remove(header::CONTENT_LENGTH);
    match failure.kind {
        FailureKind::Busy => {
            parts.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        FailureKind::Unauthorized => {
            parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    Response::from_parts(parts, Body::from(object.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_dialect_of_their_api() {
        for (path, dialect) in [
            ("/v1/messages", Dialect::Anthropic),
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/messagesx", Dialect::OpenAi),
            ("/api/chat", Dialect::Ollama),
            ("/apis", Dialect::OpenAi),
            ("/v1/chat/completions", Dialect::OpenAi),
        ] {
            assert_eq!(Dialect::of(path, &HeaderMap::new()), dialect, "{path}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        assert_eq!(Dialect::of("/v1/models/a/b", &headers), Dialect::Anthropic);
        assert_eq!(Dialect::of("/v1/chat/completions", &headers), Dialect::OpenAi);
    }

    #[test]
    fn a_failure_has_each_dialects_shape() {
        let failure = Failure::invalid("top_p", "top_p: expected a number");
        assert_eq!(
            Dialect::OpenAi.object(&failure),
            json!({"error": {"message": "top_p: expected a number", "type": "invalid_request_error",
                             "param": "top_p", "code": null}})
        );
        assert_eq!(Dialect::Anthropic.object(&failure)["error"]["type"], "invalid_request_error");
        assert_eq!(Dialect::Ollama.object(&failure), json!({"error": "top_p: expected a number"}));
        let long = Failure::new(FailureKind::TooLong, "9 of 8");
        assert_eq!(Dialect::OpenAi.object(&long)["error"]["code"], "context_length_exceeded");
        assert_eq!(Dialect::Anthropic.status(&Failure::new(FailureKind::Busy, "")).as_u16(), 529);
    }
}
