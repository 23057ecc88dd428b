//! Matrix products against f64 sums over the decoded weights and, where these are quantized, quantized activations: within
//! 2e-5 of the largest result.

mod common;

use common::data::{self, Fill};
use common::{Rng, assert_close, download, gpus, upload, upload_words, zeros};
use qwip_gpu::ops::linear::{self, Chosen, Input, Output, Preparation, Prepared, Rows};
use qwip_gpu::{Gpu, GpuMatrix, Span, Uploader};
use qwip_quant::{TensorType, decode_row};

/// A matrix as a file has it.
struct Weights {
    ty: TensorType,
    rows: usize,
    cols: usize,
    bytes: Vec<u8>,
}

impl Weights {
    fn random(ty: TensorType, rows: usize, cols: usize, random: &mut Rng) -> Weights {
        let bytes = data::weights(random, ty, rows, cols, Fill::Encoded);
        Weights { ty, rows, cols, bytes }
    }

    fn row(&self, r: usize) -> Vec<f32> {
        let row = self.ty.row_bytes(self.cols).expect("whole blocks");
        let mut out = vec![0.0; self.cols];
        decode_row(self.ty, &self.bytes[r * row..][..row], &mut out).expect("decodable");
        out
    }

    fn times(&self, x: &[f32]) -> Vec<f32> {
        let x = given(self.ty, x);
        (0..self.rows).map(|r| dot(&self.row(r), &x)).collect()
    }

    fn upload(&self, gpu: &Gpu, together: usize) -> GpuMatrix {
        let matrix = gpu.matrix(self.ty, self.rows, self.cols, together).expect("memory");
        let mut uploader = Uploader::new(gpu);
        uploader.rows(&matrix, 0, &self.bytes).expect("an upload");
        uploader.finish().expect("an upload");
        matrix
    }
}

/// Buffers for what is prepared.
struct Buffers {
    plain: Span,
    units: Span,
}

impl Buffers {
    fn new(gpu: &Gpu, tokens: usize, cols: usize) -> Buffers {
        Buffers { plain: zeros(gpu, tokens * cols), units: zeros(gpu, linear::unit_words(cols, tokens)) }
    }

    fn spans(&self) -> Prepared<'_> {
        Prepared { plain: &self.plain, units: &self.units }
    }
}

/// What a matrix of type `ty` is given of some tokens.
fn given(ty: TensorType, x: &[f32]) -> Vec<f32> {
    if !ty.is_quantized() {
        return x.to_vec();
    }
    let data::Quantized { codes, scales, .. } = data::Quantized::new(x, x.len());
    codes.iter().enumerate().map(|(i, code)| f32::from(*code) * scales[i / 32]).collect()
}

fn dot(w: &[f32], x: &[f32]) -> f32 {
    w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() as f32
}

fn silu(x: f32) -> f32 {
    x / (1.0 + qwip_cpu::reference::math::exp(-x))
}

fn rms_norm(x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64;
    let r = 1.0 / (mean as f32 + eps).sqrt();
    x.iter().zip(w).map(|(x, w)| x * r * w).collect()
}

/// Of sums in f32, and of codes that are one step off where a sum of squares in another order makes a tie of it.
const BOUND: f32 = 2e-5;

fn rows(span: &Span, stride: usize) -> Rows<'_> {
    Rows { span, at: 0, stride }
}

/// y = w x + bias, added to ones, for so many tokens.
fn check(gpu: &Gpu, weights: &Weights, tokens: usize, random: &mut Rng) {
    let (n, cols) = (weights.rows, weights.cols);
    let what = format!("{} {n} x {cols}, {tokens} tokens", weights.ty);
    let matrix = weights.upload(gpu, 1);
    let x = random.floats(tokens * cols);
    let bias = random.floats(n);
    let (x_span, bias_span) = (upload(gpu, &x), upload(gpu, &bias));
    let (out, buffers) = (upload(gpu, &vec![1.0; tokens * n]), Buffers::new(gpu, tokens, cols));
    let mut rec = gpu.recording();
    linear::prepare(&mut rec, rows(&x_span, cols), Preparation::Copy, buffers.spans(), cols, tokens);
    let input = buffers.spans().input(cols);
    let output = Output { y: rows(&out, n), scale: 0.5, bias: Some(&bias_span), add: true };
    linear::linear(&mut rec, &matrix, input, output, tokens);
    gpu.run(&rec).expect(&what);
    let wanted: Vec<f32> = x
        .chunks_exact(cols)
        .flat_map(|x| {
            weights.times(x).into_iter().zip(&bias).map(|(y, b)| y * 0.5 + b + 1.0).collect::<Vec<_>>()
        })
        .collect();
    assert_close(&download(gpu, &out), &wanted, BOUND, &what);
}

