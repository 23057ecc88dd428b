//! The exponential, lane by lane.

use super::Simd;
use crate::reference::math::{EXP_HI, EXP_LO, EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, LOG2_E};

/// `reference::math::exp` of every lane.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // These give their second operand when either is NaN.
    let x = s.smaller(s.splat(EXP_HI), x);
    let x = s.larger(s.splat(EXP_LO), x);
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(EXP_POLYNOMIAL[0]);
    for c in &EXP_POLYNOMIAL[1..] {
        p = s.fma(p, r, s.splat(*c));
    }
    let y = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    let power = s.add_i32(s.to_int(n), s.splat_i32(127));
    s.mul(y, s.floats(s.shl(power, 23)))
}
