//! Every kernel of this architecture against `reference/`: equal, or NaN where it is NaN.

use crate::table::{Acts, Kernels, KvRef, Matrix, Scratch};
use crate::{Isa, TILE, reference};
use half::f16;
use qwip_quant::{TensorType, encode_row};

const TYPES: [TensorType; 13] = [
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2K,
    TensorType::Q3K,
    TensorType::Q4K,
    TensorType::Q5K,
    TensorType::Q6K,
    TensorType::Iq4Nl,
    TensorType::Iq4Xs,
    TensorType::Mxfp4,
];

fn sets() -> impl Iterator<Item = &'static Kernels> {
    [Isa::Avx2, Isa::Avx512Vnni].into_iter().filter_map(Kernels::new)
}

/// A small generator (splitmix64): the same numbers on every run.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In -1..1, with a few large and tiny ones.
    fn float(&mut self) -> f32 {
        let bits = self.bits();
        let unit = (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        match bits & 63 {
            0 => unit * 1e4,
            1 => unit * 1e-8,
            2 => 0.0,
            _ => unit,
        }
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.bits() >> 32) as u8).collect()
    }
}

#[track_caller]
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(f == e || (f.is_nan() && e.is_nan()), "{what}: element {i} is {f:e}, expected {e:e}");
    }
}

struct Quantized {
    n: usize,
    cols: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Quantized {
    fn new(x: &[f32], cols: usize) -> Self {
        let n = x.len() / cols;
        let (mut codes, mut scales, mut sums) =
            (vec![0; n * cols], vec![0.0; n * cols / 32], vec![0; n * cols / 16]);
        reference::quantize::quantize(x, &mut codes, &mut scales, &mut sums);
        Quantized { n, cols, codes, scales, sums }
    }

    fn acts(&self) -> Acts<'_> {
        Acts { n: self.n, cols: self.cols, codes: &self.codes, scales: &self.scales, sums: &self.sums }
    }
}

fn check_linear_q(w: &Matrix, x: &Quantized, rows: std::ops::Range<usize>, scratch: &mut Scratch) {
    let mut expected = vec![0.0; x.n * rows.len()];
    reference::linear::linear_q(w, rows.clone(), &x.acts(), &mut expected);
    for kernels in sets() {
        let linear = kernels.linear_q(w.ty).unwrap();
        let mut found = vec![f32::NAN; expected.len()];
        linear(w, rows.clone(), &x.acts(), &mut found, scratch);
        let what =
            format!("{kernels:?} {} rows {rows:?} of {} x {}, {} tokens", w.ty.name(), w.rows, w.cols, x.n);
        assert_same(&found, &expected, &what);
    }
}

#[test]
fn quantized_linears_of_encoded_rows() {
    let mut random = Random(1);
    let mut scratch = Scratch::default();
    for ty in TYPES {
        for blocks in [1, 2, 5] {
            let cols = ty.block_len().max(32) * blocks;
            let rows = 37;
            let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
            for row in bytes.chunks_exact_mut(ty.row_bytes(cols).unwrap()) {
                encode_row(ty, &random.floats(cols), row).unwrap();
            }
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            for n in [1, 2, 3, 4, 5, 16, 31] {
                let x = Quantized::new(&random.floats(n * cols), cols);
                for range in [0..37, 0..16, 3..8, 30..37, 20..37, 5..5, 36..37] {
                    check_linear_q(&w, &x, range, &mut scratch);
                }
            }
        }
    }
}

/// Random bits reach every code and scale, minus zero, infinity and NaN.
#[test]
fn quantized_linears_of_arbitrary_bytes() {
    let mut random = Random(2);
    let mut scratch = Scratch::default();
    for ty in TYPES {
        // MXFP4 has no NaN but an exponent byte that is an error.
        let cols = ty.block_len().max(32);
        for rows in [1, 7, 8, 16, 19] {
            let mut bytes = random.bytes(rows * ty.row_bytes(cols).unwrap());
            if ty == TensorType::Mxfp4 {
                bytes.iter_mut().step_by(ty.block_bytes()).for_each(|e| *e = (*e).min(254));
            }
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            for n in [1, 2, 4, 7, 24] {
                let x = Quantized::new(&random.floats(n * cols), cols);
                check_linear_q(&w, &x, 0..rows, &mut scratch);
            }
        }
    }
}

