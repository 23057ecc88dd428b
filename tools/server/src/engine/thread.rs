//! The thread of a model: it hears requests, lets them in, and evaluates what has been let in pass by pass.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use qwip::{Cancel, FinishReason, Session, SessionOptions, Together};

use super::commons::{Commons, State};
use super::kept::Kept;
use super::pace::Pace;
use super::texts::Workers;
use super::work::{Answer, Message, Stage, Texts};
use super::{Event, Facts, Failure, FailureKind, Limits};
use crate::library::Opened;

/// How often those that wait for pages of another model look again.
const AGAIN: Duration = Duration::from_millis(25);

/// A sequence that is being read or answered.
pub(super) struct Active {
    pub(super) answer: Answer,
    pub(super) session: Session,
}

impl Active {
    /// Tokens that have to be evaluated before it can go on.
    pub(super) fn unread(&self) -> usize {
        self.answer.text.len().saturating_sub(self.session.tokens().len())
    }
}

/// What the thread of a model works with.
pub(super) struct Thread {
    pub(super) opened: Arc<Opened>,
    pub(super) options: SessionOptions,
    pub(super) limits: Limits,
    pub(super) commons: Arc<Commons>,
    pub(super) state: Arc<State>,
    pub(super) inbox: Receiver<Message>,
    pub(super) cancel: Cancel,
    pub(super) facts: Facts,
    /// In the order of their coming.
    pub(super) waiting: VecDeque<Answer>,
    pub(super) active: Vec<Active>,
    pub(super) texts: VecDeque<Texts>,
    pub(super) workers: Workers,
    pub(super) kept: Kept,
    pub(super) together: Together,
    pub(super) pace: Pace,
    /// Pages have run out: nobody is let in before somebody has gone.
    pub(super) held: bool,
    /// Bytes of the budget that other models have taken; that does not change in our turn.
    pub(super) others: u64,
    /// Others want so many bytes.
    pub(super) wanted: u64,
    pub(super) forget: bool,
    /// Something was done in the last round.
    pub(super) moved: bool,
}

impl Thread {
    /// Works until it is to stop.
    pub(super) fn run(&mut self) {
        while self.hear() {
            let commons = self.commons.clone();
            let _turn = commons.turns.take();
            let before = commons.budget.used();
            self.others = before.saturating_sub(self.state.kv.load(Relaxed));
            self.round();
            self.publish(before);
        }
    }

    /// Everything is given up for the same reason.
    pub(super) fn fail_all(&mut self, failure: &Failure) {
        let commons = self.commons.clone();
        let _turn = commons.turns.take();
        let before = commons.budget.used();
        while let Ok(message) = self.inbox.try_recv() {
            self.take(message);
        }
        let active = self.active.drain(..).map(|active| active.answer);
        for answer in active.chain(self.waiting.drain(..)) {
            commons.totals.failed();
            answer.close(Event::Failed(failure.clone()));
        }
        self.texts.drain(..).for_each(|texts| texts.close(Some(failure.clone())));
        self.workers.clear();
        self.kept.clear();
        self.publish(before);
    }

    /// Takes what has come; waits for it if there is nothing to do. Whether to go on.
    fn hear(&mut self) -> bool {
        loop {
            if self.state.stop.load(Ordering::Acquire) {
                return false;
            }
            let has_work = !self.active.is_empty() || !self.texts.is_empty() || !self.waiting.is_empty();
            let message = match (has_work || self.wanted > 0 || self.forget, self.moved) {
                (false, _) => self.inbox.recv().map_err(|_| TryRecvError::Disconnected),
                (true, true) => self.inbox.try_recv(),
                (true, false) => self.inbox.recv_timeout(AGAIN).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                }),
            };
            match message {
                Ok(message) => {
                    self.take(message);
                    self.moved = true;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Answer(answer) => self.waiting.push_back(*answer),
            Message::Texts(texts) => self.texts.push_back(*texts),
            Message::Release(bytes) => self.wanted = self.wanted.max(bytes),
            Message::Forget => self.forget = true,
            Message::Wake => {}
        }
    }

    /// One step of everything.
    fn round(&mut self) {
        self.moved = false;
        if std::mem::take(&mut self.forget) {
            self.kept.clear();
        }
        let wanted = std::mem::take(&mut self.wanted);
        if wanted > 0 {
            self.kept.free(wanted, &self.commons.budget);
        }
        self.drop_unwanted();
        self.admit();
        if self.lower_cancel() {
            self.next_text();
        }
        if self.lower_cancel() {
            self.pass();
        }
    }

    /// Makes ready for something that can be broken off. Whether to go on.
    pub(super) fn lower_cancel(&self) -> bool {
        // Lowered before the flag that ends all is read: who stops us sets that first.
        self.cancel.reset();
        !self.state.stop.load(Ordering::Acquire)
    }

    /// Those go that nobody waits for.
    fn drop_unwanted(&mut self) {
        let totals = &self.commons.totals;
        self.waiting.retain(|answer| {
            let wanted = !answer.is_unwanted();
            if !wanted {
                totals.ended(&answer.summary(FinishReason::Cancelled));
            }
            wanted
        });
        // Who has gone needs no pages any more.
        self.held &= self.waiting.iter().any(Answer::is_put_back);
        self.texts.retain(|texts| !texts.task.is_unwanted());
        for i in (0..self.active.len()).rev() {
            if self.active[i].answer.is_unwanted() {
                self.end(i, FinishReason::Cancelled);
            }
        }
        if self.texts.is_empty() {
            self.workers.clear();
        }
    }

    /// The answer of active sequence number `i` is over; the last one takes its number.
    pub(super) fn end(&mut self, i: usize, reason: FinishReason) {
        let Active { mut answer, session } = self.active.swap_remove(i);
        if let Stage::Begun(generation) = &mut answer.stage {
            let events = &answer.events;
            generation.finish(reason, &mut |piece| super::pass::send(events, piece));
        }
        let summary = answer.summary(reason);
        self.commons.totals.ended(&summary);
        self.kept.keep(session, answer.prompt_tokens);
        answer.close(Event::Done(summary));
        self.held = false;
        self.moved = true;
    }

    /// The answer of active sequence number `i` cannot go on; the last one takes its number.
    pub(super) fn fail(&mut self, i: usize, failure: Failure) {
        let Active { answer, session } = self.active.swap_remove(i);
        self.kept.keep(session, answer.prompt_tokens);
        self.refuse(answer, failure);
        self.held = false;
        self.moved = true;
    }

    /// Tells that there will be no answer.
    pub(super) fn refuse(&self, answer: Answer, failure: Failure) {
        self.commons.totals.failed();
        if failure.kind == FailureKind::Internal {
            tracing::error!(model = self.opened.name, "an answer failed: {failure}");
        }
        answer.close(Event::Failed(failure));
    }

    /// Says how things are, and counts what was taken of the budget in this turn: nobody else has taken any meanwhile.
    fn publish(&self, before: u64) {
        let (now, state) = (self.commons.budget.used(), &self.state);
        let held = state.kv.load(Relaxed);
        state.kv.store((held + now).saturating_sub(before), Relaxed);
        state.sequences.store(self.active.len(), Relaxed);
        state.waiting.store(self.waiting.len() + self.texts.len(), Relaxed);
        state.kept.store(self.kept.len(), Relaxed);
    }
}
