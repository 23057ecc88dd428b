//! OpenAI's Responses API, `/v1/responses`, as far as it needs no memory of earlier answers: every request carries the
//! whole conversation.

mod encode;
mod input;
mod request;

pub(crate) use encode::{Encoder, Event};
pub(crate) use request::{Asked, parse};
