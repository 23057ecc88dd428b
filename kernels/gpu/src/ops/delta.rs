//! The gated delta net: the convolution over the tokens before, the memory of each head, the gate of its answer.

use crate::buffer::Span;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// Elements of a query or key are at most so many.
pub const MAX_KEY_DIM: usize = 1024;
/// A workgroup takes so many columns of a head's matrix.
const COLUMNS: usize = 32;
/// The rows of a matrix are divided among so many threads.
const PARTS: usize = 8;

/// The heads of a delta net.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeltaHeads {
    /// Heads of queries, and of keys; divides `values`.
    pub keys: usize,
    /// Heads of values, each with a memory.
    pub values: usize,
    /// Elements of a query or key, at most [`MAX_KEY_DIM`].
    pub key_dim: usize,
    /// Elements of a value: a multiple of 32.
    pub value_dim: usize,
    /// Taps of the convolution, at least 1.
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

    /// Bytes of [`Memory::rows`]; not 0, which no buffer may be.
    pub fn rows_bytes(&self) -> u64 {
        4 * ((self.taps - 1) * self.channels()).max(1) as u64
    }

    /// Bytes of [`Memory::matrices`].
    pub fn matrices_bytes(&self) -> u64 {
        4 * (self.key_dim * self.value_width()) as u64
    }

    /// Bytes of the factors of n tokens.
    pub fn factors_bytes(&self, n: usize) -> u64 {
        16 * (n * self.values) as u64
    }

    /// Rows of a matrix that a thread has: a power of two of at least 16, so that there are few variants of the kernel.
    fn rows_of_thread(&self) -> u32 {
        self.key_dim.div_ceil(PARTS).next_power_of_two().max(16) as u32
    }

    /// What the first kernels' parameters begin with.
    fn params(&self, n: usize) -> [u32; 7] {
        let DeltaHeads { keys, values, key_dim, value_dim, taps, tiled } = *self;
        debug_assert!(
            key_dim <= MAX_KEY_DIM && value_dim.is_multiple_of(COLUMNS) && values.is_multiple_of(keys)
        );
        [n, keys, values, key_dim, value_dim, taps, usize::from(tiled)].map(|size| size as u32)
    }
}

/// What a delta net keeps of the tokens so far; zeros before the first. It lies as on the CPU.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The last rows before the convolution, the oldest first: f32 `[taps - 1, channels]`.
    pub rows: Span,
    /// The matrices: f32 `[values, value_dim / 32, key_dim, 32]`.
    pub matrices: Span,
}

/// The two numbers of each token and value head that say what its memory forgets and learns, as projected.
#[derive(Clone, Copy, Debug)]
pub struct Rates<'a> {
    /// For learning: f32, a row for each token.
    pub beta: &'a Span,
    /// Where the first row of `beta` starts, in numbers.
    pub beta_at: usize,
    /// For forgetting: f32, a row for each token; may be the same memory.
    pub alpha: &'a Span,
    /// Where the first row of `alpha` starts, in numbers.
    pub alpha_at: usize,
    /// From row to row, in both.
    pub stride: usize,
    /// From the values of one key head to those of the next, in both.
    pub span: usize,
    /// f32 `[2, values]`: what multiplies the logarithm of what is kept, negative; then what is added to alpha.
    pub forget: &'a Span,
}

/// Takes n tokens one after the other: `u [n, channels]` is what was projected, `taps [taps, channels]` the convolution.
/// In `y [n, channels]` the answers are where the values were, from element `2 * key_width` of each row on; it is another
/// buffer than `u`. `factors` is scratch ([`DeltaHeads::factors_bytes`]) in a third. `snapshot` is where to keep another
/// copy of the memory as it is after so many of the tokens (1 to n).
pub fn remember(
    rec: &mut Recording,
    heads: &DeltaHeads,
    n: usize,
    [u, taps]: [&Span; 2],
    rates: &Rates,
    [y, factors]: [&Span; 2],
    memory: &Memory,
    snapshot: Option<(usize, &Memory)>,
) {
    let bytes = 4 * (n * heads.channels()) as u64;
    debug_assert!(
        u.bytes >= bytes && y.bytes >= bytes && factors.bytes >= heads.factors_bytes(n),
        "{heads:?}"
    );
    debug_assert!(memory.rows.bytes >= heads.rows_bytes(), "{heads:?}");
    debug_assert!(memory.matrices.bytes >= heads.matrices_bytes(), "{heads:?}");
    let mut params = heads.params(n).to_vec();
    params.extend([rates.beta_at, rates.alpha_at, rates.stride, rates.span].map(|size| size as u32));
    let spans = [u, &memory.rows, taps, rates.beta, rates.alpha, rates.forget, y, factors];
    let groups = n * (heads.keys + heads.values);
    rec.dispatch(Kernel::DeltaConv, &[], &spans, &params, [groups as u32, 1, 1]);

    let mut params = heads.params(n).to_vec();
    params.push(snapshot.map_or(0, |(tokens, _)| tokens as u32));
    let mut options = vec![("ROWS", heads.rows_of_thread())];
    let mut spans = vec![y, factors, u, &memory.rows, &memory.matrices];
    if let Some((tokens, copy)) = snapshot {
        debug_assert!((1..=n).contains(&tokens), "a snapshot after {tokens} of {n} tokens");
        options.push(("SNAPSHOT", 1));
        spans.extend([&copy.rows, &copy.matrices]);
    }
    let groups = heads.value_width() / COLUMNS;
    rec.dispatch(Kernel::Delta, &options, &spans, &params, [groups as u32, 1, 1]);
}

/// Normalises the answers in `y [n, channels]` with `norm [value_dim]` and multiplies them with the silu of their gates
/// `z [n, values * value_dim]`, into `out [n, values * value_dim]`, another buffer.
pub fn gated_norm(
    rec: &mut Recording,
    heads: &DeltaHeads,
    n: usize,
    [y, z, norm]: [&Span; 3],
    eps: f32,
    out: &Span,
) {
    let sizes = [n, heads.values, heads.value_dim, heads.channels(), 2 * heads.key_width()];
    let mut params = sizes.map(|size| size as u32).to_vec();
    params.push(eps.to_bits());
    let groups = (n * heads.values) as u32;
    rec.dispatch(Kernel::DeltaNorm, &[], &[y, z, norm, out], &params, [groups, 1, 1]);
}
