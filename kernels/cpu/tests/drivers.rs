//! The parallel drivers: what they compute does not depend on threads, chunks or how tokens are split.

mod common;

use common::*;
use half::f16;
use qwip_cpu::ops::attend::{Heads, Runs, attend, attend_runs};
use qwip_cpu::ops::linear::{LinearJob, linear};
use qwip_cpu::ops::moe::{Part, Routed, Routing, Shared, Stack, sigmoid};
use qwip_cpu::ops::{Activations, Cpu, norm, rope, silu};
use qwip_cpu::{Cancelled, Kernels, KvMut, KvRef, Matrix, Pool, TILE, kv, reference};
use qwip_quant::TensorType;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Every kernel set with 1, 2 and 3 threads; three are more than some machines have, and none may spin.
fn machines() -> Vec<Cpu> {
    let pools = [1, 2, 3].map(|threads| Arc::new(Pool::with_spin(threads, Duration::ZERO).unwrap()));
    let cpus = pools
        .iter()
        .map(|pool| Kernels::available().into_iter().map(|kernels| Cpu { kernels, pool: Arc::clone(pool) }));
    cpus.flatten().collect()
}

/// The ways of cutting `n` tokens into runs that the tests try.
fn splits(n: usize) -> Vec<Vec<usize>> {
    let ones = vec![1; n];
    let mut uneven = vec![1, 3, 4];
    uneven.push(n - 8);
    vec![vec![n], ones, uneven]
}

#[test]
fn linear_is_the_same_for_all_threads_and_splits() {
    let mut rng = Rng(31);
    let (cols, n) = (256, 19);
    let shapes = [
        (TensorType::Q4_0, 300, 1.0, true, false),
        (TensorType::Q4K, 65, 1.0, false, true),
        (TensorType::Nvfp4, 70, 0.3, true, true),
        (TensorType::F16, 48, -2.7, true, true),
        (TensorType::Q6K, 1, 1.0, false, false),
    ];
    let x = rng.activations(n * cols);
    let quantized = Quantized::new(&x, cols);
    let bytes = shapes.map(|(ty, rows, ..)| weights(&mut rng, ty, rows, cols, Fill::Encoded));
    let biases = shapes.map(|(_, rows, ..)| rng.floats(rows));
    let residuals = shapes.map(|(_, rows, ..)| rng.floats(n * rows));

    let expected: Vec<Vec<f32>> = shapes
        .iter()
        .enumerate()
        .map(|(i, &(ty, rows, scale, bias, add))| {
            let w = matrix(ty, rows, cols, &bytes[i]);
            let mut out = vec![0.0; n * rows];
            match ty.group_len() {
                Some(_) => reference::linear::linear_q(&w, 0..rows, &quantized.plain(), &mut out),
                None => reference::linear::linear_f(&w, 0..rows, &x, n, &mut out),
            }
            for (y, residual) in out.chunks_exact_mut(rows).zip(residuals[i].chunks_exact(rows)) {
                reference::linear::epilogue(y, scale, bias.then_some(&biases[i]), add.then_some(residual));
            }
            out
        })
        .collect();

    for cpu in machines() {
        for split in splits(n) {
            let mut outs = residuals.clone();
            let mut acts = Activations::new();
            let mut t = 0;
            for run in &split {
                acts.load(&cpu, &x[t * cols..(t + run) * cols], cols, None).unwrap();
                let mut jobs: Vec<LinearJob> = outs
                    .iter_mut()
                    .enumerate()
                    .map(|(i, out)| {
                        let (ty, rows, scale, bias, add) = shapes[i];
                        LinearJob {
                            w: matrix(ty, rows, cols, &bytes[i]),
                            scale,
                            bias: bias.then_some(&biases[i]),
                            add,
                            out: &mut out[t * rows..(t + run) * rows],
                        }
                    })
                    .collect();
                linear(&cpu, &acts, &mut jobs, None).unwrap();
                t += run;
            }
            for (i, out) in outs.iter().enumerate() {
                assert_same(out, &expected[i], &format!("{cpu:?} {split:?} {}", shapes[i].0));
            }
        }
    }
}

