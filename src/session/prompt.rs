//! Going on with a prompt: all of it in one call, or step by step.
//!
//! Where a hybrid's memory is copied depends on the whole prompt, not on how it is cut into steps: where the slices of one
//! call would end, and shortly before its end.

use super::{Cancel, SHORTLY, Session};
use crate::backend::{LogitRows, Output};
use crate::error::Result;

/// The tokens of a prompt that are evaluated, in one call or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Position of the first.
    pub(super) start: usize,
    /// Position behind the last.
    pub(super) end: usize,
}

/// Some of the tokens of a whole, evaluated in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) n: usize,
    /// It is the end of the whole.
    pub(super) last: bool,
    /// A position in it where a hybrid's memory is to be copied.
    pub(super) copy: Option<usize>,
    /// The memory is to be copied behind it.
    pub(super) copy_behind: bool,
}

/// What the last step of a prompt has left to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stepped {
    /// Where the first step began.
    start: usize,
    /// Tokens that the session had after the last.
    at: usize,
}

impl Whole {
    /// The next slice from position `at` on, of at most `most` tokens, where slices of `size` tokens are counted from the
    /// start of the whole.
    pub(super) fn slice(self, at: usize, most: usize, size: usize) -> Slice {
        let begun = (at - self.start) % size;
        let n = most.min(size - begun);
        let (before, end) = (at - begun, at + n);
        let last = end == self.end;
        // A next prompt often differs in the last few tokens, those that ask for an answer. In slices before the last the
        // copy behind them will do.
        let shortly = self.end.saturating_sub(SHORTLY);
        let in_last = self.end - before <= size && self.end - self.start > 1;
        let copy = (in_last && shortly > before).then_some(shortly).filter(|&copy| at < copy && copy <= end);
        Slice { n, last, copy, copy_behind: begun + n == size && !last }
    }
}

impl Session {
    /// Continues with `prompt`, of which the part that the session already holds is not computed again.
    /// Returns how many tokens were evaluated. The memory of what the prompt does not share with the session is free
    /// once the call has succeeded, not before.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn prompt(
        &mut self,
        prompt: &[u32],
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<usize> {
        self.fits(0, prompt)?;
        let keep = self.shares(prompt);
        self.go_on(keep, &prompt[keep..], None, cancel, progress)?;
        Ok(prompt.len() - keep)
    }

    /// Evaluates the next tokens of `prompt`, at most `most` of them (0: [`Session::batch`]), and says how many are left;
    /// once it is 0, there are logits. So whoever drives it may pause between two steps, or do something else with the
    /// session: the next step goes on from what the session then shares with the prompt. What it does not share is
    /// forgotten with the first step. However it is cut into steps, the logits are those of [`Session::prompt`].
    ///
    /// A prompt that the session holds with its logits takes no step at all. Where every token sees all others, one step
    /// takes the whole prompt.
    ///
    /// # Errors
    /// As [`Session::extend`]; the session is then as it was before this step, without logits.
    pub fn prompt_step(&mut self, prompt: &[u32], most: usize, cancel: &Cancel) -> Result<usize> {
        self.fits(0, prompt)?;
        if self.tokens == prompt && !self.buffers.logits().is_empty() {
            return Ok(0);
        }
        let keep = self.shares(prompt);
        let most = match most {
            _ if !self.model.config().causal => prompt.len(),
            0 => self.batch,
            most => most,
        };
        let end = prompt.len().min(keep.saturating_add(most));
        // If it is this prompt's step or not, nothing but the places of copies depends on it.
        let start = match self.stepped {
            Some(Stepped { start, at }) if at == keep && keep == self.tokens.len() => start,
            _ => keep,
        };
        let whole = Whole { start, end: prompt.len() };
        self.go_on(keep, &prompt[keep..end], Some(whole), cancel, &mut |_| {})?;
        self.stepped = (end < prompt.len()).then_some(Stepped { start, at: end });
        Ok(prompt.len() - end)
    }

    /// Keeps the first `keep` tokens and appends `tokens`, a part of the `whole`; or leaves everything as it was.
    fn go_on(
        &mut self,
        keep: usize,
        tokens: &[u32],
        whole: Option<Whole>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let forgotten = (keep < self.tokens.len() || keep < self.sequence.len())
            .then(|| (self.tokens.split_off(keep), self.sequence.forget(keep)));
        self.buffers.clear_logits();
        let had_device = self.device.is_some();
        let wanted = (LogitRows::Last, Output::Logits);
        let result = self.run(tokens, whole, cancel, wanted, &mut |_| {}, progress);
        if let (Err(_), Some((tokens, before))) = (&result, forgotten) {
            self.tokens.extend(tokens);
            // What a device held is of no use without it; the next call evaluates the tokens again.
            if had_device == self.device.is_some() {
                self.sequence.recall(before);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where slices of `size` tokens, in steps of `step`, end and where copies are made.
    fn walk(whole: Whole, step: usize, size: usize) -> (Vec<usize>, Vec<usize>) {
        let (mut at, mut ends, mut copies) = (whole.start, Vec::new(), Vec::new());
        while at < whole.end {
            let until = whole.end.min(at + step);
            while at < until {
                let slice = whole.slice(at, until - at, size);
                assert!(slice.n > 0 && slice.last == (at + slice.n == whole.end));
                copies.extend(slice.copy.inspect(|&copy| assert!(copy > at && copy <= at + slice.n)));
                at += slice.n;
                copies.extend(slice.copy_behind.then_some(at));
                ends.push(at);
            }
        }
        (ends, copies)
    }

    #[test]
    fn copies_are_made_in_the_same_places_however_a_prompt_is_cut() {
        for start in [0, 5, 32, 61] {
            for len in 1..140 {
                let whole = Whole { start, end: start + len };
                let (ends, copies) = walk(whole, usize::MAX - start, 32);
                let mut want: Vec<usize> = (start + 32..whole.end).step_by(32).collect();
                let cuts = [want.clone(), vec![whole.end]].concat();
                // Shortly before the end, if the last slice comes by.
                let last = cuts.iter().rev().nth(1).copied().unwrap_or(start);
                want.extend(whole.end.checked_sub(8).filter(|&copy| copy > last));
                assert_eq!((ends, &copies), (cuts, &want), "{whole:?}");
                for step in [1, 3, 7, 8, 31, 32, 33, 64] {
                    assert_eq!(walk(whole, step, 32).1, copies, "{whole:?} in steps of {step}");
                }
            }
        }
    }
}
