//! One position: log-probabilities from logits, the same in 16 bits, and the distance between the two.

/// Log-probabilities are kept down to so much below the greatest.
const DEPTH: f32 = 16.0;
/// Tokens that the base gives no more than exp of this do not count towards the divergence: what is cut off at
/// [`DEPTH`] is below, so that a base file and the model that wrote it agree.
const FLOOR: f32 = -16.0;
/// The greatest code.
const TOP: f32 = 65535.0;

/// The distribution over the next token that logits `[vocab]` stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Softmax<'a> {
    logits: &'a [f32],
    max: f32,
    /// The first of the most probable tokens.
    top: usize,
    /// log of the sum of exp(logit - max).
    log_sum: f64,
}

impl<'a> Softmax<'a> {
    /// `logits` are finite and at least one.
    pub(super) fn of(logits: &'a [f32]) -> Softmax<'a> {
        let (mut top, mut max) = (0, f32::NEG_INFINITY);
        for (i, &logit) in logits.iter().enumerate() {
            if logit > max {
                (top, max) = (i, logit);
            }
        }
        let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(max))).sum();
        Softmax { logits, max, top, log_sum: libm::log(sum) }
    }

    fn log_prob(&self, logit: f32) -> f64 {
        f64::from(logit) - f64::from(self.max) - self.log_sum
    }

    /// Negative log-likelihood of a token.
    pub(super) fn nll(&self, token: u32) -> f64 {
        -self.log_prob(self.logits[token as usize])
    }
}

/// Log-probabilities of all tokens in 16 bits each: `scale * code + min`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BaseRow {
    pub(super) scale: f32,
    pub(super) min: f32,
    pub(super) codes: Vec<u16>, // [vocab]
}

impl BaseRow {
    pub(super) fn encode(softmax: &Softmax<'_>) -> BaseRow {
        let (logits, max) = (softmax.logits, softmax.max);
        let least = logits.iter().copied().fold(max, f32::min).max(max - DEPTH);
        let scale = (max - least) / TOP;
        // Where all logits are equal nothing lies above the least, and the inverse is not used.
        let inverse = 1.0 / scale;
        let code = |logit: f32| match logit > least {
            true => (inverse * (logit - least)).round_ties_even() as u16,
            false => 0,
        };
        BaseRow {
            scale,
            min: least - max - softmax.log_sum as f32,
            codes: logits.iter().map(|&logit| code(logit)).collect(),
        }
    }

    /// `None` if a row of `vocab` tokens can have these numbers; else the least and the greatest log-probability that
    /// they would mean.
    pub(super) fn fault(scale: f32, min: f32, vocab: usize) -> Option<(f32, f32)> {
        /// Of the arithmetic in f32.
        const SLACK: f32 = 0.01;
        let high = scale * TOP + min;
        // The most probable of n tokens has a probability of 1/n at least. Logits of 1e8 are 8 apart, so that DEPTH
        // below them can be twice that.
        let uniform = -libm::log(vocab as f64) as f32;
        let sound = scale >= 0.0
            && scale * TOP <= 2.0 * DEPTH + SLACK
            && (uniform - SLACK..=SLACK).contains(&high)
            && min.is_finite();
        (!sound).then_some((min, high))
    }

    fn log_prob(&self, code: u16) -> f32 {
        self.scale * f32::from(code) + self.min
    }
}

/// What one scored position says about a model and its base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    /// Negative log-likelihood of the token that follows, for the model.
    pub(super) nll: f64,
    /// The same for the base.
    pub(super) base_nll: f64,
    /// Sum over tokens of p log(p / q), p being the base's probability.
    pub(super) kld: f64,
    /// Whether both have the same most probable token.
    pub(super) same_top: bool,
}

