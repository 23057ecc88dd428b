//! Operations: each appends dispatches to a recording. Named as the drivers of the CPU's kernels.

pub mod attend;
pub mod delta;
pub mod linear;
pub mod moe;
pub mod rope;
pub mod squares;
pub mod top_k;

use crate::preprocess::Define;
use crate::shaders::Kernel;

/// Every permutation of every kernel, without the options that depend on the device.
pub(crate) fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    let mut all = linear::permutations();
    let plain = [
        Kernel::DeltaConv,
        Kernel::DeltaNorm,
        Kernel::Route,
        Kernel::ExpertSort,
        Kernel::Mix,
        Kernel::TopK,
        Kernel::TopKMerge,
    ];
    all.extend(plain.map(|kernel| (kernel, vec![])));
    all.push((Kernel::Mix, vec![("SHARED", 1)]));
    all.push((Kernel::Squares, vec![]));
    all.push((Kernel::Squares, vec![("EXPERTS", 1)]));
    for rows in [16, 32, 64, 128] {
        all.push((Kernel::Delta, vec![("ROWS", rows)]));
        all.push((Kernel::Delta, vec![("ROWS", rows), ("SNAPSHOT", 1)]));
    }
    all.extend(rope::permutations());
    all.extend(attend::permutations());
    all
}

/// A float as a parameter.
pub(crate) fn bits(x: f32) -> u32 {
    x.to_bits()
}
