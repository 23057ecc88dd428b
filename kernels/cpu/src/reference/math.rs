//! Fused multiply-add, fixed-order sums and the exponential.

/// `a * b + c`, rounded once.
///
/// The product of two single precision numbers is exact in double precision. The sum is rounded to odd (an
/// inexact result gets a last bit of one), so that the final rounding to single precision sees on which side
/// of a tie the true value lies. Exact on every machine, whatever its C library does.
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let addend = f64::from(c);
    let sum = product + addend;
    // Knuth's two-sum: the exact error of the addition, if the sum is finite.
    let part = sum - product;
    let error = (product - (sum - part)) + (addend - part);
    let mut bits = sum.to_bits();
    if sum.is_finite() && error != 0.0 && bits & 1 == 0 {
        let away_from_zero = (error > 0.0) == (sum > 0.0);
        bits = if away_from_zero { bits + 1 } else { bits - 1 };
    }
    f64::from_bits(bits) as f32
}

/// The sum of sixteen lanes in the order in which a vector is folded in half again and again.
pub fn tree16(a: &[f32; 16]) -> f32 {
    let mut b = [0.0f32; 8];
    for i in 0..8 {
        b[i] = a[i] + a[i + 8];
    }
    let mut c = [0.0f32; 4];
    for i in 0..4 {
        c[i] = b[i] + b[i + 4];
    }
    let d = [c[0] + c[2], c[1] + c[3]];
    d[0] + d[1]
}

/// The dot product of two vectors of equal length: sixteen lanes from 0, element i goes to lane i % 16 with
/// one fma, in ascending order; then [`tree16`].
pub fn dot16(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for i in 0..w.len() {
        lanes[i % 16] = fma(w[i], x[i], lanes[i % 16]);
    }
    tree16(&lanes)
}

/// The largest argument of [`exp`]; larger ones give its value.
pub const EXP_HI: f32 = 88.0;
/// The smallest argument of [`exp`]; smaller ones give its value.
pub const EXP_LO: f32 = -87.0;
/// 1 / ln 2.
pub const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has few bits, so that its product with a small integer is exact.
pub const LN2_HIGH: f32 = 355.0 / 512.0;
/// The rest: ln 2 = `LN2_HIGH` + `LN2_LOW`.
pub const LN2_LOW: f32 = -2.121_944_4e-4;
/// exp(r) = 1 + r + r^2 p(r) for |r| <= ln 2 / 2; the coefficients of p, the highest power first.
pub const EXP_POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5];

/// e to the power of x, within 2 units in the last place for x in [`EXP_LO`]..=[`EXP_HI`]; clamped outside,
/// so the result is always finite, positive and normal. NaN gives NaN.
pub fn exp(x: f32) -> f32 {
    // The comparisons stand so that NaN passes through, as it does in the vector minimum and maximum.
    let x = if EXP_HI < x { EXP_HI } else { x };
    let x = if EXP_LO > x { EXP_LO } else { x };
    let n = (x * LOG2_E).round_ties_even();
    let r = fma(n, -LN2_HIGH, x);
    let r = fma(n, -LN2_LOW, r);
    let mut p = EXP_POLYNOMIAL[0];
    for c in &EXP_POLYNOMIAL[1..] {
        p = fma(p, r, *c);
    }
    let y = fma(p, r * r, r) + 1.0;
    y * f32::from_bits(((n as i32 + 127) as u32) << 23)
}
