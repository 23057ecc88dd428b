//! Every kernel of every instruction set that this machine can run equals the reference, bit for bit.

mod common;

use common::*;
use half::f16;
use qwip_cpu::{ActsBuffer, Kernels, KvMut, KvRef, KvType, Scratch, TILE, kv, reference};
use qwip_quant::TensorType;

/// Token counts around the tiles of kernels.
const TOKENS: [usize; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33];

/// Checks the given rows of one matrix with one batch of tokens on all kernel sets.
fn check_linear(rng: &mut Rng, ty: TensorType, rows: usize, cols: usize, n: usize, fill: Fill) {
    let bytes = weights(rng, ty, rows, cols, fill);
    let w = matrix(ty, rows, cols, &bytes);
    let x = rng.activations(n * cols);
    check_linear_with(rng, w, n, &x, &format!("{fill:?}"));
}

fn check_linear_with(rng: &mut Rng, w: qwip_cpu::Matrix, n: usize, x: &[f32], what: &str) {
    let (ty, rows, cols) = (w.ty, w.rows, w.cols);
    let first = rng.below(rows.min(17));
    let range = first..rows - rng.below((rows - first).min(5));
    let quantized = ty.group_len().map(|_| Quantized::new(x, cols));
    let mut expected = vec![0.0; n * range.len()];
    match &quantized {
        Some(x) => reference::linear::linear_q(&w, range.clone(), &x.plain(), &mut expected),
        None => reference::linear::linear_f(&w, range.clone(), x, n, &mut expected),
    }
    let mut scratch = Scratch::default();
    for kernels in Kernels::available() {
        let mut found = vec![f32::NAN; n * range.len()];
        match &quantized {
            Some(x) => {
                let kernel = kernels.linear_q(ty).unwrap();
                let acts = x.tiled(kernels.tokens);
                let mut sink = sink(&mut found, range.start, range.len());
                kernel(&w, range.clone(), &acts.acts(), &mut sink, &mut scratch);
            }
            None => {
                (kernels.linear_f)(&w, range.clone(), x, n, &mut sink(&mut found, range.start, range.len()));
            }
        }
        let isa = kernels.isa;
        let what = format!("{isa} {ty} rows {range:?} of {rows}, {cols} columns, {n} tokens, {what}");
        assert_same(&found, &expected, &what);
    }
}

#[test]
fn quantized_linear_over_fills() {
    let mut rng = Rng(1);
    for ty in QUANTIZED {
        for fill in FILLS {
            for n in [1, 5] {
                check_linear(&mut rng, ty, 37, 512, n, fill);
            }
        }
    }
}

#[test]
fn quantized_linear_over_token_counts() {
    let mut rng = Rng(2);
    for ty in QUANTIZED {
        for n in TOKENS {
            check_linear(&mut rng, ty, 35, 256, n, Fill::Encoded);
            check_linear(&mut rng, ty, 19, 512, n, Fill::Bytes);
        }
    }
}

#[test]
fn quantized_linear_over_row_counts_and_widths() {
    let mut rng = Rng(3);
    for ty in QUANTIZED {
        for rows in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 47, 48, 65] {
            let block = ty.block_len();
            // One block, an odd number of blocks, widths that are no multiple of 256 where they may be, and more
            // columns than are unpacked at a time.
            for cols in [block, 3 * block, 7 * block, 896usize.next_multiple_of(block), 2048 + block] {
                let n = [1, 2, 3, 9][rng.below(4)];
                check_linear(&mut rng, ty, rows, cols, n, Fill::Encoded);
            }
        }
    }
}

#[test]
fn quantized_linear_at_the_largest_integer_sums() {
    let mut rng = Rng(4);
    for ty in QUANTIZED {
        let cols = 1024;
        for sign in [1.0, -1.0] {
            // All activation codes are 127 or -127; then alternating, so that sums of pairs cancel or not.
            let constant = vec![sign * 3.0; 2 * cols];
            let alternating: Vec<f32> =
                (0..2 * cols).map(|i| if i % 2 == 0 { sign } else { -sign }).collect();
            for x in [constant, alternating] {
                for byte in [0x00, 0xff, 0x7f, 0x80, 0xf0, 0x0f, 0x88] {
                    let bytes = weights(&mut rng, ty, 33, cols, Fill::Extreme(byte));
                    check_linear_with(&mut rng, matrix(ty, 33, cols, &bytes), 2, &x, "extreme");
                }
            }
        }
    }
}

