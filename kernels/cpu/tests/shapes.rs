//! Kernels are safe functions: arguments that do not fit each other may panic, never write elsewhere.

mod common;

use common::*;
use qwip_cpu::{ActsBuffer, Kernels, KvRef, Matrix, Scratch, TILE};
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
                let acts = Quantized::new(&x, cols).tiled(kernels.tokens);
                let run = |w: Matrix, x: &[f32], rows: std::ops::Range<usize>| {
                    let wanted = n * rows.len();
                    let mut found = 0;
                    let mut sink = |row: usize, t: usize, y: &[f32]| {
                        assert!(rows.contains(&row) && row + y.len() <= rows.end && t < n);
                        found += y.len();
                    };
                    let done = catch_unwind(AssertUnwindSafe(|| match kernels.linear_q(ty) {
                        Some(kernel) => {
                            kernel(&w, rows.clone(), &acts.acts(), &mut sink, &mut Scratch::default());
                        }
                        None => (kernels.linear_f)(&w, rows.clone(), x, n, &mut sink),
                    }));
                    done.is_ok() && found == wanted
                };
                let what = format!("{} {ty}, {n} tokens", kernels.isa);
                let w = matrix(ty, rows, cols, &bytes);
                assert!(run(w, &x, 0..rows), "{what}: the right shapes");
                assert!(run(w, &x, 3..rows - 2), "{what}: some rows");
                assert!(!run(w, &x, 0..rows + 1), "{what}: rows that do not exist");
                let short = Matrix { bytes: &bytes[..bytes.len() / 2], ..w };
                assert!(!run(short, &x, 0..rows), "{what}: half the weights");
                if ty.group_len().is_some() {
                    let narrow = matrix(ty, rows, 256, &bytes[..bytes.len() / 2]);
                    assert!(!run(narrow, &x, 0..rows), "{what}: too many activations");
                } else {
                    assert!(!run(w, &x[1..], 0..rows), "{what}: a value too few");
                }
            }
        }
        let none = matrix(TensorType::F32, 0, cols, &[]);
        (kernels.linear_f)(&none, 0..0, &rng.floats(cols), 1, &mut |_, _, _| panic!("a result of no rows"));
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
        let mut small = ActsBuffer::default();
        small.resize(1, 32, kernels.tokens);
        for (_, mut tile) in small.tiles_mut() {
            let done = catch_unwind(AssertUnwindSafe(|| (kernels.quantize)(&[1.0; 64], 0, &mut tile)));
            assert!(done.is_err(), "{}: a tile too short", kernels.isa);
        }

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
