//! Computing: each verb appends what the device has to do, and logits make it do that.

use std::sync::RwLockReadGuard;
use std::sync::atomic::Ordering;

use qwip_gpu::kv::PagePool;
use qwip_gpu::ops::attend::{self, Attend};
use qwip_gpu::ops::delta::DeltaHeads;
use qwip_gpu::ops::linear::{self, Input, Preparation, Prepared, Rows};
use qwip_gpu::ops::rope::{self, Cache, Heads, RopeStore};
use qwip_gpu::ops::top_k::{self, Found, TopK};
use qwip_gpu::{Gpu, Recording, Span};

use super::load::{GateUp, Projection, Verb};
use super::observe::Squares;
use super::room::Room;
use super::{GpuModel, Work};
use crate::backend::{Backend, Batch, CpuBackend, HeadNorms, Output};
use crate::error::{Error, Result};
use crate::model::{DeltaNet, Experts, Linear, Weight};
use crate::sample::{Candidates, Wanted};

/// One batch of tokens, on the CPU up to some layer and then on a GPU.
pub(crate) struct GpuBackend<'a, 'c> {
    pub(super) cpu: CpuBackend<'c>,
    pub(super) device: &'a GpuModel,
    pool: Option<&'a PagePool>,
    /// Keeps the pages where they are while what is recorded has not been submitted.
    held: Option<RwLockReadGuard<'a, ()>>,
    pub(super) gpu: &'a Gpu,
    pub(super) room: &'a mut Room,
    pub(super) rec: Recording,
    verbs: std::slice::Iter<'a, Verb>,
    x: Option<Stream>,
    wanted: Option<&'a Wanted>,
    found: &'a mut Option<Candidates>,
    work: &'a mut Work,
    squares: Option<&'a mut Squares>,
}

/// The parts of a session that a batch works with.
pub(super) struct Part<'a> {
    pub(super) device: &'a GpuModel,
    pub(super) pool: Option<&'a PagePool>,
    pub(super) room: &'a mut Room,
    pub(super) wanted: Option<&'a Wanted>,
    pub(super) found: &'a mut Option<Candidates>,
    pub(super) work: &'a mut Work,
    pub(super) squares: Option<&'a mut Squares>,
}

/// Numbers of buffers of prepared tokens: the input of a layer's parts, what is inside a feed-forward part, and inside
/// experts.
const TOKENS: usize = 0;
const HIDDEN: usize = 1;
pub(super) const SLOTS: usize = 2;

/// What is on the device from the first of its layers on.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) x: Span, // [n, embedding], the residual stream
    tables: Span,       // cos and sin [n, rotated / 2] each, growth [n]
    pages: Span,        // the slot of each page
}

/// Tokens that have been prepared.
pub(super) struct Made {
    pub(super) plain: Span,
    units: Span,
}

impl Made {
    pub(super) fn spans(&self) -> Prepared<'_> {
        Prepared { plain: &self.plain, units: &self.units }
    }
}

/// The heads of a delta net, as the kernels call them.
pub(super) fn delta_heads(heads: &qwip_cpu::ops::delta::DeltaHeads) -> DeltaHeads {
    let qwip_cpu::ops::delta::DeltaHeads { keys, values, key_dim, value_dim, taps, tiled } = *heads;
    DeltaHeads { keys, values, key_dim, value_dim, taps, tiled }
}

/// Rows that lie one after the other.
pub(super) fn rows(span: &Span, width: usize) -> Rows<'_> {
    Rows { span, at: 0, stride: width }
}

impl<'a, 'c> GpuBackend<'a, 'c> {
    /// A batch that `cpu` begins. What is wanted of the logits is found in place of them.
    pub(super) fn new(cpu: CpuBackend<'c>, part: Part<'a>) -> GpuBackend<'a, 'c> {
        let Part { device, pool, room, wanted, found, work, squares } = part;
        let gpu = &*device.gpu;
        let (rec, verbs) = (gpu.recording(), device.verbs.iter());
        let (held, x) = (None, None);
        GpuBackend { cpu, device, pool, held, gpu, room, rec, verbs, x, wanted, found, work, squares }
    }

