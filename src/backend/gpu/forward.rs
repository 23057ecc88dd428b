//! Computing: each verb appends what the device has to do, and logits make it do that.

use std::sync::RwLockReadGuard;
use std::sync::atomic::Ordering;

use qwip_gpu::kv::PagePool;
use qwip_gpu::ops::attend::{self, Attend};
use qwip_gpu::ops::delta::{self, DeltaHeads};
use qwip_gpu::ops::linear::{self, Chosen, FEW, Input, Preparation, Prepared, Rows};
use qwip_gpu::ops::moe::{self, Routing};
use qwip_gpu::ops::rope::{self, Cache, Heads, RopeStore};
use qwip_gpu::ops::top_k::{self, Found, TopK};
use qwip_gpu::{ALIGNMENT, Gpu, Recording, Span};

use super::load::{DeltaWeights, ExpertGateUp, GateUp, MoeWeights, Projection, Verb};
use super::observe::Squares;
use super::room::Room;
use super::{GpuModel, Work};
use crate::backend::{Backend, Batch, CpuBackend, HeadNorms, LogitRows, Output};
use crate::error::{Error, Result};
use crate::model::{DeltaNet, Experts, Linear, Weight};
use crate::sample::{Candidates, Wanted};

/// One batch of tokens, on the CPU up to some layer and then on a GPU.
pub(crate) struct GpuBackend<'a, 'c> {
    cpu: CpuBackend<'c>,
    device: &'a GpuModel,
    pool: Option<&'a PagePool>,
    /// Keeps the pages where they are while what is recorded has not been submitted.
    held: Option<RwLockReadGuard<'a, ()>>,
    gpu: &'a Gpu,
    room: &'a mut Room,
    rec: Recording,
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
const SLOTS: usize = 2;

/// What is on the device from the first of its layers on.
#[derive(Clone)]
struct Stream {
    x: Span,      // [n, embedding], the residual stream
    tables: Span, // cos and sin [n, rotated / 2] each, growth [n]
    pages: Span,  // the slot of each page
}

/// Tokens that have been prepared.
struct Made {
    plain: Span,
    units: Span,
}

impl Made {
    fn spans(&self) -> Prepared<'_> {
        Prepared { plain: &self.plain, units: &self.units }
    }
}

/// The heads of a delta net, as the kernels call them.
pub(super) fn delta_heads(heads: &qwip_cpu::ops::delta::DeltaHeads) -> DeltaHeads {
    let qwip_cpu::ops::delta::DeltaHeads { keys, values, key_dim, value_dim, taps, tiled } = *heads;
    DeltaHeads { keys, values, key_dim, value_dim, taps, tiled }
}

