//! Attention of runs of tokens, each over the key/value cache of its sequence.

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

/// Runs of tokens, each of a sequence of its own.
#[derive(Clone, Copy)]
pub struct Runs<'a> {
    /// Of each run the position of its first token, and how many tokens it has, at least one.
    pub spans: &'a [(usize, usize)],
    /// As [`Tiles`], of a run: `(run, kv_head, tile)`.
    pub tiles: &'a (dyn Fn(usize, usize, usize) -> (KvRef<'a>, KvRef<'a>) + Sync + 'a),
}

/// Tokens that go through the tiles together, so that each is read once for all of them.
const BLOCK: usize = 16;
/// Tiles that a thread takes at a time where there are fewer tokens and heads than threads want.
const SPLIT: usize = 8;

/// As [`attend_runs`], of one run whose first token stands at `first_position`.
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
    let n = q.len().checked_div(shape.heads * shape.d).unwrap_or(0);
    let (span, tiles) = ([(first_position, n)], |_, kv_head, tile| tiles(kv_head, tile));
    let runs = Runs { spans: if n > 0 { &span } else { &[] }, tiles: &tiles };
    attend_runs(cpu, q, shape, scale, &runs, parts, out, cancel)
}

/// Attention: token i of a run stands at its first position + i and sees every position of its sequence up to and
/// including its own (all of the run if `shape` is not causal); `q [n, heads, D]`, of all runs one after the other, is
/// multiplied by `scale` first. `out [n, heads, D]`. `parts` is a buffer that is kept from call to call.
///
/// # Errors
/// If cancelled; part of `out` is then computed and part is not.
pub fn attend_runs(
    cpu: &Cpu,
    q: &[f32],
    shape: Heads,
    scale: f32,
    runs: &Runs,
    parts: &mut Vec<f32>,
    out: &mut [f32],
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let Heads { heads, kv_heads, d, .. } = shape;
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && d > 0, "{shape:?}");
    let n = rows_of(q.len(), heads * d);
    assert_eq!(out.len(), n * heads * d, "output of {n} tokens");
    // That no two items write to the same place rests on it.
    let tokens = runs.spans.iter().try_fold(0usize, |sum, &(_, n)| sum.checked_add(n));
    assert_eq!(tokens, Some(n), "tokens of all runs");
    let whole: usize = runs.spans.iter().map(|(_, n)| n.div_ceil(BLOCK) * kv_heads).sum();
    let job = Job { cpu, q, shape, scale, runs, few: whole < 2 * cpu.pool.threads() };
    let all = job.ranges().last().map_or(Place::default(), |(_, range)| range.end);
    if parts.len() < all.part {
        parts.resize(all.part, 0.0);
    }
    let shared = Shared { out: SharedOut::new(out), parts: SharedOut::new(parts) };
    cpu.pool.run(all.item, cancel, &|worker, item| {
        if let Some((run, range)) = job.ranges().find(|(_, range)| item < range.end.item) {
            let (at, item) = (range.start, item - range.start.item);
            match run.split {
                true => job.split_item(&run, at, item, &shared, &mut worker.scratch.driver),
                false => job.block_item(&run, at, item, &shared, &mut worker.scratch.driver),
            }
        }
    })?;
    if all.merge == 0 {
        return Ok(());
    }
    cpu.pool.run(all.merge, cancel, &|worker, item| {
        if let Some((run, range)) = job.ranges().find(|(_, range)| item < range.end.merge) {
            let kv_head = item - range.start.merge;
            job.merge_item(&run, range.start, kv_head, &shared, &mut worker.scratch.driver);
        }
    })
}

/// Whether threads share the tiles of a token: it is the only one of its run, and there are fewer tokens and heads than
/// they want. (Parts of several tokens with long contexts would take much memory.)
fn is_split(n: usize, tiles: usize, few: bool) -> bool {
    n == 1 && few && tiles > SPLIT
}

/// Floats of `parts` for a single token that sees `positions`.
pub fn parts_floats(shape: Heads, positions: usize, threads: usize) -> usize {
    let tiles = positions.div_ceil(TILE);
    let split = is_split(1, tiles, shape.kv_heads < 2 * threads);
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
    runs: &'a Runs<'t>,
    /// Whether threads want more than blocks of tokens.
    few: bool,
}

/// Where they write.
struct Shared<'a> {
    out: SharedOut<'a, f32>,   // [n, heads, D]
    parts: SharedOut<'a, f32>, // of each run that is split [kv_heads, tiles, group * (D + 2)]
}

/// One run.
struct Run {
    index: usize,
    first_position: usize,
    n: usize,
    /// The position behind its last token.
    end: usize,
    split: bool,
}

/// What there is of all runs so far.
#[derive(Clone, Copy, Default)]
struct Place {
    token: usize,
    item: usize,
    part: usize,
    merge: usize,
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

impl Run {
    fn tiles(&self) -> usize {
        self.end.div_ceil(TILE)
    }
}

impl Job<'_, '_> {
    /// Query heads of a kv head.
    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// Floats that are kept of a tile of a kv head.
    fn part(&self) -> usize {
        self.group() * (self.shape.d + 2)
    }

