//! The gated delta net: the convolution over the tokens before, the memory of each head, the gate of its answer.

use super::{Activations, Cancel, Cpu, SharedOut, for_each_row, rows_of};
use crate::pool::Cancelled;
use crate::reference::delta::decay;
use crate::scalar::math::exp;
use crate::table::{DELTA_COLUMNS, Next};
use std::ops::Range;

/// Taps of a convolution are at most so many.
pub const MAX_TAPS: usize = 8;
/// Elements of a head are at most so many.
pub const MAX_HEAD: usize = 1024;

/// The heads of a delta net.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeltaHeads {
    /// Heads of queries, and of keys; divides `values`.
    pub keys: usize,
    /// Heads of values, each with a memory.
    pub values: usize,
    /// Elements of a query or key, at most [`MAX_HEAD`].
    pub key_dim: usize,
    /// Elements of a value: a multiple of 32, at most [`MAX_HEAD`].
    pub value_dim: usize,
    /// Taps of the convolution, 1 to [`MAX_TAPS`].
    pub taps: usize,
    /// Which key head a value head h belongs to: h % keys if true, else h / (values / keys).
    pub tiled: bool,
}

impl DeltaHeads {
    /// Elements of all queries (or keys) of a token.
    pub fn key_width(&self) -> usize {
        self.keys * self.key_dim
    }

    /// Elements of all values of a token.
    pub fn value_width(&self) -> usize {
        self.values * self.value_dim
    }

    /// Channels of the convolution: all queries, all keys, all values.
    pub fn channels(&self) -> usize {
        2 * self.key_width() + self.value_width()
    }

    /// Floats of the rows that the convolution keeps.
    pub fn kept(&self) -> usize {
        (self.taps - 1) * self.channels()
    }

    /// Rows of 32 columns in all memories.
    pub fn memory_rows(&self) -> usize {
        self.values * self.key_dim * (self.value_dim / DELTA_COLUMNS)
    }
}

/// What a delta net keeps of the tokens so far; zeros before the first.
#[derive(Debug)]
pub struct Memory<'a> {
    /// The last rows before the convolution, the oldest first: `[taps - 1, channels]`.
    pub rows: &'a mut [f32],
    /// The matrices: `[values, value_dim / 32, key_dim]` rows of 32 columns.
    pub matrices: &'a mut [[f32; DELTA_COLUMNS]],
}

/// Where to keep another copy of the memory as it is after so many tokens of the batch (1 to n).
pub type Snapshot<'a> = Option<(usize, Memory<'a>)>;

/// The two numbers of each token and value head that say what its memory forgets and learns, as projected.
#[derive(Clone, Copy, Debug)]
pub struct Rates<'a> {
    /// For learning; a row for each token.
    pub beta: &'a [f32],
    /// For forgetting; a row for each token.
    pub alpha: &'a [f32],
    /// From row to row, in both.
    pub stride: usize,
    /// From the values of one key head to those of the next, in both.
    pub span: usize,
    /// Multiplies the logarithm of what is kept, `[values]`; negative.
    pub rate: &'a [f32],
    /// Added to alpha, `[values]`.
    pub bias: &'a [f32],
}

impl Rates<'_> {
    /// What the memory of a value head is multiplied by before token t, and how much it learns of it.
    fn factors(&self, t: usize, value_head: usize, heads: &DeltaHeads) -> [f32; 2] {
        let group = heads.values / heads.keys;
        let at = t * self.stride + value_head / group * self.span + value_head % group;
        let beta = 1.0 / (1.0 + exp(-self.beta[at]));
        [decay(self.rate[value_head], self.alpha[at] + self.bias[value_head]), beta]
    }
}