#[test]
fn every_type_with_one_and_with_many_tokens() {
    for gpu in gpus() {
        let mut random = Rng(1);
        for ty in TensorType::ALL.into_iter().filter(|ty| ty.is_decodable()) {
            let weights = Weights::random(ty, 37, 512, &mut random);
            check(&gpu, &weights, 1, &mut random);
            check(&gpu, &weights, 11, &mut random);
        }
    }
}

#[test]
fn every_number_of_tokens_and_odd_shapes() {
    for gpu in gpus() {
        let mut random = Rng(2);
        for tokens in [2, 3, 4, 5, 7, 8, 9, 32, 33, 64, 65, 130] {
            let weights = Weights::random(TensorType::Q4K, 70, 256, &mut random);
            check(&gpu, &weights, tokens, &mut random);
        }
        for (rows, cols) in [(1, 32), (3, 96), (129, 864), (64, 4864)] {
            for tokens in [1, 6, 40] {
                let weights = Weights::random(TensorType::Q8_0, rows, cols, &mut random);
                check(&gpu, &weights, tokens, &mut random);
            }
        }
        for ty in [TensorType::F32, TensorType::F16, TensorType::Bf16] {
            for (rows, cols) in [(5, 1), (66, 45), (64, 100)] {
                for tokens in [1, 3, 12] {
                    let weights = Weights::random(ty, rows, cols, &mut random);
                    check(&gpu, &weights, tokens, &mut random);
                }
            }
        }
    }
}

#[test]
fn large_numbers_do_not_overflow_in_half_precision() {
    for gpu in gpus() {
        let mut random = Rng(3);
        let weights = Weights::random(TensorType::Q6K, 64, 256, &mut random);
        let matrix = weights.upload(&gpu, 1);
        let mut x = random.floats(16 * 256);
        x.iter_mut().step_by(17).for_each(|x| *x *= 1e6);
        x[256..512].fill(0.0);
        let (x_span, out) = (upload(&gpu, &x), zeros(&gpu, 16 * 64));
        let buffers = Buffers::new(&gpu, 16, 256);
        let mut rec = gpu.recording();
        linear::prepare(&mut rec, rows(&x_span, 256), Preparation::Copy, buffers.spans(), 256, 16);
        let input = buffers.spans().input(256);
        let output = Output { y: rows(&out, 64), scale: 1.0, bias: None, add: false };
        linear::linear(&mut rec, &matrix, input, output, 16);
        gpu.run(&rec).expect("a product");
        let wanted: Vec<f32> = x.chunks_exact(256).flat_map(|x| weights.times(x)).collect();
        assert_close(&download(&gpu, &out), &wanted, BOUND, "large numbers");
    }
}

#[test]
fn what_is_no_number_does_not_become_one() {
    let (rows_of_matrix, cols) = (64, 256);
    for gpu in gpus() {
        let mut random = Rng(8);
        let weights = Weights::random(TensorType::Q8_0, rows_of_matrix, cols, &mut random);
        let matrix = weights.upload(&gpu, 1);
        for (bad, tokens) in
            [f32::NAN, f32::INFINITY].into_iter().flat_map(|bad| [1, 3, 12].map(|n| (bad, n)))
        {
            let mut x = random.floats(tokens * cols);
            x[40] = bad;
            let (x_span, out) = (upload(&gpu, &x), zeros(&gpu, tokens * rows_of_matrix));
            let buffers = Buffers::new(&gpu, tokens, cols);
            let mut rec = gpu.recording();
            linear::prepare(&mut rec, rows(&x_span, cols), Preparation::Copy, buffers.spans(), cols, tokens);
            let output = Output { y: rows(&out, rows_of_matrix), scale: 1.0, bias: None, add: false };
            linear::linear(&mut rec, &matrix, buffers.spans().input(cols), output, tokens);
            gpu.run(&rec).expect("a product");
            let found = download(&gpu, &out);
            let (first, others) = found.split_at(rows_of_matrix);
            assert!(first.iter().all(|y| !y.is_finite()), "{bad}, {tokens} tokens: {first:?}");
            assert!(others.iter().all(|y| y.is_finite()), "{bad}, {tokens} tokens");
        }
    }
}

