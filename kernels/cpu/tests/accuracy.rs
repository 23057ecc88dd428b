//! The reference itself against double precision, with bounds that follow from the number of roundings.

mod common;

use common::*;
use qwip_cpu::{KvRef, TILE, reference};
use qwip_quant::{TensorType, unpack_groups};

/// The largest relative error of one rounding.
const EPS: f64 = 1.0 / (1 << 24) as f64;

#[test]
fn quantized_linear_errs_by_its_roundings_only() {
    let mut rng = Rng(21);
    let cols = 1024;
    for ty in QUANTIZED {
        let bytes = weights(&mut rng, ty, 8, cols, Fill::Encoded);
        let w = matrix(ty, 8, cols, &bytes);
        let x = Quantized::new(&rng.activations(2 * cols), cols);
        let mut out = vec![0.0; 16];
        reference::linear::linear_q(&w, 0..8, &x.plain(), &mut out);
        let group = ty.group_len().unwrap();
        let groups = cols / group;
        for (i, &found) in out.iter().enumerate() {
            let (t, r) = (i / 8, i % 8);
            let (mut codes, mut scales, mut mins) = (vec![0; cols], vec![0.0; groups], vec![0.0; groups]);
            unpack_groups(ty, w.row(r), &mut codes, &mut scales, &mut mins).unwrap();
            let (mut exact, mut magnitude) = (0.0f64, 0.0f64);
            for g in 0..groups {
                let d_x = f64::from(x.scales[(t * cols + g * group) / 32]);
                let (mut dot, mut sum) = (0.0, 0.0);
                for c in g * group..(g + 1) * group {
                    dot += f64::from(codes[c]) * f64::from(x.codes[t * cols + c]);
                    sum += f64::from(x.codes[t * cols + c]);
                }
                let (scaled, offset) = (f64::from(scales[g]) * d_x * dot, f64::from(mins[g]) * d_x * sum);
                exact += scaled - offset;
                magnitude += scaled.abs() + offset.abs();
            }
            // Two chain steps a group, each of which may err by its partial sum; one rounding of each factor.
            let bound = (2 * groups + 3) as f64 * EPS * magnitude;
            assert!(
                (f64::from(found) - exact).abs() <= bound,
                "{ty} row {r}: {found} for {exact} +- {bound:e}"
            );
        }
    }
}

#[test]
fn float_linear_errs_by_its_roundings_only() {
    let mut rng = Rng(22);
    for cols in [1, 16, 100, 1000, 4096] {
        let (w, x) = (rng.floats(cols), rng.activations(cols));
        let bytes: Vec<u8> = w.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut out = [0.0];
        reference::linear::linear_f(&matrix(TensorType::F32, 1, cols, &bytes), 0..1, &x, 1, &mut out);
        let products = w.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x));
        let (exact, magnitude) = products.fold((0.0, 0.0), |(sum, all), p| (sum + p, all + p.abs()));
        let bound = (cols / 16 + 6) as f64 * EPS * magnitude;
        assert!((f64::from(out[0]) - exact).abs() <= bound, "{} for {exact} +- {bound:e}", out[0]);
    }
}