#[test]
fn activations_that_are_not_finite_give_nan() {
    let mut rng = Rng(5);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for ty in QUANTIZED.into_iter().chain(FLOATS) {
            let bytes = weights(&mut rng, ty, 20, 256, Fill::Encoded);
            let w = matrix(ty, 20, 256, &bytes);
            for n in [1, 4] {
                let mut x = rng.activations(n * 256);
                x[200] = bad;
                check_linear_with(&mut rng, w, n, &x, "not finite");
                for kernels in Kernels::available() {
                    let mut out = vec![0.0; n * 20];
                    match kernels.linear_q(ty) {
                        Some(kernel) => {
                            let x = Quantized::new(&x, 256);
                            let acts = x.tiled(kernels.tokens);
                            kernel(
                                &w,
                                0..20,
                                &acts.acts(),
                                &mut sink(&mut out, 0, 20),
                                &mut Scratch::default(),
                            );
                        }
                        None => (kernels.linear_f)(&w, 0..20, &x, n, &mut sink(&mut out, 0, 20)),
                    }
                    // Token 0 is spoilt, the others are not.
                    assert!(out[..20].iter().all(|y| !y.is_finite()), "{} {ty}", kernels.isa);
                    assert!(out[20..].iter().all(|y| y.is_finite()), "{} {ty}", kernels.isa);
                }
            }
        }
    }
}

#[test]
fn float_linear() {
    let mut rng = Rng(6);
    for ty in FLOATS {
        for n in TOKENS {
            check_linear(&mut rng, ty, 21, 128, n, Fill::Encoded);
        }
        for cols in [1, 2, 7, 8, 15, 16, 17, 31, 33, 47, 100, 255, 256, 257, 300, 1000] {
            for rows in [1, 3, 8, 18] {
                let n = [1, 2, 6][rng.below(3)];
                check_linear(&mut rng, ty, rows, cols, n, Fill::Encoded);
                check_linear(&mut rng, ty, rows, cols, n, Fill::Bytes);
            }
        }
        // More of everything than is multiplied at a time.
        check_linear(&mut rng, ty, 71, 1041, 103, Fill::Encoded);
    }
}

#[test]
fn quantize() {
    let mut rng = Rng(7);
    let mut rows: Vec<Vec<f32>> = vec![vec![0.0; 64], vec![-0.0; 64], vec![1e-30; 32], vec![9.9e-31; 32]];
    for amax in [1e-38, 1e-31, 0.99e-30, 1e-30, 1.01e-30, 1e-10, 1.0, 127.0, 254.0, 1e20, f32::MAX] {
        let mut x: Vec<f32> = rng.floats(96).iter().map(|x| x * amax).collect();
        x[rng.below(96)] = amax;
        x[rng.below(96)] = -amax;
        rows.push(x);
    }
    // Halves, where the rounding of ties shows: amax 127 makes the factor exactly 1.
    rows.push((0..128).map(|i| if i % 32 == 0 { 127.0 } else { i as f32 / 2.0 - 31.0 }).collect());
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = rng.floats(96);
        x[45] = bad;
        rows.push(x);
    }
    for _ in 0..200 {
        let blocks = 1 + rng.below(9);
        rows.push((0..blocks * 32).map(|_| f32::from_bits(rng.bits() & 0xbfff_ffff)).collect());
        rows.push(rng.activations(blocks * 32));
    }
    for x in rows {
        let expected = Quantized::new(&x, x.len());
        for kernels in Kernels::available() {
            for (width, t) in [(1, 0), (4, 2)] {
                let mut buffer = ActsBuffer::default();
                buffer.resize(width, x.len(), kernels.tokens);
                for (_, mut tile) in buffer.tiles_mut() {
                    (kernels.quantize)(&x, t, &mut tile);
                }
                for tile in buffer.acts().tiles() {
                    for step in 0..x.len() / 32 {
                        let what = format!("{} step {step} of {x:?}", kernels.isa);
                        assert_eq!(tile.codes(step, t)[..], expected.codes[step * 32..][..32], "{what}");
                        assert_eq!(tile.half_sums(step, t)[..], expected.sums[step * 2..][..2], "{what}");
                        assert_same(&[tile.scale(step, t)], &expected.scales[step..=step], &what);
                    }
                }
            }
        }
    }
}