/// The largest products of codes: nothing may saturate.
#[test]
fn quantized_linears_at_the_limits() {
    let mut scratch = Scratch::default();
    for ty in TYPES {
        let cols = ty.block_len().max(32) * 2;
        for fill in [0x00u8, 0x0f, 0xf0, 0x7f, 0x80, 0xff] {
            let rows = 16;
            let mut bytes = vec![fill; rows * ty.row_bytes(cols).unwrap()];
            // The first two bytes of every block are a scale (or a part of codes), made finite; the last two
            // are the scale of Q6_K and Q3_K.
            for block in bytes.chunks_exact_mut(ty.block_bytes()) {
                let at = if matches!(ty, TensorType::Q6K | TensorType::Q3K) { block.len() - 2 } else { 0 };
                if ty == TensorType::Mxfp4 {
                    block[0] = 127;
                } else {
                    block[at..at + 2].copy_from_slice(&f16::ONE.to_le_bytes());
                }
            }
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            for sign in [1.0, -1.0] {
                for n in [1, 5] {
                    let x = Quantized::new(&vec![sign; n * cols], cols);
                    check_linear_q(&w, &x, 0..rows, &mut scratch);
                }
            }
        }
    }
}

#[test]
fn non_finite_activations_stay_visible() {
    let mut random = Random(3);
    let (rows, cols) = (16, 512);
    let mut x = random.floats(2 * cols);
    x[40] = f32::NAN;
    x[cols + 300] = f32::INFINITY;
    let x = Quantized::new(&x, cols);
    for ty in TYPES {
        let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
        for row in bytes.chunks_exact_mut(ty.row_bytes(cols).unwrap()) {
            encode_row(ty, &random.floats(cols), row).unwrap();
        }
        let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
        check_linear_q(&w, &x, 0..rows, &mut Scratch::default());
    }
}

