//! The largest logits: exactly those that sorting all of them on the CPU gives.

mod common;

use common::*;
use qwip_cpu::reference::math::exp;
use qwip_gpu::Gpu;
use qwip_gpu::ops::top_k::{Found, TopK, top_k};

fn plain(vocab: usize, k: usize) -> TopK {
    TopK { vocab, k, temperature: 1.0, repeat_penalty: 1.0, presence_penalty: 0.0, frequency_penalty: 0.0 }
}

fn found(gpu: &Gpu, wanted: &TopK, logits: &[f32], allowed: Option<&[u32]>, seen: &[[u32; 2]]) -> Found {
    let logits = upload(gpu, logits);
    let allowed = allowed.map(|allowed| upload_words(gpu, allowed));
    let list = upload_words(gpu, seen.as_flattened());
    let (parts, out) =
        (zeros(gpu, wanted.parts_bytes() as usize / 4), zeros(gpu, wanted.found_bytes() as usize / 4));
    let mut rec = gpu.recording();
    let seen = (!seen.is_empty()).then_some((&list, seen.len()));
    top_k(&mut rec, wanted, &logits, allowed.as_ref(), seen, [&parts, &out]);
    rec.read(&out);
    Found::read(&gpu.run(&rec).unwrap())
}

/// What the sampler does, with a sort.
fn expected(wanted: &TopK, logits: &[f32], allowed: Option<&[u32]>, seen: &[[u32; 2]]) -> Found {
    let mut adjusted = logits.to_vec();
    for &[id, count] in seen {
        let Some(logit) = adjusted.get_mut(id as usize) else { continue };
        *logit = if *logit > 0.0 { *logit / wanted.repeat_penalty } else { *logit * wanted.repeat_penalty };
        *logit -= wanted.presence_penalty + wanted.frequency_penalty * count as f32;
    }
    let is_allowed = |id: u32| allowed.is_none_or(|words| words[id as usize / 32] >> (id % 32) & 1 == 1);
    let mut all: Vec<(f32, u32)> = adjusted.into_iter().zip(0..).filter(|(_, id)| is_allowed(*id)).collect();
    all.retain(|(logit, _)| *logit > f32::NEG_INFINITY);
    match wanted.k {
        1 => all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1))),
        _ => all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))),
    }
    let sum =
        all.iter().map(|(logit, _)| f64::from(exp((logit - all[0].0) / wanted.temperature))).sum::<f64>();
    Found {
        sum: sum as f32,
        candidates: all.len(),
        not_finite: logits.iter().filter(|logit| !logit.is_finite()).count(),
        best: all.into_iter().take(wanted.k).collect(),
    }
}

fn check(gpu: &Gpu, wanted: &TopK, logits: &[f32], allowed: Option<&[u32]>, seen: &[[u32; 2]]) {
    let found = found(gpu, wanted, logits, allowed, seen);
    let expected = expected(wanted, logits, allowed, seen);
    assert_eq!(found.best, expected.best, "{wanted:?}");
    assert_eq!(found.candidates, expected.candidates, "{wanted:?}");
    assert_eq!(found.not_finite, expected.not_finite, "{wanted:?}");
    let near = (found.sum - expected.sum).abs() <= 1e-4 * expected.sum;
    // Without numbers there is no sum.
    assert!(near || expected.not_finite > 0, "{wanted:?}: {} {}", found.sum, expected.sum);
}

fn logits(rng: &mut Rng, vocab: usize, levels: usize) -> Vec<f32> {
    (0..vocab).map(|_| rng.below(levels) as f32 * (40.0 / levels as f32) - 20.0).collect()
}

#[test]
fn the_largest_are_found_best_first_and_the_lowest_of_equal_ones() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(81);
    for vocab in [1, 7, 2048, 2049, 6000, 151_936, 300_000, 600_000] {
        for k in [1, 2, 20, 64] {
            for levels in [2, 50, 1 << 20] {
                let logits = logits(&mut rng, vocab, levels);
                let mut wanted = plain(vocab, k);
                wanted.temperature = [1.0, 0.6, 1.5][rng.below(3)];
                check(&gpu, &wanted, &logits, None, &[]);
            }
        }
    }
}

#[test]
fn only_what_is_allowed_is_found() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(82);
    for vocab in [100, 5001, 151_936] {
        for k in [1, 33] {
            let logits = logits(&mut rng, vocab, 1000);
            let words = vocab.div_ceil(32);
            let half: Vec<u32> = (0..words).map(|_| rng.bits()).collect();
            // A handful, fewer than are wanted, in one word.
            let mut few = vec![0; words];
            few[words / 2] = 0b1001_0110;
            for allowed in [half, few, vec![0; words]] {
                check(&gpu, &plain(vocab, k), &logits, Some(&allowed), &[]);
            }
        }
    }
}

#[test]
fn tokens_seen_lately_are_penalised() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(83);
    for (vocab, len) in [(50, 50), (9000, 64), (151_936, 5000)] {
        for k in [1, 40] {
            let logits = logits(&mut rng, vocab, 3000);
            let mut ids: Vec<u32> = (0..len).map(|_| rng.below(vocab) as u32).collect();
            // Among them some of the best.
            let best = expected(&plain(vocab, 20), &logits, None, &[]).best;
            ids.extend(best.iter().map(|(_, id)| *id));
            ids.sort_unstable();
            ids.dedup();
            let seen: Vec<[u32; 2]> = ids.iter().map(|id| [*id, 1 + rng.below(9) as u32]).collect();
            // Powers of two, so that nothing is rounded, which a device may do in its own way.
            let mut wanted = plain(vocab, k);
            (wanted.repeat_penalty, wanted.presence_penalty, wanted.frequency_penalty) = (2.0, 0.5, 0.125);
            check(&gpu, &wanted, &logits, None, &seen);
            // Others move a logit by no more than a device's division may be off.
            (wanted.repeat_penalty, wanted.presence_penalty, wanted.frequency_penalty) = (1.1, 0.3, 0.07);
            let (found, want) =
                (found(&gpu, &wanted, &logits, None, &seen), expected(&wanted, &logits, None, &seen));
            for ((found, _), (want, _)) in found.best.iter().zip(&want.best) {
                assert!((found - want).abs() <= 1e-5, "{found} {want}");
            }
        }
    }
}

#[test]
fn what_is_not_a_number_is_counted_and_not_found() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng(84);
    for k in [1, 5] {
        let mut logits = logits(&mut rng, 5000, 100);
        (logits[17], logits[4000], logits[4001]) = (f32::NAN, -f32::NAN, f32::NEG_INFINITY);
        check(&gpu, &plain(5000, k), &logits, None, &[[17, 3]]);
        logits[300] = f32::INFINITY;
        check(&gpu, &plain(5000, k), &logits, None, &[]);
        check(&gpu, &plain(2, k), &[f32::NAN, f32::NEG_INFINITY], None, &[]);
        // Zeros of both signs, and numbers that a device may take for zeros in arithmetic.
        let small = [-0.0, 0.0, f32::from_bits(1), -0.0, f32::from_bits(3), f32::from_bits(0x8000_0002)];
        check(&gpu, &plain(small.len(), k), &small, None, &[]);
        check(&gpu, &plain(2, k), &small[..2], None, &[]);
    }
}