/// Takes the tokens one after the other: `u [n, channels]` is what was projected, `taps [taps, channels]` the convolution,
/// and the answers take the places of the values.
///
/// # Errors
/// If cancelled; `u` and the memory are then of no use.
pub fn remember(
    cpu: &Cpu,
    heads: &DeltaHeads,
    u: &mut [f32],
    taps: &[f32],
    rates: &Rates,
    memory: &mut Memory<'_>,
    snapshot: &mut Snapshot<'_>,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let channels = heads.channels();
    let n = rows_of(u.len(), channels);
    assert!(taps.len() == heads.taps * channels && memory.rows.len() == heads.kept(), "{heads:?}");
    assert_eq!(memory.matrices.len(), heads.memory_rows(), "{heads:?}");
    let job = Job {
        cpu,
        heads,
        taps,
        rates,
        u: SharedOut::new(u),
        rows: SharedOut::new(memory.rows),
        matrices: SharedOut::new(memory.matrices),
    };
    let copy_at = snapshot.as_ref().map_or(0, |(tokens, _)| *tokens);
    let copy = snapshot.as_mut().map(|(_, copy)| (SharedOut::new(copy.rows), SharedOut::new(copy.matrices)));
    // An item is a key head with its value heads.
    cpu.pool.run(heads.keys, cancel, &|worker, key_head| {
        let mut from = 0;
        while from < n {
            let end = n.min(from + CHUNK);
            // A part ends where a copy is to be made.
            let to = if from < copy_at && copy_at < end { copy_at } else { end };
            job.part(key_head, from..to, &mut worker.scratch.driver);
            if to == copy_at
                && let Some((rows, matrices)) = &copy
            {
                job.copy(key_head, rows, matrices);
            }
            from = to;
        }
    })
}

/// Tokens whose queries, keys and values are brought beside each other: what one head has of them stays in the
/// second-level cache while all of its memory passes by.
const CHUNK: usize = 64;

/// What all work items share.
struct Job<'a> {
    cpu: &'a Cpu,
    heads: &'a DeltaHeads,
    taps: &'a [f32],
    rates: &'a Rates<'a>,
    u: SharedOut<'a, f32>,
    rows: SharedOut<'a, f32>,
    matrices: SharedOut<'a, [f32; DELTA_COLUMNS]>,
}

