//! Eight lanes in two registers each.

use crate::acts::ActStep;
use crate::simd::linear_q::{Codes, Rows, Step};
use crate::simd::{PEAK_VECTORS, Simd};
use half::f16;
use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;

/// How bytes are multiplied.
pub(super) trait Products: Copy + 'static {
    /// Byte products of [`products`](Products::products).
    const PRODUCTS: usize;

    /// Products of bytes in one register, added to `sum`; which with which is the instruction set's affair.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn products(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;

    /// The integer products of group g of a step with every token, for eight rows.
    ///
    /// # Safety
    /// The CPU has the instructions, and R is 8.
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

/// Proof of the instructions of `D`.
#[derive(Clone, Copy)]
pub(super) struct Vectors<D>(PhantomData<D>);

/// Half precision numbers as floats. (The intrinsic is not stable.)
#[inline(always)]
fn widen(v: uint16x4_t) -> float32x4_t {
    let mut out: float32x4_t;
    // SAFETY: a base instruction; only registers are used.
    unsafe {
        asm!("fcvtl {out:v}.4s, {v:v}.4h", out = out(vreg) out, v = in(vreg) v,
            options(pure, nomem, nostack, preserves_flags));
    }
    out
}

/// Defines operations on both registers.
macro_rules! both {
    ($(fn $name:ident($($arg:ident),+) -> $ret:ident = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: both!(@$ret $arg)),+) -> Self::$ret {
            let one = |$($arg),+| {
                // SAFETY: base instructions.
                unsafe { $body }
            };
            [one($($arg[0]),+), one($($arg[1]),+)]
        }
    )*};
    (@F $arg:ident) => { [float32x4_t; 2] };
    (@I $arg:ident) => { [uint32x4_t; 2] };
}

impl<D: Products> Simd for Vectors<D> {
    const LANES: usize = 8;
    const TOKENS: usize = 4;
    const SIGNED: i32 = 0;
    const BYTE_PRODUCTS: usize = 2 * D::PRODUCTS;
    type F = [float32x4_t; 2];
    type I = [uint32x4_t; 2];

    #[inline(always)]
    unsafe fn new() -> Self {
        Vectors(PhantomData)
    }

