//! The verbs that a forward pass is written in, at the granularity at which they can be fused.
//!
//! A backend holds the intermediate results of one batch (residual stream, projections, attention output) and
//! the verbs work on them in order; a model file only says which weights take part.

mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
pub mod gpu;
mod observed;
mod part;
mod timed;

pub use cpu::{Buffers, CpuBackend, LogitSink};
pub use observed::Importance;
pub(crate) use observed::Observed;
pub use part::Part;
pub(crate) use timed::Timed;
pub use timed::VerbTimes;

use crate::error::Result;
use crate::model::{DeltaNet, Experts, Linear, Weight};

/// Tokens to evaluate in one go.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Token ids: those of each [`Part`], one part after the other.
    pub tokens: &'a [u32],
    /// What those get that want logits.
    pub output: Output,
}

/// What comes of the rows of a batch that want something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The logits of the next token, `[vocab]`.
    Logits,
    /// The state after the last norm, `[embedding]`, from which logits would be computed.
    States,
}

/// Which rows of a part go through the output projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// None: more of the prompt follows.
    None,
    /// The last one.
    Last,
    /// Every one.
    All,
}

/// Weights of the per-head RMS norms of q and k.
#[derive(Clone, Copy, Debug)]
pub struct HeadNorms<'a> {
    /// For queries; `[head_dim]`.
    pub q: &'a [f32],
    /// For keys; `[head_dim]`.
    pub k: &'a [f32],
}

/// Executes the verbs for a batch of n tokens. x is the residual stream, [n, embedding].
pub trait Backend {
    /// x = the rows of `table` that the tokens name.
    fn embed(&mut self, table: &Weight, batch: &Batch<'_>) -> Result<()>;

    /// q, k, v = each of `outs` times RMSNorm(x; norm, eps), plus its bias.
    fn norm_project(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()>;

    /// As [`norm_project`](Backend::norm_project) with a gate behind each head's query: q, g, k, v.
    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()>;

    /// Normalises q and k per head (where the model does), rotates both by their positions and puts k and v
    /// in the cache of `layer`.
    fn rope_store(&mut self, layer: usize, norms: Option<HeadNorms<'_>>, eps: f32) -> Result<()>;

    /// o = causal attention of q over the cache of `layer`.
    fn attend(&mut self, layer: usize) -> Result<()>;

    /// x += w times o.
    fn project_add(&mut self, w: &Linear) -> Result<()>;

    /// x += w times (sigmoid(g) * o).
    fn project_add_gated(&mut self, w: &Linear) -> Result<()>;

    /// x += the gated answers of a delta net for h = RMSNorm(x; norm, eps); `index` counts the layers that have one.
    fn delta_net(&mut self, index: usize, norm: &[f32], eps: f32, net: &DeltaNet) -> Result<()>;

    /// x += down times (silu(gate times h) * (up times h)), with h = RMSNorm(x; norm, eps).
    fn gated_mlp(&mut self, norm: &[f32], eps: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()>;

    /// x += the weighted answers of the experts that each token is sent to, and of the shared one, for
    /// h = RMSNorm(x; norm, eps).
    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()>;

    /// Logits of the rows that the batch asks for: w times RMSNorm(x; norm, eps); or the latter alone, where it asks for
    /// states.
    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()>;
}