    /// The weights of the next verb.
    fn next(&mut self) -> &'a Verb {
        self.verbs.next().unwrap_or(&Verb::Elsewhere)
    }

    pub(super) fn floats(&mut self, name: &'static str, n: usize) -> Result<Span> {
        self.room.floats(self.gpu, name, n)
    }

    /// The state on the device, brought there if that is where the CPU's layers end.
    pub(super) fn stream(&mut self) -> Result<Stream> {
        if self.held.is_none() {
            self.held = self.pool.map(PagePool::hold);
        }
        if let Some(stream) = &self.x {
            return Ok(stream.clone());
        }
        let b = &*self.cpu.b;
        let tables = [&b.cos[..], &b.sin, &b.growth].concat();
        let x = self.room.floats(self.gpu, "x", b.x.len())?;
        self.rec.write(&x, bytes_of(&b.x));
        let slots: Vec<u32> = self.cpu.part().kv.device().map_or(vec![], |(_, slots)| slots.collect());
        let span = self.room.floats(self.gpu, "tables", tables.len())?;
        self.rec.write(&span, bytes_of(&tables));
        let pages = self.room.floats(self.gpu, "pages", slots.len())?;
        self.rec.write(&pages, slots.iter().flat_map(|slot| slot.to_le_bytes()).collect());
        let stream = Stream { x, tables: span, pages };
        self.x = Some(stream.clone());
        Ok(stream)
    }

    /// Runs what has been recorded; gives what `read` then holds.
    fn run(&mut self, read: Option<&Span>) -> Result<Vec<u8>> {
        if self.cpu.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let mut rec = std::mem::replace(&mut self.rec, self.gpu.recording());
        if let Some(span) = read {
            rec.read(span);
        }
        self.work.dispatches += rec.dispatches().count();
        self.work.submissions += 1;
        self.work.bytes_moved += rec.bytes_moved();
        self.work.bytes_written += rec.bytes_written();
        self.work.bytes_read += rec.bytes_read();
        let read = self.gpu.run(&rec);
        // Whoever is handed logits may use another session on the device.
        self.held = None;
        Ok(read?)
    }

    /// Ends a layer: of several tokens each is submitted for itself, since drivers take a device that works on one submission
    /// for seconds for hung, and so that cancelling need not wait for all.
    pub(super) fn end_layer(&mut self) -> Result<()> {
        if self.cpu.n > linear::FEW && self.x.is_some() {
            self.run(None)?;
        }
        Ok(())
    }

    /// Room for prepared tokens: the buffers of that number.
    pub(super) fn room_for(&mut self, which: usize, cols: usize, n: usize) -> Result<Made> {
        const NAMES: [[&str; 2]; 3] =
            [["tokens", "units"], ["hidden", "units of hidden"], ["hidden of slots", "units of slots"]];
        let [plain, units] = NAMES[which];
        Ok(Made {
            plain: self.floats(plain, n * cols)?,
            units: self.floats(units, linear::unit_words(cols, n))?,
        })
    }

    /// Prepares tokens for several products.
    pub(super) fn prepare(
        &mut self,
        x: Rows<'_>,
        preparation: Preparation<'_>,
        cols: usize,
        n: usize,
    ) -> Result<Made> {
        let made = self.room_for(TOKENS, cols, n)?;
        linear::prepare(&mut self.rec, x, preparation, made.spans(), cols, n);
        Ok(made)
    }

    /// Adds the projection of `input` at column `at` of `out`, whose rows have `width` columns.
    pub(super) fn project(
        &mut self,
        w: &Projection,
        input: Input<'_>,
        (out, at, width): (&Span, usize, usize),
        add: bool,
        n: usize,
    ) {
        let y = Rows { span: out, at, stride: width };
        let output = linear::Output { y, scale: w.scale, bias: w.bias.as_ref(), add };
        linear::linear(&mut self.rec, &w.matrix, input, output, n);
    }

    /// What projections of the normed state are given: for a single token its norm is theirs to do.
    pub(super) fn normed<'s>(
        &mut self,
        stream: &'s Stream,
        (norm, eps): (&'s Span, f32),
        prepared: &'s mut Option<Made>,
    ) -> Result<Input<'s>> {
        let (n, cols) = (self.cpu.n, self.cpu.config.embedding);
        if n == 1 && self.squares.is_none() {
            return Ok(Input { x: rows(&stream.x, cols), prepared: None, norm: Some((norm, eps)) });
        }
        let made = self.prepare(rows(&stream.x, cols), Preparation::Norm(norm, eps), cols, n)?;
        Ok(prepared.insert(made).spans().input(cols))
    }

    /// Watches what meets these weights: `n` rows of `x`.
    pub(super) fn see<'p>(
        &mut self,
        projections: impl IntoIterator<Item = &'p Projection>,
        x: &Span,
        n: usize,
    ) -> Result<()> {
        let Some(squares) = &mut self.squares else { return Ok(()) };
        let mut projections = projections.into_iter().peekable();
        let cols = projections.peek().map_or(0, |first| first.matrix.cols);
        let mut names = projections.flat_map(|p| &p.names).map(String::as_str);
        squares.see(self.gpu, &mut self.rec, &mut names, x, None, [1, cols, n])
    }

    /// Watches what meets the matrices of experts: rows of `x`, each for so many of the slots with these ids.
    pub(super) fn see_experts<'p>(
        &mut self,
        mut names: impl Iterator<Item = &'p str>,
        x: &Span,
        ids: (&Span, usize),
        sizes: [usize; 3],
    ) -> Result<()> {
        let Some(squares) = &mut self.squares else { return Ok(()) };
        squares.see(self.gpu, &mut self.rec, &mut names, x, Some(ids), sizes)
    }

    /// x += w times the rows of `input`.
    pub(super) fn add(&mut self, w: &Projection, input: &Span) -> Result<()> {
        let (n, stream) = (self.cpu.n, self.stream()?);
        let (cols, width) = (w.matrix.cols, w.matrix.rows);
        let mut given = Input { x: rows(input, cols), prepared: None, norm: None };
        let made;
        self.see([w], input, n)?;
        if n > 1 {
            made = self.prepare(rows(input, cols), Preparation::Copy, cols, n)?;
            given = made.spans().input(cols);
        }
        self.project(w, given, (&stream.x, 0, width), true, n);
        Ok(())
    }

    /// Adds silu(gate) * up of `input` and what comes of it to `out`, or makes it that.
    pub(super) fn feed_forward(
        &mut self,
        gate_up: &GateUp,
        down: &Projection,
        input: Input<'_>,
        out: &Span,
        add: bool,
    ) -> Result<()> {
        let (n, ffn, width) = (self.cpu.n, down.matrix.cols, down.matrix.rows);
        let hidden = self.room_for(HIDDEN, ffn, n)?;
        if let GateUp::Together(w) = gate_up
            && w.matrix.slices.len() == 1
            && n == 1
            && self.squares.is_none()
        {
            linear::gated(&mut self.rec, &w.matrix, input, rows(&hidden.plain, ffn), [w.scale; 2], n);
            let input = Input { x: rows(&hidden.plain, ffn), prepared: None, norm: None };
            self.project(down, input, (out, 0, width), add, n);
            return Ok(());
        }
        match gate_up {
            GateUp::Together(w) => self.see([w], input.x.span, n)?,
            GateUp::Apart(both) => self.see(&**both, input.x.span, n)?,
        }
        let both = self.floats("gate and up", n * 2 * ffn)?;
        match gate_up {
            GateUp::Together(w) => self.project(w, input, (&both, 0, 2 * ffn), false, n),
            GateUp::Apart(apart) => {
                let [gate, up] = &**apart;
                self.project(gate, input, (&both, 0, 2 * ffn), false, n);
                self.project(up, input, (&both, ffn, 2 * ffn), false, n);
            }
        }
        linear::prepare(&mut self.rec, rows(&both, 2 * ffn), Preparation::Silu, hidden.spans(), ffn, n);
        self.see([down], &hidden.plain, n)?;
        self.project(down, hidden.spans().input(ffn), (out, 0, width), add, n);
        Ok(())
    }

    /// The heads and the cache of attention layer number `layer`.
    fn attention(&self, layer: usize, pages: &Span, run: impl FnOnce(Heads, Cache<'_>)) -> Result<()> {
        let c = self.cpu.config;
        let Some((pool, _)) = self.cpu.part().kv.device() else {
            return Err(Error::BadOption { what: "cache", found: "none".into(), want: "a device's".into() });
        };
        let here = layer - c.attention_layers_before(self.device.first_layer);
        let (keys, values) = pool.layer(here);
        let heads = Heads { heads: c.heads, kv_heads: c.kv_heads, d: c.head_dim };
        run(heads, Cache { keys: &keys, values: &values, types: pool.types(here), pages });
        Ok(())
    }

    /// Whether the queries have gates, as they have in hybrids.
    fn gates(&self) -> bool {
        self.cpu.config.hybrid.is_some()
    }

    /// Columns of queries (with their gates), keys and values.
    fn qkv_widths(&self) -> (usize, usize) {
        let c = self.cpu.config;
        let q = c.heads * c.head_dim * if self.gates() { 2 } else { 1 };
        (q, c.kv_heads * c.head_dim)
    }

    /// Logits, or states, of the rows that are wanted, in as many goes as their memory demands.
    fn outputs(&mut self, (norm, eps): (&Span, f32), w: &Projection, batch: &Batch<'_>) -> Result<()> {
        let (n, stream, width) = (self.cpu.n, self.stream()?, self.cpu.config.embedding);
        let first = self.cpu.part().wanted().start;
        if first == n {
            return self.run(None).map(drop);
        }
        let vocab = w.matrix.rows;
        let most = (self.gpu.binding_bytes() as usize / 4 / vocab).clamp(1, 32);
        for at in (first..n).step_by(most) {
            let count = most.min(n - at);
            let x = Rows { span: &stream.x, at: at * width, stride: width };
            let mut input = Input { x, prepared: None, norm: Some((norm, eps)) };
            let made;
            if count > 1 || batch.output == Output::States {
                made = self.prepare(x, Preparation::Norm(norm, eps), width, count)?;
                input = made.spans().input(width);
            }
            if batch.output == Output::States {
                let states = self.run(Some(input.x.span))?;
                (self.cpu.sink)(&floats_of(&states))?;
                continue;
            }
            let logits = self.floats("logits", count * vocab)?;
            self.project(w, input, (&logits, 0, vocab), false, count);
            if let Some(wanted) = self.wanted {
                return self.choose(wanted, &logits);
            }
            let bytes = self.run(Some(&logits))?;
            self.cpu.b.set_logits(&floats_of(&bytes))?;
            (self.cpu.sink)(self.cpu.b.logits())?;
        }
        Ok(())
    }

    /// Finds the largest logits.
    fn choose(&mut self, wanted: &Wanted, logits: &Span) -> Result<()> {
        let &Wanted { k, repeat_penalty, presence_penalty, frequency_penalty, .. } = wanted;
        let vocab = self.cpu.config.vocab;
        let top = TopK { vocab, k, temperature: 1.0, repeat_penalty, presence_penalty, frequency_penalty };
        let parts = self.floats("parts of the largest", top.parts_bytes() as usize / 4)?;
        let out = self.floats("the largest", top.found_bytes() as usize / 4)?;
        let allowed = wanted.allowed.as_ref().map(|mask| self.room.allowed(self.gpu, mask)).transpose()?;
        let pairs: Vec<u8> = wanted
            .seen
            .iter()
            .flat_map(|(id, count)| [id.to_le_bytes(), count.to_le_bytes()].concat())
            .collect();
        let seen = match pairs.is_empty() {
            true => None,
            false => Some(self.floats("seen", pairs.len() / 4)?),
        };
        if let Some(seen) = &seen {
            self.rec.write(seen, pairs);
        }
        let seen = seen.as_ref().map(|seen| (seen, wanted.seen.len()));
        top_k::top_k(&mut self.rec, &top, logits, allowed.as_ref(), seen, [&parts, &out]);
        let found = Found::read(&self.run(Some(&out))?);
        if found.not_finite > 0 {
            return Err(Error::NonFiniteLogits { position: self.cpu.part().start + self.cpu.n - 1 });
        }
        *self.found = Some(Candidates(found.best));
        Ok(())
    }

    /// Brings the state back to the CPU, whose the output projection is.
    fn return_state(&mut self) -> Result<()> {
        let stream = self.stream()?;
        let x = self.run(Some(&stream.x))?;
        self.cpu.b.x.copy_from_slice(&floats_of(&x));
        Ok(())
    }
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

impl Backend for GpuBackend<'_, '_> {
    fn embed(&mut self, table: &Weight, batch: &Batch<'_>) -> Result<()> {
        self.cpu.embed(table, batch)
    }

    fn norm_project(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        let Verb::Project { norm, parts } = self.next() else {
            return match self.gates() {
                true => self.cpu.norm_project_gated(norm, eps, outs),
                false => self.cpu.norm_project(norm, eps, outs),
            };
        };
        let (n, stream) = (self.cpu.n, self.stream()?);
        let width = parts.iter().map(|part| part.matrix.rows).sum();
        let qkv = self.floats("qkv", n * width)?;
        let mut prepared = None;
        let input = self.normed(&stream, (norm, eps), &mut prepared)?;
        self.see(parts, input.x.span, n)?;
        let mut at = 0;
        for part in parts {
            self.project(part, input, (&qkv, at, width), false, n);
            at += part.matrix.rows;
        }
        Ok(())
    }

    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.norm_project(norm, eps, outs)
    }

    fn rope_store(&mut self, layer: usize, norms: Option<HeadNorms<'_>>, eps: f32) -> Result<()> {
        let Verb::Rope { norms } = self.next() else { return self.cpu.rope_store(layer, norms, eps) };
        let (n, stream, (q_width, kv_width)) = (self.cpu.n, self.stream()?, self.qkv_widths());
        let width = q_width + 2 * kv_width;
        let (qkv, c) = (self.floats("qkv", n * width)?, self.cpu.config);
        let q = self.floats("q", n * c.heads * c.head_dim)?;
        let (rotated, growth) = (2 * self.cpu.b.cos.len() / n, !self.cpu.b.growth.is_empty());
        let mut rec = std::mem::replace(&mut self.rec, self.gpu.recording());
        let done = self.attention(layer, &stream.pages, |heads, cache| {
            rope::rope_store(
                &mut rec,
                &RopeStore {
                    heads,
                    n,
                    start: self.cpu.part().start,
                    qkv: &qkv,
                    width,
                    gated: self.gates(),
                    k_at: q_width,
                    v_at: q_width + kv_width,
                    tables: &stream.tables,
                    rotated,
                    growth,
                    norms: norms.as_ref().map(|(q, k)| (q, k, eps)),
                    q: &q,
                    cache,
                },
            );
        });
        self.rec = rec;
        done
    }

    fn attend(&mut self, layer: usize) -> Result<()> {
        let Verb::Attend = self.next() else { return self.cpu.attend(layer) };
        let (n, stream, (q_width, kv_width)) = (self.cpu.n, self.stream()?, self.qkv_widths());
        let width = q_width + 2 * kv_width;
        let c = self.cpu.config;
        let qkv = self.floats("qkv", n * width)?;
        let q = self.floats("q", n * c.heads * c.head_dim)?;
        let out = self.floats("o", n * c.heads * c.head_dim)?;
        let parts = self.floats("parts of attention", attend::parts_bytes(c.head_dim) as usize / 4)?;
        let mut rec = std::mem::replace(&mut self.rec, self.gpu.recording());
        let done = self.attention(layer, &stream.pages, |heads, cache| {
            let gates = self.gates().then_some((&qkv, width));
            let (start, causal) = (self.cpu.part().start, c.causal);
            attend::attend(
                &mut rec,
                &Attend { heads, n, start, causal, q: &q, cache, gates, parts: &parts, out: &out },
            );
        });
        self.rec = rec;
        done
    }

    fn project_add(&mut self, w: &Linear) -> Result<()> {
        let Verb::Add(w) = self.next() else {
            return match self.gates() {
                true => self.cpu.project_add_gated(w),
                false => self.cpu.project_add(w),
            };
        };
        let o = self.floats("o", self.cpu.n * w.matrix.cols)?;
        self.add(w, &o)
    }

    fn project_add_gated(&mut self, w: &Linear) -> Result<()> {
        self.project_add(w)
    }

    fn delta_net(&mut self, index: usize, norm: &[f32], eps: f32, net: &DeltaNet) -> Result<()> {
        match self.next() {
            Verb::Delta(w) => self.delta(index, eps, w),
            _ => self.cpu.delta_net(index, norm, eps, net),
        }
    }

    fn gated_mlp(&mut self, norm: &[f32], eps: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()> {
        let Verb::Mlp(w) = self.next() else {
            return self.cpu.gated_mlp(norm, eps, gate, up, down);
        };
        let stream = self.stream()?;
        let mut prepared = None;
        let input = self.normed(&stream, (&w.norm, eps), &mut prepared)?;
        self.feed_forward(&w.gate_up, &w.down, input, &stream.x, true)?;
        self.end_layer()
    }

    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()> {
        match self.next() {
            Verb::Moe(w) => {
                self.mixture(eps, w)?;
                self.end_layer()
            }
            _ => self.cpu.moe(norm, eps, experts),
        }
    }

    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()> {
        match self.next() {
            Verb::Logits { norm, output } => self.outputs((norm, eps), output, batch),
            _ => {
                if self.cpu.part().wanted().is_empty() {
                    return self.run(None).map(drop);
                }
                self.return_state()?;
                self.cpu.logits(norm, eps, w, batch)
            }
        }
    }
}