#[test]
fn a_norm_before_and_a_gate_after_are_part_of_a_product() {
    for gpu in gpus() {
        let mut random = Rng(4);
        for (ty, ffn, cols) in
            [(TensorType::Q4K, 100, 512), (TensorType::F16, 33, 100), (TensorType::Q5_0, 9000, 96)]
        {
            let weights = Weights::random(ty, 2 * ffn, cols, &mut random);
            let matrix = weights.upload(&gpu, 1);
            let (x, g) = (random.floats(cols), random.floats(cols));
            let (x_span, g_span, out) = (upload(&gpu, &x), upload(&gpu, &g), zeros(&gpu, ffn));
            let mut rec = gpu.recording();
            let input = Input { x: rows(&x_span, cols), prepared: None, norm: Some((&g_span, 1e-5)) };
            linear::gated(&mut rec, &matrix, input, rows(&out, ffn), [1.5, 0.5], 1);
            assert_eq!(rec.dispatches().count(), 1);
            gpu.run(&rec).expect("a product");
            let y = weights.times(&rms_norm(&x, &g, 1e-5));
            let wanted: Vec<f32> = (0..ffn).map(|i| silu(1.5 * y[i]) * (0.5 * y[ffn + i])).collect();
            assert_close(&download(&gpu, &out), &wanted, 5e-5, &format!("{ty}"));
            // The same in two steps.
            let (both, buffers) = (zeros(&gpu, 2 * ffn), Buffers::new(&gpu, 1, ffn));
            let mut rec = gpu.recording();
            let output = Output { y: rows(&both, 2 * ffn), scale: 1.0, bias: None, add: false };
            linear::linear(&mut rec, &matrix, input, output, 1);
            linear::prepare(&mut rec, rows(&both, 2 * ffn), Preparation::Silu, buffers.spans(), ffn, 1);
            gpu.run(&rec).expect("a product");
            let wanted: Vec<f32> = (0..ffn).map(|i| silu(y[i]) * y[ffn + i]).collect();
            assert_close(&download(&gpu, &buffers.plain), &wanted, 5e-5, &format!("{ty} in two steps"));
        }
    }
}

#[test]
fn matrices_are_cut_to_fit_the_bindings() {
    let options = qwip_gpu::GpuOptions { binding_bytes: Some(64 << 10), ..Default::default() };
    let Some(gpu) = common::gpu_with(&options) else { return };
    let mut random = Rng(5);
    for (ty, rows, cols) in
        [(TensorType::Q4K, 900, 512), (TensorType::Q6K, 900, 512), (TensorType::F32, 500, 160)]
    {
        let weights = Weights::random(ty, rows, cols, &mut random);
        assert!(weights.upload(&gpu, 1).slices.len() > 2, "{ty}");
        check(&gpu, &weights, 1, &mut random);
        check(&gpu, &weights, 10, &mut random);
    }
    let error = gpu.matrix(TensorType::F32, 64, 4096, 1).expect_err("a row is larger than a binding");
    assert!(error.to_string().contains(gpu.name()) && error.to_string().contains("65536"), "{error}");
}

