//! The gated delta net: the convolution over the tokens before, the memory of each head, the gate of its answer.

use super::{Activations, Cancel, Cpu, SharedOut, for_each_row, rows_of};
use crate::pool::Cancelled;
use crate::reference::delta::decay;
use crate::scalar::math::exp;
use crate::table::{DELTA_COLUMNS, Next};

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

    fn key_of(&self, value: usize) -> usize {
        if self.tiled { value % self.keys } else { value / (self.values / self.keys) }
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

/// Convolves `u [n, channels]` with `taps [taps, channels]`, then brings queries and keys to their length, all in place.
///
/// # Errors
/// If cancelled; `u` and the memory are then of no use.
pub fn convolve(
    cpu: &Cpu,
    heads: &DeltaHeads,
    u: &mut [f32],
    taps: &[f32],
    memory: &mut Memory<'_>,
    snapshot: &mut Snapshot<'_>,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let (channels, kept) = (heads.channels(), heads.taps - 1);
    let n = rows_of(u.len(), channels);
    assert!(taps.len() == heads.taps * channels && memory.rows.len() == kept * channels, "{heads:?}");
    let d = heads.key_dim as f32;
    let weights = [[1.0 / d; MAX_HEAD], [1.0 / d.sqrt(); MAX_HEAD]];
    let u = SharedOut::new(u);
    let rows = SharedOut::new(memory.rows);
    let copy = snapshot.as_mut().map(|(at, memory)| (*at, SharedOut::new(memory.rows)));
    let tap = |i: usize, at: usize, len: usize| &taps[i * channels + at..][..len];
    // An item is a head, whose channels lie beside each other. Rows are taken from the last to the first, so that a
    // result can take the place of what the rows after it have used.
    cpu.pool.run(2 * heads.keys + heads.values, cancel, &|worker, item| {
        let (at, len) = match item.checked_sub(2 * heads.keys) {
            None => (item * heads.key_dim, heads.key_dim),
            Some(value) => (2 * heads.key_width() + value * heads.value_dim, heads.value_dim),
        };
        // SAFETY: each head's channels belong to one item, and each item is run once; a row that is read here is none
        // that is being written.
        let row = |t: usize| unsafe { u.slice(t * channels + at..t * channels + at + len) };
        // SAFETY: as above.
        let before = |i: usize| unsafe { rows.slice(i * channels + at..i * channels + at + len) };
        // Row t of the batch, counted from the first that is kept of the tokens before.
        let input = |t: usize| if t < kept { before(t) } else { row(t - kept) };
        let last = &mut worker.scratch.driver;
        last.clear();
        (0..kept).for_each(|i| last.extend_from_slice(input(n + i)));
        if let Some((tokens, rows)) = &copy {
            for i in 0..kept {
                // SAFETY: as above.
                let out = unsafe { rows.slice(i * channels + at..i * channels + at + len) };
                out.copy_from_slice(input(tokens + i));
            }
        }
        let all_taps: [&[f32]; MAX_TAPS] =
            std::array::from_fn(|i| if i < heads.taps { tap(i, at, len) } else { &[][..] });
        for t in (0..n).rev() {
            let before: [&[f32]; MAX_TAPS] =
                std::array::from_fn(|i| if i < kept { &*input(t + i) } else { &[][..] });
            (cpu.kernels.conv_silu)(row(t), &before[..kept], &all_taps[..heads.taps]);
        }
        for (i, last) in last.chunks_exact(len).enumerate() {
            before(i).copy_from_slice(last);
        }
        if item < 2 * heads.keys {
            let (weights, normed) = (&weights[item / heads.keys][..len], &mut [0.0; MAX_HEAD][..len]);
            for t in 0..n {
                (cpu.kernels.norm)(row(t), weights, 1e-6 / d, normed);
                row(t).copy_from_slice(normed);
            }
        }
    })
}

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

/// Takes the tokens one after the other: `u [n, channels]` comes from [`convolve`], and the answers take the places of
/// the values. `factors` is a buffer that is kept from call to call.
///
/// # Errors
/// If cancelled; `u` and the memory are then of no use.
pub fn remember(
    cpu: &Cpu,
    heads: &DeltaHeads,
    u: &mut [f32],
    rates: &Rates,
    factors: &mut Vec<[f32; 2]>,
    memory: &mut Memory<'_>,
    snapshot: &mut Snapshot<'_>,
    cancel: Cancel,
) -> Result<(), Cancelled> {
    let channels = heads.channels();
    let n = rows_of(u.len(), channels);
    assert_eq!(memory.matrices.len(), heads.memory_rows(), "{heads:?}");
    factors.resize(n * heads.values, [0.0; 2]); // [n, values]: decay and beta
    let group = heads.values / heads.keys;
    let shared = SharedOut::new(factors);
    // A logarithm takes as long as some hundred multiplications.
    for_each_row(cpu, n, heads.values * 100, cancel, &|t| {
        // SAFETY: `for_each_row` visits each row once.
        let row = unsafe { shared.slice(t * heads.values..(t + 1) * heads.values) };
        for (h, factors) in row.iter_mut().enumerate() {
            let at = t * rates.stride + h / group * rates.span + h % group;
            let beta = 1.0 / (1.0 + exp(-rates.beta[at]));
            *factors = [decay(rates.rate[h], rates.alpha[at] + rates.bias[h]), beta];
        }
    })?;
    let factors = &factors[..];
    let u = SharedOut::new(u);
    let matrices = SharedOut::new(memory.matrices);
    let copy = snapshot.as_mut().map(|(at, memory)| (*at, SharedOut::new(memory.matrices)));
    let blocks = heads.value_dim / DELTA_COLUMNS;
    cpu.pool.run(heads.values * blocks, cancel, &|_, item| {
        let (h, block) = (item / blocks, item % blocks);
        let rows = item * heads.key_dim..(item + 1) * heads.key_dim;
        // SAFETY: each block has its own rows and columns, and belongs to one item, which is run once.
        let s = unsafe { matrices.slice(rows.clone()) };
        let query = |t: usize| t * channels + heads.key_of(h) * heads.key_dim;
        // SAFETY: nobody writes queries and keys here.
        let at = |start: usize| unsafe { u.read(start..start + heads.key_dim) };
        let (q, k) = (|t| at(query(t)), |t| at(query(t) + heads.key_width()));
        let first = 2 * heads.key_width() + h * heads.value_dim + block * DELTA_COLUMNS;
        let next = |t: usize| Next { decay: factors[t * heads.values + h][0], k: k(t) };
        let mut read = [0.0; DELTA_COLUMNS];
        let mut has_read = false;
        for t in 0..n {
            if !has_read {
                (cpu.kernels.delta_read)(s, next(t), &mut read);
            }
            let start = t * channels + first;
            // SAFETY: as for the block.
            let v = unsafe { u.slice(start..start + DELTA_COLUMNS) };
            let (mut delta, mut out) = ([0.0; DELTA_COLUMNS], [0.0; DELTA_COLUMNS]);
            let beta = factors[t * heads.values + h][1];
            for ((delta, v), read) in delta.iter_mut().zip(&*v).zip(&read) {
                *delta = (v - read) * beta;
            }
            let to_copy = copy.as_ref().filter(|(tokens, _)| *tokens == t + 1);
            has_read = t + 1 < n && to_copy.is_none();
            let following = has_read.then(|| (next(t + 1), &mut read));
            (cpu.kernels.delta_step)(s, q(t), k(t), &delta, &mut out, following);
            v.copy_from_slice(&out);
            if let Some((_, matrices)) = to_copy {
                // SAFETY: as for the block.
                unsafe { matrices.slice(rows.clone()) }.copy_from_slice(s);
            }
        }
    })
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
