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
    const FOLD: usize = 2;
}

impl Engine<LANES> for Avx512 {
    const FEW: usize = 4;
    const TILE: usize = 16;

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
        let mut block = [Step::ZERO; S];
        for (b, acts) in acts.as_chunks::<S>().0.iter().enumerate() {
            if !next.is_null() {
                let bytes = LANES * F::BYTES;
                for line in 0..bytes.div_ceil(64) {
                    _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(b * bytes + line * 64).cast());
                }
            }
            // SAFETY: the caller's promise: as many blocks as there are activations.
            unsafe { F::unpack(Rows { first: rows.first.add(b * F::BYTES), ..rows }, &mut block) };
            for (step, acts) in block.iter().zip(acts) {
                multiply(step, acts, &mut acc);
            }
        }
        results(&acc)
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn tile<F: Codes, const G: usize, const M: usize, const T: usize>(
        panel: &[Step<LANES, G, M>],
        acts: &[ActStep<T, G>],
    ) -> [[f32; LANES]; T] {
        let mut acc = [_mm512_setzero_ps(); T];
        for (step, acts) in panel.iter().zip(acts) {
            multiply(step, acts, &mut acc);
        }
        results(&acc)
    }
}

/// One step: `acc[t] += rows x token t`. The eight code vectors stay in registers for all tokens; the
/// activations are broadcast by the multiply itself.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn multiply<const G: usize, const M: usize, const T: usize>(
    step: &Step<LANES, G, M>,
    acts: &ActStep<T, G>,
    acc: &mut [__m512; T],
) {
    // Loops, not `map` with closures: those would be calls, as `map` itself lacks the CPU features.
    let mut codes = [_mm512_setzero_si512(); 8];
    for j in 0..8 {
        codes[j] = get_codes(&step.codes[j]);
    }
    let mut scales = [_mm512_setzero_ps(); G];
    for g in 0..G {
        scales[g] = get(&step.scales[g]);
    }
    let mut mins = [_mm512_setzero_ps(); M];
    for g in 0..M {
        mins[g] = get(&step.mins[g]);
    }
    for t in 0..T {
        let d_x = _mm512_set1_ps(acts.scales[t]);
        for g in 0..G {
            let aux = _mm512_set1_epi32(acts.aux[t][g]);
            let mut dot = if M == 0 { aux } else { _mm512_setzero_si512() };
            for j in g * (8 / G)..(g + 1) * (8 / G) {
                dot = _mm512_dpbusd_epi32(dot, codes[j], _mm512_set1_epi32(acts.codes[t][j]));
            }
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(scales[g], d_x), _mm512_cvtepi32_ps(dot), acc[t]);
            if M > 0 {
                // -(m * d) * sum + acc, rounded once.
                acc[t] = _mm512_fnmadd_ps(_mm512_mul_ps(mins[g], d_x), _mm512_castsi512_ps(aux), acc[t]);
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
