//! The answers to a request as they come: thinking, text and calls of tools told apart.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use qwip::chat::{AnswerSplitter, CALL_END, Delta};
use qwip::sample::TokenLogprob;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

use super::prepare::{self, Prepared};
use super::{ChatEvent, ChatRequest, Usage};
use crate::engine::{Event, Failure, FailureKind, Summary};
use crate::models::{Lease, Models};

/// The answers to one request. Dropping them cancels what is still computed.
pub struct Answers {
    lease: Arc<Lease>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// When the request was taken, in seconds since 1970.
    pub created: u64,
    choices: Vec<Choice>,
    ready: VecDeque<ChatEvent>,
    usage: Usage,
    cached: Option<usize>,
    started: bool,
    over: bool,
}

/// One answer on its way.
struct Choice {
    events: UnboundedReceiver<Event>,
    /// Whether it is complete.
    done: bool,
    splitter: AnswerSplitter,
}

/// Loads the model if it is not, and begins the answers.
///
/// # Errors
/// A [`Failure`] that the client is told instead of an answer.
pub async fn answer(models: &Models, request: ChatRequest) -> Result<Answers, Failure> {
    let mut lease = models.get(&request.model).await?;
    if let Some(keep_alive) = request.keep_alive {
        lease.set_keep_alive(keep_alive);
    }
    let lease = Arc::new(lease);
    let whole = request.whole_calls;
    let (model, wanted) = (lease.clone(), request);
    let settings = *models.settings();
    let prepared = blocking(move || prepare::prepare(&model, &settings, &wanted)).await?;
    let Prepared { prompt, asks, tools } = prepared;
    let choice = |ask| {
        Ok(Choice {
            events: lease.generate(ask)?,
            done: false,
            splitter: AnswerSplitter::new(lease.voice(), &prompt, &tools, whole),
        })
    };
    let choices = asks.into_iter().map(choice).collect::<Result<_, Failure>>()?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Answers {
        prompt_tokens: prompt.tokens.len(),
        usage: Usage { prompt_tokens: prompt.tokens.len(), ..Usage::default() },
        lease,
        created,
        choices,
        ready: VecDeque::new(),
        cached: None,
        started: false,
        over: false,
    })
}

/// How many tokens the prompt of a request has.
///
/// # Errors
/// As [`answer`].
pub async fn count_tokens(models: &Models, request: ChatRequest) -> Result<usize, Failure> {
    let lease = models.get(&request.model).await?;
    blocking(move || prepare::prompt(&lease, &request).map(|prompt| prompt.tokens.len())).await
}

/// So many requests are prepared at the same time: a schema may take a second of computing.
static PREPARING: Semaphore = Semaphore::const_new(2);

/// Work that would hold up the connections. A client that goes while others are served has nothing done.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let failed = || Failure::new(FailureKind::Internal, "the request could not be prepared");
    let permit = PREPARING.acquire().await.map_err(|_| failed())?;
    let work = move || {
        let _permit = permit;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| failed())?
}

impl Answers {
    /// The model that answers, by its name.
    pub fn model(&self) -> &str {
        self.lease.name()
    }

    /// What computes; see [`qwip::Session::system_fingerprint`].
    pub fn fingerprint(&self) -> &str {
        self.lease.system_fingerprint()
    }

    /// The text of a token, and its bytes, for log probabilities.
    pub fn token(&self, token: u32) -> (String, Vec<u8>) {
        let tokenizer = self.lease.voice().tokenizer();
        (tokenizer.decode(&[token], true), tokenizer.token_bytes(token).into_owned())
    }

    /// The next event; `None` after `End` or `Failed`.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let (choice, event) = self.receive().await;
            self.take(choice, event);
        }
    }

    /// The next event of any answer.
    async fn receive(&mut self) -> (usize, Event) {
        let choices = &mut self.choices;
        poll_fn(|context| {
            for (i, choice) in choices.iter_mut().enumerate().filter(|(_, choice)| !choice.done) {
                if let Poll::Ready(event) = choice.events.poll_recv(context) {
                    let lost = || Failure::new(FailureKind::Internal, "the model has gone away");
                    return Poll::Ready((i, event.unwrap_or_else(|| Event::Failed(lost()))));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Makes of one event what the client sees of it.
    fn take(&mut self, i: usize, event: Event) {
        match event {
            Event::Prompt { .. } => {
                if !std::mem::replace(&mut self.started, true) {
                    self.ready.push_back(ChatEvent::Started);
                }
            }
            Event::Piece { text, token } => {
                let mut deltas = Vec::new();
                self.choices[i].splitter.push(&text, &mut deltas);
                self.hand_out(i, deltas, token.into_iter().collect());
            }
            Event::Done(summary) => self.finish(i, summary),
            Event::Failed(failure) => {
                self.over = true;
                self.choices.clear();
                self.ready.push_back(ChatEvent::Failed(failure));
            }
        }
    }

    fn hand_out(&mut self, choice: usize, deltas: Vec<Delta>, logprobs: Vec<TokenLogprob>) {
        if !deltas.is_empty() || !logprobs.is_empty() {
            self.ready.push_back(ChatEvent::Delta { choice, deltas, logprobs });
        }
    }

    fn finish(&mut self, i: usize, mut summary: Summary) {
        // It was not the client's.
        summary.stop = summary.stop.filter(|stop| stop != CALL_END);
        let mut deltas = Vec::new();
        let choice = &mut self.choices[i];
        choice.splitter.finish(&mut deltas);
        choice.done = true;
        let calls = choice.splitter.calls();
        let thought = choice.splitter.thought();
        if !thought.is_empty() {
            let tokens = self.lease.voice().tokenizer().encode(thought, qwip::tokenizer::Special::Text);
            self.usage.reasoning_tokens += tokens.len();
        }
        self.hand_out(i, deltas, Vec::new());
        // The prompt counts once; later answers find what the first has read.
        let cached = self.cached.map_or(summary.cached_tokens, |cached| cached.min(summary.cached_tokens));
        (self.cached, self.usage.cached_tokens) = (Some(cached), cached);
        self.usage.completion_tokens += summary.answer_tokens;
        self.ready.push_back(ChatEvent::Finished { choice: i, reason: summary.reason, calls, summary });
        if self.choices.iter().all(|choice| choice.done) {
            self.over = true;
            self.ready.push_back(ChatEvent::End(self.usage));
        }
    }
}
