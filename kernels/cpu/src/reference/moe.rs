//! A layer of experts, of which each token uses a few.
//!
//! Of a token with normed state h:
//!
//! - the router's matrix, which is never quantized, makes a logit for each expert: [`linear_f`](super::linear::linear_f)
//!   with h, whatever the type of the experts;
//! - [`route`] chooses experts and weighs them;
//! - a chosen expert answers down(silu(gate h) * up h), with [`linear`](super::linear) and
//!   [`silu_mul`](super::silu::silu_mul) as in any feed-forward part; so does the expert that all tokens share, if there
//!   is one, and its weight is the [`sigmoid`] of the logit of a router of its own, a single row;
//! - [`mix`] adds the answers up.

use super::math::exp;

/// Chooses `used` experts for a token; gives them in ascending order with their weights. With `logits [experts]`:
///
/// - m is the largest logit, and p_e = exp(l_e - m);
/// - chosen are, one after the other, the experts with the largest logit that is left; of equal ones the lowest;
/// - s is the sum, from 0 and in ascending order, of all p_e, or with `normalise` of those of the chosen experts; where
///   the sum of all is NaN (a logit is NaN or infinite) that counts in any case, so nothing turns into a wrong number;
/// - the weight is (p_e / s) * `scale`.
pub fn route(logits: &[f32], used: usize, normalise: bool, scale: f32) -> Vec<(usize, f32)> {
    let mut largest = f32::NEG_INFINITY;
    for &logit in logits {
        if logit > largest {
            largest = logit;
        }
    }
    let p: Vec<f32> = logits.iter().map(|logit| exp(logit - largest)).collect();
    let mut chosen = Vec::new();
    for _ in 0..used {
        let mut left = (0..logits.len()).filter(|e| !chosen.contains(e));
        let first = left.next().unwrap_or_else(|| panic!("{used} of {} experts", logits.len()));
        chosen.push(left.fold(first, |best, e| if logits[e] > logits[best] { e } else { best }));
    }
    chosen.sort_unstable();
    let mut s = 0.0f32;
    for p in &p {
        s += p;
    }
    if normalise && !s.is_nan() {
        s = 0.0;
        for &e in &chosen {
            s += p[e];
        }
    }
    chosen.into_iter().map(|e| (e, p[e] / s * scale)).collect()
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Adds the answers `[E]` of a token's experts, with their weights, to its state `x [E]`: the experts in ascending
/// order, then the shared one. Each element is y = y + w * answer from 0, product and sum rounded; then x = x + y.
pub fn mix<'a>(x: &mut [f32], answers: impl IntoIterator<Item = (f32, &'a [f32])>) {
    let mut y = vec![0.0f32; x.len()];
    for (weight, answer) in answers {
        for i in 0..y.len() {
            y[i] += weight * answer[i];
        }
    }
    for i in 0..x.len() {
        x[i] += y[i];
    }
}
