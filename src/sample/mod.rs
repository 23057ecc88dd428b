//! Choosing the next token from logits: penalties, temperature, top-k, top-p, min-p, a seeded draw.
//!
//! Order (that of Hugging Face, which the published Qwen settings mean): repetition, presence and frequency
//! penalties on the last `penalty_last_n` tokens; temperature; top-k; top-p; min-p; draw. Ties go to the
//! lowest id everywhere, sums run in (probability descending, id ascending) order, and the exponential is the
//! kernels' own, so that the same logits and seed give the same token on every machine.

mod defaults;
mod logprobs;
mod rng;

use std::ops::RangeInclusive;
use std::sync::Arc;

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_cpu::reference::math::exp;

pub use defaults::SamplingChoice;
pub use logprobs::{MOST_LOGPROBS, TokenLogprob, logprobs_of};
pub(crate) use rng::random_bits;
pub use rng::{Rng, random_seed};

/// What settings may be.
mod ranges {
    use super::RangeInclusive;

    pub(super) const TEMPERATURE: RangeInclusive<f32> = 0.0..=100.0;
    pub(super) const SHARE: RangeInclusive<f32> = 0.0..=1.0;
    pub(super) const REPEAT_PENALTY: RangeInclusive<f32> = 0.01..=100.0;
    pub(super) const PENALTY: RangeInclusive<f32> = -100.0..=100.0;
}

/// What to do with the logits. `Default` is greedy without penalties.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep this many most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of most probable tokens that holds this much probability; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens below this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen lately; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted once from the logit of every token seen lately; 0 is off.
    pub presence_penalty: f32,
    /// Subtracted for each occurrence lately; 0 is off.
    pub frequency_penalty: f32,
    /// How many tokens "lately" reaches back; `usize::MAX` is the whole context.
    pub penalty_last_n: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: 64,
            seed: 0,
        }
    }
}

impl SamplingParams {
    /// Checks the ranges; the error names the first setting that is outside.
    pub fn check(&self) -> crate::error::Result<()> {
        let float = |what, value: f32, range: RangeInclusive<f32>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (low, high) = range.into_inner();
            let (found, want) = (value.to_string(), format!("{low} to {high}"));
            Err(crate::error::Error::BadOption { what, found, want })
        };
        float("temperature", self.temperature, ranges::TEMPERATURE)?;
        float("top-p", self.top_p, ranges::SHARE)?;
        float("min-p", self.min_p, ranges::SHARE)?;
        float("repeat penalty", self.repeat_penalty, ranges::REPEAT_PENALTY)?;
        float("presence penalty", self.presence_penalty, ranges::PENALTY)?;
        float("frequency penalty", self.frequency_penalty, ranges::PENALTY)
    }
}

/// What a device is to find among the logits in place of handing out all of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// How many of the largest, after the penalties.
    pub(crate) k: usize,
    /// As in [`SamplingParams`], as are the next two.
    pub(crate) repeat_penalty: f32,
    pub(crate) presence_penalty: f32,
    pub(crate) frequency_penalty: f32,
    /// Tokens that are penalised, in ascending order, and how often each was seen.
    pub(crate) seen: Vec<(u32, u32)>,
    /// A bit for each token that may come out, `[vocab / 32]`; all may where there is none.
    pub(crate) allowed: Option<Arc<[u32]>>,
}

impl Wanted {
    /// The most probable token.
    pub(crate) fn best() -> Wanted {
        let (repeat_penalty, presence_penalty, frequency_penalty) = (1.0, 0.0, 0.0);
        Wanted { k: 1, repeat_penalty, presence_penalty, frequency_penalty, seen: Vec::new(), allowed: None }
    }
}

/// The largest logits that were wanted, best first, with their tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidates(pub(crate) Vec<(f32, u32)>);

/// As many candidates a device finds at most.
const MOST_CANDIDATES: usize = 64;

/// A sampler: settings, the random state, and scratch space that is kept between tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    rng: Rng,
    adjusted: Vec<f32>,      // [vocab]
    kept: Vec<(f32, u32)>,   // (logit, then probability; id)
    counts: Vec<(u32, u32)>, // (id, occurrences), by id
}

impl Sampler {
    /// A sampler in its initial state.
    pub fn new(params: SamplingParams) -> Sampler {
        let rng = Rng::new(params.seed);
        Sampler { params, rng, adjusted: Vec::new(), kept: Vec::new(), counts: Vec::new() }
    }

    /// The settings.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Other settings from the next token on. The draw goes on where it is: the seed of `params` is not used.
    pub fn set_params(&mut self, params: SamplingParams) {
        self.params = SamplingParams { seed: self.params.seed, ..params };
    }

