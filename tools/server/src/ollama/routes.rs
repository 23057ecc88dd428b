//! The routes.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use qwip::Model;
use qwip::chat::{Message, Voice};
use qwip::model::Task;
use qwip::quant::pooling::Pooling;
use serde_json::{Value, json};

use super::embed::{embed, embeddings};
use super::encode::{Encoder, Route};
use super::listing;
use super::options;
use super::raw::Raw;
use super::request::{self, Asked, What};
use crate::chat::{self, Answers, ChatEvent, KeepAlive};
use crate::engine::{Failure, FailureKind};
use crate::events::broken_off;
use crate::fields::Fields;
use crate::http::{Dialect, Framing, JsonBody, Record, State, Writer, stream};
use crate::insert;
use crate::openai::lease_for;

/// The version of Ollama whose API this is. Clients compare it with the first that has what they need.
const API_VERSION: &str = "0.12.6";

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/api/chat", post(chat))
        .route("/api/generate", post(generate))
        .route("/api/embed", post(embed))
        .route("/api/embeddings", post(embeddings))
        .route("/api/tags", get(tags))
        .route("/api/show", post(show))
        .route("/api/ps", get(ps))
        .route("/api/version", get(version))
        .route("/api/pull", post(by_command))
        .route("/api/push", post(by_command))
        .route("/api/create", post(by_command))
        .route("/api/copy", post(by_command))
        .route("/api/delete", delete(by_command))
        .route("/api/blobs/{digest}", post(by_command))
}

async fn chat(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let asked = request::chat(&body.value)?;
    drop(body);
    answer(&state, record, Route::Chat, asked).await
}

async fn generate(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let asked = request::generate(&body.value)?;
    drop(body);
    answer(&state, record, Route::Generate, asked).await
}

async fn answer(state: &Arc<State>, record: Record, route: Route, asked: Asked) -> Result<Response, Failure> {
    let begun = Instant::now();
    let Asked { chat: mut request, stream: streams, mut what } = asked;
    if what == What::Load && request.keep_alive == Some(KeepAlive::For(std::time::Duration::ZERO)) {
        state.models.release(&request.model).await?;
        let encoder = Encoder::new(route, &request.model, begun, begun.elapsed());
        return Ok(axum::Json(encoder.nothing(true)).into_response());
    }
    let mut lease = lease_for(&state.models, &request.model, Task::Generate).await?;
    record.model(lease.name());
    request.model = lease.name().to_owned();
    let load = begun.elapsed();
    let encoder = Encoder::new(route, lease.name(), begun, load);
    // A model that was not made for conversations continues what it is given.
    if what == What::Answer && route == Route::Generate && lease.voice().template().is_err() {
        let texts: Vec<&str> = request.messages.iter().filter_map(Message::content).collect();
        what = What::Continue(texts.join("\n\n"));
    }
    let source = match what {
        What::Load => {
            if let Some(keep_alive) = request.keep_alive {
                lease.set_keep_alive(keep_alive);
            }
            return Ok(axum::Json(encoder.nothing(false)).into_response());
        }
        What::Answer => Source::Chat(chat::answer(&state.models, request).await?),
        What::Continue(_) | What::Insert(..) => {
            let raw = tokio::task::spawn_blocking(move || Raw::new(lease, request, &what)).await;
            let lost = |_| Err(Failure::new(FailureKind::Internal, "the prompt could not be read"));
            Source::Raw(raw.unwrap_or_else(lost)?)
        }
    };
    if streams {
        let work = move |writer| streamed(source, encoder, record, writer);
        return stream(state, Dialect::Ollama, Framing::Ndjson, work).await;
    }
    collected(source, encoder, &record).await
}

/// Where an answer comes from.
enum Source {
    Chat(Answers),
    Raw(Raw),
}

impl Source {
    async fn next(&mut self) -> Option<ChatEvent> {
        match self {
            Source::Chat(answers) => answers.next().await,
            Source::Raw(raw) => raw.next().await,
        }
    }

    /// The text of a token, and its bytes.
    fn spell(&self, token: u32) -> (String, Vec<u8>) {
        match self {
            Source::Chat(answers) => answers.token(token),
            Source::Raw(raw) => raw.spell(token),
        }
    }
}

async fn streamed(mut source: Source, mut encoder: Encoder, record: Record, mut writer: Writer) {
    while let Some(event) = source.next().await {
        let lines = encoder.lines(&event, &|token| source.spell(token));
        for line in lines {
            writer.data(&line).await;
        }
        match event {
            ChatEvent::Failed(failure) => return writer.fail(failure).await,
            ChatEvent::End(usage) => return record.usage(usage),
            ChatEvent::Started | ChatEvent::Delta { .. } | ChatEvent::Finished { .. } => {}
        }
    }
    writer.fail(broken_off()).await;
}

