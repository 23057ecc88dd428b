//! OpenAI's Responses API, `/v1/responses`, as far as it needs no memory of earlier answers: every request carries the
//! whole conversation.

mod encode;
mod input;
mod request;
mod routes;

pub(crate) use routes::routes;
