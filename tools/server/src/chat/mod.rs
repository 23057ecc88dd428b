//! A conversation in no one's dialect. The APIs turn their requests into a [`ChatRequest`] and what comes of it into their
//! own answers.

mod answer;
mod prepare;
mod request;

pub use answer::{Answers, answer, count_tokens};
pub use request::{ChatEvent, ChatRequest, KeepAlive, Usage};