async fn collected(mut source: Source, mut encoder: Encoder, record: &Record) -> Result<Response, Failure> {
    let mut end = None;
    while let Some(event) = source.next().await {
        encoder.add(&event);
        match event {
            ChatEvent::Failed(failure) => return Err(failure),
            ChatEvent::Finished { reason, summary, .. } => end = Some((reason, summary)),
            ChatEvent::End(usage) => {
                record.usage(usage);
                break;
            }
            ChatEvent::Started | ChatEvent::Delta { .. } => {}
        }
    }
    let (reason, summary) = end.ok_or_else(broken_off)?;
    let spell = |token: u32| source.spell(token);
    Ok(axum::Json(encoder.whole(reason, &summary, &spell)).into_response())
}

async fn tags(Shared(state): Shared<Arc<State>>) -> Response {
    let entries = state.models.list().await;
    let models: Vec<Value> = entries.iter().map(|entry| listing::tag(&entry.listed)).collect();
    axum::Json(json!({"models": models})).into_response()
}

async fn ps(Shared(state): Shared<Arc<State>>) -> Response {
    let (entries, now) = (state.models.list().await, SystemTime::now());
    let process =
        |entry: &crate::models::Entry| Some(listing::process(&entry.listed, entry.running.as_ref()?, now));
    let models: Vec<Value> = entries.iter().filter_map(process).collect();
    axum::Json(json!({"models": models})).into_response()
}

async fn version() -> Response {
    axum::Json(json!({"version": API_VERSION, "qwip": env!("CARGO_PKG_VERSION")})).into_response()
}

async fn show(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let name = options::model(&Fields::body(&body.value)?)?;
    drop(body);
    let tell = |name: &str, model: &Model, voice: &Voice| {
        Ok::<_, Failure>((name.to_owned(), described(model, voice)?))
    };
    let (name, mut answer) = state.models.look(&name, tell).await??;
    record.model(&name);
    let entries = state.models.list().await;
    let listed = entries.iter().map(|entry| &entry.listed).find(|listed| listed.name == name);
    if let Some(listed) = listed {
        answer["details"] = listing::details(listed);
        answer["modified_at"] =
            crate::time::rfc3339(listed.modified.unwrap_or(SystemTime::UNIX_EPOCH)).into();
    }
    Ok(axum::Json(answer).into_response())
}

/// What a model's file says about it.
fn described(model: &Model, voice: &Voice) -> Result<Value, Failure> {
    let file = model.file();
    let internal = |error: qwip::Error| Failure::new(FailureKind::Internal, error.to_string());
    let header = file.header();
    let text = |key: &str| header.str(key).map_err(|error| internal(error.into()));
    let (architecture, template) = (text("general.architecture")?, text("tokenizer.chat_template")?);
    let sampling = voice.sampling(file, None, &Default::default()).map_err(internal)?;
    let parameters = [
        ("temperature", f64::from(sampling.temperature)),
        ("top_k", sampling.top_k as f64),
        ("top_p", f64::from(sampling.top_p)),
        ("repeat_penalty", f64::from(sampling.repeat_penalty)),
        ("presence_penalty", f64::from(sampling.presence_penalty)),
    ];
    let parameters = parameters.map(|(name, value)| format!("{name:<20} {}", value as f32));
    let task = match model.pooling() {
        Some(Pooling::Rank) => Task::Rerank,
        Some(Pooling::Mean | Pooling::Cls | Pooling::Last) => Task::Embed,
        Some(Pooling::None) | None => Task::Generate,
    };
    let can = listing::capabilities(task, template, voice.thinks(), insert::unknown_mark(voice).is_none());
    let entries = header.metadata.iter().map(|(key, value)| (key.as_str(), listing::single(value)));
    Ok(json!({
        "license": "",
        "modelfile": "",
        "parameters": parameters.join("\n"),
        "template": template.unwrap_or_default(),
        "details": {},
        "model_info": listing::model_info(architecture.unwrap_or_default(), entries),
        "capabilities": can,
    }))
}

/// Models come and go by the command line alone: nobody who can reach the port can fill the disk.
async fn by_command(uri: Uri) -> Failure {
    let path = uri.path();
    let message =
        format!("{path} is not supported: use `qwip pull`, `qwip list` and `qwip rm` on the command line");
    Failure::new(FailureKind::Unsupported, message)
}
