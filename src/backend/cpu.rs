//! The verbs on the CPU: which driver works on which buffer.

use std::sync::atomic::AtomicBool;

use qwip_cpu::ops::attend::{Heads, Runs};
use qwip_cpu::ops::delta::{self, Rates};
use qwip_cpu::ops::linear::LinearJob;
use qwip_cpu::ops::moe::{self, Routed};
use qwip_cpu::ops::{self, Activations, Cpu};

use super::part::{Part, take, take_mut};
use super::{Backend, Batch, HeadNorms, Output};
use crate::error::{Error, Result};
use crate::file::ModelFile;
use crate::model::{Config, DeltaNet, Experts, Linear, RateInputs, RopeFrequencies, Weight, logn};

/// Intermediate results, kept between batches so that steady-state decoding allocates nothing.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(super) x: Vec<f32>,     // [n, embedding], the residual stream
    input: Activations,         // [n, cols] of the projection at hand, quantized
    q: Vec<f32>,                // [n, heads * head_dim]
    k: Vec<f32>,                // [n, kv_heads * head_dim]
    v: Vec<f32>,                // [n, kv_heads * head_dim]
    spans: Vec<(usize, usize)>, // position and tokens of each part
    parts: Vec<f32>,            // attention of single tiles, where they are shared out to threads
    gate: Vec<f32>, // [n, ffn]; before, [n, heads, 2, head_dim] or the [n, channels] of a delta net
    up: Vec<f32>, // [n, ffn]; before, [n, heads * head_dim], the output of the attention, or a delta net's gates; at last
    // [n, embedding], what logits are wanted of
    beta: Vec<f32>,           // [n, values] or, with what belongs to forgetting, [n, 2 * values]
    alpha: Vec<f32>,          // [n, values]
    router: Vec<f32>,         // [n, experts]
    routed: Routed,           // the experts of each token, and what they compute
    shared: Activations,      // [n, ffn], what goes into the shared expert's down projection
    share: Vec<f32>,          // [n, 1], how much the shared expert counts
    pub(super) cos: Vec<f32>, // [n, rotated / 2]
    pub(super) sin: Vec<f32>, // [n, rotated / 2]
    pub(super) growth: Vec<f32>, // [n], by what queries are multiplied; empty where none grows
    logits: Vec<f32>,         // [rows, vocab], at most LOGIT_ROWS of them
}

impl Buffers {
    /// Bytes that a token takes.
    pub fn bytes_per_token(config: &Config) -> usize {
        let (heads, kv_heads) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let (mut gate, mut up, mut rates) = (config.ffn, config.ffn.max(heads).max(config.embedding), 0);
        if let Some(hybrid) = &config.hybrid {
            gate = gate.max(2 * heads).max(hybrid.heads.channels());
            up = up.max(hybrid.heads.value_width());
            rates = 2 * hybrid.heads.values;
        }
        let floats = config.embedding + heads + 2 * kv_heads + gate + up + rates;
        let experts = config.experts.map_or(0, |e| {
            Routed::bytes(e.count, e.routing.used, config.embedding, e.ffn) + Activations::bytes(config.ffn)
        });
        floats * size_of::<f32>() + Activations::bytes(up) + experts
    }

    /// Bytes of a session with slices of `batch` tokens and up to `context` positions, when it wants the logits of single
    /// tokens; with what each of `threads` threads keeps.
    pub fn bytes(config: &Config, batch: usize, context: usize, threads: usize) -> u64 {
        // A panel of unpacked rows, and the chains of as many rows as a work item has.
        const PANEL: usize = 384 << 10;
        const ROWS: usize = 320;
        let floats = config.rope.rotated * batch
            + config.vocab
            + threads * (ROWS * batch + ops::attend::thread_floats(heads_of(config)))
            + ops::attend::parts_floats(heads_of(config), context, threads);
        (Self::bytes_per_token(config) * batch + threads * PANEL + floats * size_of::<f32>()) as u64
    }

    /// The last rows of logits that were computed, [rows, vocab].
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Takes logits that were computed elsewhere.
    pub(crate) fn set_logits(&mut self, logits: &[f32]) -> Result<()> {
        resize(&mut self.logits, logits.len())?;
        self.logits.copy_from_slice(logits);
        Ok(())
    }

    /// Changes places with `other`; the logits stay where they are.
    pub(crate) fn lend(&mut self, other: &mut Buffers) {
        std::mem::swap(self, other);
        std::mem::swap(&mut self.logits, &mut other.logits);
    }

