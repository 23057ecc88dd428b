//! A layer with a delta net, and what the definition makes of it.

use qwip_cpu::ops::delta::{DeltaHeads, Memory};
use qwip_cpu::reference;
use qwip_cpu::table::DELTA_COLUMNS;

use super::Rng;

/// What goes in, for n tokens.
pub(crate) struct Layer {
    pub(crate) heads: DeltaHeads,
    pub(crate) n: usize,
    pub(crate) u: Vec<f32>,     // [n, channels]
    pub(crate) taps: Vec<f32>,  // [taps, channels]
    pub(crate) beta: Vec<f32>,  // [n, values]
    pub(crate) alpha: Vec<f32>, // [n, values]
    pub(crate) rate: Vec<f32>,  // [values]
    pub(crate) bias: Vec<f32>,  // [values]
}

/// The memory after some tokens.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    pub(crate) rows: Vec<f32>,
    pub(crate) matrices: Vec<[f32; DELTA_COLUMNS]>,
}

impl State {
    pub(crate) fn new(heads: &DeltaHeads) -> State {
        State { rows: vec![0.0; heads.kept()], matrices: vec![[0.0; DELTA_COLUMNS]; heads.memory_rows()] }
    }

    pub(crate) fn memory(&mut self) -> Memory<'_> {
        Memory { rows: &mut self.rows, matrices: &mut self.matrices }
    }
}

/// The values of a row of all channels.
pub(crate) fn v_of<'a>(heads: &DeltaHeads, u: &'a [f32]) -> &'a [f32] {
    &u[2 * heads.key_width()..]
}

impl Layer {
    pub(crate) fn new(rng: &mut Rng, heads: DeltaHeads, n: usize) -> Layer {
        let mut rate = rng.floats(heads.values);
        rate.iter_mut().for_each(|r| *r = -r.abs());
        let channels = heads.channels();
        Layer {
            heads,
            n,
            u: rng.floats(n * channels),
            taps: rng.floats(heads.taps * channels),
            beta: rng.floats(n * heads.values),
            // From where next to nothing is forgotten to beyond the point from which the logarithm is not computed.
            alpha: rng.floats(n * heads.values).iter().map(|a| a * 25.0 - 5.0).collect(),
            rate,
            bias: rng.floats(heads.values),
        }
    }

    /// The answers `[n, values, value_dim]`, the state after `snapshot` tokens and that after all.
    pub(crate) fn expected(&self, snapshot: usize) -> (Vec<f32>, State, State) {
        let DeltaHeads { keys, values, key_dim: d, value_dim, taps, tiled } = self.heads;
        let channels = self.heads.channels();
        let (mut out, mut state, mut copy) = (Vec::new(), State::new(&self.heads), None);
        let taps_of: Vec<&[f32]> = self.taps.chunks_exact(channels).collect();
        for t in 0..self.n {
            let mut u = self.u[t * channels..(t + 1) * channels].to_vec();
            let mut rows = state.rows.clone();
            rows.extend_from_slice(&u);
            let before: Vec<&[f32]> = rows.chunks_exact(channels).take(taps - 1).collect();
            reference::delta::conv_silu(&mut u, &before, &taps_of);
            state.rows = rows[channels..].to_vec();
            let (heads, v) = u.split_at_mut(2 * keys * d);
            for (i, head) in heads.chunks_exact_mut(d).enumerate() {
                let scale = if i < keys { 1.0 / d as f32 } else { 1.0 / (d as f32).sqrt() };
                let x = head.to_vec();
                reference::norm::rms_norm(&x, &vec![scale; d], 1e-6 / d as f32, head);
            }
            for (h, v) in v.chunks_exact_mut(value_dim).enumerate() {
                let key = if tiled { h % keys } else { h / (values / keys) };
                let (q, k) = (&heads[key * d..][..d], &heads[(keys + key) * d..][..d]);
                let at = t * values + h;
                let decay = reference::delta::decay(self.rate[h], self.alpha[at] + self.bias[h]);
                let beta = reference::moe::sigmoid(self.beta[at]);
                for (block, v) in v.chunks_exact_mut(DELTA_COLUMNS).enumerate() {
                    let first = (h * (value_dim / DELTA_COLUMNS) + block) * d;
                    let s = state.matrices[first..first + d].as_flattened_mut();
                    reference::delta::step(s, q, k, v, decay, beta);
                }
            }
            out.extend_from_slice(v_of(&self.heads, &u));
            if t + 1 == snapshot {
                copy = Some(state.clone());
            }
        }
        (out, copy.expect("a snapshot inside"), state)
    }

    /// One row for both numbers of a token: those of a key head for learning, then those for forgetting.
    pub(crate) fn grouped(&self) -> Vec<f32> {
        let group = self.heads.values / self.heads.keys;
        let (beta, alpha) = (self.beta.chunks_exact(group), self.alpha.chunks_exact(group));
        beta.zip(alpha).flat_map(|(beta, alpha)| [beta, alpha].concat()).collect()
    }
}
