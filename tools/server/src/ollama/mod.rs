//! Ollama's API under `/api`: chat, generate, embeddings, and what it says about models. Models come and go by the
//! command line, so the routes that would change them only say so.

mod duration;
mod embed;
mod encode;
mod listing;
mod options;
mod raw;
mod request;
mod routes;

pub(crate) use routes::routes;
