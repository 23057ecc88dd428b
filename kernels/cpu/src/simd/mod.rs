//! Kernels written once, over the vectors of any instruction set.
//!
//! [`Simd`] is what an instruction set brings along; everything else here is generic over it. Functions are
//! `#[inline(always)]` down to the instructions, so that each kernel becomes one function compiled for the
//! instruction set where [`Simd::run`] is called.

mod attend;
mod blocks;
mod delta;
pub(crate) mod linear_f;
pub(crate) mod linear_q;
mod math;
mod norm;
mod quantize;
mod rope;
mod silu;

use crate::acts::ActStep;
use crate::table::{Kernels, LinearQFn};
use blocks::*;
use half::f16;
use linear_q::{Blocks, Codes, Rows, Step};
use qwip_quant::TensorType;

/// An instruction set. A value is the proof that this machine has it, which makes the operations safe to call.
pub(crate) trait Simd: Copy + 'static {
    /// Floats (or 32-bit integers, or groups of four bytes) of a vector.
    const LANES: usize;
    /// Tokens of the widest tile that [`multiply`](Simd::multiply) keeps in registers.
    const TOKENS: usize;
    /// What signed 8-bit weight codes get added, so that `multiply` can take them.
    const SIGNED: i32;
    /// Floats.
    type F: Copy;
    /// 32-bit integers, or bytes.
    type I: Copy;

    /// # Safety
    /// The CPU has the instructions.
    unsafe fn new() -> Self;

    /// Calls `f` in a function compiled with the instructions.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;

    /// # Safety
    /// `LANES` floats are readable.
    unsafe fn load(self, at: *const f32) -> Self::F;
    /// # Safety
    /// `LANES` floats are writable.
    unsafe fn store(self, at: *mut f32, v: Self::F);
    /// # Safety
    /// `LANES` numbers are readable.
    unsafe fn load_f16(self, at: *const f16) -> Self::F;
    /// # Safety
    /// `LANES` numbers of two bytes are readable.
    unsafe fn load_bf16(self, at: *const u8) -> Self::F;
    /// # Safety
    /// `LANES` bytes are readable.
    unsafe fn load_i8(self, at: *const i8) -> Self::F;
    /// Writes the lowest byte of each lane.
    ///
    /// # Safety
    /// `LANES` bytes are writable.
    unsafe fn store_i8(self, at: *mut i8, v: Self::I);
    /// Sixteen bytes at `offset` of each of `LANES` rows: vector i has bytes 4i..4i + 4 of the rows in its lanes.
    ///
    /// # Safety
    /// Those bytes are readable.
    unsafe fn words4(self, rows: Rows, offset: usize) -> [Self::I; 4];
    /// Asks for the cache line at `at`, which need not exist.
    fn prefetch(self, at: *const u8);
    /// Writes four bytes of every row.
    fn put_codes<const R: usize>(self, out: &mut [[u8; 4]; R], v: Self::I);

    fn splat(self, x: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`.
    fn smaller(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`.
    fn larger(self, a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, v: Self::F) -> Self::F;
    /// The largest lane; none is NaN.
    fn largest(self, v: Self::F) -> f32;
    /// The first `n` lanes of `a` (all, if there are not so many), the rest from `b`.
    fn first(self, n: usize, a: Self::F, b: Self::F) -> Self::F;
    /// `reference::math::tree16` of sixteen lanes in as many vectors as they take.
    fn tree16<const P: usize>(self, lanes: &[Self::F; P]) -> f32;
    /// [`tree16`](Simd::tree16) of each.
    #[inline(always)]
    fn trees<const P: usize, const N: usize>(self, lanes: &[[Self::F; P]; N]) -> [f32; N] {
        let mut sums = [0.0; N];
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum = self.tree16(lanes);
        }
        sums
    }

    /// The bits of floats.
    fn bits(self, v: Self::F) -> Self::I;
    /// The floats of bits.
    fn floats(self, v: Self::I) -> Self::F;
    /// Floats that are integers below 2^31.
    fn to_int(self, v: Self::F) -> Self::I;
    fn to_float(self, v: Self::I) -> Self::F;
    /// The half precision numbers in the lower halves of the lanes.
    fn lower_halves(self, v: Self::I) -> Self::F;
    fn splat_i32(self, x: i32) -> Self::I;
    fn splat_u8(self, x: u8) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    fn max_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts of the 32-bit lanes, filled with zeros; `n` is below 32.
    fn shl(self, v: Self::I, n: u32) -> Self::I;
    fn shr(self, v: Self::I, n: u32) -> Self::I;
    /// The same, filled with the sign.
    fn sar(self, v: Self::I, n: u32) -> Self::I;
    /// The largest lane as signed.
    fn largest_i32(self, v: Self::I) -> i32;
    /// The sum of the lanes.
    fn sum_i32(self, v: Self::I) -> i32;
    /// Each byte (0..16) replaced by the byte that it points at.
    fn lookup(self, table: &[u8; 16], v: Self::I) -> Self::I;
    /// Bits `from..from + 4` of each lane to bit 4 of its four bytes; `from` is a multiple of 4.
    fn fifth_bits(self, v: Self::I, from: u32) -> Self::I;

    /// The same reference, in a form that addresses what it points to by itself, if that is better for
    /// [`multiply`](Simd::multiply) from memory.
    #[inline(always)]
    fn plain_address<P>(self, p: &P) -> &P {
        p
    }

    /// Byte products in a vector of [`multiply_bytes`](Simd::multiply_bytes).
    const BYTE_PRODUCTS: usize;

    /// Multiplies the bytes of each vector with those of `b` and sums into it, in as few instructions as there
    /// are: what limits the quantized linear if nothing else does.
    fn multiply_bytes(self, vectors: &mut [Self::I; PEAK_VECTORS], b: Self::I);

    /// One step of the quantized linear: `acc[t] += rows x token t`, as the number contract says. R is LANES.
    fn multiply<C: Codes<Self>, const R: usize, const G: usize, const M: usize, const T: usize>(
        self,
        step: &Step<R, G, M>,
        acts: &ActStep<T>,
        acc: &mut [Self::F; T],
    );
}