    /// Picks a token. `logits` is `[vocab]`; `recent` the sequence so far, newest last; `allowed` says which ids
    /// may come out at all. Logits that are NaN or negative infinity are never picked. `None` if there is no other
    /// among the allowed ones, or, where the token is drawn, the largest of them is infinite.
    pub fn pick(&mut self, logits: &[f32], recent: &[u32], allowed: impl Fn(u32) -> bool) -> Option<u32> {
        self.pick_masked(logits, recent, None, allowed)
    }

    /// As [`pick`](Sampler::pick) among the tokens whose bit is set in `mask`, `[vocab / 32]` rounded up, if there is one.
    pub fn pick_masked(
        &mut self,
        logits: &[f32],
        recent: &[u32],
        mask: Option<&[u32]>,
        allowed: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let _ieee = IeeeDefaults::enter();
        self.count(recent);
        let mut adjusted = std::mem::take(&mut self.adjusted);
        // Logits that nothing is done to are not copied.
        let logits = match self.counts.is_empty() {
            true => logits,
            false => {
                adjusted.clear();
                adjusted.extend_from_slice(logits);
                self.penalise(&mut adjusted);
                &adjusted
            }
        };
        let picked = match self.params.temperature == 0.0 || self.params.top_k == 1 {
            true => best(logits, mask, allowed),
            false => self.keep_top_k(logits, mask, allowed).and_then(|()| self.draw()),
        };
        self.adjusted = adjusted;
        picked
    }

    /// What suffices to pick the token after `recent`, where that is less than all logits.
    pub(crate) fn wanted(&mut self, recent: &[u32], allowed: &Arc<[u32]>) -> Option<Wanted> {
        let SamplingParams {
            temperature, top_k, repeat_penalty, presence_penalty, frequency_penalty, ..
        } = self.params;
        let k = match temperature == 0.0 {
            true => 1,
            false if (1..=MOST_CANDIDATES).contains(&top_k) => top_k,
            false => return None,
        };
        self.count(recent);
        let (seen, allowed) = (self.counts.clone(), Some(allowed.clone()));
        Some(Wanted { k, repeat_penalty, presence_penalty, frequency_penalty, seen, allowed })
    }

    /// As [`pick`](Sampler::pick), from what was [wanted](Sampler::wanted).
    pub(crate) fn pick_among(&mut self, candidates: &Candidates) -> Option<u32> {
        let _ieee = IeeeDefaults::enter();
        let &(best, id) = candidates.0.first()?;
        if self.params.temperature == 0.0 || self.params.top_k == 1 {
            return Some(id);
        }
        self.kept.clear();
        self.kept.extend_from_slice(&candidates.0);
        best.is_finite().then(|| self.draw())?
    }

    /// Draws one of the candidates.
    fn draw(&mut self) -> Option<u32> {
        let top = self.kept[0].0;
        let mut sum = 0.0f32;
        for (value, _) in &mut self.kept {
            *value = exp((*value - top) / self.params.temperature);
            sum += *value;
        }
        self.cut_top_p(sum);
        let floor = self.params.min_p * self.kept[0].0;
        self.kept.retain(|&(p, _)| p >= floor);
        let total: f32 = self.kept.iter().fold(0.0, |sum, &(p, _)| sum + p);
        let mut rest = self.rng.uniform() * total;
        for &(p, id) in &self.kept {
            rest -= p;
            if rest < 0.0 {
                return Some(id);
            }
        }
        self.kept.last().map(|&(_, id)| id)
    }

    /// Penalises the tokens that were counted.
    fn penalise(&self, logits: &mut [f32]) {
        let p = &self.params;
        for &(id, count) in &self.counts {
            let Some(logit) = logits.get_mut(id as usize) else { continue };
            *logit = if *logit > 0.0 { *logit / p.repeat_penalty } else { *logit * p.repeat_penalty };
            *logit -= p.presence_penalty + p.frequency_penalty * count as f32;
        }
    }

    /// Counts the tokens that are penalised.
    fn count(&mut self, recent: &[u32]) {
        let p = &self.params;
        self.counts.clear();
        if p.repeat_penalty == 1.0 && p.presence_penalty == 0.0 && p.frequency_penalty == 0.0 {
            return;
        }
        let window = &recent[recent.len().saturating_sub(p.penalty_last_n)..];
        self.counts.extend(window.iter().map(|&id| (id, 1)));
        self.counts.sort_unstable();
        self.counts.dedup_by(|next, first| {
            let same = next.0 == first.0;
            first.1 += if same { next.1 } else { 0 };
            same
        });
    }

