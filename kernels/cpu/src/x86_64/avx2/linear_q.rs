//! The inner loops of the quantized linear: 8 rows in lanes. `vpmaddubsw` multiplies unsigned by signed bytes
//! and adds pairs into 16 bits; how many pairs those hold without saturating is the `FOLD` of a type.

use super::rows::{LANES, get, get_codes, put};
use crate::x86_64::linear_q::{ActStep, Blocks, Codes, Engine, Rows, Step};
use std::arch::x86_64::*;

/// This kernel set.
pub(super) struct Avx2;

/// Codes of types without their own unpacking: as they are, signed.
pub(super) struct Signed;
impl Codes for Signed {
    const OFFSET: i32 = 0;
    const FOLD: usize = 0;
}
/// The same, of types whose codes are 0..=31 by nature.
pub(super) struct Unsigned;
impl Codes for Unsigned {
    const OFFSET: i32 = 0;
    const FOLD: usize = 4;
}

impl Engine<LANES> for Avx2 {
    const FEW: usize = 4;
    const TILE: usize = 4;

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn in_place<F, const G: usize, const M: usize, const S: usize, const T: usize>(
        rows: Rows,
        acts: &[ActStep<T, G>],
        next: *const u8,
    ) -> [[f32; LANES]; T]
    where
        F: Blocks<LANES, G, M, S>,
    {
        let mut acc = [_mm256_setzero_ps(); T];
        let mut steps = [Step::ZERO; S];
        let prefetched = LANES * F::BYTES / F::PARTS;
        for (b, acts) in acts.chunks_exact(F::PARTS * S).enumerate() {
            let rows = Rows { first: rows.first.wrapping_add(b * F::BYTES), ..rows };
            // SAFETY: the caller's promise: as many blocks as there are activations.
            let head = unsafe { F::head(rows) };
            for (part, acts) in acts.as_chunks::<S>().0.iter().enumerate() {
                if !next.is_null() {
                    let from = (b * F::PARTS + part) * prefetched;
                    for line in 0..prefetched.div_ceil(64) {
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(from + line * 64).cast());
                    }
                }
                // SAFETY: as above.
                unsafe { F::part(rows, &head, part, &mut steps) };
                for (step, acts) in steps.iter().zip(acts) {
                    // SAFETY: the features are those of this function.
                    unsafe { multiply::<F, G, M, T>(step, acts, &mut acc) };
                }
            }
        }
        results(&acc)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack<F, const G: usize, const M: usize, const S: usize>(
        rows: Rows,
        panel: &mut [Step<LANES, G, M>],
    ) where
        F: Blocks<LANES, G, M, S>,
    {
        for (b, block) in panel.chunks_exact_mut(F::PARTS * S).enumerate() {
            let rows = Rows { first: rows.first.wrapping_add(b * F::BYTES), ..rows };
            // SAFETY: the caller's promise: as many blocks as the panel has.
            let head = unsafe { F::head(rows) };
            for (part, steps) in block.as_chunks_mut::<S>().0.iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { F::part(rows, &head, part, steps) };
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile<F: Codes, const G: usize, const M: usize, const T: usize>(
        panel: &[Step<LANES, G, M>],
        acts: &[ActStep<T, G>],
    ) -> [[f32; LANES]; T] {
        let mut acc = [_mm256_setzero_ps(); T];
        for (step, acts) in panel.iter().zip(acts) {
            // SAFETY: the features are those of this function.
            unsafe { multiply::<F, G, M, T>(step, acts, &mut acc) };
        }
        results(&acc)
    }
}

/// One step: `acc[t] += rows x token t`.
///
/// Always inlined, which a function with CPU features cannot ask for: a call would move the sums to memory.
///
/// # Safety
/// The CPU has the features of this kernel set, and the caller is compiled with them.
#[inline(always)]
unsafe fn multiply<F: Codes, const G: usize, const M: usize, const T: usize>(
    step: &Step<LANES, G, M>,
    acts: &ActStep<T, G>,
    acc: &mut [__m256; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        for g in 0..G {
            let dots = dots::<F, G, M, T>(step, acts, g);
            for t in 0..T {
                let d_x = _mm256_set1_ps(acts.scales[t]);
                let aux = _mm256_set1_epi32(acts.aux[t][g]);
                let dot = if F::OFFSET == 0 { dots[t] } else { _mm256_add_epi32(dots[t], aux) };
                let scale = _mm256_mul_ps(get(&step.scales[g]), d_x);
                acc[t] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot), acc[t]);
                if M > 0 {
                    // -(m * d) * sum + acc, rounded once.
                    let min = _mm256_mul_ps(get(&step.mins[g]), d_x);
                    acc[t] = _mm256_fnmadd_ps(min, _mm256_castsi256_ps(aux), acc[t]);
                }
            }
        }
    }
}

/// The integer products of group g with every token.
///
/// # Safety
/// As for `multiply`.
#[inline(always)]
unsafe fn dots<F: Codes, const G: usize, const M: usize, const T: usize>(
    step: &Step<LANES, G, M>,
    acts: &ActStep<T, G>,
    g: usize,
) -> [__m256i; T] {
    // SAFETY: the caller's promise.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut dots = [_mm256_setzero_si256(); T];
        let mut pairs = [_mm256_setzero_si256(); T];
        let vectors = 8 / G;
        for i in 0..vectors {
            let j = g * vectors + i;
            let codes = get_codes(&step.codes[j]);
            let magnitudes = _mm256_abs_epi8(codes);
            for t in 0..T {
                let x = _mm256_set1_epi32(acts.codes[t][j]);
                if F::FOLD == 0 {
                    // |w| is at most 128 as an unsigned byte and x at most 127: 2 * 128 * 127 fits 16 bits.
                    let pair = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, codes));
                    dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pair, ones));
                    continue;
                }
                let pair = _mm256_maddubs_epi16(codes, x);
                pairs[t] = if i % F::FOLD == 0 { pair } else { _mm256_add_epi16(pairs[t], pair) };
                if i % F::FOLD == F::FOLD - 1 || i == vectors - 1 {
                    dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs[t], ones));
                }
            }
        }
        dots
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn results<const T: usize>(acc: &[__m256; T]) -> [[f32; LANES]; T] {
    let mut out = [[0.0; LANES]; T];
    for t in 0..T {
        put(&mut out[t], acc[t]);
    }
    out
}