impl Job<'_> {
    /// The value heads of a key head.
    fn values_of(&self, key_head: usize) -> impl Iterator<Item = usize> {
        let DeltaHeads { keys, values, tiled, .. } = *self.heads;
        let group = values / keys;
        (0..group).map(move |i| if tiled { i * keys + key_head } else { key_head * group + i })
    }

    /// The first channel of a head's values.
    fn value_channel(&self, value_head: usize) -> usize {
        2 * self.heads.key_width() + value_head * self.heads.value_dim
    }

    /// The memory of a block of 32 columns of a head.
    fn block(&self, value_head: usize, block: usize) -> Range<usize> {
        let first = (value_head * (self.heads.value_dim / DELTA_COLUMNS) + block) * self.heads.key_dim;
        first..first + self.heads.key_dim
    }

    /// Some tokens of one key head.
    fn part(&self, key_head: usize, tokens: Range<usize>, scratch: &mut Vec<f32>) {
        let DeltaHeads { key_dim, value_dim, .. } = *self.heads;
        let n = tokens.len();
        let kept = (self.heads.taps - 1) * key_dim.max(value_dim);
        scratch.resize(kept + n * (2 * key_dim + value_dim + 2), 0.0);
        let (kept, rest) = scratch.split_at_mut(kept);
        let (q, rest) = rest.split_at_mut(n * key_dim);
        let (k, rest) = rest.split_at_mut(n * key_dim);
        let (v, factors) = rest.split_at_mut(n * value_dim);
        let first = key_head * key_dim;
        self.convolve(first, key_dim, tokens.clone(), kept, q);
        self.convolve(self.heads.key_width() + first, key_dim, tokens.clone(), kept, k);
        let d = key_dim as f32;
        let normed = &mut [0.0; MAX_HEAD][..key_dim];
        for (x, weight) in [(&mut *q, 1.0 / d), (&mut *k, 1.0 / d.sqrt())] {
            let weights = &[weight; MAX_HEAD][..key_dim];
            for x in x.chunks_exact_mut(key_dim) {
                (self.cpu.kernels.norm)(x, weights, 1e-6 / d, normed);
                x.copy_from_slice(normed);
            }
        }
        for value_head in self.values_of(key_head) {
            let first = self.value_channel(value_head);
            self.convolve(first, value_dim, tokens.clone(), kept, v);
            let factors = factors.as_chunks_mut().0;
            for (t, factors) in tokens.clone().zip(&mut *factors) {
                *factors = self.rates.factors(t, value_head, self.heads);
            }
            for block in 0..value_dim / DELTA_COLUMNS {
                let out = (first + block * DELTA_COLUMNS, tokens.clone());
                self.columns(q, k, &v[block * DELTA_COLUMNS..], factors, self.block(value_head, block), out);
            }
        }
    }

    /// Convolves `len` channels from `first` on of some tokens into `out [tokens, len]`, and keeps the last rows from
    /// before for the tokens that follow.
    fn convolve(&self, first: usize, len: usize, tokens: Range<usize>, kept: &mut [f32], out: &mut [f32]) {
        let (channels, taps) = (self.heads.channels(), self.heads.taps);
        // SAFETY: the channels of a head belong to one item, and each item is run once; nobody writes them in here.
        let row = |t: usize| unsafe { self.u.read(t * channels + first..t * channels + first + len) };
        // SAFETY: as above.
        let of_memory =
            |i: usize| unsafe { self.rows.slice(i * channels + first..i * channels + first + len) };
        let kept = &mut kept[..(taps - 1) * len];
        for (i, kept) in kept.chunks_exact_mut(len).enumerate() {
            kept.copy_from_slice(of_memory(i));
        }
        let all_taps: [&[f32]; MAX_TAPS] = std::array::from_fn(|i| match i < taps {
            true => &self.taps[i * channels + first..][..len],
            false => &[][..],
        });
        // Row i of those that are kept and then the tokens.
        let input = |i: usize| match i < taps - 1 {
            true => &kept[i * len..(i + 1) * len],
            false => row(tokens.start + i - (taps - 1)),
        };
        for (i, out) in out.chunks_exact_mut(len).enumerate() {
            let before: [&[f32]; MAX_TAPS] =
                std::array::from_fn(|j| if j < taps - 1 { input(i + j) } else { &[][..] });
            out.copy_from_slice(input(i + taps - 1));
            (self.cpu.kernels.conv_silu)(out, &before[..taps - 1], &all_taps[..taps]);
        }
        (0..taps - 1).for_each(|i| of_memory(i).copy_from_slice(input(tokens.len() + i)));
    }

    /// Some tokens of 32 columns of a head: of `v`, in rows of a value, the first 32, and the answers from channel `out.0`
    /// on of the tokens `out.1`.
    fn columns(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        factors: &[[f32; 2]],
        block: Range<usize>,
        out: (usize, Range<usize>),
    ) {
        let DeltaHeads { key_dim, value_dim, .. } = *self.heads;
        let kernels = self.cpu.kernels;
        // SAFETY: each block belongs to one item, and each item is run once.
        let s = unsafe { self.matrices.slice(block) };
        let key = |i: usize| &k[i * key_dim..(i + 1) * key_dim];
        let next = |i: usize| Next { decay: factors[i][0], k: key(i) };
        let mut read = [0.0; DELTA_COLUMNS];
        (kernels.delta_read)(s, next(0), &mut read);
        for (i, t) in out.1.enumerate() {
            let (mut delta, mut answer) = ([0.0; DELTA_COLUMNS], [0.0; DELTA_COLUMNS]);
            for ((delta, v), read) in delta.iter_mut().zip(&v[i * value_dim..]).zip(&read) {
                *delta = (v - read) * factors[i][1];
            }
            let following = (i + 1 < factors.len()).then(|| (next(i + 1), &mut read));
            let q = &q[i * key_dim..(i + 1) * key_dim];
            (kernels.delta_step)(s, q, key(i), &delta, &mut answer, following);
            let start = t * self.heads.channels() + out.0;
            // SAFETY: as for the block; what was there has been convolved.
            unsafe { self.u.slice(start..start + DELTA_COLUMNS) }.copy_from_slice(&answer);
        }
    }

    /// Copies what a key head and its value heads remember.
    fn copy(&self, key_head: usize, rows: &SharedOut<f32>, matrices: &SharedOut<[f32; DELTA_COLUMNS]>) {
        let DeltaHeads { key_dim, value_dim, taps, .. } = *self.heads;
        let copy_rows = |first: usize, len: usize| {
            for i in 0..taps - 1 {
                let at = i * self.heads.channels() + first;
                // SAFETY: the channels of a head belong to one item, in both.
                unsafe { rows.slice(at..at + len).copy_from_slice(self.rows.read(at..at + len)) };
            }
        };
        copy_rows(key_head * key_dim, key_dim);
        copy_rows(self.heads.key_width() + key_head * key_dim, key_dim);
        for value_head in self.values_of(key_head) {
            copy_rows(self.value_channel(value_head), value_dim);
            for block in 0..value_dim / DELTA_COLUMNS {
                let at = self.block(value_head, block);
                // SAFETY: the memory of a head belongs to one item, in both.
                unsafe { matrices.slice(at.clone()).copy_from_slice(self.matrices.read(at)) };
            }
        }
    }
}

