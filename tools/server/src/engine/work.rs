//! What an engine is given to do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use qwip::constrain::Constraint;
use qwip::sample::TokenLogprob;
use qwip::{FinishReason, GenerateOptions, Generation, SamplingParams, Score};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::commons::State;
use super::{Event, Failure, Summary};

/// What an engine hears.
pub(super) enum Message {
    /// An answer is wanted.
    Answer(Box<Answer>),
    /// Texts are to be embedded, or documents judged.
    Texts(Box<Texts>),
    /// Another model needs so many bytes of the pages.
    Release(u64),
    /// All sequences that are kept are to be dropped.
    Forget,
    /// Something has changed that is to be looked at.
    Wake,
}

/// A place among the requests that may run or wait.
pub(super) struct Place(Arc<State>);

impl Place {
    /// The place, if fewer than `most` are taken; otherwise how many are.
    pub(super) fn take(state: &Arc<State>, most: usize) -> Result<Place, usize> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        state.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)?;
        Ok(Place(state.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer from the request to its end.
pub(super) struct Answer {
    /// Counts requests in the order of their coming.
    pub(super) number: u64,
    pub(super) events: UnboundedSender<Event>,
    /// What has to be evaluated before it can go on: the prompt; once it has been put back, the answer as far as it is, too.
    pub(super) text: Vec<u32>,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    pub(super) max_tokens: Option<usize>,
    pub(super) stage: Stage,
    pub(super) clock: Clock,
    pub(super) place: Place,
}

/// How far it is.
pub(super) enum Stage {
    /// The prompt is not read yet.
    New(Begin),
    /// Tokens are chosen.
    Begun(Box<Generation>),
}

/// What an answer begins with.
pub(super) struct Begin {
    pub(super) sampling: SamplingParams,
    pub(super) options: GenerateOptions,
    pub(super) constraint: Option<Box<dyn Constraint>>,
    pub(super) prompt_logprobs: Option<usize>,
    /// Those that are known already.
    pub(super) found: Vec<TokenLogprob>,
}

/// When things happened.
pub(super) struct Clock {
    pub(super) arrived: Instant,
    pub(super) started: Option<Instant>,
    pub(super) read: Option<Instant>,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { arrived: Instant::now(), started: None, read: None }
    }

    /// Waiting, reading and answering up to now.
    fn times(&self) -> [Duration; 3] {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let read = self.read.unwrap_or(now);
        [started - self.arrived, read - started, now - read]
    }
}

impl Answer {
    /// Nobody waits for it any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.events.is_closed()
    }

    /// It has run before and was put back.
    pub(super) fn is_put_back(&self) -> bool {
        self.clock.started.is_some()
    }

    /// Says the last word. Who hears it may ask again at once: the place is free before.
    pub(super) fn close(self, last: Event) {
        let Answer { events, place, .. } = self;
        drop(place);
        // That nobody waits is no fault.
        let _ = events.send(last);
    }

    /// How many log probabilities of the prompt's tokens are still to be found out.
    pub(super) fn prompt_logprobs(&self) -> Option<usize> {
        match &self.stage {
            Stage::New(begin) => begin.prompt_logprobs,
            Stage::Begun(_) => None,
        }
    }

    /// Tokens of the answer so far.
    pub(super) fn answer_tokens(&self) -> usize {
        match &self.stage {
            Stage::New(_) => 0,
            Stage::Begun(generation) => generation.tokens().len(),
        }
    }

    /// What it has taken up to now.
    pub(super) fn summary(&self, reason: FinishReason) -> Summary {
        let [queue_time, prompt_time, answer_time] = self.clock.times();
        let stop = match &self.stage {
            Stage::New(_) => None,
            Stage::Begun(generation) => generation.stopped_by().map(str::to_owned),
        };
        Summary {
            reason,
            stop,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            answer_tokens: self.answer_tokens(),
            prompt_time,
            answer_time,
            queue_time,
        }
    }
}

