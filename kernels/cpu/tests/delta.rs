//! The gated delta net: every kernel set, thread count and split equals the reference, bit for bit.

mod common;

use common::delta::{Layer, State, v_of};
use common::*;
use qwip_cpu::ops::delta::{DeltaHeads, Rates, gated_load, gated_norm_load, queries, remember};
use qwip_cpu::ops::{Activations, Cpu};
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

impl Layer {
    /// The same with the drivers, in runs of the given lengths.
    fn found(&self, cpu: &Cpu, split: &[usize], snapshot: usize, grouped: bool) -> (Vec<f32>, State, State) {
        let (heads, channels, values) = (&self.heads, self.heads.channels(), self.heads.values);
        let (mut state, mut copy) = (State::new(heads), State::new(heads));
        let (mut out, mut from) = (Vec::new(), 0);
        let group = values / heads.keys;
        let both = self.grouped();
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
