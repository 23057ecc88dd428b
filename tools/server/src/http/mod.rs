//! HTTP itself: connections and their limits, who may ask, errors in each dialect's shape, streams, what is counted and
//! logged, and the page.
//!
//! A handler returns `Result<Response, Failure>`. What all answers have in common is done around it (`around`): the
//! checks of `guard` before, the error body of the route's `Dialect`, `x-request-id`, the log line and the counters
//! after.

mod body;
mod error;
mod guard;
mod metrics;
mod page;
mod record;
mod serve;
mod settings;
mod stream;
mod wire;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{MatchedPath, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::engine::{Failure, FailureKind};
use crate::models::Models;

pub use serve::{run, serve};
pub use settings::HttpSettings;

pub(crate) use body::JsonBody;
pub(crate) use error::Dialect;
pub(crate) use record::Record;
pub(crate) use stream::{Framing, Writer, stream};

use body::Bodies;
use guard::Guard;
use metrics::Counters;

/// What all handlers share.
pub struct State {
    /// The models.
    pub models: Models,
    /// The limits.
    pub settings: HttpSettings,
    /// When the server began.
    pub started: Instant,
    guard: Guard,
    counters: Arc<Counters>,
    bodies: Bodies,
}

impl State {
    fn new(models: Models, settings: HttpSettings, bound: std::net::IpAddr) -> State {
        State {
            models,
            guard: Guard::new(&settings, bound),
            counters: Arc::default(),
            bodies: Bodies::new(&settings),
            settings,
            started: Instant::now(),
        }
    }
}

/// All routes. Each module of an API has a function `routes`; what it returns is merged here.
fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics::text))
        .merge(page::routes())
        .merge(crate::openai::routes())
        .merge(crate::openai::responses::routes())
        .merge(crate::anthropic::routes())
        .merge(crate::ollama::routes())
        .fallback(unknown)
        .layer(from_fn_with_state(state.clone(), around))
        .with_state(state)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn health() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

async fn unknown(request: Request) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(FailureKind::NotFound, format!("there is no {method} {path} here"))
}

/// What is done before and after every handler.
async fn around(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let record = Record::begin(state.counters.clone(), request.method(), &route);
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let method = request.method().clone();
    let cors = state.guard.cors(request.headers());
    let response = match state.guard.check(&request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) if guard::is_preflight(&request) => StatusCode::NO_CONTENT.into_response(),
        Ok(()) => {
            request.extensions_mut().insert(record.clone());
            request.extensions_mut().insert(dialect);
            next.run(request).await
        }
    };
    let mut response = error::finish(response, &method, dialect, &record);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(record.id()) {
        if dialect == Dialect::Anthropic {
            // Their clients look for it under this name.
            headers.insert(HeaderName::from_static("request-id"), id.clone());
        }
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(cors) = cors {
        cors.put(headers, method == Method::OPTIONS);
    }
    record.answered(response)
}