/// Texts of a request, which are done between the passes of the answers.
pub(super) struct Texts {
    pub(super) task: TextTask,
    /// Some of the next text has been evaluated.
    pub(super) begun: bool,
    pub(super) place: Place,
}

impl Texts {
    /// Hands out what came of it. Who hears that may ask again at once: the place is free before.
    pub(super) fn close(self, failure: Option<Failure>) {
        let Texts { task, place, .. } = self;
        drop(place);
        task.reply(failure);
    }
}

/// What is done to them.
pub(super) enum TextTask {
    /// Vectors are wanted.
    Embed {
        left: VecDeque<Vec<u32>>,
        dimensions: Option<usize>,
        done: Vec<Vec<f32>>,
        reply: oneshot::Sender<Result<Vec<Vec<f32>>, Failure>>,
    },
    /// Scores are wanted.
    Rerank {
        query: String,
        left: VecDeque<String>,
        done: Vec<Score>,
        reply: oneshot::Sender<Result<Vec<Score>, Failure>>,
    },
}

impl TextTask {
    /// Nobody waits for it any more.
    pub(super) fn is_unwanted(&self) -> bool {
        match self {
            TextTask::Embed { reply, .. } => reply.is_closed(),
            TextTask::Rerank { reply, .. } => reply.is_closed(),
        }
    }

    /// All texts are done.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            TextTask::Embed { left, .. } => left.is_empty(),
            TextTask::Rerank { left, .. } => left.is_empty(),
        }
    }

    /// Hands out what came of it. That nobody waits is no fault.
    fn reply(self, failure: Option<Failure>) {
        match self {
            TextTask::Embed { done, reply, .. } => _ = reply.send(failure.map_or(Ok(done), Err)),
            TextTask::Rerank { done, reply, .. } => _ = reply.send(failure.map_or(Ok(done), Err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use tokio::sync::mpsc::unbounded_channel;

    use super::super::FailureKind;
    use super::*;

    /// Sees how many places are taken when somebody hears the last word.
    struct Seen(Arc<State>, AtomicUsize);

    impl Wake for Seen {
        fn wake(self: Arc<Self>) {
            self.1.fetch_min(self.0.places.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    #[test]
    fn the_place_is_free_before_the_last_word() {
        let state = Arc::new(State::default());
        let place = || Place::take(&state, 1).expect("a place");
        let seen = Arc::new(Seen(state.clone(), AtomicUsize::new(usize::MAX)));
        let waker = Waker::from(seen.clone());
        let mut context = Context::from_waker(&waker);

        let (events, mut receiver) = unbounded_channel();
        let begin = Begin {
            sampling: SamplingParams::default(),
            options: GenerateOptions::default(),
            constraint: None,
            prompt_logprobs: None,
            found: Vec::new(),
        };
        let answer = Answer {
            number: 0,
            events,
            text: vec![1],
            prompt_tokens: 1,
            cached_tokens: 0,
            max_tokens: None,
            stage: Stage::New(begin),
            clock: Clock::new(),
            place: place(),
        };
        assert!(receiver.poll_recv(&mut context).is_pending());
        answer.close(Event::Failed(Failure::new(FailureKind::Busy, "later")));
        assert_eq!(seen.1.swap(usize::MAX, Ordering::Relaxed), 0);
        assert!(matches!(receiver.try_recv(), Ok(Event::Failed(_))));

        let (reply, result) = oneshot::channel();
        let mut result = pin!(result);
        let task = TextTask::Rerank { query: String::new(), left: VecDeque::new(), done: Vec::new(), reply };
        let texts = Texts { task, begun: false, place: place() };
        assert!(result.as_mut().poll(&mut context).is_pending());
        texts.close(None);
        assert_eq!(seen.1.load(Ordering::Relaxed), 0);
        assert!(result.as_mut().poll(&mut context).is_ready());
    }
}