#[test]
fn many_jobs_and_matrices_of_decode_size() {
    let mut rng = Rng(32);
    let (rows, cols, ty) = (2000, 64, TensorType::Q8_0);
    let bytes = weights(&mut rng, ty, rows, cols, Fill::Encoded);
    let w = matrix(ty, rows, cols, &bytes);
    let x = rng.activations(cols);
    let mut expected = vec![0.0; rows];
    reference::linear::linear_q(&w, 0..rows, &Quantized::new(&x, cols).plain(), &mut expected);
    for cpu in machines() {
        let mut acts = Activations::new();
        acts.load(&cpu, &x, cols, None).unwrap();
        let mut outs = vec![vec![f32::NAN; rows]; 21];
        let jobs = outs.iter_mut().map(|out| LinearJob { w, scale: 1.0, bias: None, add: false, out });
        linear(&cpu, &acts, &mut jobs.collect::<Vec<_>>(), None).unwrap();
        for out in &outs {
            assert_same(out, &expected, &format!("{cpu:?}"));
        }
    }
}

/// A product of any type, by the reference.
fn product(w: &Matrix, x: &[f32], scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; w.rows];
    match w.ty.group_len() {
        Some(_) => reference::linear::linear_q(w, 0..w.rows, &Quantized::new(x, w.cols).plain(), &mut out),
        None => reference::linear::linear_f(w, 0..w.rows, x, 1, &mut out),
    }
    reference::linear::epilogue(&mut out, scale, None, None);
    out
}

/// A feed-forward part by the reference: gate, up and down with their factors.
fn feed_forward(x: &[f32], [gate, up, down]: [(Matrix, f32); 3]) -> Vec<f32> {
    let mut hidden = product(&gate.0, x, gate.1);
    reference::silu::silu_mul(&mut hidden, &product(&up.0, x, up.1));
    product(&down.0, &hidden, down.1)
}

