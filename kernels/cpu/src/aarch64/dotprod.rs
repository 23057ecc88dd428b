//! Byte products with `sdot`: four products summed into each 32-bit lane.

use super::vectors::Products;
use std::arch::aarch64::*;
use std::arch::asm;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl Products for Dot {
    const PRODUCTS: usize = 16;

    /// (The intrinsic is not stable.)
    #[inline(always)]
    unsafe fn products(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise; only registers are used.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}