    /// The vectors are in the base set, and the instructions of `D` bring their own `.arch_extension`.
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe { [vld1q_f32(at), vld1q_f32(at.add(4))] }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, v: Self::F) {
        // SAFETY: the caller's promise.
        unsafe {
            vst1q_f32(at, v[0]);
            vst1q_f32(at.add(4), v[1]);
        }
    }

    #[inline(always)]
    unsafe fn load_f16(self, at: *const f16) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe { [widen(vld1_u16(at.cast())), widen(vld1_u16(at.cast::<u16>().add(4)))] }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, at: *const u8) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe {
            let v = vld1q_u16(at.cast());
            let (low, high) = (vshll_n_u16::<16>(vget_low_u16(v)), vshll_high_n_u16::<16>(v));
            [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)]
        }
    }

    #[inline(always)]
    unsafe fn load_i8(self, at: *const i8) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe {
            let v = vmovl_s8(vld1_s8(at));
            [vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), vcvtq_f32_s32(vmovl_high_s16(v))]
        }
    }

    #[inline(always)]
    unsafe fn store_i8(self, at: *mut i8, v: Self::I) {
        // SAFETY: the caller's promise.
        unsafe {
            let words = vcombine_u16(vmovn_u32(v[0]), vmovn_u32(v[1]));
            vst1_u8(at.cast(), vmovn_u16(words));
        }
    }

    /// Two rounds of interleaving, four rows at a time.
    #[inline(always)]
    unsafe fn words4(self, rows: Rows, offset: usize) -> [Self::I; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut out = [[vdupq_n_u32(0); 2]; 4];
            for half in 0..2 {
                let at = rows.first.add(4 * half * rows.stride + offset);
                let a = vreinterpretq_u32_u8(vld1q_u8(at));
                let b = vreinterpretq_u32_u8(vld1q_u8(at.add(rows.stride)));
                let c = vreinterpretq_u32_u8(vld1q_u8(at.add(2 * rows.stride)));
                let d = vreinterpretq_u32_u8(vld1q_u8(at.add(3 * rows.stride)));
                let (ac_low, ac_high) = (vzip1q_u32(a, c), vzip2q_u32(a, c));
                let (bd_low, bd_high) = (vzip1q_u32(b, d), vzip2q_u32(b, d));
                out[0][half] = vzip1q_u32(ac_low, bd_low);
                out[1][half] = vzip2q_u32(ac_low, bd_low);
                out[2][half] = vzip1q_u32(ac_high, bd_high);
                out[3][half] = vzip2q_u32(ac_high, bd_high);
            }
            out
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch reads nothing that the program could see, whatever the address.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) };
    }

    #[inline(always)]
    fn put_codes<const R: usize>(self, out: &mut [[u8; 4]; R], v: Self::I) {
        const { assert!(R == 8) };
        // SAFETY: 32 bytes are written to 32 bytes.
        unsafe {
            vst1q_u8(out.as_mut_ptr().cast(), vreinterpretq_u8_u32(v[0]));
            vst1q_u8(out[4..].as_mut_ptr().cast(), vreinterpretq_u8_u32(v[1]));
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: a base instruction.
        [unsafe { vdupq_n_f32(x) }; 2]
    }

    both! {
        fn add(a, b) -> F = vaddq_f32(a, b);
        fn sub(a, b) -> F = vsubq_f32(a, b);
        fn mul(a, b) -> F = vmulq_f32(a, b);
        fn div(a, b) -> F = vdivq_f32(a, b);
        fn fma(a, b, c) -> F = vfmaq_f32(c, a, b);
        fn smaller(a, b) -> F = vbslq_f32(vcltq_f32(a, b), a, b);
        fn larger(a, b) -> F = vbslq_f32(vcgtq_f32(a, b), a, b);
        fn round(v) -> F = vrndnq_f32(v);
        fn and(a, b) -> I = vandq_u32(a, b);
        fn or(a, b) -> I = vorrq_u32(a, b);
        fn xor(a, b) -> I = veorq_u32(a, b);
        fn add_i32(a, b) -> I = vaddq_u32(a, b);
    }

    #[inline(always)]
    fn largest(self, v: Self::F) -> f32 {
        // SAFETY: base instructions.
        unsafe { vmaxvq_f32(vmaxq_f32(v[0], v[1])) }
    }

    #[inline(always)]
    fn first(self, n: usize, a: Self::F, b: Self::F) -> Self::F {
        const LANE: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
        // SAFETY: loads are of eight numbers.
        unsafe {
            let n = vdupq_n_u32(n.min(8) as u32);
            let wanted =
                [vcltq_u32(vld1q_u32(LANE.as_ptr()), n), vcltq_u32(vld1q_u32(LANE[4..].as_ptr()), n)];
            [vbslq_f32(wanted[0], a[0], b[0]), vbslq_f32(wanted[1], a[1], b[1])]
        }
    }

    #[inline(always)]
    fn tree16<const P: usize>(self, lanes: &[Self::F; P]) -> f32 {
        const { assert!(P == 2) };
        // SAFETY: base instructions.
        unsafe {
            let low = vaddq_f32(lanes[0][0], lanes[1][0]);
            let high = vaddq_f32(lanes[0][1], lanes[1][1]);
            let c = vaddq_f32(low, high);
            let d = vadd_f32(vget_low_f32(c), vget_high_f32(c));
            vpadds_f32(d)
        }
    }

    #[inline(always)]
    fn bits(self, v: Self::F) -> Self::I {
        // SAFETY: no instruction.
        unsafe { [vreinterpretq_u32_f32(v[0]), vreinterpretq_u32_f32(v[1])] }
    }

    #[inline(always)]
    fn floats(self, v: Self::I) -> Self::F {
        // SAFETY: no instruction.
        unsafe { [vreinterpretq_f32_u32(v[0]), vreinterpretq_f32_u32(v[1])] }
    }

    #[inline(always)]
    fn to_int(self, v: Self::F) -> Self::I {
        // SAFETY: base instructions.
        unsafe { [vreinterpretq_u32_s32(vcvtnq_s32_f32(v[0])), vreinterpretq_u32_s32(vcvtnq_s32_f32(v[1]))] }
    }

    #[inline(always)]
    fn to_float(self, v: Self::I) -> Self::F {
        // SAFETY: base instructions.
        unsafe { [vcvtq_f32_s32(vreinterpretq_s32_u32(v[0])), vcvtq_f32_s32(vreinterpretq_s32_u32(v[1]))] }
    }

    #[inline(always)]
    fn lower_halves(self, v: Self::I) -> Self::F {
        // SAFETY: base instructions.
        unsafe { [widen(vmovn_u32(v[0])), widen(vmovn_u32(v[1]))] }
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        // SAFETY: a base instruction.
        [unsafe { vdupq_n_u32(x as u32) }; 2]
    }

    #[inline(always)]
    fn splat_u8(self, x: u8) -> Self::I {
        self.splat_i32(i32::from_ne_bytes([x; 4]))
    }

    #[inline(always)]
    fn max_i32(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: base instructions.
        unsafe {
            [
                vreinterpretq_u32_s32(vmaxq_s32(vreinterpretq_s32_u32(a[0]), vreinterpretq_s32_u32(b[0]))),
                vreinterpretq_u32_s32(vmaxq_s32(vreinterpretq_s32_u32(a[1]), vreinterpretq_s32_u32(b[1]))),
            ]
        }
    }

    #[inline(always)]
    fn shl(self, v: Self::I, n: u32) -> Self::I {
        // SAFETY: base instructions.
        unsafe {
            let n = vdupq_n_s32(n as i32);
            [vshlq_u32(v[0], n), vshlq_u32(v[1], n)]
        }
    }

    #[inline(always)]
    fn shr(self, v: Self::I, n: u32) -> Self::I {
        // SAFETY: base instructions.
        unsafe {
            let n = vdupq_n_s32(-(n as i32));
            [vshlq_u32(v[0], n), vshlq_u32(v[1], n)]
        }
    }

    #[inline(always)]
    fn sar(self, v: Self::I, n: u32) -> Self::I {
        // SAFETY: base instructions.
        unsafe {
            let n = vdupq_n_s32(-(n as i32));
            let shift = |v| vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(v), n));
            [shift(v[0]), shift(v[1])]
        }
    }

    #[inline(always)]
    fn largest_i32(self, v: Self::I) -> i32 {
        // SAFETY: base instructions.
        unsafe { vmaxvq_s32(vmaxq_s32(vreinterpretq_s32_u32(v[0]), vreinterpretq_s32_u32(v[1]))) }
    }

    #[inline(always)]
    fn sum_i32(self, v: Self::I) -> i32 {
        // SAFETY: base instructions.
        unsafe { vaddvq_u32(vaddq_u32(v[0], v[1])) as i32 }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: Self::I) -> Self::I {
        // SAFETY: a load of sixteen bytes.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            let look = |v| vreinterpretq_u32_u8(vqtbl1q_u8(table, vreinterpretq_u8_u32(v)));
            [look(v[0]), look(v[1])]
        }
    }

    #[inline(always)]
    fn fifth_bits(self, v: Self::I, from: u32) -> Self::I {
        // The factor has copies of the four bits start at bits 0, 7, 14 and 21, so that bit i comes to lie at 8 i.
        let four = self.and(self.shr(v, from), self.splat_i32(15));
        // SAFETY: base instructions.
        let copies = unsafe {
            let factor = vdupq_n_u32(0x0020_4081);
            [vmulq_u32(four[0], factor), vmulq_u32(four[1], factor)]
        };
        self.shl(self.and(copies, self.splat_u8(1)), 4)
    }

    #[inline(always)]
    fn multiply_bytes(self, vectors: &mut [Self::I; PEAK_VECTORS], b: Self::I) {
        for v in vectors {
            for half in 0..2 {
                // SAFETY: `self` is the proof that the CPU has the instructions; the rest is no instruction.
                unsafe {
                    let (bytes, b) = (vreinterpretq_s8_u32(v[half]), vreinterpretq_s8_u32(b[half]));
                    v[half] = vreinterpretq_u32_s32(D::products(vreinterpretq_s32_u32(v[half]), bytes, b));
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<C: Codes<Self>, const R: usize, const G: usize, const M: usize, const T: usize>(
        self,
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        acc: &mut [Self::F; T],
    ) {
        const { assert!(R == 8) };
        for g in 0..G {
            // SAFETY: `self` is the proof that the CPU has the instructions.
            let dots = unsafe { D::group(step, acts, g) };
            // SAFETY: eight floats of a step.
            let scales = unsafe { self.load(step.scales[g].as_ptr()) };
            for t in 0..T {
                let minus_sum = if G == 1 { acts.minus_sums[t] } else { acts.minus_half_sums[t][g] };
                let d_x = self.splat(acts.scales[t]);
                // SAFETY: no instruction.
                let dot = unsafe { [vreinterpretq_u32_s32(dots[t][0]), vreinterpretq_u32_s32(dots[t][1])] };
                let dot = if C::OFFSET == 0 {
                    dot
                } else {
                    self.add_i32(dot, self.splat_i32(minus_sum * C::OFFSET))
                };
                acc[t] = self.fma(self.mul(scales, d_x), self.to_float(dot), acc[t]);
                if M > 0 {
                    // -(m * d) * sum + acc, rounded once.
                    let sum = if G == 1 { acts.sums[t] } else { acts.half_sums[t][g] };
                    // SAFETY: eight floats of a step.
                    let min = self.mul(unsafe { self.load(step.mins[g].as_ptr()) }, d_x);
                    let sum = self.splat(sum);
                    // SAFETY: base instructions.
                    acc[t] = unsafe {
                        [vfmsq_f32(acc[t][0], min[0], sum[0]), vfmsq_f32(acc[t][1], min[1], sum[1])]
                    };
                }
            }
        }
    }
}
