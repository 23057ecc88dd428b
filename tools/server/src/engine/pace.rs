//! How many tokens of prompts a pass takes while answers are running: as many as do not make them stutter.

use std::time::Duration;

/// What passes have taken so far.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// What a pass should take at most while answers run.
    aim: f64,
    /// Seconds of a pass of answers alone.
    base: Option<f64>,
    /// Seconds of a token of a prompt beyond that.
    token: Option<f64>,
}

/// Tokens of a slice while nothing is known.
const FIRST: usize = 32;
/// Fewer are not worth a pass: the weights are read for them all the same.
const LEAST: usize = 16;
/// The share of what was measured last in what is believed.
const NEW: f64 = 0.3;

impl Pace {
    pub(super) fn new(aim: Duration) -> Pace {
        Pace { aim: aim.as_secs_f64(), base: None, token: None }
    }

    /// A pass has taken so long for so many tokens of answers and of prompts.
    pub(super) fn saw(&mut self, answers: usize, prompts: usize, took: Duration) {
        let took = took.as_secs_f64();
        let mix = |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + NEW * (new - old)));
        match (answers, prompts) {
            (0, 0) => {}
            (_, 0) => self.base = mix(self.base, took),
            (_, LEAST..) => {
                let base = if answers > 0 { self.base.unwrap_or(0.0) } else { 0.0 };
                self.token = mix(self.token, (took - base).max(0.0) / prompts as f64);
            }
            // Too few to tell anything.
            _ => {}
        }
    }

    /// Tokens of prompts for a pass beside answers, at most `most`; none if that is 0.
    pub(super) fn slice(&self, most: usize) -> usize {
        let tokens = match self.token {
            None => FIRST,
            Some(token) => {
                let base = self.base.unwrap_or(0.0);
                // Where answers alone take longer than the aim, prompts may take half as long again.
                let left = self.aim.max(1.5 * base) - base;
                (left / token.max(1e-9)).round().clamp(LEAST as f64, 1e6) as usize
            }
        };
        tokens.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(passes: &[(usize, usize, u64)]) -> Pace {
        let mut pace = Pace::new(Duration::from_millis(150));
        for &(answers, prompts, ms) in passes {
            pace.saw(answers, prompts, Duration::from_millis(ms));
        }
        pace
    }

    #[test]
    fn slices_fit_what_was_measured() {
        assert_eq!(pace(&[]).slice(512), FIRST);
        // 1 ms a token: 150 of them; beside answers that take 50 ms, 100.
        assert_eq!(pace(&[(0, 512, 512)]).slice(512), 150);
        assert_eq!(pace(&[(0, 512, 512), (4, 0, 50)]).slice(512), 100);
        assert_eq!(pace(&[(4, 0, 50), (4, 50, 100)]).slice(512), 100);
        // However slow the machine, some; however fast, no more than a batch.
        assert_eq!(pace(&[(0, 100, 10_000)]).slice(512), LEAST);
        assert_eq!(pace(&[(0, 512, 1)]).slice(512), 512);
        // Answers alone take 400 ms: 200 more are for prompts.
        assert_eq!(pace(&[(0, 100, 500), (4, 0, 400)]).slice(512), 40);
        // Where answers take all of a pass.
        assert_eq!(pace(&[]).slice(0), 0);
        // A few tokens say nothing.
        assert_eq!(pace(&[(1, 3, 100)]).slice(512), FIRST);
    }
}
