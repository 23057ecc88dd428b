//! The instruction sets of AArch64. They share their vectors and differ in how they multiply bytes.

mod dotprod;
mod i8mm;
mod neon;
mod vectors;

use crate::simd;
use crate::table::Kernels;
use vectors::Vectors;

/// Puts the kernels for the base instructions into the table.
///
/// # Safety
/// The table is used only where `Isa::Neon` is supported.
pub(crate) unsafe fn install_neon(kernels: &mut Kernels) {
    // SAFETY: the caller's promise.
    unsafe { simd::install::<Vectors<neon::Widening>, 8, 2, 2, 2, 2>(kernels) };
}

/// The same with the 8-bit dot product.
///
/// # Safety
/// The table is used only where `Isa::Dotprod` is supported.
pub(crate) unsafe fn install_dotprod(kernels: &mut Kernels) {
    // SAFETY: the caller's promise.
    unsafe { simd::install::<Vectors<dotprod::Dot>, 8, 2, 2, 2, 2>(kernels) };
}

/// The same with the 8-bit matrix product.
///
/// # Safety
/// The table is used only where `Isa::I8mm` is supported.
pub(crate) unsafe fn install_i8mm(kernels: &mut Kernels) {
    // SAFETY: the caller's promise.
    unsafe { simd::install::<Vectors<i8mm::MatrixProduct>, 8, 2, 2, 2, 2>(kernels) };
}