#[test]
fn float_linears() {
    let mut random = Random(4);
    for ty in [TensorType::F32, TensorType::F16, TensorType::Bf16] {
        for cols in [1, 8, 15, 16, 17, 48, 100, 1000] {
            let rows = 11;
            let mut bytes = vec![0; rows * ty.row_bytes(cols).unwrap()];
            for row in bytes.chunks_exact_mut(ty.row_bytes(cols).unwrap()) {
                encode_row(ty, &random.floats(cols), row).unwrap();
            }
            let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
            for n in [1, 2, 4, 7] {
                let x = random.floats(n * cols);
                for range in [0..rows, 0..4, 3..9, 10..11, 2..2] {
                    let mut expected = vec![0.0; n * range.len()];
                    reference::linear::linear_f(&w, range.clone(), &x, n, &mut expected);
                    for kernels in sets() {
                        let mut found = vec![f32::NAN; expected.len()];
                        (kernels.linear_f)(&w, range.clone(), &x, n, &mut found);
                        assert_same(
                            &found,
                            &expected,
                            &format!("{kernels:?} {ty:?} {range:?} x {cols}, {n} tokens"),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn quantize_equals_reference() {
    let mut random = Random(5);
    let mut x = random.floats(64 * 32);
    x.extend([f32::NAN; 1].iter().chain(&[1.0; 31]));
    x.extend([f32::NEG_INFINITY; 1].iter().chain(&[1.0; 31]));
    x.extend([0.0; 32]);
    x.extend([1e-31; 32]);
    x.extend([-1e-30; 32]);
    x.extend([f32::MAX; 32]);
    // Halfway cases: scale 1, fractions of one half.
    x.extend((0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 0.5 }));
    let expected = Quantized::new(&x, x.len());
    for kernels in sets() {
        let mut found = Quantized::new(&vec![1.0; x.len()], x.len());
        (kernels.quantize)(&x, &mut found.codes, &mut found.scales, &mut found.sums);
        assert_eq!(found.codes, expected.codes, "{kernels:?}");
        assert_eq!(found.sums, expected.sums, "{kernels:?}");
        assert_same(&found.scales, &expected.scales, &format!("{kernels:?}"));
    }
}

#[test]
fn norm_rope_and_silu_equal_reference() {
    let mut random = Random(6);
    for n in [2, 16, 30, 33, 64, 128, 896] {
        let (x, w) = (random.floats(n), random.floats(n));
        let angles = random.floats(n);
        let half = n / 2;
        let (cos, sin) = (&angles[..half], &angles[half..2 * half]);
        let mut expected = [vec![0.0; n], x.clone(), x.clone()];
        reference::norm::rms_norm(&x, &w, 1e-6, &mut expected[0]);
        reference::rope::rope(&mut expected[1], cos, sin);
        reference::silu::silu_mul(&mut expected[2], &w);
        for kernels in sets() {
            let mut found = [vec![0.0; n], x.clone(), x.clone()];
            (kernels.norm)(&x, &w, 1e-6, &mut found[0]);
            (kernels.rope)(&mut found[1], cos, sin);
            (kernels.silu_mul)(&mut found[2], &w);
            for (found, expected) in found.iter().zip(&expected) {
                assert_same(found, expected, &format!("{kernels:?} {n}"));
            }
        }
        // Part of a head: the rest stays.
        let (cos, sin) = (&cos[..half / 2], &sin[..half / 2]);
        let mut expected = x.clone();
        reference::rope::rope(&mut expected, cos, sin);
        for kernels in sets() {
            let mut found = x.clone();
            (kernels.rope)(&mut found, cos, sin);
            assert_same(&found, &expected, &format!("{kernels:?} half of {n}"));
        }
    }
}

/// One tile in each of the three formats.
struct Stored {
    floats: Vec<f32>,
    halves: Vec<f16>,
    codes: Vec<i8>,
    scales: Vec<f16>,
}

impl Stored {
    fn new(random: &mut Random, d: usize) -> Self {
        let floats = random.floats(d * TILE);
        let halves = floats.iter().map(|v| f16::from_f32(*v)).collect();
        let codes = random.bytes(d * TILE).into_iter().map(|b| (b as i8).max(-127)).collect();
        let scales = (0..d / 32 * TILE).map(|_| f16::from_f32(random.float().abs() * 0.01)).collect();
        Stored { floats, halves, codes, scales }
    }

    fn formats(&self) -> [KvRef<'_>; 3] {
        [
            KvRef::F32(&self.floats),
            KvRef::F16(&self.halves),
            KvRef::Q8_0 { codes: &self.codes, scales: &self.scales },
        ]
    }
}

#[test]
fn attention_equals_reference() {
    let mut random = Random(7);
    for d in [32, 64, 80, 96, 128, 24] {
        for heads in [1, 2, 4, 7] {
            let tiles: Vec<[Stored; 2]> =
                (0..3).map(|_| [Stored::new(&mut random, d), Stored::new(&mut random, d)]).collect();
            let mut q = random.floats(heads * d);
            for format in 0..3 {
                if format == 2 && d % 32 != 0 {
                    continue;
                }
                for valid in [1, 15, 16, 17, 40, 63, 64] {
                    if valid == 40 {
                        q[0] = f32::NAN;
                    }
                    let run = |attend: crate::table::AttendTileFn| {
                        let mut state =
                            [vec![f32::NEG_INFINITY; heads], vec![0.0; heads], vec![0.0; heads * d]];
                        for (i, [k, v]) in tiles.iter().enumerate() {
                            let valid = if i == 2 { valid } else { TILE };
                            let [m, l, o] = &mut state;
                            attend(&q, d, k.formats()[format], v.formats()[format], valid, m, l, o);
                        }
                        state
                    };
                    let expected = run(reference::attend::attend_tile);
                    for kernels in sets() {
                        let what =
                            format!("{kernels:?} {heads} heads of {d}, format {format}, {valid} visible");
                        for (found, expected) in run(kernels.attend_tile).iter().zip(&expected) {
                            assert_same(found, expected, &what);
                        }
                    }
                }
                q[0] = 0.5;
            }
        }
    }
}
