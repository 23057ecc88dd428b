//! Byte products with `smmla`: two rows times two tokens, eight bytes of each.

use super::dotprod::Dot;
use super::vectors::Products;
use crate::acts::ActStep;
use crate::simd::linear_q::Step;
use std::arch::aarch64::*;
use std::arch::asm;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct MatrixProduct;

impl Products for MatrixProduct {
    const PRODUCTS: usize = 32;

    /// Of eight bytes each: row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1. (The intrinsic is not
    /// stable.)
    #[inline(always)]
    unsafe fn products(mut sum: int32x4_t, rows: int8x16_t, tokens: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise; only registers are used.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                "smmla {sum:v}.4s, {rows:v}.16b, {tokens:v}.16b",
                sum = inout(vreg) sum, rows = in(vreg) rows, tokens = in(vreg) tokens,
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
        if T == 1 {
            // SAFETY: the caller promises `smmla`, and machines that have it have `sdot`.
            return unsafe { Dot::group(step, acts, g) };
        }
        // SAFETY: loads are of 4 rows of a step and of 8 codes of a token; the caller promises the instructions.
        unsafe {
            let mut dots = [[vdupq_n_s32(0); 2]; T];
            for half in 0..2 {
                // Two rows times two tokens each: rows 0 1, rows 2 3.
                let mut squares = [[vdupq_n_s32(0); 2]; T];
                for j in (g * (8 / G)..(g + 1) * (8 / G)).step_by(2) {
                    let first = vld1q_s32(step.codes[j][4 * half..].as_ptr().cast());
                    let second = vld1q_s32(step.codes[j + 1][4 * half..].as_ptr().cast());
                    let rows01 = vreinterpretq_s8_s32(vzip1q_s32(first, second));
                    let rows23 = vreinterpretq_s8_s32(vzip2q_s32(first, second));
                    for t in (0..T / 2 * 2).step_by(2) {
                        let tokens = vcombine_s32(
                            vld1_s32(acts.codes[t][j..].as_ptr()),
                            vld1_s32(acts.codes[t + 1][j..].as_ptr()),
                        );
                        let tokens = vreinterpretq_s8_s32(tokens);
                        squares[t][0] = Self::products(squares[t][0], rows01, tokens);
                        squares[t][1] = Self::products(squares[t][1], rows23, tokens);
                    }
                    if T % 2 == 1 {
                        let t = T - 1;
                        for (j, codes) in [(j, first), (j + 1, second)] {
                            let x = vreinterpretq_s8_s32(vdupq_n_s32(acts.codes[t][j]));
                            dots[t][half] = Dot::products(dots[t][half], vreinterpretq_s8_s32(codes), x);
                        }
                    }
                }
                for t in (0..T / 2 * 2).step_by(2) {
                    dots[t][half] = vuzp1q_s32(squares[t][0], squares[t][1]);
                    dots[t + 1][half] = vuzp2q_s32(squares[t][0], squares[t][1]);
                }
            }
            dots
        }
    }
}
