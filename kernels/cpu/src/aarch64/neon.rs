//! Byte products with the base instructions: widened to 16 bits, then added in pairs.

use super::vectors::Products;
use std::arch::aarch64::*;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Widening;

impl Products for Widening {
    const PRODUCTS: usize = 16;

    #[inline(always)]
    unsafe fn products(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the instructions are those of every AArch64 machine.
        unsafe {
            // A product is at most 128 * 127 and two of them fit 16 bits.
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)))
        }
    }
}