#[test]
fn slots_meet_the_matrices_of_their_experts() {
    let small = qwip_gpu::GpuOptions { binding_bytes: Some(64 << 10), ..Default::default() };
    for gpu in gpus().into_iter().chain(common::gpu_with(&small)) {
        let mut random = Rng(6);
        let (experts, ffn, cols, used, tokens) = (7, 48, 256, 3, 5);
        let weights = Weights::random(TensorType::Q4K, experts * 2 * ffn, cols, &mut random);
        let matrix = weights.upload(&gpu, 2 * ffn);
        let x = random.floats(tokens * cols);
        let ids: Vec<u32> = (0..tokens * used).map(|_| random.below(experts) as u32).collect();
        let factors = random.floats(2 * experts);
        let (x_span, ids_span, factors_span) =
            (upload(&gpu, &x), upload_words(&gpu, &ids), upload(&gpu, &factors));
        let out = zeros(&gpu, tokens * used * ffn);
        let mut rec = gpu.recording();
        let input = Input { x: rows(&x_span, cols), prepared: None, norm: None };
        let chosen = Chosen {
            ids: &ids_span,
            order_at: 0,
            factors: &factors_span,
            count: tokens * used,
            used,
            experts,
            rows: (0, 2 * ffn),
            part: 0,
        };
        linear::experts(&mut rec, &matrix, input, rows(&out, ffn), chosen, true);
        gpu.run(&rec).expect("products");
        let mut wanted = Vec::new();
        for (slot, &e) in ids.iter().enumerate() {
            let (e, x) = (e as usize, &given(weights.ty, &x[slot / used * cols..][..cols]));
            let y = |r: usize| dot(&weights.row(e * 2 * ffn + r), x);
            wanted.extend((0..ffn).map(|i| silu(y(i) * factors[e]) * (y(ffn + i) * factors[experts + e])));
        }
        assert_close(&download(&gpu, &out), &wanted, 5e-5, "few slots");

        // The same slots in blocks: of each expert, the number of its block, where its slots begin, and how many.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&slot| ids[slot]);
        let mut blocks = Vec::new();
        let count = experts;
        let mut at = 0;
        for e in 0..experts {
            let n = ids.iter().filter(|id| **id as usize == e).count();
            blocks.extend([e as u32, at as u32, n as u32]);
            at += n;
        }
        blocks.extend(order.iter().map(|&slot| slot as u32));
        let blocks = upload_words(&gpu, &blocks);
        let (buffers, both) = (Buffers::new(&gpu, tokens, cols), zeros(&gpu, tokens * used * 2 * ffn));
        let mut rec = gpu.recording();
        linear::prepare(&mut rec, rows(&x_span, cols), Preparation::Copy, buffers.spans(), cols, tokens);
        let input = buffers.spans().input(cols);
        for part in [0, 1] {
            let y = Rows { span: &both, at: part * ffn, stride: 2 * ffn };
            let chosen =
                Chosen { ids: &blocks, order_at: 3 * count, count, rows: (part * ffn, ffn), part, ..chosen };
            linear::experts_tiled(&mut rec, &matrix, input, y, chosen);
        }
        gpu.run(&rec).expect("products");
        let mut wanted = Vec::new();
        for (slot, &e) in ids.iter().enumerate() {
            let (e, x) = (e as usize, &given(weights.ty, &x[slot / used * cols..][..cols]));
            let factor = |i: usize| factors[if i < ffn { e } else { experts + e }];
            wanted.extend((0..2 * ffn).map(|i| dot(&weights.row(e * 2 * ffn + i), x) * factor(i)));
        }
        assert_close(&download(&gpu, &both), &wanted, BOUND, "blocks of slots");
    }
}

#[test]
fn codes_as_integers_and_as_floats_give_the_same_bits() {
    let plain = qwip_gpu::GpuOptions { plain: true, ..Default::default() };
    let ways: Vec<Gpu> = [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .filter_map(|(simple, integers)| {
            let options = if simple { plain.clone() } else { Default::default() };
            let gpu = common::gpu_with(&options)?;
            gpu.set_integer_dot(integers);
            Some(gpu)
        })
        .collect();
    for ty in [TensorType::Q8_0, TensorType::Q4K, TensorType::Q6K, TensorType::Iq3S, TensorType::Q2K] {
        let (cols, tokens, n) = (512, 40, 70);
        let mut random = Rng(7);
        let weights = Weights::random(ty, n, cols, &mut random);
        let x = random.floats(tokens * cols);
        let results = ways.iter().map(|gpu| {
            let (matrix, x, out) = (weights.upload(gpu, 1), upload(gpu, &x), zeros(gpu, tokens * n));
            let buffers = Buffers::new(gpu, tokens, cols);
            let mut rec = gpu.recording();
            linear::prepare(&mut rec, rows(&x, cols), Preparation::Copy, buffers.spans(), cols, tokens);
            let output = Output { y: rows(&out, n), scale: 1.0, bias: None, add: false };
            linear::linear(&mut rec, &matrix, buffers.spans().input(cols), output, tokens);
            gpu.run(&rec).expect("a product");
            common::words(gpu, &out)
        });
        let results: Vec<_> = results.collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{ty}");
    }
}

#[test]
fn the_faster_way_is_chosen() {
    let Some(gpu) = common::gpu() else { return };
    gpu.tune().expect("it is measured");
    gpu.tune().expect("and known");
}