    /// The runs, and what is theirs of the tokens, the items and the rest.
    fn ranges(&self) -> impl Iterator<Item = (Run, Range<Place>)> {
        let kv_heads = self.shape.kv_heads;
        let mut at = Place::default();
        self.runs.spans.iter().enumerate().map(move |(index, &(first_position, n))| {
            let end = first_position + n;
            let tiles = end.div_ceil(TILE);
            let split = is_split(n, tiles, self.few);
            let start = at;
            at.token += n;
            if split {
                at.item += kv_heads * tiles.div_ceil(SPLIT);
                at.part += kv_heads * tiles * self.part();
                at.merge += kv_heads;
            } else {
                at.item += kv_heads * n.div_ceil(BLOCK);
            }
            (Run { index, first_position, n, end, split }, start..at)
        })
    }

    /// How many positions, from the first on, a token of a run sees.
    fn seen_by(&self, run: &Run, t: usize) -> usize {
        if self.shape.causal { run.first_position + t + 1 } else { run.end }
    }

    /// The query rows of some tokens of a run, `[tokens, group, D]`, merged with a range of tiles from empty states. The
    /// first of the run is token `first` of all.
    fn states<'s>(
        &self,
        scratch: &'s mut Vec<f32>,
        (run, first): (&Run, usize),
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
            let from = &self.q[(first + t) * self.shape.heads * d + kv_head * width..];
            q.iter_mut().zip(from).for_each(|(q, from)| *q = from * self.scale);
        }
        let mut state = State::over(state, rows);
        state.clear();
        for tile in tiles {
            self.tile(run, q, kv_head, tokens.clone(), tile, &mut state);
        }
        state
    }

    /// Merges one tile into the states of the tokens that see it: all together where they see all of it, else
    /// each for itself.
    fn tile(
        &self,
        run: &Run,
        q: &[f32],
        kv_head: usize,
        tokens: Range<usize>,
        tile: usize,
        state: &mut State,
    ) {
        let (d, group) = (self.shape.d, self.group());
        let (k, v) = (self.runs.tiles)(run.index, kv_head, tile);
        let mut attend = |from: usize, to: usize, valid: usize| {
            let rows = from * group..to * group;
            let State { m, l, o } = state;
            let (m, l) = (&mut m[rows.clone()], &mut l[rows.clone()]);
            let values = rows.start * d..rows.end * d;
            (self.cpu.kernels.attend_tile)(&q[values.clone()], d, k, v, valid, m, l, &mut o[values]);
        };
        let seen = |t: usize| self.seen_by(run, t).saturating_sub(tile * TILE).min(TILE);
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

    /// A block of tokens with all that they see.
    fn block_item(&self, run: &Run, at: Place, item: usize, shared: &Shared, scratch: &mut Vec<f32>) {
        let Heads { heads, d, .. } = self.shape;
        let blocks = run.n.div_ceil(BLOCK);
        // The blocks of one kv head follow each other, so that its tiles stay in the cache; the last, which
        // see most, come first, so that no thread is left with a long item at the end.
        let (kv_head, block) = (item / blocks, blocks - 1 - item % blocks);
        let tokens = block * BLOCK..run.n.min((block + 1) * BLOCK);
        let visible = self.seen_by(run, tokens.end - 1).div_ceil(TILE);
        let state = self.states(scratch, (run, at.token), kv_head, tokens.clone(), 0..visible);
        crate::reference::attend::finish(state.l, state.o);
        let width = self.group() * d;
        for (t, o) in tokens.zip(state.o.chunks_exact(width)) {
            let at = (at.token + t) * heads * d + kv_head * width;
            // SAFETY: each token and kv head has its own part of the output and belongs to one item.
            unsafe { shared.out.slice(at..at + width) }.copy_from_slice(o);
        }
    }

    /// Few rows, many tiles: threads take runs of tiles, each tile into a state of its own; then the tiles are
    /// merged in order, exactly as one thread would.
    fn split_item(&self, run: &Run, at: Place, item: usize, shared: &Shared, scratch: &mut Vec<f32>) {
        let (part, tiles) = (self.part(), run.tiles());
        let (kv_head, some) = (item / tiles.div_ceil(SPLIT), item % tiles.div_ceil(SPLIT));
        for tile in some * SPLIT..tiles.min((some + 1) * SPLIT) {
            let state = self.states(scratch, (run, at.token), kv_head, 0..1, tile..tile + 1);
            let at = at.part + (kv_head * tiles + tile) * part;
            // SAFETY: each run, kv head and tile has its own part and belongs to one item.
            let kept = State::over(unsafe { shared.parts.slice(at..at + part) }, self.group());
            kept.m.copy_from_slice(state.m);
            kept.l.copy_from_slice(state.l);
            kept.o.copy_from_slice(state.o);
        }
    }

    /// Merges what has been kept of the tiles.
    fn merge_item(&self, run: &Run, at: Place, kv_head: usize, shared: &Shared, scratch: &mut Vec<f32>) {
        let (part, group, tiles) = (self.part(), self.group(), run.tiles());
        scratch.resize(part, 0.0);
        let mut state = State::over(scratch, group);
        state.clear();
        for tile in 0..tiles {
            let at = at.part + (kv_head * tiles + tile) * part;
            // SAFETY: nobody writes parts any more, and each is read by one item.
            let State { m, l, o } = State::over(unsafe { shared.parts.slice(at..at + part) }, group);
            (self.cpu.kernels.attend_merge)((m, l, o), state.m, state.l, state.o);
        }
        crate::reference::attend::finish(state.l, state.o);
        let at = (at.token * self.shape.heads + kv_head * group) * self.shape.d;
        // SAFETY: each token and kv head has its own part of the output and belongs to one item.
        unsafe { shared.out.slice(at..at + group * self.shape.d) }.copy_from_slice(state.o);
    }
}
