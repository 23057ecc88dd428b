//! A layer of experts against the CPU's definition: the same experts, weights within 1e-5, the same groups, sums within
//! 1e-5 of the largest.

mod common;

use common::*;
use qwip_cpu::reference;
use qwip_gpu::Gpu;
use qwip_gpu::ops::moe::{Routing, Shared, TILE_TOKENS, mix, route, sort};

/// Ids and weights of n tokens.
fn routed(gpu: &Gpu, routing: &Routing, n: usize, logits: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let logits = upload(gpu, logits);
    let (ids, weights) = (zeros(gpu, routing.slots(n)), zeros(gpu, routing.slots(n)));
    let mut rec = gpu.recording();
    route(&mut rec, routing, n, &logits, [&ids, &weights]);
    gpu.run(&rec).unwrap();
    (words(gpu, &ids), download(gpu, &weights))
}

#[test]
fn experts_are_chosen_and_weighed_as_the_reference_does() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(71);
    for (experts, used) in
        [(1, 1), (5, 2), (60, 4), (64, 64), (128, 8), (130, 9), (512, 10), (1024, 64), (2048, 3)]
    {
        for (normalise, scale) in [(false, 1.0), (true, 1.0), (true, 2.5)] {
            let routing = Routing { experts, used, normalise, scale };
            let n = 24;
            let mut logits: Vec<f32> = (0..n)
                .flat_map(|t| {
                    // Few different ones for some tokens, so that there are ties.
                    let levels = if t % 2 == 0 { 4 } else { 1 << 16 };
                    (0..experts).map(|_| rng.below(levels) as f32 / 997.0 - 20.0).collect::<Vec<_>>()
                })
                .collect();
            // Zeros of both signs are equal; negative infinity is a logit.
            logits[experts..2 * experts]
                .iter_mut()
                .enumerate()
                .for_each(|(e, logit)| *logit = if e % 3 == 0 { -0.0 } else { 0.0 });
            logits[2 * experts + rng.below(experts.max(2) - 1)] = f32::NEG_INFINITY;
            let (ids, weights) = routed(&gpu, &routing, n, &logits);
            for (t, logits) in logits.chunks_exact(experts).enumerate() {
                let slots = t * used..(t + 1) * used;
                let want = reference::moe::route(logits, used, normalise, scale);
                let what = format!("{routing:?} token {t}");
                let want_ids: Vec<u32> = want.iter().map(|(e, _)| *e as u32).collect();
                assert_eq!(ids[slots.clone()], want_ids, "{what}");
                if want.iter().any(|(_, weight)| weight.is_nan()) {
                    assert!(weights[slots].iter().all(|weight| weight.is_nan()), "{what}");
                    continue;
                }
                for ((_, want), found) in want.iter().zip(&weights[slots]) {
                    assert!((want - found).abs() <= 1e-5 * want.abs().max(1e-3), "{what}: {want} {found}");
                }
            }
        }
    }
}

#[test]
fn logits_that_are_no_numbers_choose_experts_that_exist_and_weigh_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(72);
    for normalise in [false, true] {
        for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::from_bits(0x7f80_0001)] {
            let routing = Routing { experts: 100, used: 8, normalise, scale: 1.0 };
            let mut logits = rng.floats(3 * 100);
            logits[150] = odd;
            logits[200..].fill(odd);
            let (ids, weights) = routed(&gpu, &routing, 3, &logits);
            for ids in ids.chunks_exact(8) {
                assert!(ids.is_sorted_by(|a, b| a < b) && ids[7] < 100, "{odd}: {ids:?}");
            }
            assert!(weights[..8].iter().all(|weight| weight.is_finite()), "{odd}: {weights:?}");
            assert!(weights[8..].iter().all(|weight| weight.is_nan()), "{odd}: {weights:?}");
        }
    }
}

#[test]
fn slots_are_grouped_by_expert_in_blocks() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(73);
    for (experts, used, n) in [(1, 1, 1), (1, 1, 97), (4, 2, 200), (60, 4, 33), (128, 8, 64), (512, 10, 100)]
    {
        let routing = Routing { experts, used, normalise: true, scale: 1.0 };
        // Some experts are favourites, many have nothing.
        let mut ids: Vec<u32> = Vec::new();
        for _ in 0..n {
            let mut of_token: Vec<u32> = Vec::new();
            while of_token.len() < used {
                let below = if rng.below(2) == 0 { (2 * used).min(experts) } else { experts };
                let id = rng.below(below) as u32;
                if !of_token.contains(&id) {
                    of_token.push(id);
                }
            }
            of_token.sort_unstable();
            ids.extend(of_token);
        }
        let mut want: Vec<u32> = (0..ids.len() as u32).collect();
        want.sort_by_key(|slot| ids[*slot as usize]);

        let spans = (upload_words(&gpu, &ids), zeros(&gpu, ids.len()));
        // Whatever was there before is overwritten.
        let blocks = upload_words(&gpu, &vec![u32::MAX; 3 * routing.blocks(n)]);
        let mut rec = gpu.recording();
        sort(&mut rec, &routing, n, &spans.0, [&spans.1, &blocks]);
        gpu.run(&rec).unwrap();
        let order = words(&gpu, &spans.1);
        assert_eq!(order, want, "{routing:?}");
        let blocks = words(&gpu, &blocks);
        let (mut next, mut last) = (0, 0);
        for block in blocks.as_chunks().0 {
            let [expert, first, count] = *block;
            if count == 0 {
                continue;
            }
            assert!(first == next && expert >= last && count as usize <= TILE_TOKENS, "{block:?}");
            let slots = &order[first as usize..(first + count) as usize];
            assert!(slots.iter().all(|slot| ids[*slot as usize] == expert), "{block:?}");
            (next, last) = (first + count, expert);
        }
        assert_eq!(next as usize, ids.len(), "{routing:?}");
    }
}

#[test]
fn answers_are_added_up() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(74);
    for (n, used, width) in [(1, 8, 256), (7, 3, 100), (40, 1, 1000)] {
        let (answers, weights) = (rng.floats(n * used * width), rng.floats(n * used));
        let (common, gates) = (rng.floats(n * width), rng.floats(n));
        let x = rng.floats(n * width);
        for with_shared in [false, true] {
            let mut expected = x.clone();
            for (t, x) in expected.chunks_exact_mut(width).enumerate() {
                let mut all: Vec<(f32, Vec<f32>)> = (t * used..(t + 1) * used)
                    .map(|slot| (weights[slot], answers[slot * width..(slot + 1) * width].to_vec()))
                    .collect();
                if with_shared {
                    let scaled = common[t * width..(t + 1) * width].iter().map(|y| 0.5 * y).collect();
                    all.push((reference::moe::sigmoid(gates[t]), scaled));
                }
                reference::moe::mix(x, all.iter().map(|(weight, answer)| (*weight, &answer[..])));
            }
            let [answers, weights, common, gates, x] =
                [&answers, &weights, &common, &gates, &x].map(|x| upload(&gpu, x));
            let shared = Shared { answers: &common, gates: &gates, scale: 0.5 };
            let mut rec = gpu.recording();
            mix(&mut rec, [n, used, width], [&answers, &weights], with_shared.then_some(&shared), &x);
            gpu.run(&rec).unwrap();
            assert_close(&download(&gpu, &x), &expected, 1e-5, &format!("{n} {used} {width}"));
        }
    }
}