#[test]
fn experts_are_the_same_for_all_threads_and_splits() {
    use TensorType::{F16, F32, Q4_0, Q4K, Q5_0, Q6K};
    let mut rng = Rng(34);
    // Types of gate, up and down; experts, used, width of the state, of an expert and of the shared one, if there is one.
    let shapes = [
        ([Q4_0, Q4_0, Q4_0], 5, 3, 96, 64, Some(160)),
        ([Q4K, Q6K, Q5_0], 7, 1, 256, 96, None),
        // Rows of 40 are no whole blocks, and 8 rows are fewer than kernels have lanes for.
        ([Q4_0, F16, F32], 2, 2, 64, 40, Some(8)),
        ([Q4_0, Q4_0, F32], 40, 4, 32, 8, None),
    ];
    for (types, experts, used, state, width, shared_width) in shapes {
        let n = 19;
        let routing = Routing { used, normalise: used == 3, scale: [1.0, 0.5][used % 2] };
        let (x, residual) = (rng.floats(n * state), rng.activations(n * state));
        let mut logits = rng.floats(n * experts);
        if used < experts {
            // The last one gets no token.
            logits.chunks_exact_mut(experts).for_each(|row| row[experts - 1] = -9.0);
        }
        let mut gates = rng.floats(n);
        let sizes = [(width, state), (width, state), (state, width)];
        let make = |rng: &mut Rng, i: usize, copies: usize, (rows, cols): (usize, usize)| {
            (rows * copies, cols, weights(rng, types[i], rows * copies, cols, Fill::Encoded))
        };
        let stacks: Vec<_> = (0..3).map(|i| make(&mut rng, i, experts, sizes[i])).collect();
        let scales: Vec<Vec<f32>> = (0..3).map(|_| rng.floats(experts)).collect();
        let wide = shared_width.unwrap_or(32);
        let sizes = [(wide, state), (wide, state), (state, wide)];
        let own: Vec<_> = (0..3).map(|i| make(&mut rng, i, 1, sizes[i])).collect();
        let stack = |i: usize| {
            let (rows, cols, bytes) = &stacks[i];
            Stack { all: matrix(types[i], *rows, *cols, bytes), part: Part::WHOLE, scales: &scales[i] }
        };
        // The same gates and ups in one tensor, expert by expert.
        let of_experts = |i: usize| stacks[i].2.chunks(stacks[i].2.len() / experts);
        let both: Vec<u8> =
            of_experts(0).zip(of_experts(1)).flat_map(|(gate, up)| [gate, up].concat()).collect();
        let fused = |i: usize| {
            let (rows, cols, _) = &stacks[i];
            let all = matrix(types[i], 2 * rows, *cols, &both);
            Stack { all, part: Part { index: i, of: 2 }, scales: &scales[i] }
        };
        let shared_matrix = |i: usize| (matrix(types[i], own[i].0, own[i].1, &own[i].2), 0.75);

        let mut expected = residual.clone();
        for (t, out) in expected.chunks_exact_mut(state).enumerate() {
            let (x, logits) = (&x[t * state..][..state], &logits[t * experts..][..experts]);
            let chosen = reference::moe::route(logits, used, routing.normalise, routing.scale);
            let of_expert = |e: usize, i: usize| {
                let (all, cols, bytes) = &stacks[i];
                let size = bytes.len() / experts;
                (matrix(types[i], all / experts, *cols, &bytes[e * size..(e + 1) * size]), scales[i][e])
            };
            let mut answers: Vec<(f32, Vec<f32>)> = chosen
                .into_iter()
                .map(|(e, weight)| (weight, feed_forward(x, [0, 1, 2].map(|i| of_expert(e, i)))))
                .collect();
            if shared_width.is_some() {
                let weight = reference::moe::sigmoid(gates[t]);
                answers.push((weight, feed_forward(x, [0, 1, 2].map(shared_matrix))));
            }
            reference::moe::mix(out, answers.iter().map(|(weight, answer)| (*weight, &answer[..])));
        }

        sigmoid(&mut gates);
        for cpu in machines() {
            let mut routed = Routed::default();
            let ways = if types[0] == types[1] { &[false, true][..] } else { &[false] };
            for (split, one_tensor) in
                splits(n).iter().flat_map(|split| ways.iter().map(move |way| (split, *way)))
            {
                let (mut acts, mut hidden) = (Activations::new(), Activations::new());
                let mut found = residual.clone();
                let mut t = 0;
                for run in split {
                    let part = |width: usize| t * width..(t + run) * width;
                    acts.load(&cpu, &x[part(state)], state, None).unwrap();
                    let mut gate_up = [vec![0.0; run * wide], vec![0.0; run * wide]];
                    let jobs = gate_up.iter_mut().enumerate().map(|(i, out)| {
                        let (w, scale) = shared_matrix(i);
                        LinearJob { w, scale, bias: None, add: false, out }
                    });
                    linear(&cpu, &acts, &mut jobs.collect::<Vec<_>>(), None).unwrap();
                    silu::silu_mul_load(&cpu, &gate_up[0], &gate_up[1], wide, &mut hidden, None).unwrap();
                    let (down, scale) = shared_matrix(2);
                    let shared = Shared { hidden: &hidden, down, scale, weights: &gates[part(1)] };
                    routed.route(&cpu, &logits[part(experts)], experts, routing, None).unwrap();
                    let [gate, up] = if one_tensor { [fused(0), fused(1)] } else { [stack(0), stack(1)] };
                    routed.gated(&cpu, &acts, &gate, &up, None).unwrap();
                    let shared = shared_width.map(|_| &shared);
                    routed.mix(&cpu, &stack(2), shared, &mut found[part(state)], None).unwrap();
                    t += run;
                }
                assert_same(&found, &expected, &format!("{cpu:?} {split:?} {types:?}"));
            }
        }
    }
}

