//! The gated delta net: every kernel set, thread count and split equals the reference, bit for bit.

mod common;

use common::*;
use qwip_cpu::ops::delta::{DeltaHeads, Memory, Rates, gated_load, gated_norm_load, queries, remember};
use qwip_cpu::ops::{Activations, Cpu};
use qwip_cpu::table::DELTA_COLUMNS;
use qwip_cpu::{Kernels, Pool, reference};
use std::sync::Arc;
use std::time::Duration;

/// Every kernel set with 1, 2 and 3 threads.
fn machines() -> Vec<Cpu> {
    let pools = [1, 2, 3].map(|threads| Arc::new(Pool::with_spin(threads, Duration::ZERO).unwrap()));
    let cpus = pools
        .iter()
        .map(|pool| Kernels::available().into_iter().map(|kernels| Cpu { kernels, pool: Arc::clone(pool) }));
    cpus.flatten().collect()
}

/// What goes in, for n tokens.
struct Layer {
    heads: DeltaHeads,
    n: usize,
    u: Vec<f32>,     // [n, channels]
    taps: Vec<f32>,  // [taps, channels]
    beta: Vec<f32>,  // [n, values]
    alpha: Vec<f32>, // [n, values]
    rate: Vec<f32>,  // [values]
    bias: Vec<f32>,  // [values]
}

/// The memory after some tokens.
#[derive(Clone, PartialEq, Debug)]
struct State {
    rows: Vec<f32>,
    matrices: Vec<[f32; DELTA_COLUMNS]>,
}

impl State {
    fn new(heads: &DeltaHeads) -> State {
        State { rows: vec![0.0; heads.kept()], matrices: vec![[0.0; DELTA_COLUMNS]; heads.memory_rows()] }
    }

    fn memory(&mut self) -> Memory<'_> {
        Memory { rows: &mut self.rows, matrices: &mut self.matrices }
    }
}

/// The values of a row of all channels.
fn v_of<'a>(heads: &DeltaHeads, u: &'a [f32]) -> &'a [f32] {
    &u[2 * heads.key_width()..]
}

impl Layer {
    fn new(rng: &mut Rng, heads: DeltaHeads, n: usize) -> Layer {
        let mut rate = rng.floats(heads.values);
        rate.iter_mut().for_each(|r| *r = -r.abs());
        let channels = heads.channels();
        Layer {
            heads,
            n,
            u: rng.floats(n * channels),
            taps: rng.floats(heads.taps * channels),
            beta: rng.floats(n * heads.values),
            // Some are beyond the point from which the logarithm is not computed.
            alpha: rng.floats(n * heads.values).iter().map(|a| a * 15.0).collect(),
            rate,
            bias: rng.floats(heads.values),
        }
    }

