//! The model's own probabilities: of a token and of the most probable ones, before temperature and penalties.

/// Most tokens that [`logprobs_of`] is asked for by [`GenerateOptions`](crate::GenerateOptions).
pub const MOST_LOGPROBS: usize = 64;

/// How probable a token was, and which were the most probable.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability.
    pub logprob: f32,
    /// The most probable tokens and the logarithms of their probabilities: best first, the lowest id of equal ones.
    pub top: Vec<(u32, f32)>,
}

/// The natural logarithms of the probabilities that the softmax of `logits`, `[vocab]`, all finite, gives to `token` and to
/// the `top` most probable tokens. Sums run over ascending ids in f64, so that the result is the same on every machine.
/// A token outside the vocabulary has the probability 0.
pub fn logprobs_of(logits: &[f32], token: u32, top: usize) -> TokenLogprob {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(max))).sum();
    let log_sum = libm::log(sum);
    let logprob = |logit: f32| (f64::from(logit) - f64::from(max) - log_sum) as f32;
    let own = logits.get(token as usize).map_or(f32::NEG_INFINITY, |&logit| logprob(logit));
    let top = largest(logits, top).into_iter().map(|(logit, id)| (id, logprob(logit))).collect();
    TokenLogprob { token, logprob: own, top }
}

/// The `n` largest logits and their ids, best first, the lowest id of equal ones.
fn largest(logits: &[f32], n: usize) -> Vec<(f32, u32)> {
    let n = n.min(logits.len());
    let mut kept: Vec<(f32, u32)> = Vec::with_capacity(n + 1);
    if n == 0 {
        return kept;
    }
    for (id, &logit) in logits.iter().enumerate() {
        if kept.len() == n && logit <= kept[n - 1].0 {
            continue;
        }
        kept.insert(kept.partition_point(|&(other, _)| other >= logit), (logit, id as u32));
        kept.truncate(n);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let shares = [0.1f32, 0.4, 0.2, 0.3];
        // Any number may be added to all logits.
        let logits: Vec<f32> = shares.iter().map(|p| libm::logf(*p) + 500.0).collect();
        let found = logprobs_of(&logits, 2, 3);
        let near = |found: f32, share: f32| (found - libm::logf(share)).abs() < 1e-4;
        assert!(found.token == 2 && near(found.logprob, 0.2), "{found:?}");
        assert_eq!(found.top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 3, 2]);
        assert!(found.top.iter().all(|&(id, logprob)| near(logprob, shares[id as usize])), "{found:?}");
        assert_eq!(found.top[2].1, found.logprob);
        assert_eq!(logprobs_of(&logits, 4, 0).logprob, f32::NEG_INFINITY);
    }

    #[test]
    fn equal_tokens_come_by_id_and_all_may_be_asked_for() {
        let ids = |logits: &[f32], n| logprobs_of(logits, 0, n).top.iter().map(|t| t.0).collect::<Vec<_>>();
        assert_eq!(ids(&[1.0, 2.0, 2.0, 1.0, 3.0, 2.0], 3), [4, 1, 2]);
        assert_eq!(ids(&[1.0, 2.0, 2.0, 1.0], 9), [1, 2, 0, 3]);
        assert_eq!(ids(&[1.0, 2.0], 0), [0u32; 0]);
        assert_eq!(logprobs_of(&[7.0], 0, 1).top, [(0, 0.0)]);
    }
}
