//! Rotary position embedding: the tables of cosines and sines, formed in f32 as Hugging Face forms them.

use qwip_quant::limits;

use crate::error::{Error, Result};

/// How positions beyond the trained length are squeezed in.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// YaRN (Peng et al. 2023), static: low frequencies divided by `factor`, high ones kept, a linear ramp
    /// between; cosines and sines grow by `attention * (1 + 0.1 ln factor)`.
    Yarn {
        /// Length multiplier.
        factor: f32,
        /// Trained length in positions.
        original: f32,
        /// Extra multiplier of the attention factor, 1 by default.
        attention: f32,
        /// Rotations above which a frequency is kept.
        beta_fast: f32,
        /// Rotations below which a frequency is divided.
        beta_slow: f32,
    },
    /// NTK-aware, as first-generation Qwen has it: a larger base, chosen by how much longer than `trained` a sequence
    /// may become ([`Rope::within`]).
    DynamicNtk {
        /// Trained length in positions.
        trained: usize,
    },
}

/// The rotary parameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Elements of a head that are rotated, from the front; even.
    pub rotated: usize,
    /// Context extension.
    pub scaling: Scaling,
}

impl Rope {
    /// The parameters of sequences of up to `context` positions.
    ///
    /// With [`Scaling::DynamicNtk`] the base is multiplied by `a^(n / (n - 2))` for n rotated elements, where `a` is
    /// `2^k - 1` for the smallest k from 1 on with `trained * 2^(k - 1) >= context`: 1 up to the trained length, 3 up to
    /// twice as much, 7 up to four times. Hugging Face's code takes the length of the prompt for `context`, and keeps what
    /// it got while the answer grows. The limit stands still instead, so that logits depend neither on how a sequence
    /// was cut into calls nor on what the keys in the cache were rotated by before.
    #[must_use]
    pub fn within(&self, context: usize) -> Rope {
        let Scaling::DynamicNtk { trained } = self.scaling else { return self.clone() };
        let (mut alpha, mut reach) = (1.0, trained.max(1));
        while reach < context {
            (alpha, reach) = (2.0 * alpha + 1.0, reach.saturating_mul(2));
        }
        // A single pair turns at one speed whatever the base.
        let n = self.rotated.max(4) as f64;
        let theta = f64::from(self.theta) * libm::pow(alpha, n / (n - 2.0));
        Rope { theta: theta as f32, rotated: self.rotated, scaling: Scaling::None }
    }
}

/// By what the query of the token at `position` (from 0) is multiplied, so that attention over more than `trained`
/// positions stays as sharp as over these (logn attention, first-generation Qwen): log(p) / log(trained) for p tokens up
/// to and including it, at least 1. `trained` must be 2 or more.
pub fn logn(position: usize, trained: usize) -> f32 {
    let seen = position + 1;
    if seen <= trained { 1.0 } else { (libm::log(seen as f64) / libm::log(trained as f64)) as f32 }
}

/// The kinds of [`Scaling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingType {
    /// [`Scaling::None`].
    None,
    /// [`Scaling::Linear`].
    Linear,
    /// [`Scaling::Yarn`].
    Yarn,
}

/// What a session changes about the rotary parameters of its model; the default changes nothing.
///
/// All of it is fixed when the session begins, so that its first tokens mean the same however long it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RopeOptions {
    /// How positions beyond the trained length are squeezed in; `None`: as the file says, or linearly if there is a
    /// factor and the file says nothing.
    pub scaling: Option<ScalingType>,
    /// The factor by which the length grows, 0.001 to 1e6. `None`: the file's, if its scaling is of the same type;
    /// otherwise what the session's limit needs, at least 1.
    pub factor: Option<f32>,
    /// Base of the frequencies, 1 to 1e12; `None`: the file's.
    pub theta: Option<f32>,
    /// The trained length that YaRN starts from; `None`: the file's, or the length that the model was trained for.
    pub original: Option<usize>,
}