    /// The answers `[n, values, value_dim]`, the state after `snapshot` tokens and that after all.
    fn expected(&self, snapshot: usize) -> (Vec<f32>, State, State) {
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

    /// The same with the drivers, in runs of the given lengths.
    fn found(&self, cpu: &Cpu, split: &[usize], snapshot: usize, grouped: bool) -> (Vec<f32>, State, State) {
        let (heads, channels, values) = (&self.heads, self.heads.channels(), self.heads.values);
        let (mut state, mut copy) = (State::new(heads), State::new(heads));
        let (mut out, mut from) = (Vec::new(), 0);
        let group = values / heads.keys;
        // One row for both numbers: those of a key head for learning, then those for forgetting.
        let both: Vec<f32> = self
            .beta
            .chunks_exact(group)
            .zip(self.alpha.chunks_exact(group))
            .flat_map(|(beta, alpha)| [beta, alpha].concat())
            .collect();
        for &n in split {
            let mut u = self.u[from * channels..(from + n) * channels].to_vec();
            let mut taken =
                (from < snapshot && snapshot <= from + n).then(|| (snapshot - from, copy.memory()));
            let rates = Rates {
                beta: if grouped { &both[2 * from * values..] } else { &self.beta[from * values..] },
                alpha: if grouped {
                    &both[2 * from * values + group..]
                } else {
                    &self.alpha[from * values..]
                },
                stride: if grouped { 2 * values } else { values },
                span: if grouped { 2 * group } else { group },
                rate: &self.rate,
                bias: &self.bias,
            };
            let memory = &mut state.memory();
            remember(cpu, heads, &mut u, &self.taps, &rates, memory, &mut taken, None).unwrap();
            u.chunks_exact(channels).for_each(|u| out.extend_from_slice(v_of(heads, u)));
            from += n;
        }
        (out, copy, state)
    }
}

#[test]
fn a_layer_is_the_same_for_all_kernels_threads_and_splits() {
    let mut rng = Rng(61);
    for (keys, values, key_dim, value_dim, taps, tiled) in [
        (2, 4, 128, 128, 4, true),
        (2, 4, 32, 64, 4, false),
        (1, 3, 20, 32, 3, true),
        (2, 2, 64, 32, 1, true),
    ] {
        let heads = DeltaHeads { keys, values, key_dim, value_dim, taps, tiled };
        // More than a chunk.
        let layer = Layer::new(&mut rng, heads, 70);
        for snapshot in [1, 15, 64, 70] {
            let expected = layer.expected(snapshot);
            for cpu in machines() {
                for split in [vec![70], vec![1; 70], vec![1, 4, 65], vec![2, 68]] {
                    for grouped in [false, true] {
                        let found = layer.found(&cpu, &split, snapshot, grouped);
                        let what = format!("{heads:?} {cpu:?} split {split:?} snapshot {snapshot}");
                        assert_same(&found.0, &expected.0, &what);
                        for (found, expected) in [(&found.1, &expected.1), (&found.2, &expected.2)] {
                            assert_same(&found.rows, &expected.rows, &what);
                            let (found, expected) =
                                (found.matrices.as_flattened(), expected.matrices.as_flattened());
                            assert_same(found, expected, &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gates_equal_the_reference() {
    let mut rng = Rng(62);
    let (n, count, d) = (5, 3, 40);
    let rows = rng.floats(n * count * 2 * d); // [n, count, 2, d]
    let o = rng.floats(n * count * d);
    let heads = DeltaHeads { keys: 1, values: 2, key_dim: 20, value_dim: 32, taps: 2, tiled: true };
    let u = rng.floats(n * heads.channels());
    let (z, w) = (rng.floats(n * heads.value_width()), rng.floats(heads.value_dim));
    for cpu in machines() {
        let what = format!("{cpu:?}");
        let (mut q, mut out) = (vec![0.0; n * count * d], Activations::new());
        queries(&cpu, &rows, d, &mut q, None).unwrap();
        gated_load(&cpu, &o, &rows, d, count * d, &mut out, None).unwrap();
        for (i, head) in rows.chunks_exact(2 * d).enumerate() {
            assert_same(&q[i * d..(i + 1) * d], &head[..d], &what);
            let mut expected = o[i * d..(i + 1) * d].to_vec();
            reference::delta::sigmoid_mul(&mut expected, &head[d..]);
            assert_same(&out.x()[i * d..(i + 1) * d], &expected, &what);
        }
        gated_norm_load(&cpu, &heads, &u, &z, &w, 1e-5, &mut out, None).unwrap();
        let answers =
            u.chunks_exact(heads.channels()).flat_map(|u| u[2 * heads.key_width()..].chunks_exact(32));
        for ((answer, z), found) in answers.zip(z.chunks_exact(32)).zip(out.x().chunks_exact(32)) {
            let (mut normed, mut expected) = (vec![0.0; 32], z.to_vec());
            reference::norm::rms_norm(answer, &w, 1e-5, &mut normed);
            reference::silu::silu_mul(&mut expected, &normed);
            assert_same(found, &expected, &what);
        }
    }
}

#[test]
fn a_memory_that_is_not_finite_stays_so() {
    let mut rng = Rng(63);
    let heads = DeltaHeads { keys: 1, values: 1, key_dim: 32, value_dim: 32, taps: 2, tiled: true };
    let mut layer = Layer::new(&mut rng, heads, 4);
    // In a key of the second token.
    layer.u[heads.channels() + heads.key_width() + 3] = f32::NAN;
    let expected = layer.expected(4);
    for cpu in machines() {
        let found = layer.found(&cpu, &[4], 4, false);
        assert_same(&found.0, &expected.0, &"nan");
        let last = &found.0[3 * heads.value_width()..];
        assert!(last.iter().all(|y| y.is_nan()), "{cpu:?}");
    }
}
