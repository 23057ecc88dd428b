//! Eight lanes in 256-bit registers.

use super::{memory_operations, operations};
use crate::acts::ActStep;
use crate::simd::linear_q::{Codes, Rows, Step};
use crate::simd::{PEAK_VECTORS, Simd};
use half::f16;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// How bytes are multiplied.
pub(super) trait Products: Copy + 'static {
    /// See [`Simd::SIGNED`].
    const SIGNED: i32;

    /// Calls `f` in a function compiled with the instructions.
    ///
    /// # Safety
    /// The CPU has them.
    unsafe fn run<R>(f: impl FnOnce() -> R) -> R;

    /// Products of unsigned with signed bytes in one instruction, which adds them to `sum` if it can.
    ///
    /// # Safety
    /// The CPU has the instruction.
    unsafe fn products(sum: __m256i, a: __m256i, b: __m256i) -> __m256i;

    /// The integer products of group g of a step with every token.
    ///
    /// # Safety
    /// The CPU has the instructions, and R is 8.
    unsafe fn group<C: Codes<Vectors<Self>>, const R: usize, const G: usize, const M: usize, const T: usize>(
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        g: usize,
    ) -> [__m256i; T];
}

/// Proof of the instructions of `D`.
#[derive(Clone, Copy)]
pub(super) struct Vectors<D>(PhantomData<D>);

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl<D: Products> Simd for Vectors<D> {
    const LANES: usize = 8;
    const TOKENS: usize = 4;
    const SIGNED: i32 = D::SIGNED;
    const BYTE_PRODUCTS: usize = 32;
    type F = __m256;
    type I = __m256i;

    #[inline(always)]
    unsafe fn new() -> Self {
        Vectors(PhantomData)
    }

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: `self` is the proof that the CPU has the instructions.
        unsafe { D::run(f) }
    }

    memory_operations! {
        fn load(at: *const f32) -> __m256 = _mm256_loadu_ps(at);
        fn store(at: *mut f32, v: __m256) -> () = _mm256_storeu_ps(at, v);
        fn load_f16(at: *const f16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
        fn load_bf16(at: *const u8) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()))));
        fn load_i8(at: *const i8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())));
        fn store_i8(at: *mut i8, v: __m256i) -> () = {
            let words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            _mm_storel_epi64(at.cast(), _mm_packs_epi16(words, words))
        };
    }

    /// Two loads put rows 0 4, 1 5, ... side by side, then two rounds of interleaving inside the 128-bit parts
    /// bring the rows into order; no shuffle crosses those parts.
    #[inline(always)]
    unsafe fn words4(self, rows: Rows, offset: usize) -> [__m256i; 4] {
        // SAFETY: `self` is the proof that the CPU has the instructions, the memory is the caller's promise.
        unsafe {
            let mut pairs = [_mm256_setzero_si256(); 4];
            for i in 0..4 {
                let at = rows.first.add(i * rows.stride + offset);
                let low = _mm256_castsi128_si256(_mm_loadu_si128(at.cast()));
                pairs[i] = _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(at.add(4 * rows.stride).cast()));
            }
            let [a, b, c, d] = pairs;
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab_low, cd_low),
                _mm256_unpackhi_epi64(ab_low, cd_low),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    fn put_codes<const R: usize>(self, out: &mut [[u8; 4]; R], v: __m256i) {
        const { assert!(R == 8) };
        // SAFETY: `self` is the proof that the CPU has the instructions; 32 bytes are written to 32 bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), v) };
    }

    operations! {
        fn prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn smaller(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn larger(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn round(v: __m256) -> __m256 = _mm256_round_ps::<NEAREST>(v);
        fn largest(v: __m256) -> f32 = {
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        };
        fn first(n: usize, a: __m256, b: __m256) -> __m256 = {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(8) as i32), lanes);
            _mm256_blendv_ps(b, a, _mm256_castsi256_ps(wanted))
        };
        fn bits(v: __m256) -> __m256i = _mm256_castps_si256(v);
        fn floats(v: __m256i) -> __m256 = _mm256_castsi256_ps(v);
        fn to_int(v: __m256) -> __m256i = _mm256_cvtps_epi32(v);
        fn to_float(v: __m256i) -> __m256 = _mm256_cvtepi32_ps(v);
        fn lower_halves(v: __m256i) -> __m256 = {
            let v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(v, v));
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
        };
        fn splat_i32(x: i32) -> __m256i = _mm256_set1_epi32(x);
        fn splat_u8(x: u8) -> __m256i = _mm256_set1_epi8(x as i8);
        fn and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        fn or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        fn xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn add_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn max_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_max_epi32(a, b);
        fn shl(v: __m256i, n: u32) -> __m256i = _mm256_sllv_epi32(v, _mm256_set1_epi32(n as i32));
        fn shr(v: __m256i, n: u32) -> __m256i = _mm256_srlv_epi32(v, _mm256_set1_epi32(n as i32));
        fn sar(v: __m256i, n: u32) -> __m256i = _mm256_srav_epi32(v, _mm256_set1_epi32(n as i32));
        fn largest_i32(v: __m256i) -> i32 = {
            let v = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let v = _mm_max_epi32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
            let v = _mm_max_epi32(v, _mm_shuffle_epi32::<0b10_11_00_01>(v));
            _mm_cvtsi128_si32(v)
        };
        fn sum_i32(v: __m256i) -> i32 = {
            let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b01_00_11_10>(v));
            let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b10_11_00_01>(v));
            _mm_cvtsi128_si32(v)
        };
        fn lookup(table: &[u8; 16], v: __m256i) -> __m256i =
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), v);
        fn fifth_bits(v: __m256i, from: u32) -> __m256i = {
            // The byte that has them, four times in every lane.
            let byte = (from / 8) as i32 * 0x0101_0101;
            let lanes = _mm_setr_epi32(byte, byte + 0x0404_0404, byte + 0x0808_0808, byte + 0x0c0c_0c0c);
            let bytes = _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(lanes));
            let bits = if from.is_multiple_of(8) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 };
            let bits = _mm256_set1_epi32(bits);
            let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
            _mm256_and_si256(is_set, _mm256_set1_epi8(16))
        };
    }

    #[inline(always)]
    fn tree16<const P: usize>(self, lanes: &[__m256; P]) -> f32 {
        const { assert!(P == 2) };
        // SAFETY: `self` is the proof that the CPU has the instructions.
        unsafe {
            let b = _mm256_add_ps(lanes[0], lanes[1]);
            let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
        }
    }

    #[inline(always)]
    fn multiply_bytes(self, vectors: &mut [__m256i; PEAK_VECTORS], b: __m256i) {
        for v in vectors {
            // SAFETY: `self` is the proof that the CPU has the instructions.
            *v = unsafe { D::products(*v, *v, b) };
        }
    }

    #[inline(always)]
    fn multiply<C: Codes<Self>, const R: usize, const G: usize, const M: usize, const T: usize>(
        self,
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        acc: &mut [__m256; T],
    ) {
        const { assert!(R == 8) };
        // SAFETY: `self` is the proof that the CPU has the instructions; all loads are of 8 lanes in a step.
        unsafe {
            for g in 0..G {
                let dots = D::group::<C, R, G, M, T>(step, acts, g);
                for t in 0..T {
                    let d_x = _mm256_set1_ps(acts.scales[t]);
                    let mut dot = dots[t];
                    if C::OFFSET != 0 {
                        let minus_sum = if G == 1 { acts.minus_sums[t] } else { acts.minus_half_sums[t][g] };
                        let offset = _mm256_set1_epi32(C::OFFSET);
                        let correction = _mm256_mullo_epi32(_mm256_set1_epi32(minus_sum), offset);
                        dot = _mm256_add_epi32(dot, correction);
                    }
                    let scale = _mm256_mul_ps(_mm256_loadu_ps(step.scales[g].as_ptr()), d_x);
                    acc[t] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot), acc[t]);
                    if M > 0 {
                        // -(m * d) * sum + acc, rounded once.
                        let sum = if G == 1 { acts.sums[t] } else { acts.half_sums[t][g] };
                        let min = _mm256_mul_ps(_mm256_loadu_ps(step.mins[g].as_ptr()), d_x);
                        acc[t] = _mm256_fnmadd_ps(min, _mm256_set1_ps(sum), acc[t]);
                    }
                }
            }
        }
    }
}
