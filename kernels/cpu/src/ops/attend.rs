//! Attention of a run of tokens over the key/value cache.

use super::{Cancel, Cpu, SharedOut, rows_of};
use crate::pool::Cancelled;
use crate::{KvRef, TILE};
use std::ops::Range;

/// The heads of an attention layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key/value heads; query head h reads kv head h / (heads / kv_heads).
    pub kv_heads: usize,
    /// Dimension of a head, of keys and of values.
    pub d: usize,
    /// Whether a token sees only what stands before it, and itself; otherwise it sees the rest of its run, too.
    pub causal: bool,
}

/// Where the cache's tiles are: `(kv_head, tile)` gives the keys and the values of positions
/// `tile * 64..(tile + 1) * 64`.
pub type Tiles<'a> = dyn Fn(usize, usize) -> (KvRef<'a>, KvRef<'a>) + Sync + 'a;

/// Tokens that go through the tiles together, so that each is read once for all of them.
const BLOCK: usize = 16;
/// Tiles that a thread takes at a time where there are fewer tokens and heads than threads want.
const SPLIT: usize = 8;

/// Attention: token i of `q [n, heads, D]` stands at `first_position + i` and sees every position up to and
/// including its own (all of the run if `shape` is not causal); `q` is multiplied by `scale` first. `out [n, heads, D]`. `parts` is a buffer that is kept
/// from call to call.
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
    parts: &mut Vec<f32>,
    out: &mut [f32],
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let Heads { heads, kv_heads, d, .. } = shape;
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && d > 0, "{shape:?}");
    let row = heads * d;
    let n = rows_of(q.len(), row);
    assert_eq!(out.len(), n * row, "output of {n} tokens");
    let end = first_position + n;
    let job = Job { cpu, q, shape, scale, first_position, end, tiles };
    let last_tile = end.div_ceil(TILE);
    if is_split(n, kv_heads, last_tile, cpu.pool.threads()) {
        return job.split(n, parts, out, cancel);
    }
    let blocks = n.div_ceil(BLOCK);
    let out = SharedOut::new(out);
    cpu.pool.run(blocks * kv_heads, cancel, &|worker, item| {
        // The blocks of one kv head follow each other, so that its tiles stay in the cache; the last, which
        // see most, come first, so that no thread is left with a long item at the end.
        let (kv_head, block) = (item / blocks, blocks - 1 - item % blocks);
        let tokens = block * BLOCK..n.min((block + 1) * BLOCK);
        let visible = job.seen_by(tokens.end - 1);
        let state = job.run(&mut worker.scratch.driver, kv_head, tokens.clone(), 0..visible.div_ceil(TILE));
        crate::reference::attend::finish(state.l, state.o);
        let width = job.group() * d;
        for (t, o) in tokens.zip(state.o.chunks_exact(width)) {
            let at = t * row + kv_head * width;
            // SAFETY: each token and kv head has its own part of the output and belongs to one item.
            unsafe { out.slice(at..at + width) }.copy_from_slice(o);
        }
    })
}

/// Whether threads share the tiles of a token: it is the only one, and there are fewer heads than they want. (Parts of
/// several tokens with long contexts would take much memory.)
fn is_split(n: usize, kv_heads: usize, tiles: usize, threads: usize) -> bool {
    n == 1 && kv_heads < 2 * threads && tiles > SPLIT
}

/// Floats of `parts` for a single token that sees `positions`.
pub fn parts_floats(shape: Heads, positions: usize, threads: usize) -> usize {
    let tiles = positions.div_ceil(TILE);
    let split = is_split(1, shape.kv_heads, tiles, threads);
    if split { tiles * shape.heads * (shape.d + 2) } else { 0 }
}

/// Floats that a thread keeps for the tokens that it works on.
pub fn thread_floats(shape: Heads) -> usize {
    BLOCK * (shape.heads / shape.kv_heads) * (2 * shape.d + 2)
}

/// What all work items share.
struct Job<'a, 't> {
    cpu: &'a Cpu,
    q: &'a [f32],
    shape: Heads,
    scale: f32,
    first_position: usize,
    /// The position behind the last token.
    end: usize,
    tiles: &'a Tiles<'t>,
}

/// The states of some query rows.
struct State<'a> {
    m: &'a mut [f32], // [rows]
    l: &'a mut [f32], // [rows]
    o: &'a mut [f32], // [rows, D]
}

impl<'a> State<'a> {
    /// Takes `rows * (D + 2)` floats apart.
    fn over(buffer: &'a mut [f32], rows: usize) -> State<'a> {
        let (m, rest) = buffer.split_at_mut(rows);
        let (l, o) = rest.split_at_mut(rows);
        State { m, l, o }
    }

    fn clear(&mut self) {
        self.m.fill(f32::NEG_INFINITY);
        self.l.fill(0.0);
        self.o.fill(0.0);
    }
}

impl Job<'_, '_> {
    /// Query heads of a kv head.
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// How many positions, from the first on, a token sees.
    fn seen_by(&self, t: usize) -> usize {
        if self.shape.causal { self.first_position + t + 1 } else { self.end }
    }

