//! Byte products with `sdot`: four products summed into each 32-bit lane.

use super::vectors::Products;
use crate::acts::ActStep;
use crate::simd::linear_q::Step;
use std::arch::aarch64::*;
use std::arch::asm;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl Products for Dot {
    const PRODUCTS: usize = 16;

    #[inline(always)]
    fn run<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

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

    #[inline(always)]
    unsafe fn group<const R: usize, const G: usize, const M: usize, const T: usize>(
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        g: usize,
    ) -> [[int32x4_t; 2]; T] {
        // SAFETY: loads are of 4 rows of a step; the caller promises the instructions.
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
