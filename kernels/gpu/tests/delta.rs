//! The gated delta net against the CPU's definition: within 1e-4 of the largest number, after 70 tokens in several runs that
//! carry the memory on, with a copy of it in the middle.

mod common;

use common::data::delta::Layer;
use common::*;
use qwip_cpu::ops::delta::DeltaHeads as CpuHeads;
use qwip_cpu::reference;
use qwip_gpu::Gpu;
use qwip_gpu::ops::delta::{DeltaHeads, Memory, Rates, gated_norm, remember};

const BOUND: f32 = 1e-4;

/// What a memory holds: rows and matrices.
type Kept = [Vec<f32>; 2];

/// The heads, as the GPU's kernels call them.
fn heads_of(layer: &Layer) -> DeltaHeads {
    let CpuHeads { keys, values, key_dim, value_dim, taps, tiled } = layer.heads;
    DeltaHeads { keys, values, key_dim, value_dim, taps, tiled }
}

/// The same on the device, in runs of the given lengths.
fn found(
    layer: &Layer,
    gpu: &Gpu,
    split: &[usize],
    snapshot: usize,
    grouped: bool,
) -> (Vec<f32>, Kept, Kept) {
    let (heads, channels, values) = (&heads_of(layer), layer.heads.channels(), layer.heads.values);
    let group = values / heads.keys;
    let memory = || Memory {
        rows: zeros(gpu, heads.rows_bytes() as usize / 4),
        matrices: zeros(gpu, heads.matrices_bytes() as usize / 4),
    };
    let (state, copy) = (memory(), memory());
    let taps = upload(gpu, &layer.taps);
    let forget = upload(gpu, &[&layer.rate[..], &layer.bias].concat());
    let both = layer.grouped();
    let (mut out, mut first) = (Vec::new(), 0);
    for &n in split {
        let u = upload(gpu, &layer.u[first * channels..(first + n) * channels]);
        let y = zeros(gpu, n * channels);
        let factors = zeros(gpu, heads.factors_bytes(n) as usize / 4);
        let (beta, alpha, both) = (upload(gpu, &layer.beta), upload(gpu, &layer.alpha), upload(gpu, &both));
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

#[test]
fn a_memory_is_carried_on_and_copied() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(61);
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
        let heads = CpuHeads { keys, values, key_dim, value_dim, taps, tiled };
        let layer = Layer::new(&mut rng, heads, 70);
        for (snapshot, split, grouped) in [
            (41, &[70][..], false),
            (1, &[33, 37], true),
            (41, &[1, 1, 1, 2, 1, 64], false),
            (70, &[2, 68], true),
        ] {
            let expected = layer.expected(snapshot);
            let found = found(&layer, &gpu, split, snapshot, grouped);
            let what = format!("{heads:?} split {split:?} snapshot {snapshot}");
            assert_close(&found.0, &expected.0, BOUND, &what);
            for (found, expected) in [(&found.1, &expected.1), (&found.2, &expected.2)] {
                assert_eq!(found[0], expected.rows, "{what}");
                assert_close(&found[1], expected.matrices.as_flattened(), BOUND, &what);
            }
        }
    }
}

#[test]
fn what_is_hardly_forgotten_is_not_lost() {
    let Some(gpu) = gpu() else { return };
    let heads = CpuHeads { keys: 1, values: 1, key_dim: 32, value_dim: 32, taps: 2, tiled: true };
    let mut layer = Layer::new(&mut Rng(62), heads, 300);
    // 1 - decay is some 6e-6 for each token: 1 + exp(x) in single precision would be off by per cents.
    layer.rate.fill(-16.0);
    layer.alpha.fill(-15.0);
    layer.bias.fill(0.2);
    // Nothing is learnt after the first tokens.
    layer.beta[4..].fill(-100.0);
    let (expected, found) = (layer.expected(300), found(&layer, &gpu, &[300], 300, false));
    assert_close(&found.2[1], expected.2.matrices.as_flattened(), 5e-5, "300 tokens");
}

#[test]
fn gates_equal_the_reference() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(63);
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