    /// The query rows of some tokens, `[tokens, group, D]`, merged with a range of tiles from empty states.
    fn run<'s>(
        &self,
        scratch: &'s mut Vec<f32>,
        kv_head: usize,
        tokens: Range<usize>,
        tiles: Range<usize>,
    ) -> State<'s> {
        let (d, group) = (self.shape.d, self.group());
        let rows = tokens.len() * group;
        scratch.resize(rows * (2 * d + 2), 0.0);
        let (q, state) = scratch.split_at_mut(rows * d);
        let width = group * d;
        for (t, q) in tokens.clone().zip(q.chunks_exact_mut(width)) {
            let from = &self.q[t * self.shape.heads * d + kv_head * width..];
            q.iter_mut().zip(from).for_each(|(q, from)| *q = from * self.scale);
        }
        let mut state = State::over(state, rows);
        state.clear();
        for tile in tiles {
            self.tile(q, kv_head, tokens.clone(), tile, &mut state);
        }
        state
    }

    /// Merges one tile into the states of the tokens that see it: all together where they see all of it, else
    /// each for itself.
    fn tile(&self, q: &[f32], kv_head: usize, tokens: Range<usize>, tile: usize, state: &mut State) {
        let (d, group) = (self.shape.d, self.group());
        let (k, v) = (self.tiles)(kv_head, tile);
        let mut attend = |from: usize, to: usize, valid: usize| {
            let rows = from * group..to * group;
            let State { m, l, o } = state;
            let (m, l) = (&mut m[rows.clone()], &mut l[rows.clone()]);
            let values = rows.start * d..rows.end * d;
            (self.cpu.kernels.attend_tile)(&q[values.clone()], d, k, v, valid, m, l, &mut o[values]);
        };
        let seen = |t: usize| self.seen_by(t).saturating_sub(tile * TILE).min(TILE);
        if seen(tokens.start) == TILE {
            return attend(0, tokens.len(), TILE);
        }
        for (i, t) in tokens.enumerate() {
            match seen(t) {
                0 => {}
                valid => attend(i, i + 1, valid),
            }
        }
    }

    /// Few rows, many tiles: threads take runs of tiles, each tile into a state of its own; then the tiles are
    /// merged in order, exactly as one thread would.
    fn split(
        &self,
        n: usize,
        parts: &mut Vec<f32>,
        out: &mut [f32],
        cancel: Cancel,
    ) -> Result<(), Cancelled> {
        let Heads { heads, kv_heads, d, .. } = self.shape;
        let group = self.group();
        let pool = &self.cpu.pool;
        let tiles = self.end.div_ceil(TILE);
        let runs = tiles.div_ceil(SPLIT);
        let part = group * (d + 2);
        parts.resize(n * kv_heads * tiles * part, 0.0);
        let shared = SharedOut::new(parts);
        let tiles_of = |t: usize| self.seen_by(t).div_ceil(TILE);
        pool.run(n * kv_heads * runs, cancel, &|worker, item| {
            let (pair, run) = (item / runs, item % runs);
            let (t, kv_head) = (pair / kv_heads, pair % kv_heads);
            for tile in run * SPLIT..tiles_of(t).min((run + 1) * SPLIT) {
                let state = self.run(&mut worker.scratch.driver, kv_head, t..t + 1, tile..tile + 1);
                let at = (pair * tiles + tile) * part;
                // SAFETY: each token, kv head and tile has its own part and belongs to one item.
                let kept = State::over(unsafe { shared.slice(at..at + part) }, group);
                kept.m.copy_from_slice(state.m);
                kept.l.copy_from_slice(state.l);
                kept.o.copy_from_slice(state.o);
            }
        })?;
        let out = SharedOut::new(out);
        pool.run(n * kv_heads, cancel, &|worker, pair| {
            let (t, kv_head) = (pair / kv_heads, pair % kv_heads);
            let scratch = &mut worker.scratch.driver;
            scratch.resize(part, 0.0);
            let mut state = State::over(scratch, group);
            state.clear();
            for tile in 0..tiles_of(t) {
                let at = (pair * tiles + tile) * part;
                // SAFETY: nobody writes parts any more, and each is read by one item.
                let State { m, l, o } = State::over(unsafe { shared.slice(at..at + part) }, group);
                (self.cpu.kernels.attend_merge)((m, l, o), state.m, state.l, state.o);
            }
            crate::reference::attend::finish(state.l, state.o);
            let at = (t * heads + kv_head * group) * d;
            // SAFETY: each token and kv head has its own part of the output and belongs to one item.
            unsafe { out.slice(at..at + group * d) }.copy_from_slice(state.o);
        })
    }
}