/// Normalises the answers in `u [n, channels]` with `w [value_dim]` and multiplies them with the silu of their gates
/// `z [n, values * value_dim]`, into the input of the next matrix products.
///
/// # Errors
/// If cancelled; `out` is then of no use.
pub fn gated_norm_load(
    cpu: &Cpu,
    heads: &DeltaHeads,
    u: &[f32],
    z: &[f32],
    w: &[f32],
    eps: f32,
    out: &mut Activations,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let (channels, width) = (heads.channels(), heads.value_width());
    let n = rows_of(u.len(), channels);
    assert!(z.len() == n * width && w.len() == heads.value_dim, "gates of {n} tokens");
    out.fill(cpu, n, width, cancel, |t, out| {
        out.copy_from_slice(&z[t * width..(t + 1) * width]);
        let answers = &u[t * channels + 2 * heads.key_width()..(t + 1) * channels];
        let normed = &mut [0.0; MAX_HEAD][..heads.value_dim];
        for (out, x) in out.chunks_exact_mut(heads.value_dim).zip(answers.chunks_exact(heads.value_dim)) {
            (cpu.kernels.norm)(x, w, eps, normed);
            (cpu.kernels.silu_mul)(out, normed);
        }
    })
}

/// Takes queries and gates of the full attention apart: of `rows [n, heads, 2, D]` the first D of each head go to
/// `q [n, heads, D]`.
///
/// # Errors
/// If cancelled; `q` is then of no use.
pub fn queries(cpu: &Cpu, rows: &[f32], d: usize, q: &mut [f32], cancel: Cancel) -> Result<(), Cancelled> {
    let heads = rows_of(rows.len(), 2 * d);
    assert_eq!(q.len(), heads * d, "queries of {heads} heads");
    let q = SharedOut::new(q);
    for_each_row(cpu, heads, d, cancel, &|h| {
        // SAFETY: `for_each_row` visits each head once.
        let q = unsafe { q.slice(h * d..(h + 1) * d) };
        q.copy_from_slice(&rows[2 * h * d..][..d]);
    })
}

/// Multiplies the attention's answers `o [n, heads, D]` with the sigmoid of their gates, the second D of each head of
/// `rows [n, heads, 2, D]`, into the input of the next matrix products.
///
/// # Errors
/// If cancelled; `out` is then of no use.
pub fn gated_load(
    cpu: &Cpu,
    o: &[f32],
    rows: &[f32],
    d: usize,
    cols: usize,
    out: &mut Activations,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let n = rows_of(o.len(), cols);
    assert_eq!(rows.len(), 2 * o.len(), "gates of {n} tokens");
    out.fill(cpu, n, cols, cancel, |t, out| {
        out.copy_from_slice(&o[t * cols..(t + 1) * cols]);
        let gates = rows[2 * t * cols..2 * (t + 1) * cols].chunks_exact(2 * d);
        for (out, gate) in out.chunks_exact_mut(d).zip(gates) {
            (cpu.kernels.sigmoid_mul)(out, &gate[d..]);
        }
    })
}