impl Rope {
    /// These parameters as a session with `options` uses them, whose limit is `limit` positions (0: not known), on a
    /// model that was trained for `trained`.
    ///
    /// # Errors
    /// [`Error::BadOption`] if a number is out of range, or belongs to a scaling that is not used.
    pub fn with(&self, options: &RopeOptions, trained: usize, limit: usize) -> Result<Rope> {
        if *options == RopeOptions::default() {
            return Ok(self.clone());
        }
        let RopeOptions { scaling, factor, theta, original } = *options;
        let bad = |what, found: String, want: String| Error::BadOption { what, found, want };
        let among = |what, value: Option<f32>, range: std::ops::RangeInclusive<f32>| match value {
            Some(value) if !range.contains(&value) => {
                Err(bad(what, value.to_string(), format!("{} to {}", range.start(), range.end())))
            }
            _ => Ok(()),
        };
        among("the base of the rotary frequencies", theta, limits::ROPE_BASE)?;
        among("the factor of rope scaling", factor, limits::ROPE_FACTOR)?;
        if let Some(original) = original.filter(|n| !(1..=limits::MAX_CONTEXT).contains(n)) {
            let want = format!("1 to {}", limits::MAX_CONTEXT);
            return Err(bad("the original context of YaRN", original.to_string(), want));
        }
        let of_file = match self.scaling {
            Scaling::None | Scaling::DynamicNtk { .. } => ScalingType::None,
            Scaling::Linear { .. } => ScalingType::Linear,
            Scaling::Yarn { .. } => ScalingType::Yarn,
        };
        let kind = match (scaling, of_file) {
            (Some(kind), _) => kind,
            (None, ScalingType::None) if factor.is_some() => ScalingType::Linear,
            (None, kind) => kind,
        };
        if let Some(factor) = factor.filter(|_| kind == ScalingType::None) {
            return Err(bad(
                "the factor of rope scaling",
                factor.to_string(),
                "no factor without scaling".into(),
            ));
        }
        if let Some(original) = original.filter(|_| kind != ScalingType::Yarn) {
            return Err(bad(
                "the original context of YaRN",
                original.to_string(),
                "none without YaRN".into(),
            ));
        }
        // What the file says, where it says the same kind.
        let (own_factor, own_original, attention, beta_fast, beta_slow) = match self.scaling {
            Scaling::Linear { factor } if kind == of_file => (Some(factor), None, 1.0, 32.0, 1.0),
            Scaling::Yarn { factor, original, attention, beta_fast, beta_slow } if kind == of_file => {
                (Some(factor), Some(original), attention, beta_fast, beta_slow)
            }
            _ => (None, None, 1.0, 32.0, 1.0),
        };
        let original = original.map(|n| n as f32).or(own_original).unwrap_or(trained as f32);
        let factor = factor.or(own_factor).unwrap_or_else(|| (limit as f32 / original).max(1.0));
        let scaling = match kind {
            // A base that grows with the limit is what these files do where nothing else is asked for.
            ScalingType::None if scaling.is_none() => self.scaling.clone(),
            ScalingType::None => Scaling::None,
            // Not the same to the last bit if it were computed.
            _ if factor == 1.0 => Scaling::None,
            ScalingType::Linear => Scaling::Linear { factor },
            ScalingType::Yarn => Scaling::Yarn { factor, original, attention, beta_fast, beta_slow },
        };
        Ok(Rope { theta: theta.unwrap_or(self.theta), rotated: self.rotated, scaling })
    }

    /// Positions up to which a model that was trained for `trained` can be used with this scaling.
    pub fn reach(&self, trained: usize) -> usize {
        let stretched = match self.scaling {
            Scaling::None | Scaling::DynamicNtk { .. } => return trained,
            Scaling::Linear { factor } => trained as f32 * factor,
            Scaling::Yarn { factor, original, .. } => original * factor,
        };
        (stretched as usize).clamp(trained, limits::MAX_CONTEXT.max(trained))
    }
}

/// Frequencies of a model, ready to make tables.
#[derive(Clone, Debug)]
pub struct RopeFrequencies {
    inverse: Vec<f32>, // [rotated / 2]
    magnitude: f32,
}

