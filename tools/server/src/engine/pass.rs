//! One pass over the sequences that are let in: a token of each answer, and slices of the prompts.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use qwip::generate::Piece;
use qwip::sample::logprobs_of;
use qwip::{Error, FinishReason, Generation, Next, Result, Sampler, Session, Turn};
use tokio::sync::mpsc::UnboundedSender;

use super::thread::{Active, Thread};
use super::watch::watched;
use super::work::Stage;
use super::{Event, Failure, FailureKind};

/// Passes over fewer tokens are not broken off.
const LONG: usize = 32;

/// Hands out a piece of an answer, if anybody waits for it.
pub(super) fn send(events: &UnboundedSender<Event>, piece: Piece<'_>) -> ControlFlow<()> {
    match events.send(Event::Piece { text: piece.text.to_owned(), token: piece.token.cloned() }) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

impl Thread {
    /// Evaluates the next tokens of all sequences that are let in, and hands out what comes of them.
    pub(super) fn pass(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let slices = self.slices();
        let alone = self.active.len() == 1 && self.kept.len() == 0 && self.others == 0;
        let mut results: Vec<Option<Result<()>>> = Vec::new();
        for (i, &n) in slices.iter().enumerate() {
            let by_itself = n > 0 && self.active[i].answer.prompt_logprobs().is_some();
            results.push(by_itself.then(|| self.read_with_logprobs(i, n)));
        }
        // Who has gone breaks off what was read for it alone.
        if !self.lower_cancel() {
            return;
        }
        let failed = self.together(&slices, &mut results);
        let short = (0..results.len()).filter(|&i| matches!(results[i], Some(Err(Error::KvMemory { .. }))));
        let wanted = short.map(|i| self.new_bytes(self.active[i].session.tokens().len(), slices[i])).max();
        let gone = self.conclude(results, failed);
        if let Some(wanted) = wanted {
            self.relieve(wanted, alone, gone > 0);
        }
    }

    /// How many tokens each takes: an answer those that wait, a prompt its share.
    fn slices(&self) -> Vec<usize> {
        let mut slices = vec![0; self.active.len()];
        let mut readers = Vec::new();
        let mut answers = 0;
        for (i, active) in self.active.iter().enumerate() {
            match (active.unread(), &active.answer.stage) {
                (0, Stage::Begun(generation)) => {
                    // What is not in the pass waits for the next one.
                    let waiting = generation.waiting().len();
                    if answers + waiting <= Session::MAX_BATCH {
                        slices[i] = waiting;
                        answers += waiting;
                    }
                }
                (unread, _) => readers.push((unread, i)),
            }
        }
        let most = self.facts.batch.min(Session::MAX_BATCH.saturating_sub(answers));
        let is_paced = answers > 0 || self.commons.others_run(&self.state);
        let mut left = if is_paced { self.pace.slice(most) } else { most };
        // Equal shares; what short ones leave is for the others.
        readers.sort_unstable();
        let count = readers.len();
        for (k, (unread, i)) in readers.into_iter().enumerate() {
            slices[i] = unread.min(left.div_ceil(count - k));
            left -= slices[i];
        }
        slices
    }

    /// Evaluates the next tokens of all that have no result yet. Whom the pass as a whole has failed, and why.
    fn together(
        &mut self,
        slices: &[usize],
        results: &mut [Option<Result<()>>],
    ) -> Option<(Vec<usize>, Failure)> {
        let (mut turns, mut members, mut readers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut prompts, mut answers) = (0, 0);
        for (i, Active { answer, session }) in self.active.iter_mut().enumerate() {
            if slices[i] == 0 || results[i].is_some() {
                continue;
            }
            let at = session.tokens().len();
            match &answer.stage {
                Stage::Begun(generation) if at >= answer.text.len() => {
                    answers += generation.waiting().len();
                    turns.push(Turn::new(session, generation.waiting(), true));
                }
                _ => {
                    let end = at + slices[i];
                    prompts += slices[i];
                    readers.push(&answer.events);
                    turns.push(Turn::new(session, &answer.text[at..end], end == answer.text.len()));
                }
            }
            members.push(i);
        }
        if turns.is_empty() {
            return None;
        }
        let (cancel, together) = (&self.cancel, &mut self.together);
        let began = Instant::now();
        let pass = match answers == 0 && prompts > LONG {
            true => {
                let unwanted = || readers.iter().all(|events| events.is_closed());
                watched(cancel, unwanted, || together.extend(&mut turns, cancel))
            }
            false => together.extend(&mut turns, cancel),
        };
        let done = turns.iter_mut().map(|turn| std::mem::replace(&mut turn.result, Ok(())));
        match pass {
            Ok(()) => {
                self.pace.saw(answers, prompts, began.elapsed());
                members.into_iter().zip(done).for_each(|(i, result)| results[i] = Some(result));
            }
            // Who is unwanted goes in the next round; the others try again.
            Err(Error::Cancelled) => self.moved = true,
            Err(error) => return Some((members, error.into())),
        }
        None
    }

    /// Evaluates `n` tokens of a prompt with the logits of each.
    fn read_with_logprobs(&mut self, i: usize, n: usize) -> Result<()> {
        let Active { answer, session } = &mut self.active[i];
        let at = session.tokens().len();
        let (text, events) = (&answer.text, &answer.events);
        let Stage::New(begin) = &mut answer.stage else { return Ok(()) };
        let top = begin.prompt_logprobs.unwrap_or(0);
        let (mut found, mut next) = (Vec::new(), at + 1);
        let mut sink = |logits: &[f32]| {
            if let Some(&token) = text.get(next) {
                found.push(logprobs_of(logits, token, top));
            }
            next += 1;
        };
        let tokens = &text[at..at + n];
        let (cancel, together) = (&self.cancel, &mut self.together);
        let read = || together.extend_with_logits(session, tokens, cancel, &mut sink);
        watched(cancel, || events.is_closed(), read)?;
        begin.found.append(&mut found);
        Ok(())
    }

    /// Goes on with those that have evaluated their tokens, and ends those that have failed. How many have gone.
    fn conclude(&mut self, results: Vec<Option<Result<()>>>, failed: Option<(Vec<usize>, Failure)>) -> usize {
        let (mut ready, mut gone) = (Vec::new(), Vec::new());
        if let Some((members, failure)) = failed {
            gone.extend(members.into_iter().map(|i| (i, Err(failure.clone()))));
        }
        for (i, result) in results.into_iter().enumerate() {
            match result {
                None | Some(Err(Error::Cancelled | Error::KvMemory { .. })) => {}
                Some(Ok(())) => {
                    self.moved = true;
                    match self.is_to_choose(i) {
                        Ok(true) => ready.push(i),
                        Ok(false) => {}
                        Err(failure) => gone.push((i, Err(failure))),
                    }
                }
                Some(Err(error)) => gone.push((i, Err(error.into()))),
            }
        }
        for (i, next) in self.choose(&ready) {
            match next {
                Ok(Next::Evaluate) => {}
                Ok(Next::Done(reason)) => gone.push((i, Ok(reason))),
                Err(error) => gone.push((i, Err(error.into()))),
            }
        }
        // From behind, because the last one takes the place of one that goes.
        gone.sort_unstable_by_key(|(i, _)| std::cmp::Reverse(*i));
        let count = gone.len();
        for (i, end) in gone {
            match end {
                Ok(reason) => self.end(i, reason),
                Err(failure) => self.fail(i, failure),
            }
        }
        count
    }

    /// Notes what has been evaluated of sequence number `i`. Whether a token is to be chosen: more of a prompt may follow.
    fn is_to_choose(&mut self, i: usize) -> std::result::Result<bool, Failure> {
        let Active { answer, session } = &mut self.active[i];
        if session.tokens().len() < answer.text.len() {
            return Ok(false);
        }
        let begin = match &mut answer.stage {
            Stage::Begun(generation) => {
                generation.evaluated();
                return Ok(true);
            }
            Stage::New(begin) => begin,
        };
        answer.clock.read = Some(Instant::now());
        let (sampler, options) = (Sampler::new(begin.sampling.clone()), begin.options.clone());
        let mut generation = Generation::new(session, self.opened.voice.tokenizer(), sampler, options)?;
        if let Some(constraint) = begin.constraint.take() {
            generation.constrain(constraint);
        }
        let logprobs = std::mem::take(&mut begin.found);
        answer.stage = Stage::Begun(Box::new(generation));
        // That nobody waits shows when the next piece comes.
        let _ = answer.events.send(Event::Prompt { cached: answer.cached_tokens, logprobs });
        Ok(true)
    }

    /// Chooses the next token of each of these answers, on as many threads as there are.
    fn choose(&mut self, ready: &[usize]) -> Vec<(usize, Result<Next>)> {
        let tokenizer = self.opened.voice.tokenizer();
        let choose = |Active { answer, session }: &mut Active| match &mut answer.stage {
            Stage::Begun(generation) => {
                let events = &answer.events;
                generation.next(session, tokenizer, &mut |piece| send(events, piece))
            }
            Stage::New(_) => Ok(Next::Evaluate),
        };
        if let &[i] = ready {
            return vec![(i, choose(&mut self.active[i]))];
        }
        let active = self.active.iter_mut().enumerate().filter(|(i, _)| ready.contains(i));
        let tasks: Vec<Mutex<_>> = active.map(|(i, active)| Mutex::new((i, active, None))).collect();
        let run = self.opened.cpu.pool.run(tasks.len(), None, &|_, task| {
            let mut task = tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
            let next = choose(task.1);
            task.2 = Some(next);
        });
        debug_assert!(run.is_ok(), "nothing cancels it");
        let done = tasks.into_iter().map(|task| task.into_inner().unwrap_or_else(PoisonError::into_inner));
        done.filter_map(|(i, _, next)| Some((i, next?))).collect()
    }

    /// Pages have run out: somebody wants up to `wanted` bytes. Those sequences go first that nobody uses; then the request
    /// that came last waits; one that had all there is when the pass began, and was `alone`, cannot go on.
    fn relieve(&mut self, wanted: u64, alone: bool, somebody_has_gone: bool) {
        let is_of_use = self.kept.free(wanted, &self.commons.budget) || somebody_has_gone;
        if is_of_use && !alone {
            self.moved = true;
            return;
        }
        if self.commons.ask_others(&self.state, wanted) {
            return;
        }
        let last = (0..self.active.len()).max_by_key(|&i| self.active[i].answer.number);
        let Some(last) = last else { return };
        if self.active.len() > 1 || self.others > 0 {
            return self.put_back(last);
        }
        if !alone {
            self.moved = true;
            return;
        }
        match self.active[last].unread() {
            0 => self.end(last, FinishReason::ContextFull),
            _ => {
                let (tokens, limit) = (self.active[last].answer.text.len(), self.commons.budget.limit());
                let needs = self.facts.bytes(tokens);
                let message = format!(
                    "the prompt of {tokens} tokens needs {needs} bytes of keys and values, but the limit is {limit}"
                );
                self.fail(last, Failure::new(FailureKind::TooLong, message));
            }
        }
    }
}