#[test]
fn norms_of_every_length() {
    let mut rng = Rng(8);
    for n in (1..70).chain([80, 127, 128, 129, 255, 256, 896, 1000, 1024, 1025]) {
        for scale in [1.0, 1e-20, 1e15] {
            let x: Vec<f32> = rng.activations(n).iter().map(|x| x * scale).collect();
            let w = rng.floats(n);
            let mut expected = vec![0.0; n];
            reference::norm::rms_norm(&x, &w, 1e-6, &mut expected);
            for kernels in Kernels::available() {
                let mut found = vec![f32::NAN; n];
                (kernels.norm)(&x, &w, 1e-6, &mut found);
                assert_same(&found, &expected, &format!("{} norm of {n}", kernels.isa));
            }
        }
    }
}

#[test]
fn rope() {
    let mut rng = Rng(9);
    for (d, n_rot) in
        [(64, 64), (80, 80), (128, 128), (128, 64), (256, 64), (96, 24), (20, 14), (8, 2), (64, 0)]
    {
        let x = rng.activations(d);
        let (cos, sin) = (rng.floats(n_rot / 2), rng.floats(n_rot / 2));
        let mut expected = x.clone();
        reference::rope::rope(&mut expected, &cos, &sin);
        assert_same(&expected[n_rot..], &x[n_rot..], &"elements behind n_rot");
        for kernels in Kernels::available() {
            let mut found = x.clone();
            (kernels.rope)(&mut found, &cos, &sin);
            assert_same(&found, &expected, &format!("{} rope of {n_rot} in {d}", kernels.isa));
        }
    }
}

/// Runs `g` through the gate with `up` = 1 on all kernel sets; the exponential shows in every result.
fn check_silu(g: &[f32], up: &[f32]) {
    let mut expected = g.to_vec();
    reference::silu::silu_mul(&mut expected, up);
    for kernels in Kernels::available() {
        let mut found = g.to_vec();
        (kernels.silu_mul)(&mut found, up);
        assert_same(&found, &expected, &format!("{} silu", kernels.isa));
    }
}

#[test]
fn silu() {
    let mut rng = Rng(10);
    // Every 2003rd bit pattern, NaNs and infinities included.
    let all: Vec<f32> = (0..u32::MAX / 2003).map(|i| f32::from_bits(i * 2003)).collect();
    check_silu(&all, &vec![1.0; all.len()]);
    for n in 0..70 {
        let g: Vec<f32> = rng.floats(n).iter().map(|g| g * 20.0).collect();
        check_silu(&g, &rng.floats(n));
    }
}

/// The keys and values of one kv head, `tiles` tiles in one storage type.
struct Cache {
    ty: KvType,
    floats: [Vec<f32>; 2],
    halves: [Vec<f16>; 2],
    codes: [Vec<i8>; 2],
    scales: [Vec<f16>; 2],
}

impl Cache {
    /// One tile, every position filled.
    fn new(rng: &mut Rng, ty: KvType, d: usize, magnitude: f32) -> Cache {
        let (elements, scales) = (ty.tile_elements(d), ty.tile_scales(d));
        let mut cache = Cache {
            ty,
            floats: [vec![0.0; elements], vec![0.0; elements]],
            halves: [vec![f16::ZERO; elements], vec![f16::ZERO; elements]],
            codes: [vec![0; elements], vec![0; elements]],
            scales: [vec![f16::ZERO; scales], vec![f16::ZERO; scales]],
        };
        for slot in 0..TILE {
            let x: Vec<f32> = rng.floats(d).iter().map(|x| x * magnitude).collect();
            kv::store_key(&x, slot, cache.part(0));
            kv::store_value(&rng.floats(d), slot, cache.part(1));
        }
        cache
    }

