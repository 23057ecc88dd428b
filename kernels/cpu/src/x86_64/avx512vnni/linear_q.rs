//! The inner loops of the quantized linear: 16 rows in lanes, `vpdpbusd` multiplies.

use super::rows::{LANES, get, get_codes, put};
use crate::x86_64::linear_q::{ActStep, Blocks, Codes, Engine, Rows, Step};
use std::arch::x86_64::*;

/// This kernel set.
pub(super) struct Avx512;

/// Codes of types without their own unpacking: made unsigned by adding 128, or unsigned by nature.
pub(super) struct Signed;
impl Codes for Signed {
    const OFFSET: i32 = 128;
    const FOLD: usize = 0;
}
/// See [`Signed`].
pub(super) struct Unsigned;
impl Codes for Unsigned {
    const OFFSET: i32 = 0;
    const FOLD: usize = 4;
}

impl Engine<LANES> for Avx512 {
    const FEW: usize = 4;
    const TILE: usize = 8;

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn in_place<F, const G: usize, const M: usize, const S: usize, const T: usize>(
        rows: Rows,
        acts: &[ActStep<T, G>],
        next: *const u8,
    ) -> [[f32; LANES]; T]
    where
        F: Blocks<LANES, G, M, S>,
    {
        let mut acc = [_mm512_setzero_ps(); T];
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
                    unsafe { multiply(step, plain_address(acts), &mut acc) };
                }
            }
        }
        results(&acc)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn tile<F: Codes, const G: usize, const M: usize, const T: usize>(
        panel: &[Step<LANES, G, M>],
        acts: &[ActStep<T, G>],
    ) -> [[f32; LANES]; T] {
        let mut acc = [_mm512_setzero_ps(); T];
        for (step, acts) in panel.iter().zip(acts) {
            // SAFETY: the features are those of this function.
            unsafe { multiply(plain_address(step), plain_address(acts), &mut acc) };
        }
        results(&acc)
    }
}

/// One step: `acc[t] += rows x token t`.
///
/// A chain of dependent `vpdpbusd` has a latency of 5 cycles each while two could start in every cycle, so
/// neighbouring ones belong to different tokens, or for few tokens to different chains.
///
/// Always inlined, which a function with CPU features cannot ask for: a call would move the sums to memory.
///
/// # Safety
/// The CPU has the features of this kernel set, and the caller is compiled with them.
#[inline(always)]
unsafe fn multiply<const G: usize, const M: usize, const T: usize>(
    step: &Step<LANES, G, M>,
    acts: &ActStep<T, G>,
    acc: &mut [__m512; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        const MOST_CHAINS: usize = 4;
        let chains = (MOST_CHAINS / (T * G)).max(1);
        let vectors = 8 / G;
        for g in 0..G {
            let mut dots = [[_mm512_setzero_si512(); MOST_CHAINS]; T];
            if M == 0 {
                for t in 0..T {
                    dots[t][0] = _mm512_set1_epi32(acts.aux[t][g]);
                }
            }
            for i in 0..vectors {
                let j = g * vectors + i;
                let codes = get_codes(&step.codes[j]);
                for t in 0..T {
                    let dot = &mut dots[t][i % chains];
                    *dot = _mm512_dpbusd_epi32(*dot, codes, _mm512_set1_epi32(acts.codes[t][j]));
                }
            }
            let scales = get(&step.scales[g]);
            for t in 0..T {
                let mut dot = dots[t][0];
                for chain in 1..chains {
                    dot = _mm512_add_epi32(dot, dots[t][chain]);
                }
                let d_x = _mm512_set1_ps(acts.scales[t]);
                acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(scales, d_x), _mm512_cvtepi32_ps(dot), acc[t]);
                if M > 0 {
                    // -(m * d) * sum + acc, rounded once.
                    let sum = _mm512_castsi512_ps(_mm512_set1_epi32(acts.aux[t][g]));
                    acc[t] = _mm512_fnmadd_ps(_mm512_mul_ps(get(&step.mins[g]), d_x), sum, acc[t]);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn results<const T: usize>(acc: &[__m512; T]) -> [[f32; LANES]; T] {
    let mut out = [[0.0; LANES]; T];
    for t in 0..T {
        put(&mut out[t], acc[t]);
    }
    out
}

/// The same reference, through a register. A multiply that loads its operand is one operation only if the
/// address is a base and a constant; the compiler would rather share an index between two pointers.
#[inline]
fn plain_address<P>(p: &P) -> &P {
    let mut p = std::ptr::from_ref(p);
    // SAFETY: no instruction at all; the pointer is the same.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) p, options(pure, readonly, nostack, preserves_flags));
        &*p
    }
}
