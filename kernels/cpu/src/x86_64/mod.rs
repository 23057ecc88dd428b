//! The instruction sets of x86-64. Those with 256-bit registers share their vectors and differ in how they
//! multiply bytes.

mod avx2;
mod avx512vnni;
mod avxvnni;
mod vectors;

use crate::simd;
use crate::table::Kernels;
use avx2::Pairs;
use avx512vnni::Avx512Vnni;
use avxvnni::Quads;
use vectors::Vectors;

/// Puts the kernels for AVX2, FMA and F16C into the table.
///
/// # Safety
/// The table is used only where `Isa::Avx2` is supported.
pub(crate) unsafe fn install_avx2(kernels: &mut Kernels) {
    // SAFETY: the caller's promise.
    unsafe { simd::install::<Vectors<Pairs>, 8, 2, 2, 3, 2>(kernels) };
}

/// The same with the 8-bit dot product.
///
/// # Safety
/// The table is used only where `Isa::AvxVnni` is supported.
pub(crate) unsafe fn install_avxvnni(kernels: &mut Kernels) {
    if is_x86_feature_detected!("avxvnni") {
        // SAFETY: the caller's promise, and the AVX encoding is there.
        unsafe { simd::install::<Vectors<Quads<true>>, 8, 2, 2, 3, 2>(kernels) };
    } else {
        // SAFETY: the caller's promise; then the other encoding is there.
        unsafe { simd::install::<Vectors<Quads<false>>, 8, 2, 2, 3, 2>(kernels) };
    }
}

/// The same with 512-bit registers.
///
/// # Safety
/// The table is used only where `Isa::Avx512Vnni` is supported.
pub(crate) unsafe fn install_avx512vnni(kernels: &mut Kernels) {
    // SAFETY: the caller's promise.
    unsafe { simd::install::<Avx512Vnni, 16, 1, 4, 6, 4>(kernels) };
}

/// Defines operations that are one expression of intrinsics.
macro_rules! operations {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: `self` is the proof that the CPU has the instructions.
            unsafe { $body }
        }
    )*};
}

/// Defines loads and stores that are one expression of intrinsics.
macro_rules! memory_operations {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: `self` is the proof that the CPU has the instructions, the memory is the caller's promise.
            unsafe { $body }
        }
    )*};
}

use {memory_operations, operations};
