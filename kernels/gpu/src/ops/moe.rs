//! A layer of experts: which tokens use which of them, in which order they are multiplied, and the sum of their answers.

use crate::buffer::Span;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// Experts of a layer are at most so many.
pub const MAX_EXPERTS: usize = 2048;
/// Slots of a block, at most.
pub const TILE_TOKENS: usize = 32;

/// How a token's experts are chosen and weighed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Routing {
    /// How many there are, at most [`MAX_EXPERTS`].
    pub experts: usize,
    /// Experts that a token uses, 1 to all.
    pub used: usize,
    /// Divide their weights by the sum of them.
    pub normalise: bool,
    /// Multiplies the weights.
    pub scale: f32,
}

impl Routing {
    /// Slots of n tokens: slot `t * used + i` has the i-th expert of token t, in ascending order.
    pub fn slots(&self, n: usize) -> usize {
        n * self.used
    }

    /// Entries of the list of blocks of n tokens.
    pub fn blocks(&self, n: usize) -> usize {
        self.slots(n) / TILE_TOKENS + self.experts
    }
}

/// Chooses the experts of each token by `logits` f32 `[n, experts]`: `ids` u32 `[n, used]`, ascending and always below
/// `experts`, and `weights` f32 `[n, used]`, NaN where a logit is NaN or positive infinity.
pub fn route(rec: &mut Recording, routing: &Routing, n: usize, logits: &Span, [ids, weights]: [&Span; 2]) {
    let Routing { experts, used, normalise, scale } = *routing;
    debug_assert!(experts <= MAX_EXPERTS && (1..=experts).contains(&used), "{routing:?}");
    let params = [n as u32, experts as u32, used as u32, u32::from(normalise), scale.to_bits()];
    rec.dispatch(Kernel::Route, &[], &[logits, ids, weights], &params, [n as u32, 1, 1]);
}

/// Groups the slots by expert: `order` u32 `[slots]` has the slots of expert 0, of expert 1 and so on, each in ascending
/// order; `blocks` u32 `[blocks, 3]` cuts it into runs of one expert and at most [`TILE_TOKENS`] slots: expert, first place
/// in `order`, count. Experts ascend; entries with a count of 0 lie between them.
pub fn sort(rec: &mut Recording, routing: &Routing, n: usize, ids: &Span, [order, blocks]: [&Span; 2]) {
    debug_assert!(blocks.bytes >= 12 * routing.blocks(n) as u64, "{routing:?}");
    let params = [routing.slots(n) as u32, routing.experts as u32];
    rec.dispatch(Kernel::ExpertSort, &[], &[ids, order, blocks], &params, [routing.experts as u32, 1, 1]);
}

/// What the expert answers that all tokens use.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    /// f32 `[n, width]`.
    pub answers: &'a Span,
    /// The logit of its weight for each token, before the sigmoid: f32 `[n]`.
    pub gates: &'a Span,
    /// A factor of the answers.
    pub scale: f32,
}

/// Adds to `x` f32 `[n, width]` the `answers` f32 `[n * used, width]` of each token's slots with their `weights` f32
/// `[n, used]`, in ascending order, then that of the shared expert.
pub fn mix(
    rec: &mut Recording,
    [n, used, width]: [usize; 3],
    [answers, weights]: [&Span; 2],
    shared: Option<&Shared>,
    x: &Span,
) {
    let scale = shared.map_or(1.0, |shared| shared.scale);
    let params = [n as u32, width as u32, used as u32, scale.to_bits()];
    let groups = [(n * width).div_ceil(256) as u32, 1, 1];
    match shared {
        None => rec.dispatch(Kernel::Mix, &[], &[answers, weights, x], &params, groups),
        Some(shared) => {
            let spans = [answers, weights, x, shared.answers, shared.gates];
            rec.dispatch(Kernel::Mix, &[("SHARED", 1)], &spans, &params, groups);
        }
    }
}
