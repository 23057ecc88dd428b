//! The gated delta net: columns of a head's memory in lanes, so that each token sweeps over them once.

use super::Simd;
use super::math::exp;
use super::silu::silu;
use crate::table::{DELTA_COLUMNS as COLUMNS, Next};

/// See `reference::delta::conv_silu`.
pub(super) fn conv_silu<S: Simd>(s: S, u: &mut [f32], before: &[&[f32]], taps: &[&[f32]]) {
    let len = u.len();
    assert!(before.len() + 1 == taps.len(), "{} rows before, {} taps", before.len(), taps.len());
    assert!(before.iter().chain(taps).all(|row| row.len() >= len), "rows of {len} channels");
    if !len.is_multiple_of(S::LANES) {
        return crate::scalar::delta::conv_silu(u, before, taps);
    }
    s.run(
        #[inline(always)]
        || {
            for i in (0..len).step_by(S::LANES) {
                // SAFETY: LANES floats from i on in every row: checked above.
                unsafe {
                    let mut y = s.splat(0.0);
                    for (row, tap) in before.iter().zip(taps) {
                        y = s.fma(s.load(tap.as_ptr().add(i)), s.load(row.as_ptr().add(i)), y);
                    }
                    let (at, tap) = (u.as_mut_ptr().add(i), taps[before.len()].as_ptr().add(i));
                    y = s.fma(s.load(tap), s.load(at), y);
                    s.store(at, silu(s, y));
                }
            }
        },
    );
}

/// See `reference::delta::sigmoid_mul`.
pub(super) fn sigmoid_mul<S: Simd>(s: S, x: &mut [f32], gate: &[f32]) {
    assert!(gate.len() >= x.len(), "{} values, {} gates", x.len(), gate.len());
    let whole = x.len() / S::LANES * S::LANES;
    s.run(
        #[inline(always)]
        || {
            let (one, sign) = (s.splat(1.0), s.splat_i32(i32::MIN));
            for i in (0..whole).step_by(S::LANES) {
                let at = x[i..i + S::LANES].as_mut_ptr();
                // SAFETY: LANES floats each.
                let (x, g) = unsafe { (s.load(at), s.load(gate[i..i + S::LANES].as_ptr())) };
                let minus = s.floats(s.xor(s.bits(g), sign));
                let sigmoid = s.div(one, s.add(one, exp(s, minus)));
                // SAFETY: LANES floats.
                unsafe { s.store(at, s.mul(x, sigmoid)) };
            }
        },
    );
    crate::scalar::delta::sigmoid_mul(&mut x[whole..], &gate[whole..]);
}

/// A row of a memory in vectors, P to sixteen columns.
type Row<S, const P: usize> = [[<S as Simd>::F; P]; COLUMNS / 16];

#[inline(always)]
fn load<S: Simd, const P: usize>(s: S, row: &[f32; COLUMNS]) -> Row<S, P> {
    let mut v = [[s.splat(0.0); P]; COLUMNS / 16];
    for (i, v) in v.as_flattened_mut().iter_mut().enumerate() {
        // SAFETY: P * LANES is 16 (`install` asserts it), so the vectors fill the row.
        *v = unsafe { s.load(row.as_ptr().add(i * S::LANES)) };
    }
    v
}

#[inline(always)]
fn store<S: Simd, const P: usize>(s: S, row: &mut [f32; COLUMNS], v: &Row<S, P>) {
    for (i, v) in v.as_flattened().iter().enumerate() {
        // SAFETY: as in `load`.
        unsafe { s.store(row.as_mut_ptr().add(i * S::LANES), *v) };
    }
}

/// `sum = v * x + sum`.
#[inline(always)]
fn add<S: Simd, const P: usize>(s: S, sum: &mut Row<S, P>, v: &Row<S, P>, x: S::F) {
    for (sum, v) in sum.as_flattened_mut().iter_mut().zip(v.as_flattened()) {
        *sum = s.fma(*v, x, *sum);
    }
}

#[inline(always)]
fn scale<S: Simd, const P: usize>(s: S, v: &mut Row<S, P>, x: S::F) {
    for v in v.as_flattened_mut() {
        *v = s.mul(*v, x);
    }
}

/// See [`DeltaReadFn`](crate::table::DeltaReadFn).
pub(super) fn read<S: Simd, const P: usize>(
    s: S,
    memory: &mut [[f32; COLUMNS]],
    next: Next,
    read: &mut [f32; COLUMNS],
) {
    s.run(
        #[inline(always)]
        || {
            let decay = s.splat(next.decay);
            let mut sums = load::<S, P>(s, &[0.0; COLUMNS]);
            for (row, k) in memory.iter_mut().zip(next.k) {
                let mut v = load::<S, P>(s, row);
                scale::<S, P>(s, &mut v, decay);
                add::<S, P>(s, &mut sums, &v, s.splat(*k));
                store::<S, P>(s, row, &v);
            }
            store::<S, P>(s, read, &sums);
        },
    );
}

/// See [`DeltaStepFn`](crate::table::DeltaStepFn).
pub(super) fn step<S: Simd, const P: usize>(
    s: S,
    memory: &mut [[f32; COLUMNS]],
    q: &[f32],
    k: &[f32],
    delta: &[f32; COLUMNS],
    out: &mut [f32; COLUMNS],
    next: Option<(Next, &mut [f32; COLUMNS])>,
) {
    s.run(
        #[inline(always)]
        || {
            let delta = load::<S, P>(s, delta);
            let mut answers = load::<S, P>(s, &[0.0; COLUMNS]);
            let rows = memory.iter_mut().zip(k).zip(q);
            let Some((next, read)) = next else {
                for ((row, k), q) in rows {
                    let mut v = load::<S, P>(s, row);
                    add::<S, P>(s, &mut v, &delta, s.splat(*k));
                    add::<S, P>(s, &mut answers, &v, s.splat(*q));
                    store::<S, P>(s, row, &v);
                }
                return store::<S, P>(s, out, &answers);
            };
            let decay = s.splat(next.decay);
            let mut sums = load::<S, P>(s, &[0.0; COLUMNS]);
            for (((row, k), q), next_k) in rows.zip(next.k) {
                let mut v = load::<S, P>(s, row);
                add::<S, P>(s, &mut v, &delta, s.splat(*k));
                add::<S, P>(s, &mut answers, &v, s.splat(*q));
                scale::<S, P>(s, &mut v, decay);
                add::<S, P>(s, &mut sums, &v, s.splat(*next_k));
                store::<S, P>(s, row, &v);
            }
            store::<S, P>(s, out, &answers);
            store::<S, P>(s, read, &sums);
        },
    );
}