impl Distance {
    /// `base` and `logits` are of one length, and `target` is a token below that.
    pub(super) fn of(base: &BaseRow, logits: &[f32], target: u32) -> Distance {
        let model = Softmax::of(logits);
        let (mut top, mut kld) = (0, 0.0);
        for (i, (&code, &logit)) in base.codes.iter().zip(logits).enumerate() {
            // Log-probabilities of codes next to each other may round to the same f32.
            if code > base.codes[top] {
                top = i;
            }
            let log_p = base.log_prob(code);
            if log_p > FLOOR {
                let log_p = f64::from(log_p);
                kld += libm::exp(log_p) * (log_p - model.log_prob(logit));
            }
        }
        Distance {
            nll: model.nll(target),
            base_nll: -f64::from(base.log_prob(base.codes[target as usize])),
            kld,
            same_top: top == model.top,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_the_softmax() {
        let softmax = Softmax::of(&[0.0, 0.0, 0.0, 0.0]);
        assert!((softmax.nll(2) - libm::log(4.0)).abs() < 1e-15 && softmax.top == 0);
        // exp(1000) would overflow.
        let softmax = Softmax::of(&[0.0, 1000.0, 1000.0]);
        assert!((softmax.nll(1) - libm::log(2.0)).abs() < 1e-15 && softmax.top == 1);
        assert_eq!(softmax.nll(0), 1000.0 + libm::log(2.0));
    }

    #[test]
    fn codes_are_exact_to_half_a_step_and_end_16_below_the_greatest() {
        let logits: Vec<f32> = (0..1000).map(|i| (i * 7919 % 1000) as f32 * 0.0123 - 3.0).collect();
        let softmax = Softmax::of(&logits);
        let row = BaseRow::encode(&softmax);
        for (&code, &logit) in row.codes.iter().zip(&logits) {
            let error = f64::from(row.log_prob(code)) - softmax.log_prob(logit);
            assert!(error.abs() < 1e-4, "{error}");
        }
        assert_eq!((row.codes.iter().min(), row.codes.iter().max()), (Some(&0), Some(&u16::MAX)));
        let row = BaseRow::encode(&Softmax::of(&[50.0, 0.0, 34.5]));
        assert_eq!((row.codes[0], row.codes[1]), (u16::MAX, 0));
        assert!((row.min + 16.0).abs() < 1e-5 && (row.log_prob(row.codes[2]) + 15.5).abs() < 2e-4);
    }

    #[test]
    fn a_flat_row_has_scale_0() {
        let row = BaseRow::encode(&Softmax::of(&[3.0; 5]));
        assert_eq!((row.scale, row.codes.as_slice()), (0.0, [0; 5].as_slice()));
        assert!((row.min + libm::log(5.0) as f32).abs() < 1e-6);
        assert_eq!(BaseRow::fault(row.scale, row.min, 5), None);
    }

    #[test]
    fn own_rows_are_sound_however_large_the_logits() {
        for magnitude in [1e-30f32, 1e-3, 1.0, 1e3, 1e7, 1e8, 4e8, 1e30, 1.6e38] {
            let logits: Vec<f32> =
                (0..300).map(|i| ((i * 37 % 300) as f32 / 150.0 - 1.0) * magnitude).collect();
            let softmax = Softmax::of(&logits);
            let row = BaseRow::encode(&softmax);
            assert_eq!(BaseRow::fault(row.scale, row.min, 300), None, "{magnitude}");
            let same = Distance::of(&row, &logits, 17);
            assert!(same.kld.is_finite() && same.nll.is_finite(), "{magnitude}: {same:?}");
            // Beyond, neighbours among the floats are too far apart for 16 nats.
            assert!(magnitude > 1e7 || (same.kld.abs() < 2e-3 && same.same_top), "{magnitude}: {same:?}");
        }
    }

    #[test]
    fn what_is_no_distribution_is_found() {
        let nan = f32::NAN;
        let bad = [
            (nan, -1.0),
            (0.0, nan),
            (f32::INFINITY, -1.0),
            (1e-4, f32::NEG_INFINITY),
            (-1e-4, 0.0),
            (1.0, -65535.0),
            (1e-4, 1.0),
            (0.0, -9.0),
            (1e-4, -20.0),
        ];
        for (scale, min) in bad {
            assert!(BaseRow::fault(scale, min, 1000).is_some(), "{scale} {min}");
        }
        assert_eq!(BaseRow::fault(DEPTH / TOP, -16.5, 1000), None);
    }

    #[test]
    fn distance_of_two_coins() {
        // The base says 1/2, 1/2; the model 1/4, 3/4.
        let base = BaseRow::encode(&Softmax::of(&[0.0, 0.0]));
        let logits = [0.0, libm::logf(3.0)];
        let found = Distance::of(&base, &logits, 0);
        let want = 0.5 * libm::log(2.0) + 0.5 * libm::log(2.0 / 3.0);
        assert!((found.kld - want).abs() < 1e-7, "{found:?}");
        assert!((found.nll - libm::log(4.0)).abs() < 1e-7 && (found.base_nll - libm::log(2.0)).abs() < 1e-7);
        assert!(!found.same_top);
    }
}