    /// Fills `kept` with the candidates, best first. `None` if there is none.
    fn keep_top_k(
        &mut self,
        logits: &[f32],
        mask: Option<&[u32]>,
        allowed: impl Fn(u32) -> bool,
    ) -> Option<()> {
        let best_first = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let k = self.params.top_k;
        // More than k are gathered before those that are left behind are dropped.
        let room = if k == 0 { usize::MAX } else { k.saturating_mul(2).max(1024) };
        let mut least = f32::NEG_INFINITY;
        self.kept.clear();
        for (first, part) in parts(logits, mask) {
            if !any_from(part, least) {
                continue;
            }
            let hopeful = part.iter().enumerate().filter(|(_, l)| **l > f32::NEG_INFINITY && **l >= least);
            let ids = hopeful.map(|(i, &l)| (l, (first + i) as u32));
            self.kept.extend(ids.filter(|&(_, id)| is_set(mask, id) && allowed(id)));
            if self.kept.len() >= room {
                self.kept.select_nth_unstable_by(k, best_first);
                self.kept.truncate(k);
                least = self.kept.iter().fold(f32::INFINITY, |least, kept| least.min(kept.0));
            }
        }
        if k > 0 && k < self.kept.len() {
            self.kept.select_nth_unstable_by(k, best_first);
            self.kept.truncate(k);
        }
        self.kept.sort_unstable_by(best_first);
        (!self.kept.is_empty() && self.kept[0].0.is_finite()).then_some(())
    }

    fn cut_top_p(&mut self, sum: f32) {
        if self.params.top_p >= 1.0 {
            return;
        }
        let target = self.params.top_p * sum;
        let mut held = 0.0;
        let n = self.kept.iter().position(|&(p, _)| {
            held += p;
            held >= target
        });
        self.kept.truncate(n.map_or(self.kept.len(), |n| n + 1));
    }
}

/// The most probable allowed token, the lowest id on ties.
pub fn greedy(logits: &[f32], allowed: impl Fn(u32) -> bool) -> Option<u32> {
    best(logits, None, allowed)
}

/// The most probable token that `mask`, if there is one, and `allowed` let come, the lowest id on ties.
fn best(logits: &[f32], mask: Option<&[u32]>, allowed: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut top, mut found) = (f32::NEG_INFINITY, None);
    for (first, part) in parts(logits, mask) {
        // Nearly all parts have nothing better in them, which is seen faster for all of a part at a time.
        if !any_above(part, top) {
            continue;
        }
        for (i, &logit) in part.iter().enumerate() {
            let id = (first + i) as u32;
            if logit > top && is_set(mask, id) && allowed(id) {
                (top, found) = (logit, Some(id));
            }
        }
    }
    found
}

/// Logits that are looked at together: those of a word of a mask.
const PART: usize = 32;

/// The logits by words of the mask, with the id of the first; those that it leaves nothing of are left out.
fn parts<'a>(
    logits: &'a [f32],
    mask: Option<&'a [u32]>,
) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
    let parts = logits.chunks(PART).enumerate();
    let any = move |word: usize| mask.is_none_or(|mask| mask.get(word).is_some_and(|&bits| bits != 0));
    parts.filter(move |&(word, _)| any(word)).map(|(word, part)| (word * PART, part))
}

/// Whether the mask, if there is one, lets a token come.
fn is_set(mask: Option<&[u32]>, id: u32) -> bool {
    let Some(mask) = mask else { return true };
    mask.get(id as usize / 32).is_some_and(|bits| bits >> (id % 32) & 1 == 1)
}

/// Whether one of them is above `top`.
fn any_above(part: &[f32], top: f32) -> bool {
    part.iter().fold(false, |any, &logit| any | (logit > top))
}