/// Rows that lie one after the other.
fn rows(span: &Span, width: usize) -> Rows<'_> {
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

    fn floats(&mut self, name: &'static str, n: usize) -> Result<Span> {
        self.room.floats(self.gpu, name, n)
    }

    /// The state on the device, brought there if that is where the CPU's layers end.
    fn stream(&mut self) -> Result<Stream> {
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
        let slots: Vec<u32> = self.cpu.kv.device().map_or(vec![], |(_, slots)| slots.collect());
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

    /// Room for prepared tokens: the buffers of that number.
    fn room_for(&mut self, which: usize, cols: usize, n: usize) -> Result<Made> {
        const NAMES: [[&str; 2]; 3] =
            [["tokens", "units"], ["hidden", "units of hidden"], ["hidden of slots", "units of slots"]];
        let [plain, units] = NAMES[which];
        Ok(Made {
            plain: self.floats(plain, n * cols)?,
            units: self.floats(units, linear::unit_words(cols, n))?,
        })
    }

    /// Prepares tokens for several products.
    fn prepare(&mut self, x: Rows<'_>, preparation: Preparation<'_>, cols: usize, n: usize) -> Result<Made> {
        let made = self.room_for(TOKENS, cols, n)?;
        linear::prepare(&mut self.rec, x, preparation, made.spans(), cols, n);
        Ok(made)
    }

    /// Adds the projection of `input` at column `at` of `out`, whose rows have `width` columns.
    fn project(
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
    fn normed<'s>(
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
    fn see<'p>(
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
    fn see_experts<'p>(
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
    fn add(&mut self, w: &Projection, input: &Span) -> Result<()> {
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
    fn feed_forward(
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
        let Some((pool, _)) = self.cpu.kv.device() else {
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

    fn delta(&mut self, index: usize, eps: f32, w: &DeltaWeights) -> Result<()> {
        let (n, stream) = (self.cpu.n, self.stream()?);
        let nets_before =
            self.device.first_layer - self.cpu.config.attention_layers_before(self.device.first_layer);
        let mut prepared = None;
        let input = self.normed(&stream, (&w.norm, eps), &mut prepared)?;
        self.see([&w.qkv, &w.gate].into_iter().chain(&w.rates), input.x.span, n)?;
        let u = self.floats("u", n * w.qkv.matrix.rows)?;
        let z = self.floats("z", n * w.gate.matrix.rows)?;
        self.project(&w.qkv, input, (&u, 0, w.qkv.matrix.rows), false, n);
        self.project(&w.gate, input, (&z, 0, w.gate.matrix.rows), false, n);
        let names = ["beta", "alpha"];
        let mut rates = Vec::new();
        for (name, w) in names.into_iter().zip(&w.rates) {
            let out = self.floats(name, n * w.matrix.rows)?;
            self.project(w, input, (&out, 0, w.matrix.rows), false, n);
            rates.push(out);
        }
        let Some(memory) = self.cpu.memory.as_ref().and_then(|memory| memory.device()) else {
            return Err(Error::BadOption { what: "memory", found: "none".into(), want: "a device's".into() });
        };
        let heads = *memory.heads();
        let snapshot = self.cpu.snapshot.as_ref();
        let snapshot =
            snapshot.and_then(|(tokens, copy)| Some((*tokens, copy.device()?.layer(index - nets_before))));
        let memory = memory.layer(index - nets_before);
        let group = heads.values / heads.keys;
        let inputs = match &rates[..] {
            [beta, alpha] => delta::Rates {
                beta,
                beta_at: 0,
                alpha,
                alpha_at: 0,
                stride: heads.values,
                span: group,
                forget: &w.forget,
            },
            both => delta::Rates {
                beta: &both[0],
                beta_at: 0,
                alpha: &both[0],
                alpha_at: group,
                stride: 2 * heads.values,
                span: 2 * group,
                forget: &w.forget,
            },
        };
        let y = self.room.floats(self.gpu, "y", n * heads.channels())?;
        let factors = self.room.floats(self.gpu, "factors", heads.factors_bytes(n) as usize / 4)?;
        let o = self.room.floats(self.gpu, "o", n * heads.value_width())?;
        delta::remember(&mut self.rec, &heads, n, [&u, &w.taps], &inputs, [&y, &factors], memory, snapshot);
        delta::gated_norm(&mut self.rec, &heads, n, [&y, &z, &w.head_norm], eps, &o);
        self.add(&w.output, &o)
    }

    fn mixture(&mut self, eps: f32, w: &MoeWeights) -> Result<()> {
        let (n, stream, width) = (self.cpu.n, self.stream()?, self.cpu.config.embedding);
        let Some(sizes) = self.cpu.config.experts else { return Ok(()) };
        let route = sizes.routing;
        let routing = Routing {
            experts: sizes.count,
            used: route.used,
            normalise: route.normalise,
            scale: route.scale,
        };
        let h = self.prepare(rows(&stream.x, width), Preparation::Norm(&w.norm, eps), width, n)?;
        let input = h.spans().input(width);
        let logits = self.floats("router", n * sizes.count)?;
        self.project(&w.router, input, (&logits, 0, sizes.count), false, n);
        self.see(
            [&w.router].into_iter().chain(w.shared.iter().map(|shared| &shared.router)),
            input.x.span,
            n,
        )?;
        let slots = routing.slots(n);
        let (ids, weights) = (self.floats("ids", slots)?, self.floats("weights", slots)?);
        moe::route(&mut self.rec, &routing, n, &logits, [&ids, &weights]);
        let seen = [sizes.count, width, slots];
        self.see_experts(w.gate_up.names.iter().map(String::as_str), &h.plain, (&ids, route.used), seen)?;
        let shared = match &w.shared {
            None => None,
            Some(shared) => {
                let (gates, answers) = (self.floats("share", n)?, self.floats("shared answers", n * width)?);
                self.project(&shared.router, input, (&gates, 0, 1), false, n);
                self.feed_forward(&shared.gate_up, &shared.down, input, &answers, false)?;
                Some((gates, answers))
            }
        };
        let answers = self.floats("answers", slots * width)?;
        let hidden = self.room_for(SLOTS, sizes.ffn, slots)?;
        let chosen = |ids, order_at, count, used, factors| Chosen {
            ids,
            order_at,
            factors,
            count,
            used,
            experts: sizes.count,
            rows: (0, 0),
            part: 0,
        };
        let down_rows = rows(&answers, width);
        if n <= FEW {
            let each = |factors| chosen(&ids, 0, slots, route.used, factors);
            self.few_gated(&w.gate_up, input, each, &hidden, sizes.ffn, slots)?;
            let input = Input { x: rows(&hidden.plain, sizes.ffn), prepared: None, norm: None };
            let chosen = Chosen { rows: (0, width), ..chosen(&ids, 0, slots, 1, &w.down_factors) };
            linear::experts(&mut self.rec, &w.down, input, down_rows, chosen, false);
        } else {
            let blocks = routing.blocks(n);
            let block_bytes = (12 * blocks as u64).next_multiple_of(ALIGNMENT);
            let order_at = block_bytes as usize / 4;
            let both = self.floats("order", order_at + slots)?;
            let order = both.buffer.span(block_bytes, slots as u64 * 4);
            moe::sort(&mut self.rec, &routing, n, &ids, [&order, &both.buffer.span(0, 12 * blocks as u64)]);
            let each = |used, factors| chosen(&both, order_at, blocks, used, factors);
            let gate_up = self.floats("gate and up of slots", slots * 2 * sizes.ffn)?;
            for part in 0..2 {
                let y = Rows { span: &gate_up, at: part * sizes.ffn, stride: 2 * sizes.ffn };
                let together = w.gate_up.matrices.len() == 1;
                let which = if together { 0 } else { part };
                let rows = (if together { part * sizes.ffn } else { 0 }, sizes.ffn);
                let chosen = Chosen { rows, part, ..each(route.used, &w.gate_up.factors[which]) };
                linear::experts_tiled(&mut self.rec, &w.gate_up.matrices[which], input, y, chosen);
            }
            let both = rows(&gate_up, 2 * sizes.ffn);
            linear::prepare(&mut self.rec, both, Preparation::Silu, hidden.spans(), sizes.ffn, slots);
            let input = hidden.spans().input(sizes.ffn);
            let chosen = Chosen { rows: (0, width), ..each(1, &w.down_factors) };
            linear::experts_tiled(&mut self.rec, &w.down, input, down_rows, chosen);
        }
        let seen = [sizes.count, sizes.ffn, slots];
        self.see_experts([&*w.down_name].into_iter(), &hidden.plain, (&ids, 1), seen)?;
        let shared = shared.as_ref().zip(w.shared.as_ref()).map(|((gates, answers), _)| moe::Shared {
            answers,
            gates,
            scale: 1.0,
        });
        moe::mix(&mut self.rec, [n, route.used, width], [&answers, &weights], shared.as_ref(), &stream.x);
        Ok(())
    }

    /// silu(gate) * up of each slot's expert, for few of them.
    fn few_gated<'s>(
        &mut self,
        w: &'s ExpertGateUp,
        input: Input<'_>,
        chosen: impl Fn(&'s Span) -> Chosen<'s>,
        hidden: &Made,
        ffn: usize,
        slots: usize,
    ) -> Result<()> {
        if let [both] = &w.matrices[..] {
            let chosen = Chosen { rows: (0, 2 * ffn), ..chosen(&w.factors[0]) };
            linear::experts(&mut self.rec, both, input, rows(&hidden.plain, ffn), chosen, true);
            return Ok(());
        }
        let both = self.floats("gate and up of slots", slots * 2 * ffn)?;
        for (part, (matrix, factors)) in w.matrices.iter().zip(&w.factors).enumerate() {
            let y = Rows { span: &both, at: part * ffn, stride: 2 * ffn };
            let chosen = Chosen { rows: (0, ffn), ..chosen(factors) };
            linear::experts(&mut self.rec, matrix, input, y, chosen, false);
        }
        linear::prepare(&mut self.rec, rows(&both, 2 * ffn), Preparation::Silu, hidden.spans(), ffn, slots);
        Ok(())
    }

    /// Logits, or states, of the rows that are wanted, in as many goes as their memory demands.
    fn outputs(&mut self, (norm, eps): (&Span, f32), w: &Projection, batch: &Batch<'_>) -> Result<()> {
        let (n, stream, width) = (self.cpu.n, self.stream()?, self.cpu.config.embedding);
        let (first, count) = match batch.logits {
            LogitRows::None => (n, 0),
            LogitRows::Last => (n - 1, 1),
            LogitRows::All => (0, n),
        };
        if count == 0 {
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
        let allowed = self.room.allowed(self.gpu, &wanted.allowed)?;
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
        top_k::top_k(&mut self.rec, &top, logits, Some(&allowed), seen, [&parts, &out]);
        let found = Found::read(&self.run(Some(&out))?);
        if found.not_finite > 0 {
            return Err(Error::NonFiniteLogits { position: self.cpu.start + self.cpu.n - 1 });
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
                    start: self.cpu.start,
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
            let (start, causal) = (self.cpu.start, c.causal);
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
        self.feed_forward(&w.gate_up, &w.down, input, &stream.x, true)
    }

    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()> {
        match self.next() {
            Verb::Moe(w) => self.mixture(eps, w),
            _ => self.cpu.moe(norm, eps, experts),
        }
    }

    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()> {
        match self.next() {
            Verb::Logits { norm, output } => self.outputs((norm, eps), output, batch),
            _ => {
                if batch.logits == LogitRows::None {
                    return self.run(None).map(drop);
                }
                self.return_state()?;
                self.cpu.logits(norm, eps, w, batch)
            }
        }
    }
}
