//! Attention of a run of tokens over the cache: one dispatch, and another that merges where tiles are split.

use super::rope::{Cache, Heads, all_types, stored};
use crate::buffer::{ALIGNMENT, Span};
use crate::kv::{KvType, KvTypes, TILE};
use crate::preprocess::Define;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// Workgroups that a device should have to be busy.
const WORKGROUPS: usize = 512;
/// Runs of tiles that attend_merge.wgsl can merge.
const MAX_SPLITS: usize = 128;
/// A workgroup should have as many tiles at least, so that merging is worth it.
const LEAST_TILES: usize = 2;

/// Queries, and what they see.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a> {
    /// The heads.
    pub heads: Heads,
    /// Tokens.
    pub n: usize,
    /// The position of the first.
    pub start: usize,
    /// Whether a token sees only what stands before it, and itself; otherwise it sees the rest of its run, too.
    pub causal: bool,
    /// `[n, heads, D]`, from [`rope_store`](super::rope::rope_store).
    pub q: &'a Span,
    /// Keys and values of positions 0..start + n.
    pub cache: Cache<'a>,
    /// Rows `[heads, 2, D]` of so many columns, with the gate of a head behind its query: the output is multiplied with
    /// the gate's sigmoid.
    pub gates: Option<(&'a Span, usize)>,
    /// Room for [`parts_bytes`].
    pub parts: &'a Span,
    /// `[n, heads, D]`.
    pub out: &'a Span,
}

/// Bytes of `parts` for all that [`attend`] does.
pub fn parts_bytes(d: usize) -> u64 {
    // No more workgroups than that write parts, of eight rows each.
    split_bytes(8 * WORKGROUPS, d)
}

/// Bytes of the parts of so many rows: weighted sums `[rows, D]`; from a new alignment, two floats for each row.
pub fn split_bytes(rows: usize, d: usize) -> u64 {
    sums_at(rows, d) + 8 * rows as u64
}

fn sums_at(rows: usize, d: usize) -> u64 {
    (4 * rows as u64 * d as u64).next_multiple_of(ALIGNMENT)
}

/// Attention: token i stands at `start + i` and sees every position up to and including its own (all of the run if not
/// causal).
///
/// # Panics
/// The numbers contradict each other.
pub fn attend(rec: &mut Recording, job: &Attend<'_>) {
    let tiles = (job.start + job.n).div_ceil(TILE);
    let workgroups = job.blocks().0.max(1);
    let splits = (WORKGROUPS / workgroups).clamp(1, MAX_SPLITS).min(tiles.div_ceil(LEAST_TILES)).max(1);
    attend_split(rec, job, tiles.div_ceil(splits));
}

/// As [`attend`], with so many tiles for a workgroup; `parts` has [`split_bytes`] of `n * heads` rows for each run of
/// tiles.
///
/// # Panics
/// The numbers contradict each other.
pub fn attend_split(rec: &mut Recording, job: &Attend<'_>, tiles: usize) {
    let Heads { heads, kv_heads, d } = job.heads;
    let (n, end) = (job.n, job.start + job.n);
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && tiles > 0, "{:?}, {tiles} tiles", job.heads);
    let group = heads / kv_heads;
    let splits = end.div_ceil(TILE).div_ceil(tiles);
    assert!(splits <= MAX_SPLITS, "{splits} runs of tiles");
    let gate_width = job.gates.map_or(0, |(_, width)| width);
    let (workgroups, rows) = job.blocks();
    let sizes = [n * group, group, kv_heads, job.start, end, usize::from(job.causal), tiles, gate_width];
    let params = sizes.map(|size| size as u32);
    let mut options = options(d, rows, job.cache.types);
    let unused = job.cache.unused(job.heads, end.div_ceil(TILE));
    let Cache { keys, values, pages, .. } = job.cache;
    let mut spans = vec![job.q, pages, keys, values];
    let grid = [workgroups as u32, 1, splits as u32];
    if splits == 1 {
        options.push(("FINISH", 1));
        spans.push(job.out);
        if let Some((gates, _)) = job.gates {
            options.push(("GATED", 1));
            spans.push(gates);
        }
        rec.dispatch(Kernel::Attend, &options, &spans, &params, grid);
        return rec.leaves(unused);
    }
    let parts_rows = splits * n * heads;
    let sums_at = sums_at(parts_rows, d);
    let Span { buffer, offset, bytes } = job.parts;
    assert!(*bytes >= split_bytes(parts_rows, d), "{bytes} bytes for the parts of {parts_rows} rows");
    let parts = buffer.span(*offset, sums_at);
    let sums = buffer.span(offset + sums_at, 8 * parts_rows as u64);
    spans.extend([&parts, &sums]);
    rec.dispatch(Kernel::Attend, &options, &spans, &params, grid);
    rec.leaves(unused);
    let params = [n * heads, heads, splits, gate_width].map(|size| size as u32);
    let mut options = vec![("HEAD_DIM", d as u32)];
    let mut spans = vec![&parts, &sums, job.out];
    if let Some((gates, _)) = job.gates {
        options.push(("GATED", 1));
        spans.push(gates);
    }
    rec.dispatch(Kernel::AttendMerge, &options, &spans, &params, [(n * heads) as u32, 1, 1]);
}

/// The options of attend.wgsl but for what happens in the end.
fn options(d: usize, rows: usize, types: KvTypes) -> Vec<Define> {
    let mut options = vec![("HEAD_DIM", d as u32), ("ROWS", rows as u32)];
    options.extend(stored(types));
    if rows == 8 {
        options.push(("EIGHT", 1));
    }
    options
}

/// Every permutation for one head dimension, and the usual types for some others.
pub(crate) fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    let usual = KvTypes { k: KvType::F16, v: KvType::F16 };
    let others = [8, 64, 80, 256].map(|d| (d, usual));
    let mut all = Vec::new();
    for (d, types) in all_types().map(|types| (128, types)).chain(others) {
        for rows in [4, 8] {
            for end in [&[][..], &[("FINISH", 1)], &[("FINISH", 1), ("GATED", 1)]] {
                all.push((Kernel::Attend, [&options(d, rows, types), end].concat()));
            }
        }
        for end in [&[][..], &[("GATED", 1)]] {
            all.push((Kernel::AttendMerge, [&[("HEAD_DIM", d as u32)], end].concat()));
        }
    }
    all
}

impl Attend<'_> {
    /// Workgroups that share out the rows, and the rows of each.
    fn blocks(&self) -> (usize, usize) {
        let Heads { heads, kv_heads, .. } = self.heads;
        let of_head = self.n * (heads / kv_heads);
        let rows = if of_head <= 4 { 4 } else { 8 };
        (kv_heads * of_head.div_ceil(rows), rows)
    }
}
