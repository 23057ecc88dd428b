//! The gated delta net.

use super::math::{exp, fma};
use crate::table::{DELTA_COLUMNS as COLUMNS, Next};

/// [`reference::conv_silu`](crate::reference::delta::conv_silu).
pub fn conv_silu(u: &mut [f32], before: &[&[f32]], taps: &[&[f32]]) {
    for i in 0..u.len() {
        let mut y = 0.0;
        for (row, tap) in before.iter().zip(taps) {
            y = fma(tap[i], row[i], y);
        }
        y = fma(taps[before.len()][i], u[i], y);
        u[i] = y / (1.0 + exp(-y));
    }
}

/// [`reference::sigmoid_mul`](crate::reference::delta::sigmoid_mul).
pub fn sigmoid_mul(x: &mut [f32], gate: &[f32]) {
    for (x, g) in x.iter_mut().zip(gate) {
        *x *= 1.0 / (1.0 + exp(-*g));
    }
}

/// See [`DeltaReadFn`](crate::table::DeltaReadFn).
pub fn read(s: &mut [[f32; COLUMNS]], next: Next, read: &mut [f32; COLUMNS]) {
    *read = [0.0; COLUMNS];
    for (row, k) in s.iter_mut().zip(next.k) {
        for (s, read) in row.iter_mut().zip(&mut *read) {
            *s *= next.decay;
            *read = fma(*s, *k, *read);
        }
    }
}

/// See [`DeltaStepFn`](crate::table::DeltaStepFn).
pub fn step(
    s: &mut [[f32; COLUMNS]],
    q: &[f32],
    k: &[f32],
    delta: &[f32; COLUMNS],
    out: &mut [f32; COLUMNS],
    next: Option<(Next, &mut [f32; COLUMNS])>,
) {
    *out = [0.0; COLUMNS];
    for ((row, k), q) in s.iter_mut().zip(k).zip(q) {
        for j in 0..COLUMNS {
            row[j] = fma(*k, delta[j], row[j]);
            out[j] = fma(row[j], *q, out[j]);
        }
    }
    if let Some((next, result)) = next {
        read(s, next, result);
    }
}
