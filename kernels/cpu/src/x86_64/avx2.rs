//! Byte products with `vpmaddubsw`, which multiplies unsigned by signed bytes and adds pairs into 16 bits; how
//! many pairs those hold without saturating is the `FOLD` of a type.

use super::vectors::{Products, Vectors};
use crate::acts::ActStep;
use crate::simd::linear_q::{Codes, Step};
use std::arch::x86_64::*;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Pairs;

impl Products for Pairs {
    const SIGNED: i32 = 0;

    #[inline(always)]
    unsafe fn run<R>(f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: the caller's promise.
        unsafe { compiled(f) }
    }

    /// Without the sum: that would be an instruction of its own.
    #[inline(always)]
    unsafe fn products(_: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_maddubs_epi16(a, b) }
    }

    #[inline(always)]
    unsafe fn group<
        C: Codes<Vectors<Self>>,
        const R: usize,
        const G: usize,
        const M: usize,
        const T: usize,
    >(
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        g: usize,
    ) -> [__m256i; T] {
        // SAFETY: the caller's promise; loads are of 8 lanes in a step.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut dots = [_mm256_setzero_si256(); T];
            let mut pairs = [_mm256_setzero_si256(); T];
            let vectors = 8 / G;
            for i in 0..vectors {
                let j = g * vectors + i;
                let codes = _mm256_loadu_si256(step.codes[j].as_ptr().cast());
                let magnitudes = _mm256_abs_epi8(codes);
                for t in 0..T {
                    let x = _mm256_set1_epi32(acts.codes[t][j]);
                    if C::FOLD == 0 {
                        // |w| is at most 128 as an unsigned byte and x at most 127: 2 * 128 * 127 fits 16 bits.
                        let pair = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, codes));
                        dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pair, ones));
                        continue;
                    }
                    let pair = _mm256_maddubs_epi16(codes, x);
                    pairs[t] = if i % C::FOLD == 0 { pair } else { _mm256_add_epi16(pairs[t], pair) };
                    if i % C::FOLD == C::FOLD - 1 || i == vectors - 1 {
                        dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs[t], ones));
                    }
                }
            }
            dots
        }
    }
}
