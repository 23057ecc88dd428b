//! Rotary position embedding, and keys and values on their way into the cache: one dispatch.

use super::bits;
use crate::buffer::Span;
use crate::kv::{KvType, KvTypes, TILE};
use crate::preprocess::Define;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// The heads of an attention layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key/value heads; query head h reads kv head h / (heads / kv_heads).
    pub kv_heads: usize,
    /// Dimension of a head, of keys and of values: D.
    pub d: usize,
}

/// Where a layer's keys and values are.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// Keys in all slots.
    pub keys: &'a Span,
    /// Values in all slots.
    pub values: &'a Span,
    /// How they are stored.
    pub types: KvTypes,
    /// A word for each 64 positions of the sequence: their slot.
    pub pages: &'a Span,
}

/// The options that tell kernels how keys and values are stored.
pub(super) fn stored(types: KvTypes) -> [Define; 2] {
    let k = match types.k {
        KvType::F16 => "K_F16",
        KvType::F32 => "K_F32",
        KvType::Q8_0 => "K_Q8_0",
    };
    let v = match types.v {
        KvType::F16 => "V_F16",
        KvType::F32 => "V_F32",
        KvType::Q8_0 => "V_Q8_0",
    };
    [(k, 1), (v, 1)]
}

/// Every way to store both.
pub(super) fn all_types() -> impl Iterator<Item = KvTypes> {
    let each = [KvType::F16, KvType::F32, KvType::Q8_0];
    each.into_iter().flat_map(move |k| each.into_iter().map(move |v| KvTypes { k, v }))
}

/// Every permutation.
pub(crate) fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    let norms = [&[][..], &[("HEAD_NORMS", 1)]];
    let both = |types| norms.into_iter().map(move |norms| (Kernel::Rope, [&stored(types), norms].concat()));
    all_types().flat_map(both).collect()
}

impl Cache<'_> {
    /// Bytes of slots that hold none of so many tiles.
    pub(super) fn unused(&self, heads: Heads, tiles: usize) -> u64 {
        let of_tile = heads.kv_heads * (self.types.k.tile_bytes(heads.d) + self.types.v.tile_bytes(heads.d));
        (self.keys.bytes + self.values.bytes).saturating_sub((tiles * of_tile) as u64)
    }
}

/// Some tokens' projections, and where their queries, keys and values go.
#[derive(Clone, Copy, Debug)]
pub struct RopeStore<'a> {
    /// The heads.
    pub heads: Heads,
    /// Tokens.
    pub n: usize,
    /// The position of the first.
    pub start: usize,
    /// `[n, width]`: queries from column 0, keys and values.
    pub qkv: &'a Span,
    /// Columns of a row of `qkv`.
    pub width: usize,
    /// Whether the queries of a row are `[heads, 2, D]`, each followed by a gate, and not `[heads, D]`.
    pub gated: bool,
    /// Column of the first key head.
    pub k_at: usize,
    /// Column of the first value head.
    pub v_at: usize,
    /// cos `[n, rotated / 2]`, sin `[n, rotated / 2]` and, if `growth`, the growth `[n]`, one behind the other.
    pub tables: &'a Span,
    /// Dimensions that are rotated, in pairs of i and i + rotated / 2: the first of each head.
    pub rotated: usize,
    /// Whether queries are multiplied with a growth.
    pub growth: bool,
    /// Weights `[D]` of the norms of query heads and of key heads, and their epsilon.
    pub norms: Option<(&'a Span, &'a Span, f32)>,
    /// `[n, heads, D]`: the queries, ready for [`attend`](super::attend::attend): they bring 1 / sqrt(D) along.
    pub q: &'a Span,
    /// Where keys and values go.
    pub cache: Cache<'a>,
}

/// Normalizes (if there are norms) and rotates the heads, and stores the keys and the values.
///
/// # Panics
/// The numbers contradict each other.
pub fn rope_store(rec: &mut Recording, job: &RopeStore<'_>) {
    let Heads { heads, kv_heads, d } = job.heads;
    let (n, half) = (job.n, job.rotated / 2);
    assert!(job.rotated <= d && job.rotated.is_multiple_of(2), "{} of {d} dimensions rotated", job.rotated);
    let q_stride = if job.gated { 2 * d } else { d };
    let ends = [heads * q_stride, job.k_at + kv_heads * d, job.v_at + kv_heads * d];
    assert!(ends.into_iter().all(|end| end <= job.width), "columns up to {ends:?} of {}", job.width);
    let growth_at = if job.growth { 2 * n * half } else { 0 };
    let eps = job.norms.map_or(0.0, |(_, _, eps)| eps);
    let sizes =
        [job.width, q_stride, job.k_at, job.v_at, heads, kv_heads, d, half, job.start, n * half, growth_at];
    let mut params: Vec<u32> = sizes.into_iter().map(|size| size as u32).collect();
    params.extend([bits(1.0 / (d as f32).sqrt()), bits(eps)]);
    let mut options = stored(job.cache.types).to_vec();
    let Cache { keys, values, pages, .. } = job.cache;
    let mut spans = vec![job.qkv, job.tables, pages, job.q, keys, values];
    if let Some((q, k, _)) = job.norms {
        options.push(("HEAD_NORMS", 1));
        spans.extend([q, k]);
    }
    rec.dispatch(Kernel::Rope, &options, &spans, &params, [(heads + 2 * kv_heads) as u32, 1, n as u32]);
    rec.leaves(job.cache.unused(job.heads, n.div_ceil(TILE)));
}