/// Independent vectors that keep every multiplier busy.
pub(crate) const PEAK_VECTORS: usize = 12;

/// See `PeakFn`.
fn integer_peak<S: Simd>(s: S) -> u64 {
    const ROUNDS: u32 = 200_000;
    s.run(
        #[inline(always)]
        || {
            let mut vectors = [s.splat_i32(0); PEAK_VECTORS];
            let b = s.splat_i32(std::hint::black_box(0x0102_0304));
            for _ in 0..ROUNDS {
                s.multiply_bytes(&mut vectors, b);
            }
            for v in vectors {
                std::hint::black_box(s.sum_i32(v));
            }
        },
    );
    u64::from(ROUNDS) * (PEAK_VECTORS * S::BYTE_PRODUCTS * 2) as u64
}

/// Puts the kernels of `S` into a table: R is its lanes, P the vectors that sixteen lanes take, A and T the
/// rows and tokens of a tile of float matrices, K the vectors of positions that attention works on at a time.
///
/// # Safety
/// The table is used only where the CPU has the instructions.
pub(crate) unsafe fn install<
    S: Simd,
    const R: usize,
    const P: usize,
    const A: usize,
    const T: usize,
    const K: usize,
>(
    kernels: &mut Kernels,
) {
    const { assert!(R == S::LANES && P * R == 16) };
    kernels.tokens = S::TOKENS;
    // SAFETY: the promise of whoever installs; the same holds for all that follow.
    kernels.quantize = |x, t, tile| quantize::quantize::<S, P>(unsafe { S::new() }, x, t, tile);
    kernels.linear_f = |w, rows, x, n, sink| {
        // SAFETY: as above.
        linear_f::linear_f::<S, P, A, T>(unsafe { S::new() }, w, rows, x, n, sink);
    };
    // SAFETY: as above.
    kernels.norm = |x, w, eps, out| norm::rms_norm::<S, P>(unsafe { S::new() }, x, w, eps, out);
    // SAFETY: as above.
    kernels.rope = |x, cos, sin| rope::rope::<S>(unsafe { S::new() }, x, cos, sin);
    // SAFETY: as above.
    kernels.silu_mul = |gate, up| silu::silu_mul::<S>(unsafe { S::new() }, gate, up);
    kernels.conv_silu = |u, before, taps| {
        // SAFETY: as above.
        delta::conv_silu::<S>(unsafe { S::new() }, u, before, taps);
    };
    // SAFETY: as above.
    kernels.sigmoid_mul = |x, gate| delta::sigmoid_mul::<S>(unsafe { S::new() }, x, gate);
    // SAFETY: as above.
    kernels.delta_read = |s, next, read| delta::read::<S, P>(unsafe { S::new() }, s, next, read);
    kernels.delta_step = |s, q, k, delta, out, next| {
        // SAFETY: as above.
        delta::step::<S, P>(unsafe { S::new() }, s, q, k, delta, out, next);
    };
    kernels.attend_tile = |q, d, k, v, valid, m, l, o| {
        // SAFETY: as above.
        attend::attend_tile::<S, P, K>(unsafe { S::new() }, q, d, k, v, valid, m, l, o);
    };
    // SAFETY: as above.
    kernels.attend_merge = |part, m, l, o| attend::merge::<S>(unsafe { S::new() }, part, m, l, o);
    // SAFETY: as above.
    kernels.integer_peak = Some(|| integer_peak::<S>(unsafe { S::new() }));
    let mut own = |ty, kernel: LinearQFn| kernels.set_linear_q(ty, kernel);
    own(TensorType::Q4_0, kernel::<S, Q4_0, R, 1, 0, 1>());
    own(TensorType::Q4_1, kernel::<S, Q4_1, R, 1, 1, 1>());
    own(TensorType::Q5_0, kernel::<S, Q5_0, R, 1, 0, 1>());
    own(TensorType::Q5_1, kernel::<S, Q5_1, R, 1, 1, 1>());
    own(TensorType::Q8_0, kernel::<S, Q8_0, R, 1, 0, 1>());
    own(TensorType::Q2K, kernel::<S, Q2K, R, 2, 2, 4>());
    own(TensorType::Q3K, kernel::<S, Q3K, R, 2, 0, 4>());
    own(TensorType::Q4K, kernel::<S, Q4K, R, 1, 1, 2>());
    own(TensorType::Q5K, kernel::<S, Q5K, R, 1, 1, 2>());
    own(TensorType::Q6K, kernel::<S, Q6K, R, 2, 0, 4>());
    own(TensorType::Iq4Nl, kernel::<S, Iq4Nl, R, 1, 0, 1>());
    own(TensorType::Iq4Xs, kernel::<S, Iq4Xs, R, 1, 0, 2>());
    own(TensorType::Mxfp4, kernel::<S, Mxfp4, R, 1, 0, 1>());
    own(TensorType::Nvfp4, kernel::<S, Spelled<{ TensorType::Nvfp4.id() }, 64, 4>, R, 2, 0, 1>());
    own(TensorType::Iq1S, kernel::<S, Spelled<{ TensorType::Iq1S.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Iq1M, kernel::<S, Spelled<{ TensorType::Iq1M.id() }, 256, 16>, R, 2, 0, 1>());
    own(TensorType::Iq2Xxs, kernel::<S, Spelled<{ TensorType::Iq2Xxs.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Iq2Xs, kernel::<S, Spelled<{ TensorType::Iq2Xs.id() }, 256, 16>, R, 2, 0, 1>());
    own(TensorType::Iq2S, kernel::<S, Spelled<{ TensorType::Iq2S.id() }, 256, 16>, R, 2, 0, 1>());
    own(TensorType::Iq3Xxs, kernel::<S, Spelled<{ TensorType::Iq3Xxs.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Iq3S, kernel::<S, Spelled<{ TensorType::Iq3S.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Tq1_0, kernel::<S, Spelled<{ TensorType::Tq1_0.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Tq2_0, kernel::<S, Spelled<{ TensorType::Tq2_0.id() }, 256, 8>, R, 1, 0, 1>());
    own(TensorType::Q1_0, kernel::<S, Spelled<{ TensorType::Q1_0.id() }, 128, 4>, R, 1, 0, 1>());
    own(TensorType::Q2_0, kernel::<S, Spelled<{ TensorType::Q2_0.id() }, 64, 2>, R, 1, 0, 1>());
}

fn kernel<S: Simd, B, const R: usize, const G: usize, const M: usize, const L: usize>() -> LinearQFn
where
    B: Blocks<S, R, G, M, L>,
{
    |w, rows, x, sink, scratch| {
        // SAFETY: `install` promises that the table is used only where the CPU has the instructions.
        let s = unsafe { S::new() };
        linear_q::linear_q::<S, B, R, G, M, L>(s, w, rows, x, sink, scratch);
    }
}
