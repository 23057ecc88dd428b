//! The gated delta net against the CPU's definition: within 1e-4 of the largest number, after 70 tokens in several runs that
//! carry the memory on, with a copy of it in the middle.

mod common;

use common::*;
use qwip_cpu::reference;
use qwip_gpu::Gpu;
use qwip_gpu::ops::delta::{DeltaHeads, Memory, Rates, gated_norm, remember};

/// Columns of a matrix that lie beside each other.
const COLUMNS: usize = 32;
const BOUND: f32 = 1e-4;

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

/// The memory after some tokens: rows and matrices.
type State = [Vec<f32>; 2];

impl Layer {
    fn new(rng: &mut Random, heads: DeltaHeads, n: usize) -> Layer {
        let channels = heads.channels();
        Layer {
            heads,
            n,
            u: rng.floats(n * channels),
            taps: rng.floats(heads.taps * channels),
            beta: rng.floats(n * heads.values),
            // From where next to nothing is forgotten to where next to nothing is kept.
            alpha: rng.floats(n * heads.values).iter().map(|a| a * 25.0 - 5.0).collect(),
            rate: rng.floats(heads.values).iter().map(|r| -r.abs()).collect(),
            bias: rng.floats(heads.values),
        }
    }

    /// The answers `[n, values, value_dim]`, the state after `snapshot` tokens and that after all.
    fn expected(&self, snapshot: usize) -> (Vec<f32>, State, State) {
        let DeltaHeads { keys, values, key_dim: d, value_dim, taps, tiled } = self.heads;
        let channels = self.heads.channels();
        let mut rows = vec![0.0; (taps - 1) * channels];
        let mut matrices = vec![0.0; d * self.heads.value_width()];
        let (mut out, mut copy) = (Vec::new(), State::default());
        let taps_of: Vec<&[f32]> = self.taps.chunks_exact(channels).collect();
        for t in 0..self.n {
            let mut u = self.u[t * channels..(t + 1) * channels].to_vec();
            rows.extend_from_slice(&u);
            let before: Vec<&[f32]> = rows.chunks_exact(channels).take(taps - 1).collect();
            reference::delta::conv_silu(&mut u, &before, &taps_of);
            rows.drain(..channels);
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
                for (block, v) in v.chunks_exact_mut(COLUMNS).enumerate() {
                    let first = (h * (value_dim / COLUMNS) + block) * d * COLUMNS;
                    reference::delta::step(&mut matrices[first..first + d * COLUMNS], q, k, v, decay, beta);
                }
            }
            out.extend_from_slice(&u[2 * keys * d..]);
            if t + 1 == snapshot {
                copy = [rows.clone(), matrices.clone()];
            }
        }
        (out, copy, [rows, matrices])
    }

    /// The same on the device, in runs of the given lengths.
    fn found(&self, gpu: &Gpu, split: &[usize], snapshot: usize, grouped: bool) -> (Vec<f32>, State, State) {
        let (heads, channels, values) = (&self.heads, self.heads.channels(), self.heads.values);
        let group = values / heads.keys;
        let memory = || Memory {
            rows: zeros(gpu, heads.rows_bytes() as usize / 4),
            matrices: zeros(gpu, heads.matrices_bytes() as usize / 4),
        };
        let (state, copy) = (memory(), memory());
        let taps = upload(gpu, &self.taps);
        let forget = upload(gpu, &[&self.rate[..], &self.bias].concat());
        // One row for both numbers: those of a key head for learning, then those for forgetting.
        let both: Vec<f32> = self
            .beta
            .chunks_exact(group)
            .zip(self.alpha.chunks_exact(group))
            .flat_map(|(beta, alpha)| [beta, alpha].concat())
            .collect();
        let (mut out, mut first) = (Vec::new(), 0);
        for &n in split {
            let u = upload(gpu, &self.u[first * channels..(first + n) * channels]);
            let y = zeros(gpu, n * channels);
            let factors = zeros(gpu, heads.factors_bytes(n) as usize / 4);
            let (beta, alpha, both) = (upload(gpu, &self.beta), upload(gpu, &self.alpha), upload(gpu, &both));
            let rates = match grouped {
                true => Rates {
                    beta: &both,
                    beta_at: 2 * first * values,
                    alpha: &both,
                    alpha_at: 2 * first * values + group,
                    stride: 2 * values,
                    span: 2 * group,
                    forget: &forget,
                },
                false => Rates {
                    beta: &beta,
                    beta_at: first * values,
                    alpha: &alpha,
                    alpha_at: first * values,
                    stride: values,
                    span: group,
                    forget: &forget,
                },
            };
            let taken = (first < snapshot && snapshot <= first + n).then(|| (snapshot - first, &copy));
            let mut rec = gpu.recording();
            remember(&mut rec, heads, n, [&u, &taps], &rates, [&y, &factors], &state, taken);
            gpu.run(&rec).unwrap();
            for y in download(gpu, &y).chunks_exact(channels) {
                out.extend_from_slice(&y[2 * heads.key_width()..]);
            }
            first += n;
        }
        let read = |memory: &Memory| {
            let mut rows = download(gpu, &memory.rows);
            rows.truncate((heads.taps - 1) * channels);
            [rows, download(gpu, &memory.matrices)]
        };
        (out, read(&copy), read(&state))
    }
}