    /// Gives back everything but the logits.
    pub(crate) fn release(&mut self) {
        self.lend(&mut Buffers::default());
        self.logits.shrink_to_fit();
    }

    /// Forgets the logits.
    pub fn clear_logits(&mut self) {
        self.logits.clear();
    }

    /// Keeps only the last row of the logits.
    pub fn keep_last_logits(&mut self, vocab: usize) {
        let before_last = self.logits.len().saturating_sub(vocab);
        self.logits.drain(..before_last);
    }
}

/// Makes `buffer` hold exactly `len` values (contents arbitrary) without a panic when memory is short.
fn resize(buffer: &mut Vec<f32>, len: usize) -> Result<()> {
    if len > buffer.len() {
        let bytes = (len * size_of::<f32>()) as u64;
        buffer
            .try_reserve_exact(len - buffer.len())
            .map_err(|_| Error::Memory { what: "intermediate results", bytes })?;
    }
    buffer.resize(len, 0.0);
    Ok(())
}

/// The first `len` values of a buffer that is made no shorter, which would cost the next use a fill with zeros.
fn at_least(buffer: &mut Vec<f32>, len: usize) -> Result<&mut [f32]> {
    if buffer.len() < len {
        resize(buffer, len)?;
    }
    Ok(&mut buffer[..len])
}

/// Rows that go through the output projection in one go when all are wanted: 32 rows of the largest vocabulary are
/// some 20 MB.
const LOGIT_ROWS: usize = 32;

/// Takes rows of logits, [rows, vocab], or of states, [rows, embedding], in the order of their tokens.
pub type LogitSink<'a> = dyn FnMut(&[f32]) -> Result<()> + 'a;

/// One batch of tokens on the CPU: those of its parts, one part after the other. All rows go through the matrices
/// together; what depends on a token's sequence is done part by part. A single sequence is the case of one part.
pub struct CpuBackend<'a> {
    cpu: &'a Cpu,
    file: &'a ModelFile,
    pub(super) config: &'a Config,
    pub(super) parts: &'a mut [Part<'a>],
    pub(super) b: &'a mut Buffers,
    pub(super) n: usize, // of all parts
    pub(super) cancel: &'a AtomicBool,
    pub(super) sink: &'a mut LogitSink<'a>,
}

impl<'a> CpuBackend<'a> {
    /// A batch of the tokens of `parts`, at least one of each, whose positions are rotated by `rope`. Logits, or states,
    /// go to `sink`; the last rows of logits that it got stay in `buffers`.
    pub fn new(
        cpu: &'a Cpu,
        file: &'a ModelFile,
        config: &'a Config,
        rope: &RopeFrequencies,
        parts: &'a mut [Part<'a>],
        buffers: &'a mut Buffers,
        cancel: &'a AtomicBool,
        sink: &'a mut LogitSink<'a>,
    ) -> CpuBackend<'a> {
        let Buffers { cos, sin, growth, spans, .. } = &mut *buffers;
        [&mut *cos, &mut *sin, &mut *growth].into_iter().for_each(Vec::clear);
        parts.iter().for_each(|part| rope.tables(part.start, part.n, cos, sin));
        spans.clear();
        spans.extend(parts.iter().map(|part| (part.start, part.n)));
        if let Some(trained) = config.logn
            && parts.iter().any(|part| part.start + part.n > trained)
        {
            let positions = parts.iter().flat_map(|part| part.start..part.start + part.n);
            growth.extend(positions.map(|position| logn(position, trained)));
        }
        let n = parts.iter().map(|part| part.n).sum();
        CpuBackend { cpu, file, config, parts, b: buffers, n, cancel, sink }
    }

    /// The only part of a batch that goes on elsewhere.
    #[cfg(feature = "gpu")]
    pub(super) fn part(&self) -> &Part<'a> {
        &self.parts[0]
    }

    /// What the last projection was given, `[n, cols]`.
    pub(crate) fn input(&self) -> &[f32] {
        self.b.input.x()
    }

    /// The experts of the last layer that has some.
    pub(crate) fn routed(&self) -> &Routed {
        &self.b.routed
    }

    /// What the last shared expert's down projection was given, `[n, cols]`.
    pub(crate) fn shared_input(&self) -> &[f32] {
        self.b.shared.x()
    }

    /// Makes RMSNorm(x; norm, eps) the input.
    pub(crate) fn load_normed(&mut self, norm: &[f32], eps: f32) -> Result<()> {
        ops::norm::rms_norm_rows(self.cpu, &self.b.x, norm, eps, &mut self.b.input, Some(self.cancel))?;
        Ok(())
    }
}

