//! Means with their standard errors, and percentiles.

/// A figure and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error; `None` where there are fewer than two positions.
    pub error: Option<f64>,
}

impl Estimate {
    fn map(self, value: f64, slope: f64) -> Estimate {
        Estimate { value, error: self.error.map(|error| error * slope) }
    }
}

/// A running mean (Welford's, which does not cancel).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, x: f64) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (x - self.mean);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The mean; its error is the root of the variance over n - 1, the variance being that over n.
    pub(super) fn estimate(&self) -> Estimate {
        let n = self.count as f64;
        let error = (self.count > 1).then(|| (self.squares / n / (n - 1.0)).sqrt());
        Estimate { value: self.mean, error }
    }

    /// exp of the mean, for negative log-likelihoods: the perplexity.
    pub(super) fn exp(&self) -> Estimate {
        let value = libm::exp(self.mean);
        self.estimate().map(value, value)
    }

    /// The root of the mean, for squares.
    pub(super) fn root(&self) -> Estimate {
        let value = self.mean.sqrt();
        self.estimate().map(value, if value > 0.0 { 0.5 / value } else { 0.0 })
    }
}

/// The share `hits / count`, with the standard error of a proportion.
pub(super) fn share(hits: u64, count: u64) -> Estimate {
    let (n, value) = (count as f64, hits as f64 / count as f64);
    let error = (count > 1).then(|| (value * (1.0 - value) / (n - 1.0)).sqrt());
    Estimate { value, error }
}

/// What the share `fraction` of the values does not exceed, linear between neighbours; `sorted` is not empty.
pub(super) fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction * (sorted.len() - 1) as f64;
    let (below, part) = (place as usize, place % 1.0);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] * (1.0 - part) + sorted[above] * part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1.0)
    }

    #[test]
    fn means_have_errors() {
        let mut mean = Mean::default();
        mean.add(3.0);
        assert_eq!(mean.estimate(), Estimate { value: 3.0, error: None });
        [5.0, 1.0, 7.0].iter().for_each(|&x| mean.add(x));
        // Variance over n: (1 + 1 + 9 + 9) / 4 = 5.
        let found = mean.estimate();
        assert!(near(found.value, 4.0) && near(found.error.unwrap(), (5.0f64 / 3.0).sqrt()));
        let found = mean.exp();
        assert!(near(found.value, 54.598150033144236));
        assert!(near(found.error.unwrap(), 54.598150033144236 * (5.0f64 / 3.0).sqrt()));
        assert!(near(mean.root().value, 2.0));
        assert_eq!(Mean::default().root().value, 0.0);
        assert!(near(share(3, 4).error.unwrap(), 0.25));
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (fraction, want) in [(0.0, 1.0), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!(near(percentile(&sorted, fraction), want), "{fraction}");
        }
        assert_eq!(percentile(&[5.0], 0.99), 5.0);
    }
}