#[test]
fn a_memory_is_carried_on_and_copied() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Random(61);
    for (keys, values, key_dim, value_dim, taps, tiled) in [
        (2, 4, 128, 128, 4, true),
        (2, 4, 32, 64, 4, false),
        (1, 3, 20, 32, 3, true),
        (1, 2, 200, 64, 4, false),
        (1, 1, 256, 256, 8, true),
        (1, 2, 500, 32, 2, false),
        (1, 1, 1024, 32, 2, true),
        (2, 2, 66, 32, 1, true),
    ] {
        let heads = DeltaHeads { keys, values, key_dim, value_dim, taps, tiled };
        let layer = Layer::new(&mut rng, heads, 70);
        for (snapshot, split, grouped) in [
            (41, &[70][..], false),
            (1, &[33, 37], true),
            (41, &[1, 1, 1, 2, 1, 64], false),
            (70, &[2, 68], true),
        ] {
            let expected = layer.expected(snapshot);
            let found = layer.found(&gpu, split, snapshot, grouped);
            let what = format!("{heads:?} split {split:?} snapshot {snapshot}");
            assert_close(&found.0, &expected.0, BOUND, &what);
            for (found, expected) in [(&found.1, &expected.1), (&found.2, &expected.2)] {
                assert_eq!(found[0], expected[0], "{what}");
                assert_close(&found[1], &expected[1], BOUND, &what);
            }
        }
    }
}

#[test]
fn what_is_hardly_forgotten_is_not_lost() {
    let Some(gpu) = gpu() else { return };
    let heads = DeltaHeads { keys: 1, values: 1, key_dim: 32, value_dim: 32, taps: 2, tiled: true };
    let mut layer = Layer::new(&mut Random(62), heads, 300);
    // 1 - decay is some 6e-6 for each token: 1 + exp(x) in single precision would be off by per cents.
    layer.rate.fill(-16.0);
    layer.alpha.fill(-15.0);
    layer.bias.fill(0.2);
    // Nothing is learnt after the first tokens.
    layer.beta[4..].fill(-100.0);
    let (expected, found) = (layer.expected(300), layer.found(&gpu, &[300], 300, false));
    assert_close(&found.2[1], &expected.2[1], 5e-5, "300 tokens");
}

#[test]
fn gates_equal_the_reference() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Random(63);
    for (n, values, value_dim) in [(5, 2, 32), (3, 4, 128), (1, 1, 256)] {
        let heads = DeltaHeads { keys: 1, values, key_dim: 20, value_dim, taps: 2, tiled: true };
        let y = rng.floats(n * heads.channels());
        let mut z = rng.floats(n * heads.value_width());
        // exp(-z) is infinite.
        z[3] = -1e4;
        let norm = rng.floats(value_dim);
        let mut expected = z.clone();
        let answers =
            y.chunks_exact(heads.channels()).flat_map(|y| y[2 * heads.key_width()..].chunks_exact(value_dim));
        for (expected, answer) in expected.chunks_exact_mut(value_dim).zip(answers) {
            let mut normed = vec![0.0; value_dim];
            reference::norm::rms_norm(answer, &norm, 1e-5, &mut normed);
            reference::silu::silu_mul(expected, &normed);
        }
        let spans = [&y, &z, &norm].map(|x| upload(&gpu, x));
        let out = zeros(&gpu, z.len());
        let mut rec = gpu.recording();
        gated_norm(&mut rec, &heads, n, spans.each_ref(), 1e-5, &out);
        gpu.run(&rec).unwrap();
        assert_close(&download(&gpu, &out), &expected, 1e-5, &format!("{heads:?}"));
    }
}
