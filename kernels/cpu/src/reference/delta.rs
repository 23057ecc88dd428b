//! The gated delta net: attention whose memory is a matrix for each head instead of a cache of all positions.
//!
//! Of a token with normed state h, and of the last K - 1 tokens before it (zeros before the first):
//!
//! - u = W h holds the query heads, the key heads and the value heads one after the other; [`conv_silu`] mixes each
//!   channel of u with the same channel of the tokens before;
//! - of the result, each query head of D elements goes through [`rms_norm`](super::norm::rms_norm) with all weights 1/D
//!   and each key head with all weights 1/sqrt(D), both with epsilon 1e-6 / D: that is x / sqrt(sum of squares + 1e-6),
//!   for queries over sqrt(D);
//! - each value head has a matrix S `[D, D_v]`, its memory, which [`step`] changes and asks, with the [`decay`] and the
//!   [`sigmoid`](super::moe::sigmoid) of one number each;
//! - the answer goes through `rms_norm` and is multiplied by the silu of a gate
//!   ([`silu_mul`](super::silu::silu_mul)).
//!
//! Tokens are taken in their order, so it does not matter where a prompt was cut.

use super::math::{exp, fma};

/// Mixes each channel of `u [channels]` with the same channel of the rows `before`, the oldest first:
/// y is the chain y = fma(tap, value, y) from 0 over `before` and then `u` with the taps `[K, channels]` in order;
/// then u = y / (1 + exp(-y)).
pub fn conv_silu(u: &mut [f32], before: &[&[f32]], taps: &[&[f32]]) {
    for i in 0..u.len() {
        let mut y = 0.0;
        for (row, tap) in before.iter().zip(taps) {
            y = fma(tap[i], row[i], y);
        }
        y = fma(taps[before.len()][i], u[i], y);
        u[i] = y / (1.0 + exp(-y));
    }
}

/// What a head's memory is multiplied by before a token: exp(`rate` * ln(1 + exp(x))), the logarithm in double
/// precision and rounded once; from 20 on it is x itself.
pub fn decay(rate: f32, x: f32) -> f32 {
    let softplus = if x > 20.0 { x } else { libm::log1p(libm::exp(f64::from(x))) as f32 };
    exp(rate * softplus)
}

/// One token of some columns of a head: `s [D, columns]` its memory, `q`, `k` `[D]`; `v [columns]` becomes the answer.
///
/// - s_ij = s_ij * decay;
/// - what the memory holds for the key: r_j, the chain r_j = fma(s_ij, k_i, r_j) from 0 over ascending i;
/// - d_j = (v_j - r_j) * beta;
/// - s_ij = fma(k_i, d_j, s_ij);
/// - v_j is the chain v_j = fma(s_ij, q_i, v_j) from 0 over ascending i.
pub fn step(s: &mut [f32], q: &[f32], k: &[f32], v: &mut [f32], decay: f32, beta: f32) {
    let columns = v.len();
    for s in s.iter_mut() {
        *s *= decay;
    }
    for j in 0..columns {
        let mut read = 0.0;
        for i in 0..k.len() {
            read = fma(s[i * columns + j], k[i], read);
        }
        let delta = (v[j] - read) * beta;
        let mut answer = 0.0;
        for i in 0..k.len() {
            let s = &mut s[i * columns + j];
            *s = fma(k[i], delta, *s);
            answer = fma(*s, q[i], answer);
        }
        v[j] = answer;
    }
}

/// `x = (1 / (1 + exp(-gate))) * x`, element by element: the gate of the full attention in such models.
pub fn sigmoid_mul(x: &mut [f32], gate: &[f32]) {
    for (x, g) in x.iter_mut().zip(gate) {
        *x *= 1.0 / (1.0 + exp(-*g));
    }
}
