//! Kernels for x86-64. Each folder holds one instruction set, with the file names of `scalar/`.

pub(crate) mod avx2;
pub(crate) mod avx512vnni;
mod linear_q;
