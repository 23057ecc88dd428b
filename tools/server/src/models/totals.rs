//! What a server has done since it was started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qwip::FinishReason;

use crate::engine::Summary;

/// Counters, all from 0 and growing. A request with several answers counts once for each.
#[derive(Debug, Default)]
pub struct Totals {
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    answer_tokens: AtomicU64,
    prompt_nanos: AtomicU64,
    answer_nanos: AtomicU64,
    queue_nanos: AtomicU64,
    texts: AtomicU64,
    text_tokens: AtomicU64,
    stopped: AtomicU64,
    full: AtomicU64,
    cancelled: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    loads: AtomicU64,
}

/// [`Totals`] at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Tokens of prompts, and how many of them did not have to be computed.
    pub prompt_tokens: u64,
    /// See above.
    pub cached_tokens: u64,
    /// Tokens of answers.
    pub answer_tokens: u64,
    /// Seconds from the first slice of each prompt to its last.
    pub prompt_seconds: f64,
    /// Seconds from then to the last token of each answer.
    pub answer_seconds: f64,
    /// Seconds from each request to its first slice.
    pub queue_seconds: f64,
    /// Texts embedded and documents judged, and their tokens.
    pub texts: u64,
    /// See above.
    pub text_tokens: u64,
    /// Answers that ended by themselves or at a stop text.
    pub stopped: u64,
    /// Answers that ended at their limit or that of the context.
    pub full: u64,
    /// Answers that nobody waited for any more.
    pub cancelled: u64,
    /// Answers that had become a cycle without end.
    pub repeated: u64,
    /// Answers that failed.
    pub failed: u64,
    /// Models loaded.
    pub loads: u64,
}

impl Totals {
    /// The counters as they are.
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = |nanos: &AtomicU64| Duration::from_nanos(get(nanos)).as_secs_f64();
        Counts {
            prompt_tokens: get(&self.prompt_tokens),
            cached_tokens: get(&self.cached_tokens),
            answer_tokens: get(&self.answer_tokens),
            prompt_seconds: seconds(&self.prompt_nanos),
            answer_seconds: seconds(&self.answer_nanos),
            queue_seconds: seconds(&self.queue_nanos),
            texts: get(&self.texts),
            text_tokens: get(&self.text_tokens),
            stopped: get(&self.stopped),
            full: get(&self.full),
            cancelled: get(&self.cancelled),
            repeated: get(&self.repeated),
            failed: get(&self.failed),
            loads: get(&self.loads),
        }
    }

    /// An answer has ended.
    pub(crate) fn ended(&self, summary: &Summary) {
        let Summary { reason, prompt_tokens, cached_tokens, answer_tokens, .. } = summary;
        add(&self.prompt_tokens, *prompt_tokens as u64);
        add(&self.cached_tokens, *cached_tokens as u64);
        add(&self.answer_tokens, *answer_tokens as u64);
        let times = [
            (&self.prompt_nanos, summary.prompt_time),
            (&self.answer_nanos, summary.answer_time),
            (&self.queue_nanos, summary.queue_time),
        ];
        times.into_iter().for_each(|(nanos, time)| add(nanos, time.as_nanos() as u64));
        let outcome = match reason {
            FinishReason::Stop => &self.stopped,
            FinishReason::Length | FinishReason::ContextFull => &self.full,
            FinishReason::Cancelled => &self.cancelled,
            FinishReason::Repetition => &self.repeated,
        };
        add(outcome, 1);
    }

    /// An answer has failed.
    pub(crate) fn failed(&self) {
        add(&self.failed, 1);
    }

    /// A text has been embedded, or a document judged.
    pub(crate) fn text(&self, tokens: usize) {
        add(&self.texts, 1);
        add(&self.text_tokens, tokens as u64);
    }

    /// A model has been loaded.
    pub(crate) fn loaded(&self) {
        add(&self.loads, 1);
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
