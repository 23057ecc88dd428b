//! Attention of a run of tokens over the key/value cache.

use super::{Cancel, Cpu, SharedOut, rows_of};
use crate::pool::Cancelled;
use crate::{KvRef, TILE};

/// The heads of an attention layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key/value heads; query head h reads kv head h / (heads / kv_heads).
    pub kv_heads: usize,
    /// Dimension of a head, of keys and of values.
    pub d: usize,
}

/// Where the cache's tiles are: `(kv_head, tile)` gives the keys and the values of positions
/// `tile * 64..(tile + 1) * 64`.
pub type Tiles<'a> = dyn Fn(usize, usize) -> (KvRef<'a>, KvRef<'a>) + Sync + 'a;

/// Attention: token i of `q [n, heads, D]` stands at `first_position + i` and sees every position up to and
/// including its own; `q` is multiplied by `scale` first. `out [n, heads, D]`.
///
/// # Errors
/// If cancelled; part of `out` is then computed and part is not.
pub fn attend(
    cpu: &Cpu,
    q: &[f32],
    shape: Heads,
    scale: f32,
    first_position: usize,
    tiles: &Tiles,
    out: &mut [f32],
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let Heads { heads, kv_heads, d } = shape;
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && d > 0, "{shape:?}");
    let (group, row) = (heads / kv_heads, heads * d);
    let n = rows_of(q.len(), row);
    assert_eq!(out.len(), n * row, "output of {n} tokens");
    let out = SharedOut::new(out);
    cpu.pool.run(n * kv_heads, cancel, &|worker, item| {
        // The tokens of one kv head follow each other, so that its tiles stay in the cache; the last, which
        // see most, come first, so that no thread is left with a long item at the end.
        let (kv_head, t) = (item / n, n - 1 - item % n);
        let at = t * row + kv_head * group * d;
        // SAFETY: each token and kv head is one item with its own part of the output.
        let o = unsafe { out.slice(at..at + group * d) };
        let state = &mut worker.scratch.out; // q [group, D], m [group], l [group]
        state.resize(group * (d + 2), 0.0);
        let (scaled, state) = state.split_at_mut(group * d);
        let (m, l) = state.split_at_mut(group);
        scaled.iter_mut().zip(&q[at..]).for_each(|(scaled, q)| *scaled = q * scale);
        m.fill(f32::NEG_INFINITY);
        l.fill(0.0);
        o.fill(0.0);
        let visible = first_position + t + 1;
        for tile in 0..visible.div_ceil(TILE) {
            let (k, v) = tiles(kv_head, tile);
            (cpu.kernels.attend_tile)(scaled, d, k, v, TILE.min(visible - tile * TILE), m, l, o);
        }
        crate::reference::attend::finish(l, o);
    })
}
