//! Kernels are safe functions: arguments that do not fit each other may panic, never write elsewhere.

mod common;

use common::*;
use qwip_cpu::{Acts, Kernels, KvRef, Matrix, Scratch, TILE};
use qwip_quant::TensorType;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lends the first `len` of a larger buffer to `f` and checks that the rest is untouched; tells whether `f`
/// panicked.
fn guarded(len: usize, f: impl FnOnce(&mut [f32])) -> bool {
    let mut buffer = vec![7.5f32; len + 4096];
    let panicked = catch_unwind(AssertUnwindSafe(|| f(&mut buffer[..len]))).is_err();
    assert!(buffer[len..].iter().all(|&x| x == 7.5), "written behind the end");
    panicked
}

#[test]
fn linear_with_slices_that_are_too_short() {
    let mut rng = Rng(41);
    let (rows, cols) = (40, 512);
    for kernels in Kernels::available() {
        for ty in QUANTIZED.into_iter().chain(FLOATS) {
            let bytes = weights(&mut rng, ty, rows, cols, Fill::Encoded);
            for n in [1, 3, 9, 20] {
                let x = rng.floats(n * cols);
                let quantized = Quantized::new(&x, cols);
                let whole = quantized.acts();
                let run = |w: Matrix, acts: Acts, x: &[f32], rows: std::ops::Range<usize>, out: usize| {
                    guarded(out, |out| match kernels.linear_q(ty) {
                        Some(kernel) => kernel(&w, rows, &acts, out, &mut Scratch::default()),
                        None => (kernels.linear_f)(&w, rows, x, n, out),
                    })
                };
                let what = format!("{} {ty}, {n} tokens", kernels.isa);
                let w = matrix(ty, rows, cols, &bytes);
                assert!(!run(w, whole, &x, 0..rows, n * rows), "{what}: the right shapes");
                assert!(run(w, whole, &x, 0..rows, n * rows - 1), "{what}: one result too few");
                assert!(run(w, whole, &x, 0..rows + 1, n * (rows + 1)), "{what}: rows that do not exist");
                let short = Matrix { bytes: &bytes[..bytes.len() / 2], ..w };
                assert!(run(short, whole, &x, 0..rows, n * rows), "{what}: half the weights");
                if ty.group_len().is_some() {
                    let codes = Acts { codes: &whole.codes[1..], ..whole };
                    assert!(run(w, codes, &x, 0..rows, n * rows), "{what}: a code too few");
                    let scales = Acts { scales: &whole.scales[1..], ..whole };
                    assert!(run(w, scales, &x, 0..rows, n * rows), "{what}: a scale too few");
                } else {
                    assert!(run(w, whole, &x[1..], 0..rows, n * rows), "{what}: a value too few");
                }
            }
        }
        let none = matrix(TensorType::F32, 0, cols, &[]);
        assert!(!guarded(0, |out| (kernels.linear_f)(&none, 0..0, &rng.floats(cols), 1, out)));
    }
}

#[test]
fn rows_and_tiles_with_slices_that_are_too_short() {
    for kernels in Kernels::available() {
        // These may stop at the shortest slice instead of panicking.
        guarded(63, |out| (kernels.norm)(&[1.0; 64], &[1.0; 64], 1e-6, out));
        guarded(64, |out| (kernels.norm)(&[1.0; 64], &[1.0; 63], 1e-6, out));
        guarded(64, |gate| (kernels.silu_mul)(gate, &[1.0; 63]));
        guarded(63, |x| (kernels.rope)(x, &[1.0; 32], &[1.0; 32]));
        guarded(64, |x| (kernels.rope)(x, &[1.0; 32], &[1.0; 31]));
        guarded(1, |scales| (kernels.quantize)(&[1.0; 64], &mut [0; 64], scales, &mut [0; 4]));
        guarded(2, |scales| (kernels.quantize)(&[1.0; 64], &mut [0; 63], scales, &mut [0; 3]));

        let d = 64;
        let (tile, q) = (vec![1.0; d * TILE], vec![1.0; 2 * d]);
        let run = |tile: &[f32], valid: usize, q: &[f32], o: usize| {
            guarded(o, |o| {
                let (k, v) = (KvRef::F32(tile), KvRef::F32(tile));
                (kernels.attend_tile)(q, d, k, v, valid, &mut [f32::NEG_INFINITY; 2], &mut [0.0; 2], o);
            })
        };
        assert!(!run(&tile, TILE, &q, 2 * d), "{}: the right shapes", kernels.isa);
        assert!(run(&tile, TILE + 1, &q, 2 * d), "{}: more than a tile is visible", kernels.isa);
        assert!(run(&tile[1..], TILE, &q, 2 * d), "{}: tile too short", kernels.isa);
        assert!(run(&tile, TILE, &q[1..], 2 * d), "{}: query too short", kernels.isa);
        assert!(run(&tile, TILE, &q, 2 * d - 1), "{}: output too short", kernels.isa);
    }
}
