//! OpenAI's API: what a request may say, and answers of exactly the form that its clients read.

mod chat;
mod completions;
mod embeddings;
mod models;
mod rerank;
pub mod responses;
mod sampling;
mod tokens;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use qwip::model::Task;
use qwip::quant::pooling::Pooling;

use crate::engine::{Failure, FailureKind};
use crate::http::State;
use crate::models::{Lease, Models};

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/rerank", post(rerank::rerank))
        .route("/v1/models", get(models::list))
        // Names have slashes.
        .route("/v1/models/{*id}", get(models::one))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
}

/// The model called `name`, if it is for that.
pub(crate) async fn lease_for(models: &Models, name: &str, task: Task) -> Result<Lease, Failure> {
    let lease = match name {
        "" => models.get(&models.default_for(task).await?).await?,
        name => models.get(name).await?,
    };
    let model = lease.model();
    let embeds = matches!(model.pooling(), Some(Pooling::Mean | Pooling::Cls | Pooling::Last));
    let other = match task {
        Task::Generate if embeds => "an embedding model: it is for /v1/embeddings",
        Task::Embed if !embeds && model.pooling() == Some(Pooling::Rank) => {
            "a reranker: it is for /v1/rerank"
        }
        Task::Embed if !embeds => "a model for answers: /v1/embeddings needs an embedding model",
        Task::Generate if model.pooling() == Some(Pooling::Rank) => "a reranker: it is for /v1/rerank",
        Task::Rerank if embeds => "an embedding model: /v1/rerank needs a reranker",
        // What has no rows for it answers with words.
        Task::Rerank if model.judge().is_none() && !says_yes_and_no(&lease) => {
            "a model for answers: /v1/rerank needs a reranker"
        }
        _ => {
            let fits = model.allows(task);
            return match fits {
                Ok(()) => Ok(lease),
                Err(error) => Err(Failure::new(FailureKind::Invalid, format!("{}: {error}", lease.name()))),
            };
        }
    };
    Err(Failure::invalid("model", format!("{} is {other}", lease.name())))
}

fn says_yes_and_no(lease: &Lease) -> bool {
    ["yes", "no"].into_iter().all(|word| lease.voice().tokenizer().find(word).is_some())
}
