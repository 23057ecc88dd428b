//! Progress of long work on standard error: a bar on a terminal, a line for every tenth elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Shows how far something has come. Nothing remains of a bar once this is dropped.
pub(crate) struct Meter {
    what: &'static str,
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    tenths: u64,
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
        Meter { what, bar, total, done: 0, tenths: 0 }
    }

    /// `n` more are done; `item` is what they belong to.
    pub(crate) fn advance(&mut self, n: u64, item: &str) {
        self.done = self.done.saturating_add(n);
        if let Some(bar) = &self.bar {
            bar.set_message(item.to_string());
            return bar.set_position(self.done);
        }
        let tenths = (self.done.min(self.total) * 10).checked_div(self.total).unwrap_or(10);
        if tenths > self.tenths {
            self.tenths = tenths;
            output::note(format_args!("qwip: {} {}0 % {item}", self.what, tenths));
        }
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