#[test]
fn quantized_activations_are_within_half_a_step() {
    let mut rng = Rng(23);
    let x = rng.activations(64 * 32);
    let q = Quantized::new(&x, x.len());
    for (i, &x) in x.iter().enumerate() {
        let value = f64::from(q.scales[i / 32]) * f64::from(q.codes[i]);
        let step = f64::from(q.scales[i / 32]);
        // Half a step; the factor, the product with it and the scale are rounded, at most 127 steps out.
        assert!((value - f64::from(x)).abs() <= step * (0.5 + 127.0 * 4.0 * EPS), "{x} became {value}");
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let (lo, hi) = (reference::math::EXP_LO, reference::math::EXP_HI);
    let ulps = |x: f32| {
        let found = reference::math::exp(x);
        let exact = libm::exp(f64::from(x));
        let ulp = f64::from(f32::from_bits(found.to_bits() + 1)) - f64::from(found);
        (f64::from(found) - exact).abs() / ulp
    };
    let mut worst = 0.0f64;
    for i in 0..=2_000_000 {
        let x = lo + (hi - lo) * (i as f32 / 2_000_000.0);
        worst = worst.max(ulps(x));
    }
    // Near 0, where most bit patterns are.
    for bits in (0..0x4000_0000u32).step_by(1009) {
        worst = worst.max(ulps(f32::from_bits(bits))).max(ulps(-f32::from_bits(bits)));
    }
    assert!(worst <= 2.0, "{worst} units in the last place");
    assert_eq!(reference::math::exp(0.0), 1.0);
    assert_eq!(reference::math::exp(f32::INFINITY), reference::math::exp(hi));
    assert_eq!(reference::math::exp(f32::NEG_INFINITY), reference::math::exp(lo));
    assert!(reference::math::exp(lo) >= f32::MIN_POSITIVE && reference::math::exp(hi).is_finite());
    assert!(reference::math::exp(f32::NAN).is_nan());
}

#[test]
fn norm_rope_and_silu_are_close_to_double_precision() {
    let mut rng = Rng(24);
    for n in [1, 31, 128, 1024] {
        let (x, w) = (rng.activations(n), rng.floats(n));
        let mut out = vec![0.0; n];
        reference::norm::rms_norm(&x, &w, 1e-6, &mut out);
        let mean = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / n as f64;
        let r = 1.0 / (mean + f64::from(1e-6f32)).sqrt();
        for i in 0..n {
            let exact = f64::from(x[i]) * r * f64::from(w[i]);
            // Half the relative error of the sum of squares (n / 16 + 5 roundings) and six more.
            let bound = ((n / 16 + 5) as f64 / 2.0 + 6.0) * EPS * exact.abs();
            assert!((f64::from(out[i]) - exact).abs() <= bound + f64::from(f32::MIN_POSITIVE), "{n}");
        }
    }

    let x = rng.floats(64);
    let angles: Vec<f64> = (0..32).map(|i| f64::from(i) * 0.37).collect();
    let cos: Vec<f32> = angles.iter().map(|a| libm::cos(*a) as f32).collect();
    let sin: Vec<f32> = angles.iter().map(|a| libm::sin(*a) as f32).collect();
    let mut out = x.clone();
    reference::rope::rope(&mut out, &cos, &sin);
    for (i, angle) in angles.iter().enumerate() {
        let (a, b) = (f64::from(x[i]), f64::from(x[i + 32]));
        let (c, s) = (libm::cos(*angle), libm::sin(*angle));
        let bound = 3.0 * EPS * (a.abs() + b.abs());
        assert!((f64::from(out[i]) - (a * c - b * s)).abs() <= bound);
        assert!((f64::from(out[i + 32]) - (a * s + b * c)).abs() <= bound);
    }

    for i in -800..=800 {
        let (g, u) = (i as f32 / 10.0, rng.float());
        let mut out = [g];
        reference::silu::silu_mul(&mut out, &[u]);
        let exact = f64::from(g) / (1.0 + libm::exp(-f64::from(g))) * f64::from(u);
        // exp errs by 2 units (4 EPS at most), then sum, quotient and product are rounded.
        assert!((f64::from(out[0]) - exact).abs() <= 8.0 * EPS * exact.abs() + 1e-37, "silu({g}) * {u}");
    }
}

#[test]
fn attention_is_close_to_a_softmax_in_double_precision() {
    let mut rng = Rng(25);
    let (d, tiles, last) = (64, 5, 23);
    let keys: Vec<Vec<f32>> = (0..tiles).map(|_| rng.floats(d * TILE)).collect();
    let values: Vec<Vec<f32>> = (0..tiles).map(|_| rng.floats(d * TILE)).collect();
    let q: Vec<f32> = rng.floats(d);
    let (mut m, mut l, mut o) = ([f32::NEG_INFINITY], [0.0], vec![0.0; d]);
    let mut scores = Vec::new();
    let mut largest_sum = 0.0f64;
    for tile in 0..tiles {
        let (k, v) = (KvRef::F32(&keys[tile]), KvRef::F32(&values[tile]));
        let valid = if tile + 1 == tiles { last } else { TILE };
        reference::attend::attend_tile(&q, d, k, v, valid, &mut m, &mut l, &mut o);
        for j in 0..valid {
            let products = (0..d).map(|i| f64::from(q[i]) * f64::from(keys[tile][i * TILE + j]));
            let (s, all) = products.fold((0.0, 0.0), |(s, all), p| (s + p, all + p.abs()));
            scores.push((s, tile, j));
            largest_sum = largest_sum.max(all);
        }
    }
    reference::attend::finish(&l, &mut o);
    let max = scores.iter().fold(f64::MIN, |max, s| max.max(s.0));
    let total: f64 = scores.iter().map(|s| libm::exp(s.0 - max)).sum();
    for i in 0..d {
        let weighted = scores
            .iter()
            .map(|&(s, tile, j)| libm::exp(s - max) / total * f64::from(values[tile][j * d + i]));
        let exact: f64 = weighted.sum();
        // A score errs by d roundings of at most the sum of magnitudes, which moves its weight by as much
        // relatively (twice: also in the total); then exp, the chains over 64 positions and the merges.
        let bound = 2.0 * (d as f64 * largest_sum + 64.0 + 8.0 * tiles as f64) * EPS;
        assert!((f64::from(o[i]) - exact).abs() <= bound, "{} for {exact} +- {bound:e}", o[i]);
        assert!(bound < 5e-4);
    }
}
