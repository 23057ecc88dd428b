//! The answers of one request, a few at a time: a request with hundreds of prompts does not fill the queue.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use qwip::sample::{SamplingChoice, random_seed};
use qwip::{GenerateOptions, SamplingParams};
use tokio::sync::mpsc::UnboundedReceiver;

use super::request::{Prompt, Wanted};
use crate::engine::{Ask, Event, Failure, FailureKind};
use crate::insert;
use crate::models::{Lease, Loaded};

/// So many answers are asked of the engine at a time.
const AT_A_TIME: usize = 8;

/// The answers to a request; number `i` is answer `i % n` to prompt `i / n`. Dropping it cancels them.
pub(super) struct Batch {
    lease: Lease,
    /// Text as the request has it, and tokens.
    prompts: Vec<(String, Vec<u32>)>,
    n: usize,
    sampling: SamplingParams,
    options: GenerateOptions,
    echo: bool,
    waiting: VecDeque<usize>,
    running: Vec<(usize, UnboundedReceiver<Event>)>,
    /// The engine has no room at present.
    full: bool,
}

impl Batch {
    /// Makes tokens of the prompts. Takes a while for long ones.
    pub(super) fn new(lease: Lease, wanted: Wanted) -> Result<Batch, Failure> {
        let sampling = sampling(&lease, &wanted.sampling)?;
        let seed = wanted.seed.unwrap_or_else(random_seed);
        let read = |(i, prompt)| {
            tokens_of(&lease, prompt, wanted.suffix.as_deref()).map_err(|message| {
                Failure::invalid(
                    "prompt",
                    if wanted.prompts.len() > 1 { format!("text {i}: {message}") } else { message },
                )
            })
        };
        let prompts = wanted.prompts.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Batch {
            waiting: (0..prompts.len() * wanted.n).collect(),
            prompts,
            n: wanted.n,
            sampling: SamplingParams { seed, ..sampling },
            options: GenerateOptions {
                max_tokens: wanted.max_tokens,
                stop: wanted.stop,
                ignore_eos: wanted.ignore_eos,
                logprobs: wanted.logprobs,
                ..GenerateOptions::default()
            },
            echo: wanted.echo,
            running: Vec::new(),
            full: false,
            lease,
        })
    }

    /// How many answers.
    pub(super) fn len(&self) -> usize {
        self.prompts.len() * self.n
    }

    pub(super) fn model(&self) -> &Loaded {
        &self.lease
    }

    /// The text of a token, and its bytes.
    pub(super) fn spell(&self, token: u32) -> (String, Vec<u8>) {
        let tokenizer = self.lease.voice().tokenizer();
        (tokenizer.decode(&[token], true), tokenizer.token_bytes(token).into_owned())
    }

    /// Whether log probabilities are asked for.
    pub(super) fn has_logprobs(&self) -> bool {
        self.options.logprobs.is_some()
    }

    /// What answer `index` begins with, if prompts are repeated.
    pub(super) fn echoed(&self, index: usize) -> Option<(&str, &[u32])> {
        let (text, tokens) = &self.prompts[index / self.n];
        self.echo.then_some((text.as_str(), tokens.as_slice()))
    }

    /// Whether answer `index` is the first to its prompt.
    pub(super) fn is_first(&self, index: usize) -> bool {
        index.is_multiple_of(self.n)
    }

    fn ask(&self, index: usize) -> Ask {
        let seed = self.sampling.seed.wrapping_add((index % self.n) as u64);
        Ask {
            prompt: self.prompts[index / self.n].1.clone(),
            sampling: SamplingParams { seed, ..self.sampling.clone() },
            options: self.options.clone(),
            constraint: None,
            prompt_logprobs: self.options.logprobs.filter(|_| self.echo),
        }
    }

    /// The next event and whose it is; `None` when all answers are complete.
    pub(super) async fn next(&mut self) -> Result<Option<(usize, Event)>, Failure> {
        while self.running.len() < AT_A_TIME && !self.full {
            let Some(&index) = self.waiting.front() else { break };
            match self.lease.generate(self.ask(index)) {
                Ok(events) => {
                    self.running.push((index, events));
                    self.waiting.pop_front();
                }
                // There will be when one of ours is done.
                Err(failure) if failure.kind == FailureKind::Busy && !self.running.is_empty() => {
                    self.full = true
                }
                Err(failure) => return Err(failure),
            }
        }
        if self.running.is_empty() {
            return Ok(None);
        }
        let running = &mut self.running;
        let (at, event) = poll_fn(|cx| {
            for (at, (_, events)) in running.iter_mut().enumerate() {
                if let Poll::Ready(event) = events.poll_recv(cx) {
                    return Poll::Ready((at, event));
                }
            }
            Poll::Pending
        })
        .await;
        let gone = || Failure::new(FailureKind::Internal, "the model has gone away");
        let event = event.ok_or_else(gone)?;
        let index = self.running[at].0;
        if matches!(event, Event::Done(_)) {
            self.running.remove(at);
            self.full = false;
        }
        Ok(Some((index, event)))
    }
}

/// The settings of the draw: the request's over the model's own.
fn sampling(model: &Loaded, choice: &SamplingChoice) -> Result<SamplingParams, Failure> {
    let params = model.voice().sampling(model.model().file(), None, choice);
    params.map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))
}

/// A prompt's text and tokens, or what is wrong with it.
fn tokens_of(model: &Loaded, prompt: &Prompt, suffix: Option<&str>) -> Result<(String, Vec<u32>), String> {
    let voice = model.voice();
    let tokenizer = voice.tokenizer();
    let (text, tokens) = match (prompt, suffix) {
        (Prompt::Text(text), None) => {
            let prompt = voice.raw_prompt(text.clone());
            (prompt.text, prompt.tokens)
        }
        (Prompt::Text(text), Some(suffix)) => {
            if let Some(missing) = insert::unknown_mark(voice) {
                return Err(format!(
                    "`suffix` needs a model that fills in; {} has no token {missing}",
                    model.name()
                ));
            }
            let whole = voice.raw_prompt(insert::prompt(text, suffix));
            (text.clone(), whole.tokens)
        }
        (Prompt::Tokens(tokens), _) => {
            let count = tokenizer.len();
            if let Some(id) = tokens.iter().find(|&&id| id as usize >= count) {
                return Err(format!("token {id} is not in the vocabulary of {count}"));
            }
            (tokenizer.decode(tokens, true), tokens.clone())
        }
    };
    if tokens.is_empty() {
        return Err("the text is empty, at least one token is wanted".into());
    }
    Ok((text, tokens))
}
