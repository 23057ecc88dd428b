//! One answer, token by token: who drives it evaluates what is chosen, alone or together with other answers.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::budget::Budget;
use super::repetition::Guard;
use super::stop::StopStrings;
use super::{FinishReason, GenerateOptions, Piece, Sink};
use crate::constrain::{Allowed, Constraint};
use crate::error::{Error, Result};
use crate::model::Task;
use crate::sample::{Candidates, MOST_LOGPROBS, Sampler, TokenLogprob, logprobs_of};
use crate::session::{Cancel, Session};
use crate::tokenizer::{Detokenizer, Special, Tokenizer};

/// What is to be done for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The session is to take what is [waiting](Generation::waiting).
    Evaluate,
    /// Nothing: the answer has ended.
    Done(FinishReason),
}

/// An answer that is being made. Whoever drives it calls [`next`](Self::next), has the session take what is
/// [waiting](Self::waiting), says so with [`evaluated`](Self::evaluated), and begins again; [`evaluate`](Self::evaluate)
/// does the two in the middle for a session of its own.
pub struct Generation {
    sampler: Sampler,
    options: GenerateOptions,
    detokenizer: Detokenizer,
    stops: StopStrings,
    guard: Option<Guard>,
    budget: Option<Budget>,
    constraint: Option<Box<dyn Constraint>>,
    /// Tokens that come in place of the model's.
    given: VecDeque<u32>,
    waiting: Vec<u32>,
    tokens: Vec<u32>,
    /// A bit for each token that may come, where a device is to choose candidates.
    sampleable: Option<Arc<[u32]>>,
    candidates: Option<Candidates>,
    recent: Vec<u32>,
    text: String,
    certain: String,
    done: Option<FinishReason>,
}

impl Generation {
    /// An answer to what `session` holds, the evaluated prompt. It need not have logits before the first
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// [`Error::OtherTask`] if the model is not for answers; [`Error::BadOption`] if `options` ask for more log probabilities
    /// than [`MOST_LOGPROBS`].
    pub fn new(
        session: &Session,
        tokenizer: &Tokenizer,
        sampler: Sampler,
        options: GenerateOptions,
    ) -> Result<Generation> {
        session.model().allows(Task::Generate)?;
        if let Some(top) = options.logprobs.filter(|&top| top > MOST_LOGPROBS) {
            let (found, want) = (top.to_string(), format!("0 to {MOST_LOGPROBS}"));
            return Err(Error::BadOption { what: "number of log probabilities", found, want });
        }
        // On a device few numbers are enough to go on with, and all logits would take long to get here.
        let chooses = session.chooses() && options.logprobs.is_none();
        let mut generation = Generation {
            detokenizer: Detokenizer::after(tokenizer, session.tokens(), options.show_control),
            stops: StopStrings::new(options.stop.clone()),
            guard: (options.loop_guard && !options.ignore_eos).then(Guard::new),
            budget: options.thinking_budget.map(|tokens| Budget::new(tokens, session, tokenizer)),
            constraint: None,
            given: VecDeque::new(),
            waiting: Vec::new(),
            tokens: Vec::new(),
            sampleable: chooses.then(|| tokenizer.sampleable(session.model().config().vocab)),
            candidates: None,
            recent: Vec::new(),
            text: String::new(),
            certain: String::new(),
            done: (options.max_tokens == Some(0)).then_some(FinishReason::Length),
            sampler,
            options,
        };
        generation.close_thinking(tokenizer);
        Ok(generation)
    }

    /// The stop string that has ended the answer, if one has.
    pub fn stopped_by(&self) -> Option<&str> {
        self.stops.stopped()
    }

    /// Holds the answer to a form from its next token on.
    pub fn constrain(&mut self, constraint: Box<dyn Constraint>) {
        self.constraint = Some(constraint);
        // What may come is known only when it is its turn: all logits are needed.
        self.sampleable = None;
        self.candidates = None;
    }

    /// Chooses the next token from the session's logits and hands out the text that is certain by now, and log
    /// probabilities if they are asked for. While something [waits](Self::waiting), and once the answer has ended, it says the
    /// same as before.
    ///
    /// # Errors
    /// [`Error::NonFiniteLogits`]; [`Error::Constraint`] if the form does not let the answer go on.
    pub fn next(&mut self, session: &Session, tokenizer: &Tokenizer, sink: &mut Sink<'_>) -> Result<Next> {
        if let Some(reason) = self.done {
            return Ok(Next::Done(reason));
        }
        if self.waiting.is_empty() {
            let mut reason = self.token(session, tokenizer, sink)?;
            while reason.is_none() && !self.given.is_empty() {
                reason = self.token(session, tokenizer, sink)?;
            }
            if let Some(reason) = reason {
                return Ok(Next::Done(self.finish(reason, sink)));
            }
        }
        Ok(Next::Evaluate)
    }

    /// What the session is to take before [`next`](Self::next) is of use again.
    pub fn waiting(&self) -> &[u32] {
        &self.waiting
    }

    /// The session has taken what was [waiting](Self::waiting), and has logits.
    pub fn evaluated(&mut self) {
        self.waiting.clear();
    }

