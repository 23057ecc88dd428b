//! Anthropic's Messages API: `/v1/messages`, `/v1/messages/count_tokens`, and its form of `/v1/models`.
//!
//! Pure conversions first: a request's JSON becomes a [`ChatRequest`](crate::chat::ChatRequest), and the
//! [`ChatEvent`](crate::chat::ChatEvent)s that come of it become the events and the message of the wire.

mod content;
mod encode;
mod error;
mod models;
mod request;
mod routes;

pub(crate) use error::{body as error_body, status as error_status};
pub(crate) use models::{list as model_list, model as model_object};
pub(crate) use routes::routes;
