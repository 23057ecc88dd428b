//! CPU kernels that compute straight from quantized GGUF blocks: slices in, slices out.
//!
//! One rule orders this crate: [`reference`](mod@reference) says what every operation means, down to the
//! last bit, and everything else equals it with `==`. So a model gives the same answer on every
//! instruction set, for every thread count and for every way of cutting a prompt into slices.
//!
//! | module | what it holds |
//! |---|---|
//! | [`reference`](mod@reference) | the normative definition of every operation, slow and obviously right |
//! | [`scalar`] | the portable implementation that runs everywhere |
//! | `simd` | the fast kernels, written once over the vectors of any instruction set |
//! | `x86_64`, `aarch64` | what the instruction sets bring along for that (on their architecture only) |
//! | [`acts`] | quantized activations in the order in which matrix kernels read them |
//! | [`isa`] | which instruction sets this machine has, and the `QWIP_ISA` override |
//! | [`table`] | [`Kernels`]: the function pointers of one instruction set, and the types they take |
//! | [`pool`] | the persistent thread pool |
//! | [`fpenv`] | the float control word: saved, set to IEEE defaults, restored |
//! | [`kv`] | the layout of a tile of the key/value cache, and writing into it |
//! | [`self_test`](mod@self_test) | a short check of every kernel set against the reference, for `doctor` |
//! | [`ops`] | parallel drivers over the kernels: what the runtime calls |

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub mod acts;
pub mod fpenv;
pub mod isa;
pub mod kv;
pub mod ops;
pub mod pool;
pub mod reference;
pub mod scalar;
pub mod self_test;
mod simd;
pub mod table;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use acts::{Acts, ActsBuffer};
pub use isa::{Isa, IsaError};
pub use kv::{KvMut, KvType};
pub use pool::{Cancelled, Pool};
pub use self_test::self_test;
pub use table::{Kernels, KvRef, Matrix, Scratch, ShapeError, Sink};

/// The version of the number contract that [`reference`](mod@reference) defines. It changes when any result can
/// change in any bit; saved sessions carry it.
pub const CONTRACT_VERSION: u32 = 1;

/// Positions in one tile of the key/value cache.
pub const TILE: usize = 64;
