//! The portable implementation: correct everywhere, and reasonably quick where the compiler vectorizes it
//! (on AArch64, whose base instructions include the fused multiply-add, it does).

pub mod attend;
pub mod delta;
pub mod linear;
pub mod math;
pub mod norm;
pub mod quantize;
pub mod rope;
pub mod silu;