#[test]
fn rows_of_norms_gates_and_rotations() {
    let mut rng = Rng(33);
    // 100 columns do not fill blocks of 32: floats only.
    for (n, cols) in [(1, 896), (37, 896), (200, 64), (5, 100), (0, 64)] {
        let (x, up, w) = (rng.activations(n * cols), rng.floats(n * cols), rng.floats(cols));
        let mut normed = vec![0.0; n * cols];
        for (x, out) in x.chunks_exact(cols).zip(normed.chunks_exact_mut(cols)) {
            reference::norm::rms_norm(x, &w, 1e-6, out);
        }
        let mut gated = x.clone();
        reference::silu::silu_mul(&mut gated, &up);
        for cpu in machines() {
            let what = format!("{cpu:?} {n} x {cols}");
            let check = |acts: &Activations, expected: &[f32]| {
                assert_same(acts.x(), expected, &what);
                assert_eq!((acts.n(), acts.cols()), (n, cols));
                assert_eq!(acts.quantized().is_some(), cols % 32 == 0);
                if let Some(found) = acts.quantized() {
                    let expected = Quantized::new(expected, cols);
                    for tile in found.tiles() {
                        for (t, step) in
                            (0..tile.width).flat_map(|t| (0..cols / 32).map(move |step| (t, step)))
                        {
                            let block = (tile.first + t) * (cols / 32) + step;
                            assert_eq!(tile.codes(step, t)[..], expected.codes[block * 32..][..32], "{what}");
                            assert_eq!(
                                tile.half_sums(step, t)[..],
                                expected.sums[block * 2..][..2],
                                "{what}"
                            );
                            assert_same(&[tile.scale(step, t)], &expected.scales[block..=block], &what);
                        }
                    }
                }
            };
            let mut acts = Activations::new();
            acts.load(&cpu, &x, cols, None).unwrap();
            check(&acts, &x);
            norm::rms_norm_rows(&cpu, &x, &w, 1e-6, &mut acts, None).unwrap();
            check(&acts, &normed);
            silu::silu_mul_load(&cpu, &x, &up, cols, &mut acts, None).unwrap();
            check(&acts, &gated);
            let mut found = x.clone();
            silu::silu_mul_rows(&cpu, &mut found, &up, None).unwrap();
            assert_same(&found, &gated, &what);
            let mut found = x.clone();
            norm::rms_norm_heads(&cpu, &mut found, &w, 1e-6, None).unwrap();
            assert_same(&found, &normed, &what);
        }
    }

    let (n, heads, d, half) = (45, 6, 64, 24);
    let (x, cos, sin) = (rng.floats(n * heads * d), rng.floats(n * half), rng.floats(n * half));
    let mut expected = x.clone();
    for (i, head) in expected.chunks_exact_mut(d).enumerate() {
        let at = i / heads * half..(i / heads + 1) * half;
        reference::rope::rope(head, &cos[at.clone()], &sin[at]);
    }
    for cpu in machines() {
        let mut found = x.clone();
        rope::rope_rows(&cpu, &mut found, heads, d, &cos, &sin, None).unwrap();
        assert_same(&found, &expected, &format!("{cpu:?}"));
    }
}

#[test]
fn attention_is_the_same_for_all_threads_and_splits() {
    let mut rng = Rng(34);
    // Positions 55..76: the second tile begins within the run. From 1000 on, tiles are shared out to threads
    // where few tokens come together.
    for (first, causal) in [(55, true), (1000, true), (0, false), (55, false), (1000, false)] {
        check_attention(&mut rng, first, causal);
    }
}

