//! AVX-512 with VNNI: 16 lanes, byte products summed into 32-bit lanes by one instruction.

use super::{memory_operations, operations};
use crate::acts::ActStep;
use crate::simd::linear_q::{Codes, Rows, Step};
use crate::simd::{PEAK_VECTORS, Simd};
use half::f16;
use std::arch::x86_64::*;

/// Proof of the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(());

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl Simd for Avx512Vnni {
    const LANES: usize = 16;
    const TOKENS: usize = 10;
    const SIGNED: i32 = 128;
    const BYTE_PRODUCTS: usize = 64;
    type F = __m512;
    type I = __m512i;

    #[inline(always)]
    unsafe fn new() -> Self {
        Avx512Vnni(())
    }

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn compiled<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` is the proof that the CPU has the instructions.
        unsafe { compiled(f) }
    }

    memory_operations! {
        fn load(at: *const f32) -> __m512 = _mm512_loadu_ps(at);
        fn store(at: *mut f32, v: __m512) -> () = _mm512_storeu_ps(at, v);
        // (The plain intrinsic suppresses exceptions, a form that takes registers only and two operations.)
        fn load_f16(at: *const f16) -> __m512 =
            _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(_mm256_loadu_si256(at.cast()));
        fn load_bf16(at: *const u8) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()))));
        fn load_i8(at: *const i8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast())));
        fn store_i8(at: *mut i8, v: __m512i) -> () =
            _mm_storeu_si128(at.cast(), _mm512_cvtepi32_epi8(v));
    }

    /// Four loads put rows 0 4 8 12, 1 5 9 13, ... side by side, then two rounds of interleaving inside the
    /// 128-bit parts bring the rows into order; no shuffle crosses those parts.
    #[inline(always)]
    unsafe fn words4(self, rows: Rows, offset: usize) -> [__m512i; 4] {
        // SAFETY: `self` is the proof that the CPU has the instructions, the memory is the caller's promise.
        unsafe {
            let mut quads = [_mm512_setzero_si512(); 4];
            for i in 0..4 {
                let at = rows.first.add(i * rows.stride + offset);
                let v = _mm512_castsi128_si512(_mm_loadu_si128(at.cast()));
                let v = _mm512_inserti32x4::<1>(v, _mm_loadu_si128(at.add(4 * rows.stride).cast()));
                let v = _mm512_inserti32x4::<2>(v, _mm_loadu_si128(at.add(8 * rows.stride).cast()));
                quads[i] = _mm512_inserti32x4::<3>(v, _mm_loadu_si128(at.add(12 * rows.stride).cast()));
            }
            let [a, b, c, d] = quads;
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab_low, cd_low),
                _mm512_unpackhi_epi64(ab_low, cd_low),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    fn put_codes<const R: usize>(self, out: &mut [[u8; 4]; R], v: __m512i) {
        const { assert!(R == 16) };
        // SAFETY: `self` is the proof that the CPU has the instructions; 64 bytes are written to 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) };
    }

    operations! {
        fn prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn smaller(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn larger(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn round(v: __m512) -> __m512 = _mm512_roundscale_ps::<NEAREST>(v);
        fn largest(v: __m512) -> f32 = _mm512_reduce_max_ps(v);
        fn first(n: usize, a: __m512, b: __m512) -> __m512 =
            _mm512_mask_mov_ps(b, ((1u32 << n.min(16)) - 1) as u16, a);
        fn bits(v: __m512) -> __m512i = _mm512_castps_si512(v);
        fn floats(v: __m512i) -> __m512 = _mm512_castsi512_ps(v);
        fn to_int(v: __m512) -> __m512i = _mm512_cvtps_epi32(v);
        fn to_float(v: __m512i) -> __m512 = _mm512_cvtepi32_ps(v);
        fn lower_halves(v: __m512i) -> __m512 = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
        fn splat_i32(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn splat_u8(x: u8) -> __m512i = _mm512_set1_epi8(x as i8);
        fn and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn add_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn max_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epi32(a, b);
        fn shl(v: __m512i, n: u32) -> __m512i = _mm512_sllv_epi32(v, _mm512_set1_epi32(n as i32));
        fn shr(v: __m512i, n: u32) -> __m512i = _mm512_srlv_epi32(v, _mm512_set1_epi32(n as i32));
        fn sar(v: __m512i, n: u32) -> __m512i = _mm512_srav_epi32(v, _mm512_set1_epi32(n as i32));
        fn largest_i32(v: __m512i) -> i32 = _mm512_reduce_max_epi32(v);
        fn sum_i32(v: __m512i) -> i32 = _mm512_reduce_add_epi32(v);
        fn lookup(table: &[u8; 16], v: __m512i) -> __m512i =
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), v);
        // The permutation looks at the lowest four bits of its index only.
        fn fifth_bits(v: __m512i, from: u32) -> __m512i = _mm512_permutexvar_epi32(
            _mm512_srlv_epi32(v, _mm512_set1_epi32(from as i32)),
            _mm512_loadu_si512(SPREAD.as_ptr().cast()),
        );
    }

    #[inline(always)]
    fn tree16<const P: usize>(self, lanes: &[__m512; P]) -> f32 {
        const { assert!(P == 1) };
        // SAFETY: `self` is the proof that the CPU has the instructions.
        unsafe {
            let a = lanes[0];
            let b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
        }
    }

    /// Four at a time share their steps.
    #[inline(always)]
    fn trees<const P: usize, const N: usize>(self, lanes: &[[__m512; P]; N]) -> [f32; N] {
        const { assert!(P == 1) };
        let mut sums = [0.0; N];
        let (fours, rest) = sums.as_chunks_mut::<4>();
        for (k, sums) in fours.iter_mut().enumerate() {
            let [a, b, c, d] = std::array::from_fn(|i| lanes[4 * k + i][0]);
            // SAFETY: `self` is the proof that the CPU has the instructions; four floats are written to four.
            unsafe {
                let halves = |a, b| {
                    _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b))
                };
                let (ab, cd) = (halves(a, b), halves(c, d));
                let v =
                    _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
                let v = _mm512_add_ps(v, _mm512_permute_ps::<0b01_00_11_10>(v));
                let v = _mm512_add_ps(v, _mm512_permute_ps::<0b10_11_00_01>(v));
                let v = _mm512_maskz_compress_ps(0x1111, v);
                _mm_storeu_ps(sums.as_mut_ptr(), _mm512_castps512_ps128(v));
            }
        }
        for (sum, lanes) in rest.iter_mut().zip(&lanes[N / 4 * 4..]) {
            *sum = self.tree16(lanes);
        }
        sums
    }

    /// A multiply that loads its operand is one operation only if the address is a base and a constant; the
    /// compiler would rather share an index between two pointers.
    #[inline(always)]
    fn plain_address<P>(self, p: &P) -> &P {
        let mut p = std::ptr::from_ref(p);
        // SAFETY: no instruction at all; the pointer is the same.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) p, options(pure, readonly, nostack, preserves_flags));
            &*p
        }
    }

    #[inline(always)]
    fn multiply_bytes(self, vectors: &mut [__m512i; PEAK_VECTORS], b: __m512i) {
        for v in vectors {
            // SAFETY: `self` is the proof that the CPU has the instructions.
            *v = unsafe { _mm512_dpbusd_epi32(*v, *v, b) };
        }
    }

    #[inline(always)]
    fn multiply<C: Codes<Self>, const R: usize, const G: usize, const M: usize, const T: usize>(
        self,
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        acc: &mut [__m512; T],
    ) {
        const { assert!(R == 16 && G <= 2) };
        // No loop: the compiler might not unroll it, and addresses with an index take an operation more.
        // SAFETY: `self` is the proof that the CPU has the instructions.
        unsafe {
            group::<C, R, G, M, T>(step, acts, acc, 0);
            if G == 2 {
                group::<C, R, G, M, T>(step, acts, acc, 1);
            }
        }
    }
}

/// Group g of a step. A chain of dependent `vpdpbusd` has a latency of 5 cycles each while two could start in every
/// cycle, so neighbouring ones belong to different tokens, or for few tokens to different chains.
///
/// # Safety
/// The CPU has the instructions, and R is 16.
#[inline(always)]
unsafe fn group<C: Codes<Avx512Vnni>, const R: usize, const G: usize, const M: usize, const T: usize>(
    step: &Step<R, G, M>,
    acts: &ActStep<T>,
    acc: &mut [__m512; T],
    g: usize,
) {
    const MOST_CHAINS: usize = 4;
    let chains = (MOST_CHAINS / (T * G)).max(1);
    let vectors = 8 / G;
    // SAFETY: the caller's promise; all loads are of 16 lanes in a step.
    unsafe {
        let mut dots = [[_mm512_setzero_si512(); MOST_CHAINS]; T];
        if C::OFFSET != 0 {
            let offset = _mm512_set1_epi32(C::OFFSET);
            for t in 0..T {
                let minus_sum = if G == 1 { &acts.minus_sums[t] } else { &acts.minus_half_sums[t][g] };
                dots[t][0] = _mm512_mullo_epi32(broadcast(minus_sum), offset);
            }
        }
        for i in 0..vectors {
            let j = g * vectors + i;
            let codes = _mm512_loadu_si512(step.codes[j].as_ptr().cast());
            for t in 0..T {
                let dot = &mut dots[t][i % chains];
                *dot = _mm512_dpbusd_epi32(*dot, codes, _mm512_set1_epi32(acts.codes[t][j]));
            }
        }
        let scales = _mm512_loadu_ps(step.scales[g].as_ptr());
        for t in 0..T {
            let mut dot = dots[t][0];
            for chain in 1..chains {
                dot = _mm512_add_epi32(dot, dots[t][chain]);
            }
            let d_x = _mm512_set1_ps(acts.scales[t]);
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(scales, d_x), _mm512_cvtepi32_ps(dot), acc[t]);
            if M > 0 {
                // -(m * d) * sum + acc, rounded once.
                let sum = if G == 1 { acts.sums[t] } else { acts.half_sums[t][g] };
                let min = _mm512_mul_ps(_mm512_loadu_ps(step.mins[g].as_ptr()), d_x);
                acc[t] = _mm512_fnmadd_ps(min, _mm512_set1_ps(sum), acc[t]);
            }
        }
    }
}

/// The number in all lanes, by a load. (Left to itself the compiler first multiplies one lane and then broadcasts
/// it, which keeps a port busy that multiplies bytes.)
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(x: &i32) -> __m512i {
    let v: __m512i;
    // SAFETY: four bytes are read.
    unsafe {
        std::arch::asm!("vpbroadcastd {v}, dword ptr [{x}]", v = lateout(zmm_reg) v, x = in(reg) x,
            options(pure, readonly, nostack, preserves_flags));
    }
    v
}

/// Four bits to bit 4 of four bytes.
const SPREAD: [i32; 16] = {
    let mut table = [0; 16];
    let mut n = 0;
    while n < 16 {
        let mut bit = 0;
        while bit < 4 {
            table[n] |= (((n >> bit) & 1) as i32) << (8 * bit + 4);
            bit += 1;
        }
        n += 1;
    }
    table
};