    fn part(&mut self, i: usize) -> KvMut<'_> {
        match self.ty {
            KvType::F32 => KvMut::F32(&mut self.floats[i]),
            KvType::F16 => KvMut::F16(&mut self.halves[i]),
            KvType::Q8_0 => KvMut::Q8_0 { codes: &mut self.codes[i], scales: &mut self.scales[i] },
        }
    }

    fn view(&self, i: usize) -> KvRef<'_> {
        match self.ty {
            KvType::F32 => KvRef::F32(&self.floats[i]),
            KvType::F16 => KvRef::F16(&self.halves[i]),
            KvType::Q8_0 => KvRef::Q8_0 { codes: &self.codes[i], scales: &self.scales[i] },
        }
    }
}

/// Runs tiles of the given numbers of visible positions, one after another, on all kernel sets.
fn check_attend(q: &[f32], d: usize, group: usize, tiles: &[(&Cache, usize)]) {
    let run = |kernel: qwip_cpu::table::AttendTileFn| {
        let mut m = vec![f32::NEG_INFINITY; group];
        let mut l = vec![0.0; group];
        let mut o = vec![0.0; group * d];
        for (cache, valid) in tiles {
            kernel(q, d, cache.view(0), cache.view(1), *valid, &mut m, &mut l, &mut o);
        }
        reference::attend::finish(&l, &mut o);
        (l, o)
    };
    let (l, o) = run(reference::attend::attend_tile);
    for kernels in Kernels::available() {
        let valid: Vec<usize> = tiles.iter().map(|tile| tile.1).collect();
        let what = format!("{} attend, d {d}, group {group}, valid {valid:?}", kernels.isa);
        let (found_l, found_o) = run(kernels.attend_tile);
        assert_same(&found_l, &l, &what);
        assert_same(&found_o, &o, &what);
    }
}

#[test]
fn attention() {
    let mut rng = Rng(11);
    for ty in [KvType::F32, KvType::F16, KvType::Q8_0] {
        for d in [64, 80, 96, 128, 256] {
            if !ty.fits(d) {
                continue;
            }
            let caches = [1.0, 8.0, 0.01].map(|magnitude| Cache::new(&mut rng, ty, d, magnitude));
            for group in [1, 2, 7, 12] {
                let q = rng.floats(group * d);
                for valid in 1..=TILE {
                    // Every count for one shape, some for the others.
                    if (d, group) == (64, 2) || [1, 15, 16, 17, 33, 63, 64].contains(&valid) {
                        check_attend(&q, d, group, &[(&caches[0], valid)]);
                        check_attend(
                            &q,
                            d,
                            group,
                            &[(&caches[0], TILE), (&caches[1], TILE), (&caches[2], valid)],
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_in_the_cache_is_never_lost() {
    let mut rng = Rng(12);
    let d = 64;
    for ty in [KvType::F32, KvType::F16, KvType::Q8_0] {
        let good = Cache::new(&mut rng, ty, d, 1.0);
        let all_bad = Cache::new(&mut rng, ty, d, f32::NAN);
        let mut one_bad = Cache::new(&mut rng, ty, d, 1.0);
        kv::store_key(&vec![f32::INFINITY; d], 17, one_bad.part(0));
        let q = rng.floats(2 * d);
        for bad in [&all_bad, &one_bad] {
            for tiles in [[(bad, 64), (&good, 64)], [(&good, 64), (bad, 18)]] {
                check_attend(&q, d, 2, &tiles);
                let (mut m, mut l, mut o) = (vec![f32::NEG_INFINITY; 2], vec![0.0; 2], vec![0.0; 2 * d]);
                for (cache, valid) in tiles {
                    let (k, v) = (cache.view(0), cache.view(1));
                    reference::attend::attend_tile(&q, d, k, v, valid, &mut m, &mut l, &mut o);
                }
                assert!(l.iter().chain(&o).all(|x| x.is_nan()), "{ty:?}");
            }
        }
    }
}
