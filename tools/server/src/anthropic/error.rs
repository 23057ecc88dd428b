//! Errors in Anthropic's form.

use serde_json::{Value, json};

use crate::engine::{Failure, FailureKind};

/// The HTTP status of a failure.
pub(crate) fn status(failure: &Failure) -> u16 {
    kind(failure.kind).0
}

/// The body of an error; `request_id` is also in the header.
pub(crate) fn body(failure: &Failure, request_id: Option<&str>) -> Value {
    let message = match failure.kind {
        // Clients look for these words to make a conversation shorter.
        FailureKind::TooLong => format!("prompt is too long: {}", failure.message),
        _ => failure.message.clone(),
    };
    let mut body = json!({"type": "error", "error": {"type": kind(failure.kind).1, "message": message}});
    if let Some(id) = request_id {
        body["request_id"] = id.into();
    }
    body
}

/// Statuses and types. What qwip does not do is a wrong request there, which has no type for it.
fn kind(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::Invalid | FailureKind::TooLong | FailureKind::Unsupported => {
            (400, "invalid_request_error")
        }
        FailureKind::Unauthorized => (401, "authentication_error"),
        FailureKind::Forbidden => (403, "permission_error"),
        FailureKind::UnknownModel | FailureKind::NotFound => (404, "not_found_error"),
        FailureKind::TooLarge => (413, "request_too_large"),
        FailureKind::Internal => (500, "api_error"),
        FailureKind::Busy => (529, "overloaded_error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_status_and_type() {
        let failure = Failure::new(FailureKind::TooLong, "9 tokens, 8 fit");
        assert_eq!(status(&failure), 400);
        let want = json!({
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens, 8 fit"},
            "request_id": "req_1",
        });
        assert_eq!(body(&failure, Some("req_1")), want);
        assert_eq!(status(&Failure::new(FailureKind::Busy, "")), 529);
        assert_eq!(status(&Failure::new(FailureKind::UnknownModel, "")), 404);
    }
}
