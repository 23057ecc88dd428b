//! How far a model's predictions are from those of a base model.

use std::io::Read;

use qwip_cpu::fpenv::IeeeDefaults;

use super::base_file::BaseReader;
use super::perplexity::Perplexity;
use super::row::{BaseRow, Distance, Softmax};
use super::stats::{Mean, percentile, share};
use super::{Chunks, Estimate, Evaluator, Progress};
use crate::error::Result;
use crate::session::Cancel;

/// Bytes of base rows that [`compare`] holds: a chunk of 512 tokens over 151936 takes 77 MB.
const BASE_ROWS: usize = 96 << 20;

/// The distance of a model from its base over all scored positions. Divergences are in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// Perplexity of the model.
    pub model: Perplexity,
    /// Perplexity of the base, from its log-probabilities in 16 bits.
    pub base: Perplexity,
    /// log of the ratio of both perplexities, model over base.
    pub log_ratio: Estimate,
    /// Mean Kullback-Leibler divergence, sum of p log(p / q) with the base's p and the model's q.
    pub mean: Estimate,
    /// Half of the positions diverge by less.
    pub median: f64,
    /// 90, 95, 99 and 99.9 per cent of the positions diverge by no more.
    pub percentiles: [f64; 4],
    /// The greatest divergence.
    pub max: f64,
    /// Share of the positions where both have the same most probable token.
    pub same_top: Estimate,
    /// Mean of the model's probability of the token that follows, less the base's.
    pub delta_p: Estimate,
    /// Root of the mean square of that difference.
    pub delta_p_rms: Estimate,
}

/// What [`compare`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Perplexity of the base model.
    pub base: Perplexity,
    /// The distance of each other model, in their order.
    pub models: Vec<Divergence>,
}

/// Sums over positions.
#[derive(Default)]
struct Sums {
    nll: Mean,
    base_nll: Mean,
    log_ratio: Mean,
    kld: Mean,
    delta_p: Mean,
    delta_p_squared: Mean,
    same_top: u64,
    all_kld: Vec<f64>,
}

impl Sums {
    fn add(&mut self, distance: &Distance) {
        let Distance { nll, base_nll, kld, same_top } = *distance;
        self.nll.add(nll);
        self.base_nll.add(base_nll);
        self.log_ratio.add(nll - base_nll);
        self.kld.add(kld);
        let delta_p = libm::exp(-nll) - libm::exp(-base_nll);
        self.delta_p.add(delta_p);
        self.delta_p_squared.add(delta_p * delta_p);
        self.same_top += u64::from(same_top);
        self.all_kld.push(kld);
    }

    fn divergence(mut self) -> Divergence {
        self.all_kld.sort_by(f64::total_cmp);
        let below = |fraction| percentile(&self.all_kld, fraction);
        Divergence {
            model: Perplexity::of(&self.nll),
            base: Perplexity::of(&self.base_nll),
            log_ratio: self.log_ratio.estimate(),
            mean: self.kld.estimate(),
            median: below(0.5),
            percentiles: [0.9, 0.95, 0.99, 0.999].map(below),
            max: below(1.0),
            same_top: share(self.same_top, self.kld.count()),
            delta_p: self.delta_p.estimate(),
            delta_p_rms: self.delta_p_squared.root(),
        }
    }
}

/// The distance of a model from the one that wrote `base`, over the chunks of that file.
///
/// # Errors
/// [`super::EvalError::Vocabulary`], [`super::EvalError::BaseRead`], [`super::EvalError::BaseDistribution`]; as
/// [`crate::Session::extend`].
pub fn kld<R: Read>(
    evaluator: &mut Evaluator,
    base: &mut BaseReader<R>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Divergence> {
    let _ieee = IeeeDefaults::enter();
    let chunks = base.chunks().clone();
    evaluator.check(&chunks, base.vocab())?;
    let mut sums = Sums::default();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut report = |tokens, nll: &Mean| progress(Progress::new(tokens, i, &chunks, nll));
        evaluator.begin(&chunk, cancel)?;
        report(chunk.start.len(), &sums.nll);
        evaluator.score(chunk.scored, cancel, &mut |group| {
            let targets = &chunk.targets[group.first..];
            let rows = (0..group.len()).map(|_| base.row()).collect::<Result<Vec<_>>>()?;
            let distances = group.map(|j, logits| Distance::of(&rows[j], logits, targets[j]))?;
            distances.iter().for_each(|distance| sums.add(distance));
            report(group.len(), &sums.nll);
            Ok(())
        })?;
    }
    Ok(sums.divergence())
}