fn check_attention(rng: &mut Rng, first: usize, causal: bool) {
    let (n, d) = (21, 64);
    let shape = Heads { heads: 6, kv_heads: 2, d, causal };
    let scale = 1.0 / 8.0;
    // [kv_head][tile] of keys, values
    let mut tiles =
        vec![vec![(vec![f16::ZERO; d * TILE], vec![f16::ZERO; d * TILE]); (first + n).div_ceil(TILE)]; 2];
    for head in &mut tiles {
        for p in 0..first + n {
            let (k, v) = &mut head[p / TILE];
            kv::store_key(&rng.floats(d), p % TILE, KvMut::F16(k));
            kv::store_value(&rng.floats(d), p % TILE, KvMut::F16(v));
        }
    }
    let lookup = |head: usize, tile: usize| {
        let (k, v) = &tiles[head][tile];
        (KvRef::F16(k), KvRef::F16(v))
    };
    let row = shape.heads * d;
    let q = rng.floats(n * row);
    let mut expected = vec![0.0; n * row];
    for t in 0..n {
        for kv_head in 0..2 {
            let at = t * row + kv_head * 3 * d;
            let scaled: Vec<f32> = q[at..at + 3 * d].iter().map(|q| q * scale).collect();
            let (mut m, mut l) = ([f32::NEG_INFINITY; 3], [0.0; 3]);
            let o = &mut expected[at..at + 3 * d];
            let visible = first + if causal { t + 1 } else { n };
            for tile in 0..visible.div_ceil(TILE) {
                let ((k, v), valid) = (lookup(kv_head, tile), TILE.min(visible - tile * TILE));
                reference::attend::attend_tile(&scaled, d, k, v, valid, &mut m, &mut l, o);
            }
            reference::attend::finish(&l, o);
        }
    }
    for cpu in machines() {
        // Where every token sees all others, they come together.
        let all_splits = if causal { splits(n) } else { vec![vec![n]] };
        for split in all_splits {
            let mut out = vec![f32::NAN; n * row];
            let mut t = 0;
            for run in &split {
                let range = t * row..(t + run) * row;
                let out = &mut out[range.clone()];
                attend(&cpu, &q[range], shape, scale, first + t, &lookup, &mut Vec::new(), out, None)
                    .unwrap();
                t += run;
            }
            assert_same(&out, &expected, &format!("{cpu:?} {split:?}"));

            // The same as runs that are given together, as those of several sequences are.
            let mut out = vec![f32::NAN; n * row];
            let span = |run: usize| (first + split[..run].iter().sum::<usize>(), split[run]);
            let spans: Vec<_> = (0..split.len()).map(span).collect();
            let tiles = |_, head, tile| lookup(head, tile);
            let runs = Runs { spans: &spans, tiles: &tiles };
            attend_runs(&cpu, &q, shape, scale, &runs, &mut Vec::new(), &mut out, None).unwrap();
            assert_same(&out, &expected, &format!("{cpu:?} {split:?} together"));
        }
    }
}

#[test]
fn a_set_flag_cancels_every_driver() {
    let flag = AtomicBool::new(true);
    let cancel = Some(&flag);
    let bytes = [0u8; 34 * 64];
    let w = matrix(TensorType::Q8_0, 64, 32, &bytes);
    for cpu in machines() {
        let (mut acts, mut x) = (Activations::new(), vec![1.0; 64]);
        assert_eq!(acts.load(&cpu, &x, 32, cancel), Err(Cancelled));
        acts.load(&cpu, &x, 32, None).unwrap();
        let mut out = vec![0.0; 128];
        let jobs = &mut [LinearJob { w, scale: 1.0, bias: None, add: false, out: &mut out }];
        assert_eq!(linear(&cpu, &acts, jobs, cancel), Err(Cancelled));
        assert_eq!(norm::rms_norm_rows(&cpu, &x, &[1.0; 32], 1e-6, &mut acts, cancel), Err(Cancelled));
        assert_eq!(norm::rms_norm_heads(&cpu, &mut x, &[1.0; 32], 1e-6, cancel), Err(Cancelled));
        assert_eq!(silu::silu_mul_rows(&cpu, &mut x, &[1.0; 64], cancel), Err(Cancelled));
        assert_eq!(rope::rope_rows(&cpu, &mut x, 1, 32, &[1.0; 8], &[0.0; 8], cancel), Err(Cancelled));
        let tile = vec![0.0; 32 * TILE];
        let lookup = |_: usize, _: usize| (KvRef::F32(&tile), KvRef::F32(&tile));
        let shape = Heads { heads: 1, kv_heads: 1, d: 32, causal: true };
        let mut parts = Vec::new();
        let cancelled = attend(&cpu, &x, shape, 1.0, 0, &lookup, &mut parts, &mut out[..64], cancel);
        assert_eq!(cancelled, Err(Cancelled));
        let (mut routed, routing) = (Routed::default(), Routing { used: 1, normalise: true, scale: 1.0 });
        assert_eq!(routed.route(&cpu, &x[..4], 2, routing, cancel), Err(Cancelled));
        routed.route(&cpu, &x[..4], 2, routing, None).unwrap();
        acts.load(&cpu, &x, 32, None).unwrap();
        let stack = Stack { all: w, part: Part::WHOLE, scales: &[1.0; 2] };
        assert_eq!(routed.gated(&cpu, &acts, &stack, &stack, cancel), Err(Cancelled));
        routed.gated(&cpu, &acts, &stack, &stack, None).unwrap();
        assert_eq!(routed.mix(&cpu, &stack, None, &mut x, cancel), Err(Cancelled));
        assert!(x.iter().all(|&x| x == 1.0), "nothing was run");
    }
}