    /// Has the session take what is [waiting](Self::waiting). On a device only what the next token needs of its logits may
    /// come back.
    ///
    /// # Errors
    /// What [`Session::extend`] reports; it is then still waiting.
    pub fn evaluate(&mut self, session: &mut Session, cancel: &Cancel) -> Result<()> {
        self.candidates = match (&self.waiting[..], &self.sampleable) {
            (&[], _) => return Ok(()),
            (&[token], Some(sampleable)) => {
                self.recent.clear();
                self.recent.extend_from_slice(session.tokens());
                self.recent.push(token);
                let wanted = self.sampler.wanted(&self.recent, sampleable);
                session.extend_choosing(token, wanted, cancel)?
            }
            (tokens, _) => {
                session.extend(tokens, cancel, &mut |_| {})?;
                None
            }
        };
        self.evaluated();
        Ok(())
    }

    /// Ends the answer, unless it has ended, and hands out what was held back. Why it has ended.
    pub fn finish(&mut self, reason: FinishReason, sink: &mut Sink<'_>) -> FinishReason {
        if let Some(reason) = self.done {
            return reason;
        }
        self.text.clear();
        self.certain.clear();
        self.detokenizer.flush(&mut self.text);
        self.stops.finish(&self.text, &mut self.certain);
        if !self.certain.is_empty() {
            // The answer is over: whether the sink wants more no longer matters.
            let _ = sink(Piece { text: &self.certain, token: None });
        }
        self.done = Some(reason);
        reason
    }

    /// The new tokens, the one that ended the answer not included.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The new tokens, and the sampler as it is now.
    pub fn into_parts(self) -> (Vec<u32>, Sampler) {
        (self.tokens, self.sampler)
    }

    /// Adds a token: one that is given, or one of the model's choice. Why the answer ends, if it does.
    fn token(
        &mut self,
        session: &Session,
        tokenizer: &Tokenizer,
        sink: &mut Sink<'_>,
    ) -> Result<Option<FinishReason>> {
        let given = self.given.pop_front();
        let token = match given {
            Some(token) => token,
            None => match self.choose(session, tokenizer)? {
                Some(token) => token,
                None => return Ok(Some(FinishReason::Stop)),
            },
        };
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        let logprob = self.options.logprobs.map(|top| match given {
            // Nothing else was possible.
            Some(token) => TokenLogprob { token, logprob: 0.0, top: Vec::new() },
            None => logprobs_of(session.logits(), token, top),
        });
        self.tokens.push(token);
        self.text.clear();
        self.certain.clear();
        self.detokenizer.push(tokenizer, token, &mut self.text);
        let stopped = match given {
            Some(_) => self.stops.pass(&self.text, &mut self.certain),
            None => self.stops.push(&self.text, &mut self.certain),
        };
        let says = !self.certain.is_empty() || logprob.is_some();
        let flow = match says {
            true => sink(Piece { text: &self.certain, token: logprob.as_ref() }),
            false => ControlFlow::Continue(()),
        };
        if stopped {
            return Ok(Some(FinishReason::Stop));
        }
        if flow.is_break() {
            return Ok(Some(FinishReason::Cancelled));
        }
        let guard = self.guard.as_mut();
        if guard.is_some_and(|guard| guard.is_loop(&self.tokens, |round| tokenizer.decode(round, true))) {
            return Ok(Some(FinishReason::Repetition));
        }
        if let Some(budget) = &mut self.budget {
            budget.take(&self.text);
        }
        self.close_thinking(tokenizer);
        if self.options.max_tokens.is_some_and(|max| self.tokens.len() >= max) {
            return Ok(Some(FinishReason::Length));
        }
        self.waiting.push(token);
        Ok((session.room() < self.waiting.len()).then_some(FinishReason::ContextFull))
    }

    /// The model's choice; none if it is the end of the answer.
    fn choose(&mut self, session: &Session, tokenizer: &Tokenizer) -> Result<Option<u32>> {
        let mask =
            match self.constraint.as_mut().map_or(Ok(Allowed::All), |constraint| constraint.allowed())? {
                Allowed::All => None,
                Allowed::Some(mask) => Some(mask),
                Allowed::End => return Ok(None),
            };
        let sampleable = |id| tokenizer.is_sampleable(id);
        let picked = match self.candidates.take() {
            Some(candidates) => self.sampler.pick_among(&candidates),
            None => self.sampler.pick_masked(session.logits(), session.tokens(), mask, sampleable),
        };
        let Some(token) = picked else {
            let position = session.tokens().len();
            return Err(match mask {
                Some(_) => Error::constraint("no token of the vocabulary may come next"),
                None => Error::NonFiniteLogits { position },
            });
        };
        // Where the form says what may come, an end is the end of it.
        let ends = tokenizer.is_end_of_generation(token) && (!self.options.ignore_eos || mask.is_some());
        Ok((!ends).then_some(token))
    }

    /// Lets the words follow that end the thinking, if it has used up its tokens.
    fn close_thinking(&mut self, tokenizer: &Tokenizer) {
        if let Some(words) = self.budget.as_mut().and_then(Budget::closing) {
            self.given.extend(tokenizer.encode_part(words, Special::Parse, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Generation>();
    }
}
