//! The instruction sets of x86-64.

pub(crate) mod avx2;
pub(crate) mod avx512vnni;

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
