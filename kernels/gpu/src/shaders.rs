//! The shader files, and which permutations of them there are.

use qwip_quant::TensorType;

use crate::layout::Layout;
use crate::ops;
use crate::preprocess::{Define, preprocess};

/// A kernel; those that read a matrix exist for each of its types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the variants are the names of the shader files")]
pub enum Kernel {
    Linear(TensorType),
    LinearTiled(TensorType),
    Prepare,
    Rope,
    Attend,
    AttendMerge,
    DeltaConv,
    Delta,
    DeltaNorm,
    Route,
    ExpertSort,
    Mix,
    Squares,
    TopK,
    TopKMerge,
}

impl Kernel {
    /// The name of its file, without the ending.
    pub fn name(self) -> &'static str {
        self.file().trim_end_matches(".wgsl")
    }

    fn file(self) -> &'static str {
        match self {
            Kernel::Linear(_) => "linear.wgsl",
            Kernel::LinearTiled(_) => "linear_tiled.wgsl",
            Kernel::Prepare => "prepare.wgsl",
            Kernel::Rope => "rope.wgsl",
            Kernel::Attend => "attend.wgsl",
            Kernel::AttendMerge => "attend_merge.wgsl",
            Kernel::DeltaConv => "delta_conv.wgsl",
            Kernel::Delta => "delta.wgsl",
            Kernel::DeltaNorm => "delta_norm.wgsl",
            Kernel::Route => "route.wgsl",
            Kernel::ExpertSort => "expert_sort.wgsl",
            Kernel::Mix => "mix.wgsl",
            Kernel::Squares => "squares.wgsl",
            Kernel::TopK => "top_k.wgsl",
            Kernel::TopKMerge => "top_k_merge.wgsl",
        }
    }

    /// The type of the matrix that it reads.
    fn matrix(self) -> Option<TensorType> {
        match self {
            Kernel::Linear(ty) | Kernel::LinearTiled(ty) => Some(ty),
            _ => None,
        }
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        fn file(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("wgsl/", $name))),)*
                _ => None,
            }
        }
    };
}

files!(
    "half.wgsl",
    "linear.wgsl",
    "linear_tiled.wgsl",
    "prepare.wgsl",
    "rope.wgsl",
    "attend.wgsl",
    "attend_merge.wgsl",
    "best.wgsl",
    "delta_conv.wgsl",
    "delta.wgsl",
    "delta_norm.wgsl",
    "route.wgsl",
    "expert_sort.wgsl",
    "mix.wgsl",
    "squares.wgsl",
    "top_k.wgsl",
    "top_k_merge.wgsl",
    "blocks/bf16.wgsl",
    "blocks/codebook.wgsl",
    "blocks/common.wgsl",
    "blocks/f16.wgsl",
    "blocks/f32.wgsl",
    "blocks/fives.wgsl",
    "blocks/iq1_m.wgsl",
    "blocks/iq1_s.wgsl",
    "blocks/iq2_s.wgsl",
    "blocks/iq2_xs.wgsl",
    "blocks/iq2_xxs.wgsl",
    "blocks/iq3_s.wgsl",
    "blocks/iq3_xxs.wgsl",
    "blocks/iq4_nl.wgsl",
    "blocks/iq4_xs.wgsl",
    "blocks/mxfp4.wgsl",
    "blocks/nvfp4.wgsl",
    "blocks/pairs.wgsl",
    "blocks/q1_0.wgsl",
    "blocks/q2_0.wgsl",
    "blocks/q2_k.wgsl",
    "blocks/q3_k.wgsl",
    "blocks/q4_0.wgsl",
    "blocks/q4_1.wgsl",
    "blocks/q4_k.wgsl",
    "blocks/q5_0.wgsl",
    "blocks/q5_1.wgsl",
    "blocks/q5_k.wgsl",
    "blocks/q6_k.wgsl",
    "blocks/q8_0.wgsl",
    "blocks/table.wgsl",
    "blocks/ternary.wgsl",
    "blocks/tq1_0.wgsl",
    "blocks/tq2_0.wgsl",
);

/// The text of a permutation of a kernel.
///
/// # Errors
/// What the preprocessor says of the file; never for those of [`permutations`].
pub fn source(kernel: Kernel, options: &[Define]) -> Result<String, String> {
    let ty = kernel.matrix();
    let layout = ty.and_then(Layout::of);
    let load = |name: &str| match name {
        "unit.wgsl" => file(layout?.file()),
        name => file(name),
    };
    let mut defines = options.to_vec();
    if ty.is_some_and(TensorType::has_min) {
        defines.push(("MIN", 1));
    }
    if ty.is_some_and(TensorType::is_quantized) {
        defines.push(("QUANTIZED", 1));
        if !options.iter().any(|(name, _)| *name == "ONE") {
            defines.push(("STEPPED", 1));
        }
    }
    let text = preprocess(kernel.file(), &load, &defines)?;
    let f16 = options.iter().any(|(name, _)| *name == "F16");
    Ok(if f16 { format!("enable f16;\n{text}") } else { text })
}

/// Of each binding, in order, whether it is only read.
pub(crate) fn bindings(source: &str) -> Vec<bool> {
    let lines = source.lines().filter(|line| line.contains("@binding("));
    lines.map(|line| line.contains("var<storage, read>")).collect()
}

/// Every permutation that the operations can ask for, on devices with and without subgroups and half precision.
pub fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    let mut all = Vec::new();
    for (kernel, options) in ops::permutations() {
        for common in [
            &[("LANES", 32)][..],
            &[("LANES", 32), ("SUBGROUP", 1), ("F16", 1)],
            &[("LANES", 64), ("SUBGROUP", 1)],
        ] {
            all.push((kernel, [&options[..], common].concat()));
        }
    }
    all
}
