//! Progress of long work on standard error: a bar on a terminal, a line for every tenth elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Work that is done by then needs no lines.
const SILENT: Duration = Duration::from_secs(1);

/// Shows how far something has come. Nothing remains of a bar once this is dropped.
pub(crate) struct Meter {
    what: &'static str,
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    next_percent: u64,
    started: Instant,
    unit: Unit,
    /// Was there before, so that it says nothing about the speed.
    begun_at: u64,
}

impl Meter {
    /// A meter up to `total`, in bytes or in other things that `unit` names.
    pub(crate) fn new(what: &'static str, total: u64, unit: Unit) -> Meter {
        let bar = std::io::stderr().is_terminal().then(|| {
            let count = match unit {
                Unit::Bytes => "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
                Unit::Tokens => "{human_pos}/{human_len} tokens {per_sec}",
            };
            let template = format!("{what} [{{bar:30}}] {count} {{eta}} {{wide_msg}}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style.progress_chars("=> "))
        });
        Meter { what, bar, total, done: 0, next_percent: 0, started: Instant::now(), unit, begun_at: 0 }
    }

    /// `n` more were done before this began: they count for how far it is, and not for how fast.
    pub(crate) fn begin_at(&mut self, n: u64) {
        self.done = self.done.saturating_add(n);
        self.begun_at = self.begun_at.saturating_add(n);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.reset_eta();
        }
    }

    /// `n` more are done; `item` is what they belong to.
    pub(crate) fn advance(&mut self, n: u64, item: &str) {
        self.done = self.done.saturating_add(n);
        if let Some(bar) = &self.bar {
            bar.set_message(output::visible(item));
            return bar.set_position(self.done);
        }
        let percent = (self.done.min(self.total) as f64 / self.total.max(1) as f64 * 100.0) as u64;
        if percent >= self.next_percent && self.started.elapsed() >= SILENT {
            self.next_percent = percent / 10 * 10 + 10;
            output::note(format_args!("{} {percent} % {item}{}", self.what, self.pace()));
        }
    }

    /// How fast bytes come, and when the last one will.
    fn pace(&self) -> String {
        let rate =
            self.done.saturating_sub(self.begun_at) as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        if self.unit != Unit::Bytes || rate < 1.0 {
            return String::new();
        }
        let left = (self.total.saturating_sub(self.done) as f64 / rate).ceil() as u64;
        format!(", {}/s, {}:{:02} left", output::bytes(rate as u64), left / 60, left % 60)
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a meter counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Bytes,
    Tokens,
}