/// Whether one of them is `least` or above.
fn any_from(part: &[f32], least: f32) -> bool {
    part.iter().fold(false, |any, &logit| any | (logit >= least))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: u32) -> bool {
        true
    }

    #[test]
    fn greedy_takes_the_lowest_id_on_ties_and_skips_what_is_not_allowed() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0, f32::NAN], any), Some(1));
        assert_eq!(greedy(&[1.0, 3.0, 3.0], |id| id != 1), Some(2));
        assert_eq!(greedy(&[f32::NEG_INFINITY], any), None);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens_and_frequencies_follow_the_softmax() {
        let logits: Vec<f32> = [0.4f32, 0.3, 0.2, 0.1].iter().map(|p| libm::logf(*p)).collect();
        let params = SamplingParams { temperature: 1.0, seed: 7, ..Default::default() };
        let (mut a, mut b) = (Sampler::new(params.clone()), Sampler::new(params));
        let mut counts = [0i32; 4];
        for _ in 0..20000 {
            let id = a.pick(&logits, &[], any).unwrap();
            assert_eq!(b.pick(&logits, &[], any), Some(id));
            counts[id as usize] += 1;
        }
        for (count, want) in counts.iter().zip([8000i32, 6000, 4000, 2000]) {
            assert!((count - want).abs() < 300, "{counts:?}");
        }
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let logits: Vec<f32> = [0.4f32, 0.3, 0.2, 0.1].iter().map(|p| libm::logf(*p)).collect();
        let seen = |params: SamplingParams| {
            let mut sampler = Sampler::new(params);
            let mut ids: Vec<u32> = (0..2000).filter_map(|_| sampler.pick(&logits, &[], any)).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let base = SamplingParams { temperature: 1.0, seed: 1, ..Default::default() };
        assert_eq!(seen(SamplingParams { top_k: 2, ..base.clone() }), [0, 1]);
        assert_eq!(seen(SamplingParams { top_p: 0.65, ..base.clone() }), [0, 1]);
        assert_eq!(seen(SamplingParams { min_p: 0.45, ..base.clone() }), [0, 1, 2]);
        assert_eq!(seen(SamplingParams { temperature: 0.01, ..base }), [0]);
    }

    /// Many equal logits, infinities, both zeros and what is no number, of more than one word of the mask.
    fn mixed(seed: u64, n: usize) -> Vec<f32> {
        let mut rng = Rng::new(seed);
        let odd = [f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 3.0];
        let mut next = || match rng.next_u64() % 8 {
            i @ 0..5 => odd[i as usize],
            _ => (rng.next_u64() % 64) as f32 / 8.0 - 5.0,
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn what_is_skipped_changes_nothing() {
        for seed in 0..60 {
            let logits = mixed(seed, [5, 64, 700, 9000][seed as usize % 4]);
            let mut rng = Rng::new(seed + 1000);
            let dense = seed % 3 == 0;
            let mask: Vec<u32> = (0..logits.len().div_ceil(32))
                .map(|_| {
                    rng.next_u64() as u32 & if dense { u32::MAX } else { rng.next_u64() as u32 & 0x1001 }
                })
                .collect();
            let odd = |id: u32| id % 7 != 3;
            for mask in [None, Some(&mask[..])] {
                let mut all: Vec<(f32, u32)> = logits.iter().zip(0..).map(|(&l, id)| (l, id)).collect();
                all.retain(|&(l, id)| l > f32::NEG_INFINITY && odd(id) && is_set(mask, id));
                // For greedy choices the zeros are equal.
                let first = |best: Option<(f32, u32)>, &(l, id): &(f32, u32)| match best {
                    Some((top, _)) if l <= top => best,
                    _ => Some((l, id)),
                };
                assert_eq!(
                    best(&logits, mask, odd),
                    all.iter().fold(None, first).map(|(_, id)| id),
                    "{seed}"
                );
                all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                for top_k in [0, 1, 2, 20, 600, 3000] {
                    let mut sampler = Sampler::new(SamplingParams { top_k, ..SamplingParams::default() });
                    assert_eq!(sampler.keep_top_k(&logits, mask, odd).is_some(), !all.is_empty(), "{seed}");
                    let want = &all[..if top_k == 0 { all.len() } else { top_k.min(all.len()) }];
                    let bits = |kept: &[(f32, u32)]| {
                        kept.iter().map(|&(l, id)| (l.to_bits(), id)).collect::<Vec<_>>()
                    };
                    assert_eq!(bits(&sampler.kept), bits(want), "{seed} {top_k}");
                }
            }
        }
    }

    #[test]
    fn penalties_move_tokens_that_were_seen() {
        let logits = [2.0, 1.9, -1.0];
        let pick = |params: SamplingParams, recent: &[u32]| Sampler::new(params).pick(&logits, recent, any);
        let greedy = SamplingParams::default();
        assert_eq!(pick(SamplingParams { repeat_penalty: 1.2, ..greedy.clone() }, &[0]), Some(1));
        assert_eq!(pick(SamplingParams { presence_penalty: 0.2, ..greedy.clone() }, &[0, 0]), Some(1));
        let by_count = SamplingParams { frequency_penalty: 0.06, ..greedy.clone() };
        assert_eq!(pick(by_count.clone(), &[0]), Some(0));
        assert_eq!(pick(by_count.clone(), &[0, 0]), Some(1));
        assert_eq!(pick(SamplingParams { penalty_last_n: 1, ..by_count }, &[0, 0, 2]), Some(0));
        assert_eq!(pick(greedy, &[0]), Some(0));
    }

    #[test]
    fn non_finite_logits_give_nothing() {
        let mut sampler = Sampler::new(SamplingParams { temperature: 1.0, ..Default::default() });
        assert_eq!(sampler.pick(&[f32::NAN, f32::NAN], &[], any), None);
        assert_eq!(sampler.pick(&[f32::INFINITY, 0.0], &[], any), None);
        assert_eq!(sampler.pick(&[f32::NAN, 0.0], &[], any), Some(1));
        assert_eq!(sampler.pick(&[f32::NEG_INFINITY], &[], any), None);
    }
}
