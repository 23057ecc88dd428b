//! Fused multiply-add, fixed-order sums and the exponential, quick versions.

use crate::reference::math as reference;

/// `a * b + c`, rounded once: the machine's instruction where the target always has one, else exact
/// arithmetic in double precision. Never a call into the C library, some of which get it wrong.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        soft_fma(a, b, c)
    }
}

/// The sum in double precision decides the result alone unless it lies exactly between two single precision
/// numbers, or in their subnormal range where "between" is elsewhere; only then its rounding error matters.
#[inline]
fn soft_fma(a: f32, b: f32, c: f32) -> f32 {
    let sum = f64::from(a) * f64::from(b) + f64::from(c);
    let tie = sum.to_bits() & 0x1fff_ffff == 0x1000_0000;
    if !tie && sum.abs() >= f64::from(f32::MIN_POSITIVE) { sum as f32 } else { reference::fma(a, b, c) }
}

/// [`reference::dot16`] for slices of equal length.
pub fn dot16(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    add_products(w, x, &mut lanes);
    reference::tree16(&lanes)
}

/// Adds the products of the elements to their lanes. Longer vectors may come in pieces whose lengths, but
/// for the last, are multiples of 16.
#[inline]
pub fn add_products(w: &[f32], x: &[f32], lanes: &mut [f32; 16]) {
    let (w_chunks, w_rest) = w.as_chunks::<16>();
    let (x_chunks, x_rest) = x.as_chunks::<16>();
    for (w, x) in w_chunks.iter().zip(x_chunks) {
        for i in 0..16 {
            lanes[i] = fma(w[i], x[i], lanes[i]);
        }
    }
    for (i, (w, x)) in w_rest.iter().zip(x_rest).enumerate() {
        lanes[i] = fma(*w, *x, lanes[i]);
    }
}

/// [`reference::exp`].
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if reference::EXP_HI < x { reference::EXP_HI } else { x };
    let x = if reference::EXP_LO > x { reference::EXP_LO } else { x };
    // |n| is at most 127: adding and subtracting 1.5 x 2^23 rounds it to an integer, ties to even, without a
    // library call.
    const SHIFT: f32 = 12_582_912.0;
    let n = (x * reference::LOG2_E + SHIFT) - SHIFT;
    let r = fma(n, -reference::LN2_HIGH, x);
    let r = fma(n, -reference::LN2_LOW, r);
    let mut p = reference::EXP_POLYNOMIAL[0];
    for c in &reference::EXP_POLYNOMIAL[1..] {
        p = fma(p, r, *c);
    }
    let y = fma(p, r * r, r) + 1.0;
    y * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: f32, b: f32, c: f32) {
        // The test machines' C libraries round fma correctly.
        let expected = a.mul_add(b, c);
        for (name, found) in [("soft", soft_fma(a, b, c)), ("reference", reference::fma(a, b, c))] {
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{name}: fma({a:e}, {b:e}, {c:e}) = {found:e}, expected {expected:e}");
        }
    }

    #[test]
    fn fma_is_exact_on_edge_patterns() {
        let mut edges = vec![0u32, 1, 2, 3, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x3f80_0000, 0x3f80_0001];
        edges.extend([0x3f7f_ffff, 0x3f00_0000, 0x3380_0000, 0x3300_0000, 0x4b00_0000, 0x4b80_0001]);
        edges.extend([
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0000,
            0x1000_0001,
            0x2000_0001,
            0x5f00_0001,
            0x2080_0000,
        ]);
        edges.extend([0x1f80_0001, 0x1f7f_ffff, 0x2000_0000, 0x0040_0000, 0x3fff_ffff, 0x3fc0_0000]);
        for sign in [0, 1 << 31] {
            for &a in &edges {
                for &b in &edges {
                    for &c in &edges {
                        check(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c | sign));
                    }
                }
            }
        }
    }

    #[test]
    fn fma_is_exact_on_random_patterns() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u32
        };
        for _ in 0..2_000_000 {
            check(f32::from_bits(next()), f32::from_bits(next()), f32::from_bits(next()));
        }
        // Few significant bits and near exponents, where ties and cancellation are common, around one and
        // around the smallest normal number.
        let coarse = |bits: u32, exponent: u32| {
            f32::from_bits((bits & 0x807f_8003) | ((exponent + (bits >> 24) % 28) << 23))
        };
        for _ in 0..2_000_000 {
            let (a, b, c) = (next(), next(), next());
            check(coarse(a, 113), coarse(b, 113), coarse(c, 100));
            check(coarse(a, 50), coarse(b, 50), coarse(c, 0));
        }
    }
}
