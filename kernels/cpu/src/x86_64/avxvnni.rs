//! Byte products with `vpdpbusd`, which multiplies unsigned by signed bytes and sums four products into each
//! 32-bit lane. Processors have it in two encodings: the AVX one, and the one of AVX-512 with VL.

use super::vectors::{Products, Vectors};
use crate::acts::ActStep;
use crate::simd::linear_q::{Codes, Step};
use std::arch::x86_64::*;

/// See the module: `AVX` says which encoding.
#[derive(Clone, Copy)]
pub(crate) struct Quads<const AVX: bool>;

impl<const AVX: bool> Products for Quads<AVX> {
    const SIGNED: i32 = 128;

    #[inline(always)]
    unsafe fn run<R>(f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn compiled<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
        fn compiled_for_512<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: the caller's promise.
        unsafe { if AVX { compiled(f) } else { compiled_for_512(f) } }
    }

    #[inline(always)]
    unsafe fn products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { if AVX { _mm256_dpbusd_avx_epi32(sum, a, b) } else { _mm256_dpbusd_epi32(sum, a, b) } }
    }

    /// Dependent `vpdpbusd` have a latency of 5 cycles each while two could start in every cycle, so a few
    /// tokens sum in several chains.
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
        const MOST_CHAINS: usize = 4;
        let chains = (2 * MOST_CHAINS / (T * G)).clamp(1, MOST_CHAINS);
        let vectors = 8 / G;
        // SAFETY: the caller's promise; loads are of 8 lanes in a step.
        unsafe {
            let mut dots = [[_mm256_setzero_si256(); MOST_CHAINS]; T];
            for i in 0..vectors {
                let j = g * vectors + i;
                let codes = _mm256_loadu_si256(step.codes[j].as_ptr().cast());
                for t in 0..T {
                    let dot = &mut dots[t][i % chains];
                    *dot = Self::products(*dot, codes, _mm256_set1_epi32(acts.codes[t][j]));
                }
            }
            let mut sums = [_mm256_setzero_si256(); T];
            for t in 0..T {
                sums[t] = dots[t][0];
                for chain in 1..chains {
                    sums[t] = _mm256_add_epi32(sums[t], dots[t][chain]);
                }
            }
            sums
        }
    }
}
