//! Operations: each appends dispatches to a recording. Named as the drivers of the CPU's kernels.

pub mod linear;

use crate::preprocess::Define;
use crate::shaders::Kernel;

/// Every permutation of every kernel, without the options that depend on the device.
pub(crate) fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    linear::permutations()
}

/// A float as a parameter.
pub(crate) fn bits(x: f32) -> u32 {
    x.to_bits()
}
