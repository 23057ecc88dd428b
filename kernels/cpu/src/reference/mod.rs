//! The number contract: what every operation means, down to the last bit.
//!
//! These functions are the oracle. They are written to be read, not to be fast; every implementation that
//! ships must equal them with `==` for all inputs (for NaN: be NaN where they are).
//!
//! Throughout, arithmetic is IEEE-754 single precision, rounded to nearest even, with denormals, in exactly
//! the order written (nothing is reassociated); `fma(a, b, c)` is `a * b + c` rounded once; `/` and `sqrt`
//! are correctly rounded. A change that moves any bit raises
//! [`CONTRACT_VERSION`](crate::CONTRACT_VERSION).

pub mod attend;
pub mod delta;
pub mod linear;
pub mod math;
pub mod moe;
pub mod norm;
pub mod quantize;
pub mod rope;
pub mod silu;
