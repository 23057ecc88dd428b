//! How many tokens it took and how long, and why it ended.

use std::time::Duration;

use qwip::FinishReason;
use serde_json::{Value, json};

use crate::chat::Usage;
use crate::engine::Summary;

/// OpenAI's `usage`.
pub(super) fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    })
}

/// OpenAI's word for an end. An answer that went in circles was broken off, too.
pub(super) fn finish_reason(reason: FinishReason, calls: usize) -> &'static str {
    match reason {
        FinishReason::Stop if calls > 0 => "tool_calls",
        FinishReason::Stop => "stop",
        FinishReason::Length
        | FinishReason::ContextFull
        | FinishReason::Repetition
        | FinishReason::Cancelled => "length",
    }
}

/// llama.cpp's `timings`, over answers that were computed at the same time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timings {
    prompt_n: usize,
    cache_n: usize,
    prompt: Duration,
    predicted_n: usize,
    predicted: Duration,
}

impl Timings {
    pub(super) fn of(summary: &Summary) -> Timings {
        let mut timings = Timings::default();
        timings.add(summary);
        timings
    }

    pub(super) fn add(&mut self, summary: &Summary) {
        self.prompt_n += summary.prompt_tokens.saturating_sub(summary.cached_tokens);
        self.cache_n += summary.cached_tokens;
        self.prompt = self.prompt.max(summary.prompt_time);
        self.predicted_n += summary.answer_tokens;
        self.predicted = self.predicted.max(summary.answer_time);
    }

    pub(super) fn object(&self) -> Value {
        let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
        let each = |n: usize, time: Duration| milliseconds(time) / n.max(1) as f64;
        json!({
            "cache_n": self.cache_n,
            "prompt_n": self.prompt_n,
            "prompt_ms": milliseconds(self.prompt),
            "prompt_per_token_ms": each(self.prompt_n, self.prompt),
            "prompt_per_second": rate(self.prompt_n, self.prompt),
            "predicted_n": self.predicted_n,
            "predicted_ms": milliseconds(self.predicted),
            "predicted_per_token_ms": each(self.predicted_n, self.predicted),
            "predicted_per_second": rate(self.predicted_n, self.predicted),
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_calls_ends_so_unless_it_was_cut() {
        assert_eq!(finish_reason(FinishReason::Stop, 0), "stop");
        assert_eq!(finish_reason(FinishReason::Stop, 2), "tool_calls");
        assert_eq!(finish_reason(FinishReason::Length, 1), "length");
        assert_eq!(finish_reason(FinishReason::Repetition, 0), "length");
    }

    #[test]
    fn answers_side_by_side_share_the_time() {
        let summary = Summary {
            reason: FinishReason::Stop,
            stop: None,
            prompt_tokens: 10,
            cached_tokens: 4,
            answer_tokens: 5,
            prompt_time: Duration::from_millis(3),
            answer_time: Duration::from_millis(100),
            queue_time: Duration::ZERO,
        };
        let mut timings = Timings::of(&summary);
        timings.add(&Summary { answer_time: Duration::from_millis(50), ..summary });
        let object = timings.object();
        assert_eq!((&object["prompt_n"], &object["cache_n"]), (&json!(12), &json!(8)));
        assert_eq!((&object["predicted_n"], &object["predicted_ms"]), (&json!(10), &json!(100.0)));
        assert_eq!(object["predicted_per_second"], json!(100.0));
    }
}