impl RopeFrequencies {
    /// The numbers that keys are rotated by: caches of other numbers mean nothing to each other.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f32> {
        self.inverse.iter().copied().chain([self.magnitude])
    }

    /// Computes the inverse frequencies of `rope`.
    pub fn new(rope: &Rope) -> RopeFrequencies {
        let n = rope.rotated;
        let plain = (0..n / 2).map(|i| {
            let exponent = (2 * i) as f32 / n as f32;
            1.0 / (libm::pow(f64::from(rope.theta), f64::from(exponent)) as f32)
        });
        match rope.scaling {
            Scaling::None | Scaling::DynamicNtk { .. } => {
                RopeFrequencies { inverse: plain.collect(), magnitude: 1.0 }
            }
            Scaling::Linear { factor } => {
                RopeFrequencies { inverse: plain.map(|f| f / factor).collect(), magnitude: 1.0 }
            }
            Scaling::Yarn { factor, original, attention, beta_fast, beta_slow } => {
                let dim = |rotations: f32| {
                    let wavelengths = f64::from(original) / (f64::from(rotations) * std::f64::consts::TAU);
                    n as f64 * libm::log(wavelengths) / (2.0 * libm::log(f64::from(rope.theta)))
                };
                let low = libm::floor(dim(beta_fast)).max(0.0);
                let mut high = libm::ceil(dim(beta_slow)).min((n - 1) as f64);
                if low == high {
                    high += 0.001;
                }
                let inverse = plain
                    .enumerate()
                    .map(|(i, f)| {
                        let ramp = (((i as f64 - low) / (high - low)) as f32).clamp(0.0, 1.0);
                        (f / factor) * ramp + f * (1.0 - ramp)
                    })
                    .collect();
                let growth = if factor > 1.0 { 0.1 * libm::log(f64::from(factor)) + 1.0 } else { 1.0 };
                RopeFrequencies { inverse, magnitude: attention * growth as f32 }
            }
        }
    }

    /// Appends the cosines and sines of positions `start..start + n`: each [n, rotated / 2].
    pub fn tables(&self, start: usize, n: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        for position in start..start + n {
            for &inverse in &self.inverse {
                let (s, c) = libm::sincos(f64::from(position as f32 * inverse));
                cos.push(c as f32 * self.magnitude);
                sin.push(s as f32 * self.magnitude);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies_fall_from_one() {
        let f = RopeFrequencies::new(&Rope { theta: 1e6, rotated: 64, scaling: Scaling::None });
        assert_eq!(f.inverse.len(), 32);
        assert_eq!(f.inverse[0], 1.0);
        assert!((f.inverse[31] - 1.539_926_5e-6).abs() < 1e-11, "{}", f.inverse[31]);
        let (mut c, mut s) = (Vec::new(), Vec::new());
        f.tables(5, 2, &mut c, &mut s);
        assert_eq!(c.len(), 64);
        assert_eq!((c[0], s[0]), (0.283_662_2, -0.958_924_3));
    }

    #[test]
    fn the_base_grows_with_the_limit_beyond_the_trained_length() {
        let rope = Rope { theta: 1e4, rotated: 128, scaling: Scaling::DynamicNtk { trained: 2048 } };
        for (context, alpha) in [(1, 1), (2048, 1), (2049, 3), (4096, 3), (4097, 7), (8192, 7), (8193, 15)] {
            let want = 1e4 * libm::pow(f64::from(alpha), 128.0 / 126.0);
            let got = rope.within(context);
            assert_eq!((got.theta, got.scaling), (want as f32, Scaling::None), "{context}");
        }
        assert!(Rope { rotated: 2, ..rope.clone() }.within(usize::MAX).theta.is_finite());
        let plain = Rope { scaling: Scaling::None, ..rope };
        assert_eq!(plain.within(1 << 20), plain);
    }

    #[test]
    fn queries_grow_with_the_logarithm_beyond_the_trained_length() {
        assert_eq!((logn(0, 64), logn(63, 64)), (1.0, 1.0));
        assert_eq!((logn(64, 64), logn(4095, 64)), (1.003_727_9, 2.0));
    }

    #[test]
    fn yarn_keeps_fast_and_divides_slow_frequencies() {
        let scaling =
            Scaling::Yarn { factor: 4.0, original: 32768.0, attention: 1.0, beta_fast: 32.0, beta_slow: 1.0 };
        let plain = RopeFrequencies::new(&Rope { theta: 1e6, rotated: 128, scaling: Scaling::None });
        let yarn = RopeFrequencies::new(&Rope { theta: 1e6, rotated: 128, scaling });
        assert_eq!(yarn.inverse[0], plain.inverse[0]);
        assert_eq!(yarn.inverse[63], plain.inverse[63] / 4.0);
        assert!((yarn.magnitude - 1.138_629_4).abs() < 1e-6);
    }

    fn yarn(factor: f32, original: f32) -> Scaling {
        Scaling::Yarn { factor, original, attention: 1.0, beta_fast: 32.0, beta_slow: 1.0 }
    }

    #[test]
    fn a_session_changes_what_the_file_says() {
        let plain = Rope { theta: 1e6, rotated: 64, scaling: Scaling::None };
        let of = |rope: &Rope, options: RopeOptions, limit| rope.with(&options, 40960, limit).unwrap();
        let nothing = RopeOptions::default();
        assert_eq!(of(&plain, nothing, 131072), plain);
        let stretched = |scaling, factor, original| RopeOptions { scaling, factor, original, ..nothing };
        let on = Some(ScalingType::Yarn);
        // As Qwen3's makers say: factor 4 of 32768.
        let asked = of(&plain, stretched(on, Some(4.0), Some(32768)), 50000);
        assert_eq!((asked.scaling.clone(), asked.reach(40960)), (yarn(4.0, 32768.0), 131072));
        // Without a factor what the limit needs, and nothing for short ones.
        assert_eq!(of(&plain, stretched(on, None, None), 81920).scaling, yarn(2.0, 40960.0));
        assert_eq!(of(&plain, stretched(on, None, None), 100).scaling, Scaling::None);
        assert_eq!(of(&plain, stretched(None, Some(3.0), None), 0).scaling, Scaling::Linear { factor: 3.0 });
        assert_eq!(of(&plain, RopeOptions { theta: Some(5e6), ..nothing }, 0).theta, 5e6);
        // What is not asked for stays the file's.
        let file = Rope {
            scaling: Scaling::Yarn {
                factor: 2.0,
                original: 64.0,
                attention: 1.5,
                beta_fast: 20.0,
                beta_slow: 2.0,
            },
            ..plain
        };
        let Scaling::Yarn { factor, original, attention, beta_fast, .. } =
            of(&file, stretched(None, Some(8.0), None), 0).scaling
        else {
            panic!("no longer YaRN")
        };
        assert_eq!((factor, original, attention, beta_fast), (8.0, 64.0, 1.5, 20.0));
        assert_eq!(of(&file, stretched(Some(ScalingType::None), None, None), 0).scaling, Scaling::None);
        assert_eq!(of(&file, stretched(Some(ScalingType::Linear), None, None), 0).reach(40960), 40960);
    }

    #[test]
    fn what_a_session_cannot_change_is_an_error() {
        let plain = Rope { theta: 1e6, rotated: 64, scaling: Scaling::None };
        let error = |scaling, factor, theta, original| {
            let options = RopeOptions { scaling, factor, theta, original };
            plain.with(&options, 40960, 0).unwrap_err().to_string()
        };
        let (none, on) = (Some(ScalingType::None), Some(ScalingType::Yarn));
        assert!(error(on, Some(0.0), None, None).contains("is 0, expected 0.001 to 1000000"));
        assert!(error(on, Some(f32::NAN), None, None).contains("is NaN, expected"));
        assert!(error(None, None, Some(0.5), None).contains("is 0.5, expected 1 to"));
        assert!(error(on, None, None, Some(0)).contains("is 0, expected 1 to 16777216"));
        assert!(error(none, Some(4.0), None, None).contains("is 4, expected no factor without scaling"));
        assert!(error(None, Some(4.0), None, Some(100)).contains("is 100, expected none without YaRN"));
    }
}