/// The heads of the attention.
fn heads_of(c: &Config) -> Heads {
    Heads { heads: c.heads, kv_heads: c.kv_heads, d: c.head_dim, causal: c.causal }
}

/// A projection into `out`, or added to what is there.
fn job<'a>(file: &'a ModelFile, w: &'a Linear, add: bool, out: &'a mut [f32]) -> LinearJob<'a> {
    LinearJob { w: w.weight.matrix(file), scale: w.scale, bias: w.bias.as_deref(), add, out }
}

impl Backend for CpuBackend<'_> {
    fn embed(&mut self, table: &Weight, batch: &Batch<'_>) -> Result<()> {
        let width = table.cols;
        resize(&mut self.b.x, self.n * width)?;
        let matrix = table.matrix(self.file);
        for (&token, row) in batch.tokens.iter().zip(self.b.x.chunks_exact_mut(width)) {
            qwip_quant::decode_row(matrix.ty, matrix.row(token as usize), row)
                .map_err(|source| Error::TensorData { name: table.name.clone(), source })?;
        }
        Ok(())
    }

    fn norm_project(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        let b = &mut *self.b;
        ops::norm::rms_norm_rows(self.cpu, &b.x, norm, eps, &mut b.input, Some(self.cancel))?;
        let [wq, wk, wv] = outs;
        resize(&mut b.q, self.n * wq.weight.rows)?;
        resize(&mut b.k, self.n * wk.weight.rows)?;
        resize(&mut b.v, self.n * wv.weight.rows)?;
        let file = self.file;
        let mut jobs =
            [job(file, wq, false, &mut b.q), job(file, wk, false, &mut b.k), job(file, wv, false, &mut b.v)];
        ops::linear::linear(self.cpu, &b.input, &mut jobs, Some(self.cancel))?;
        Ok(())
    }

    fn rope_store(&mut self, layer: usize, norms: Option<HeadNorms<'_>>, eps: f32) -> Result<()> {
        let (b, c) = (&mut *self.b, self.config);
        if let Some(norms) = norms {
            ops::norm::rms_norm_heads(self.cpu, &mut b.q, norms.q, eps, Some(self.cancel))?;
            ops::norm::rms_norm_heads(self.cpu, &mut b.k, norms.k, eps, Some(self.cancel))?;
        }
        ops::rope::rope_rows(self.cpu, &mut b.q, c.heads, c.head_dim, &b.cos, &b.sin, Some(self.cancel))?;
        ops::rope::rope_rows(self.cpu, &mut b.k, c.kv_heads, c.head_dim, &b.cos, &b.sin, Some(self.cancel))?;
        for (q, growth) in b.q.chunks_exact_mut(c.heads * c.head_dim).zip(&b.growth) {
            q.iter_mut().for_each(|q| *q *= growth);
        }
        let width = c.kv_heads * c.head_dim;
        let mut rows = b.k.chunks_exact(width).zip(b.v.chunks_exact(width));
        for part in &mut *self.parts {
            for (position, (k, v)) in (part.start..part.start + part.n).zip(&mut rows) {
                for (head, (k, v)) in k.chunks_exact(c.head_dim).zip(v.chunks_exact(c.head_dim)).enumerate() {
                    part.kv.store(layer, head, position, k, v);
                }
            }
        }
        Ok(())
    }

    fn attend(&mut self, layer: usize) -> Result<()> {
        let (b, c) = (&mut *self.b, self.config);
        let out = at_least(&mut b.up, self.n * c.heads * c.head_dim)?;
        let scale = 1.0 / (c.head_dim as f32).sqrt();
        let parts = &*self.parts;
        let tiles = |part: usize, head, tile| parts[part].kv.tile(layer, head, tile);
        let runs = Runs { spans: &b.spans, tiles: &tiles };
        let cancel = Some(self.cancel);
        ops::attend::attend_runs(self.cpu, &b.q, heads_of(c), scale, &runs, &mut b.parts, out, cancel)?;
        Ok(())
    }

    fn project_add(&mut self, w: &Linear) -> Result<()> {
        let b = &mut *self.b;
        b.input.load(self.cpu, &b.up[..self.n * w.weight.cols], w.weight.cols, Some(self.cancel))?;
        let mut jobs = [job(self.file, w, true, &mut b.x)];
        ops::linear::linear(self.cpu, &b.input, &mut jobs, Some(self.cancel))?;
        Ok(())
    }

    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        let (cpu, file, cancel) = (self.cpu, self.file, Some(self.cancel));
        let b = &mut *self.b;
        ops::norm::rms_norm_rows(cpu, &b.x, norm, eps, &mut b.input, cancel)?;
        let [wq, wk, wv] = outs;
        let both = at_least(&mut b.gate, self.n * wq.weight.rows)?;
        resize(&mut b.q, both.len() / 2)?;
        resize(&mut b.k, self.n * wk.weight.rows)?;
        resize(&mut b.v, self.n * wv.weight.rows)?;
        let mut jobs =
            [job(file, wq, false, both), job(file, wk, false, &mut b.k), job(file, wv, false, &mut b.v)];
        ops::linear::linear(cpu, &b.input, &mut jobs, cancel)?;
        delta::queries(cpu, both, self.config.head_dim, &mut b.q, cancel)?;
        Ok(())
    }

    fn project_add_gated(&mut self, w: &Linear) -> Result<()> {
        let b = &mut *self.b;
        let (cols, cancel) = (w.weight.cols, Some(self.cancel));
        let (o, gates) = (&b.up[..self.n * cols], &b.gate[..2 * self.n * cols]);
        delta::gated_load(self.cpu, o, gates, self.config.head_dim, cols, &mut b.input, cancel)?;
        let mut jobs = [job(self.file, w, true, &mut b.x)];
        ops::linear::linear(self.cpu, &b.input, &mut jobs, cancel)?;
        Ok(())
    }

    fn delta_net(&mut self, index: usize, norm: &[f32], eps: f32, net: &DeltaNet) -> Result<()> {
        let (cpu, file, n, cancel) = (self.cpu, self.file, self.n, Some(self.cancel));
        let b = &mut *self.b;
        let no_memory =
            || Error::BadOption { what: "memory", found: "none".into(), want: "a hybrid's".into() };
        let heads = self.config.hybrid.as_ref().ok_or_else(no_memory)?.heads;
        ops::norm::rms_norm_rows(cpu, &b.x, norm, eps, &mut b.input, cancel)?;
        let u = at_least(&mut b.gate, n * net.qkv.weight.rows)?;
        let z = at_least(&mut b.up, n * net.gate.weight.rows)?;
        let inputs = [job(file, &net.qkv, false, u), job(file, &net.gate, false, z)];
        let (values, group) = (heads.values, heads.values / heads.keys);
        let (beta, alpha, stride, span) = match &net.rates {
            RateInputs::Apart { beta, alpha } => {
                resize(&mut b.beta, n * values)?;
                resize(&mut b.alpha, n * values)?;
                let [u, z] = inputs;
                let rates = [job(file, beta, false, &mut b.beta), job(file, alpha, false, &mut b.alpha)];
                let [beta, alpha] = rates;
                ops::linear::linear(cpu, &b.input, &mut [u, z, beta, alpha], cancel)?;
                (&b.beta[..], &b.alpha[..], values, group)
            }
            RateInputs::Grouped(both) => {
                resize(&mut b.beta, 2 * n * values)?;
                let [u, z] = inputs;
                ops::linear::linear(cpu, &b.input, &mut [u, z, job(file, both, false, &mut b.beta)], cancel)?;
                (&b.beta[..], &b.beta[group..], 2 * values, 2 * group)
            }
        };
        let (u, z) = (&mut b.gate[..n * net.qkv.weight.rows], &b.up[..n * net.gate.weight.rows]);
        let (mut rest, mut first) = (&mut *u, 0);
        for part in &mut *self.parts {
            let (beta, alpha) = (&beta[first * stride..], &alpha[first * stride..]);
            let rates = Rates { beta, alpha, stride, span, rate: &net.decay, bias: &net.bias };
            let u = take_mut(&mut rest, part.n, net.qkv.weight.rows);
            let mut memory = part.memory.as_mut().ok_or_else(no_memory)?.layer(index);
            let mut snapshot = part.snapshot.as_mut().map(|(tokens, copy)| (*tokens, copy.layer(index)));
            delta::remember(cpu, &heads, u, &net.taps, &rates, &mut memory, &mut snapshot, cancel)?;
            first += part.n;
        }
        delta::gated_norm_load(cpu, &heads, u, z, &net.norm, eps, &mut b.input, cancel)?;
        let mut jobs = [job(file, &net.output, true, &mut b.x)];
        ops::linear::linear(cpu, &b.input, &mut jobs, cancel)?;
        Ok(())
    }

    fn gated_mlp(&mut self, norm: &[f32], eps: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()> {
        let (b, file) = (&mut *self.b, self.file);
        ops::norm::rms_norm_rows(self.cpu, &b.x, norm, eps, &mut b.input, Some(self.cancel))?;
        let gates = at_least(&mut b.gate, self.n * gate.weight.rows)?;
        let values = at_least(&mut b.up, self.n * up.weight.rows)?;
        let mut jobs = [job(file, gate, false, gates), job(file, up, false, values)];
        ops::linear::linear(self.cpu, &b.input, &mut jobs, Some(self.cancel))?;
        ops::silu::silu_mul_load(self.cpu, gates, values, down.weight.cols, &mut b.input, Some(self.cancel))?;
        let mut jobs = [job(file, down, true, &mut b.x)];
        ops::linear::linear(self.cpu, &b.input, &mut jobs, Some(self.cancel))?;
        Ok(())
    }

    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()> {
        let (cpu, file, cancel) = (self.cpu, self.file, Some(self.cancel));
        let b = &mut *self.b;
        ops::norm::rms_norm_rows(cpu, &b.x, norm, eps, &mut b.input, cancel)?;
        let count = experts.router.weight.rows;
        resize(&mut b.router, self.n * count)?;
        let router = job(file, &experts.router, false, &mut b.router);
        let shared = match &experts.shared {
            None => {
                ops::linear::linear(cpu, &b.input, &mut [router], cancel)?;
                None
            }
            Some(shared) => {
                resize(&mut b.share, self.n)?;
                let gates = at_least(&mut b.gate, self.n * shared.gate.weight.rows)?;
                let values = at_least(&mut b.up, self.n * shared.up.weight.rows)?;
                let mut jobs = [
                    router,
                    job(file, &shared.router, false, &mut b.share),
                    job(file, &shared.gate, false, gates),
                    job(file, &shared.up, false, values),
                ];
                ops::linear::linear(cpu, &b.input, &mut jobs, cancel)?;
                moe::sigmoid(&mut b.share);
                let down = shared.down.weight.matrix(file);
                ops::silu::silu_mul_load(cpu, gates, values, down.cols, &mut b.shared, cancel)?;
                let (hidden, scale) = (&b.shared, shared.down.scale);
                Some(moe::Shared { hidden, down, scale, weights: &b.share })
            }
        };
        b.routed.route(cpu, &b.router, count, experts.routing, cancel)?;
        b.routed.gated(cpu, &b.input, &experts.gate.stack(file), &experts.up.stack(file), cancel)?;
        b.routed.mix(cpu, &experts.down.stack(file), shared.as_ref(), &mut b.x, cancel)?;
        Ok(())
    }

    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()> {
        let b = &mut *self.b;
        b.logits.clear();
        let width = w.weight.cols;
        // The rows that are wanted, beside each other.
        let wanted: usize = self.parts.iter().map(|part| part.wanted().len()).sum();
        let rows = at_least(&mut b.up, wanted * width)?;
        let (mut from, mut to) = (&b.x[..], &mut *rows);
        for part in &*self.parts {
            let (rows, wanted) = (take(&mut from, part.n, width), part.wanted());
            let rows = &rows[wanted.start * width..wanted.end * width];
            take_mut(&mut to, wanted.len(), width).copy_from_slice(rows);
        }
        for x in rows.chunks(LOGIT_ROWS * width) {
            ops::norm::rms_norm_rows(self.cpu, x, norm, eps, &mut b.input, Some(self.cancel))?;
            if batch.output == Output::States {
                (self.sink)(b.input.x())?;
                continue;
            }
            resize(&mut b.logits, x.len() / width * w.weight.rows)?;
            let mut jobs = [job(self.file, w, false, &mut b.logits)];
            ops::linear::linear(self.cpu, &b.input, &mut jobs, Some(self.cancel))?;
            (self.sink)(&b.logits)?;
        }
        Ok(())
    }
}
