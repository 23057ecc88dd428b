//! Byte products with the base instructions: widened to 16 bits, then added in pairs.

use super::vectors::Products;
use crate::acts::ActStep;
use crate::simd::linear_q::Step;
use std::arch::aarch64::*;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Widening;

impl Products for Widening {
    const PRODUCTS: usize = 16;

    #[inline(always)]
    fn run<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    unsafe fn products(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the instructions are those of every AArch64 machine.
        unsafe {
            // A product is at most 128 * 127 and two of them fit 16 bits.
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)))
        }
    }

    #[inline(always)]
    unsafe fn group<const R: usize, const G: usize, const M: usize, const T: usize>(
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        g: usize,
    ) -> [[int32x4_t; 2]; T] {
        // SAFETY: loads are of 4 rows of a step; the instructions are those of every AArch64 machine.
        unsafe {
            let mut dots = [[vdupq_n_s32(0); 2]; T];
            for j in g * (8 / G)..(g + 1) * (8 / G) {
                for half in 0..2 {
                    let codes = vld1q_s8(step.codes[j][4 * half..].as_ptr().cast());
                    for t in 0..T {
                        let x = vreinterpretq_s8_s32(vdupq_n_s32(acts.codes[t][j]));
                        dots[t][half] = Self::products(dots[t][half], codes, x);
                    }
                }
            }
            dots
        }
    }
}