/// The distances of `models` from `base`, all of which read each chunk in turn. The base's predictions are rounded as
/// in a base file, so that the figures are those of [`kld`].
///
/// # Errors
/// [`super::EvalError::Vocabulary`]; as [`crate::Session::extend`].
pub fn compare(
    base: &mut Evaluator,
    models: &mut [Evaluator],
    chunks: &Chunks,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<Comparison> {
    let _ieee = IeeeDefaults::enter();
    let vocab = base.vocab();
    base.check(chunks, vocab)?;
    models.iter().try_for_each(|model| model.check(chunks, vocab))?;
    let a_time = (BASE_ROWS / (2 * vocab)).max(1);
    let mut sums: Vec<Sums> = models.iter().map(|_| Sums::default()).collect();
    let (mut nll, mut rows) = (Mean::default(), Vec::new());
    for (i, chunk) in chunks.iter().enumerate() {
        let mut report = |tokens, nll: &Mean| progress(Progress::new(tokens, i, chunks, nll));
        base.begin(&chunk, cancel)?;
        report(chunk.start.len(), &nll);
        for model in &mut *models {
            model.begin(&chunk, cancel)?;
            report(chunk.start.len(), &nll);
        }
        for (scored, targets) in chunk.scored.chunks(a_time).zip(chunk.targets.chunks(a_time)) {
            rows.clear();
            base.score(scored, cancel, &mut |group| {
                let targets = &targets[group.first..];
                let encoded = group.map(|j, logits| {
                    let softmax = Softmax::of(logits);
                    (softmax.nll(targets[j]), BaseRow::encode(&softmax))
                })?;
                for (value, row) in encoded {
                    nll.add(value);
                    rows.push(row);
                }
                report(group.len(), &nll);
                Ok(())
            })?;
            for (model, sums) in models.iter_mut().zip(&mut sums) {
                model.score(scored, cancel, &mut |group| {
                    let (rows, targets) = (&rows[group.first..], &targets[group.first..]);
                    let distances = group.map(|j, logits| Distance::of(&rows[j], logits, targets[j]))?;
                    distances.iter().for_each(|distance| sums.add(distance));
                    report(group.len(), &nll);
                    Ok(())
                })?;
            }
        }
    }
    Ok(Comparison { base: Perplexity::of(&nll), models: sums.into_iter().map(Sums::divergence).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const BASE_FILE: &[u8] = include_bytes!("../../tests/fixtures/eval/base.bin");

    /// The float32 rows of a version 1 .npy file whose header takes 128 bytes.
    fn rows(npy: &[u8]) -> Vec<Vec<f32>> {
        let values: Vec<f32> =
            npy[128..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        values.chunks_exact(37).map(<[f32]>::to_vec).collect()
    }

    #[track_caller]
    fn near(found: f64, want: &Value) {
        let want = want.as_f64().unwrap();
        assert!((found - want).abs() <= 1e-9 * want.abs().max(1e-3), "{found} is not {want}");
    }

    #[track_caller]
    fn close(found: Estimate, want: &Value) {
        near(found.value, &want["value"]);
        near(found.error.unwrap(), &want["error"]);
    }

    #[test]
    fn figures_are_those_of_numpy() {
        let want: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/eval/expected.json")).unwrap();
        let mut base = BaseReader::new(BASE_FILE, BASE_FILE.len() as u64).unwrap();
        let chunks = base.chunks().clone();
        let targets = chunks.iter().flat_map(|chunk| chunk.targets);
        let mut sums = Sums::default();
        for (logits, &target) in
            rows(include_bytes!("../../tests/fixtures/eval/model.npy")).iter().zip(targets)
        {
            sums.add(&Distance::of(&base.row().unwrap(), logits, target));
        }
        let found = sums.divergence();
        assert_eq!(found.model.scored, 15);
        for (found, want) in [(found.model, &want["model"]), (found.base, &want["base"])] {
            close(found.perplexity, want);
            near(found.nll.value, &want["nll"]);
            near(found.nll.error.unwrap(), &want["nll_error"]);
        }
        close(found.log_ratio, &want["log_ratio"]);
        close(found.mean, &want["kld"]);
        near(found.median, &want["median"]);
        found.percentiles.iter().zip(0..).for_each(|(&found, i)| near(found, &want["percentiles"][i]));
        near(found.max, &want["max"]);
        close(found.same_top, &want["same_top"]);
        close(found.delta_p, &want["delta_p"]);
        close(found.delta_p_rms, &want["delta_p_rms"]);
    }

    #[test]
    fn rows_are_written_as_numpy_writes_them() {
        let mut base = BaseReader::new(BASE_FILE, BASE_FILE.len() as u64).unwrap();
        for logits in rows(include_bytes!("../../tests/fixtures/eval/base.npy")) {
            assert_eq!(BaseRow::encode(&Softmax::of(&logits)), base.row().unwrap());
        }
    }
}
