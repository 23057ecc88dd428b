//! A session: one sequence of tokens on one model, with its cache.
//!
//! However a sequence is cut into calls and slices, its logits are the same to the last bit. A call that
//! fails or is cancelled leaves the session as it was.

mod device;
mod fork;
mod prompt;
mod release;
mod saved;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_cpu::ops::Cpu;

use qwip_quant::limits;

use crate::backend::gpu::DevicePart;
use crate::backend::{Batch, Buffers, CpuBackend, Importance, LogitRows, Observed, Output, Timed, VerbTimes};
use crate::error::{Error, Result};
use crate::kv::{CacheTypes, KvBudget, KvType, Sequence};
use crate::model::{Config, Model, RopeFrequencies, RopeOptions, Scaling};
use device::Left;
use prompt::{Stepped, Whole};
pub use saved::SavedError;
pub use together::{Together, Turn};

/// Settings of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Most positions that the sequence may reach, up to [`Session::MAX_CONTEXT`]; 0 takes the model's trained length,
    /// or what `rope` makes of it. First-generation Qwen answers differently with another limit beyond that length
    /// ([`Rope::within`](crate::model::Rope::within)).
    pub context: usize,
    /// Tokens of a prompt evaluated in one slice, up to [`Session::MAX_BATCH`]; more is faster and takes more memory.
    /// 0 takes 512, or fewer where the intermediate results of so many would need more than 80 MiB.
    pub batch: usize,
    /// How keys are stored; layers with large key biases take f32 instead ([`CacheTypes::for_model`]).
    pub k_type: KvType,
    /// How values are stored.
    pub v_type: KvType,
    /// Changes to the rotary position embedding: how a context longer than the trained one is reached.
    pub rope: RopeOptions,
    /// Of a hybrid, whose memory cannot be rewound: copies that are kept, so that a changed prompt is not evaluated from
    /// the beginning. Each takes [`Recurrent::bytes`](crate::kv::Recurrent::bytes). At most [`Session::MAX_SNAPSHOTS`].
    pub snapshots: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            context: 0,
            batch: 0,
            k_type: KvType::F16,
            v_type: KvType::F16,
            rope: RopeOptions::default(),
            snapshots: 4,
        }
    }
}

/// A flag that any thread may raise to stop a call, also in the middle of a prompt.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Stops the calls that were given this flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Lowers the flag again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// True once raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// So many tokens before the end of a prompt a hybrid's memory is copied.
const SHORTLY: usize = 8;
/// Cancels nothing.
static NEVER: AtomicBool = AtomicBool::new(false);

/// One sequence on one model.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    cpu: Cpu,
    options: SessionOptions,
    rope: RopeFrequencies,
    reach: usize,
    context: usize,
    batch: usize,
    sequence: Sequence,
    budget: Option<Arc<KvBudget>>,
    device: Option<DevicePart>,
    left: Option<Left>,
    stepped: Option<Stepped>,
    tokens: Vec<u32>,
    buffers: Buffers,
    verb_times: Option<VerbTimes>,
    importance: Option<Importance>,
}

impl Session {
    /// The largest [`SessionOptions::context`].
    pub const MAX_CONTEXT: usize = limits::MAX_CONTEXT;
    /// The largest [`SessionOptions::snapshots`].
    pub const MAX_SNAPSHOTS: usize = 64;
    /// The largest [`SessionOptions::batch`].
    pub const MAX_BATCH: usize = 4096;

    /// An empty session.
    ///
    /// # Errors
    /// [`Error::BadOption`] if a setting is out of range.
    pub fn new(model: Arc<Model>, cpu: Cpu, options: &SessionOptions) -> Result<Session> {
        Self::with_device(model, cpu, options, None)
    }

    fn with_device(
        model: Arc<Model>,
        cpu: Cpu,
        options: &SessionOptions,
        device: Option<DevicePart>,
    ) -> Result<Session> {
        let _ieee = IeeeDefaults::enter();
        let config = model.config();
        if options.snapshots > Self::MAX_SNAPSHOTS {
            let (found, want) = (options.snapshots.to_string(), format!("0 to {}", Self::MAX_SNAPSHOTS));
            return Err(Error::BadOption { what: "snapshots", found, want });
        }
        let context = context_of(config, options)?;
        let most = device.as_ref().map_or(Self::MAX_BATCH, |part| part.model().most_tokens());
        let batch = batch_of(config, options)?.min(most);
        let rope = config.rope.with(&options.rope, config.context, options.context)?;
        Ok(Session {
            sequence: Sequence::new(
                config,
                CacheTypes::for_model(&model, options.k_type, options.v_type),
                options.snapshots,
                device.as_ref().map(|part| &**part.model()),
                None,
            )?,
            budget: None,
            options: *options,
            device,
            left: None,
            stepped: None,
            rope: RopeFrequencies::new(&rope.within(context)),
            reach: match rope.scaling {
                // It stretches as far as it has to.
                Scaling::DynamicNtk { .. } => context.max(config.context),
                _ => rope.reach(config.context),
            },
            context,
            batch,
            tokens: Vec::new(),
            buffers: Buffers::default(),
            verb_times: None,
            importance: None,
            model,
            cpu,
        })
    }

    /// Tokens of a prompt evaluated in one slice.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernels and threads that it computes with.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The tokens evaluated so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Most positions that the sequence may reach.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Positions that the model was trained for, or that its rotary scaling makes of them. A sequence may get longer;
    /// what the model says is then worse.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// Positions that are still free.
    pub fn room(&self) -> usize {
        self.context - self.tokens.len()
    }

    /// From now on measures how long each verb of the forward pass takes, starting at 0.
    pub fn time_verbs(&mut self) {
        self.verb_times = Some(VerbTimes::default());
    }

    /// What each verb took since [`Session::time_verbs`]; `None` if that was not called.
    pub fn verb_times(&self) -> Option<&VerbTimes> {
        self.verb_times.as_ref()
    }

    /// From now on sums the squares of what meets the columns of the layers' matrices, starting at 0. A call that fails
    /// adds whole slices only.
    pub fn observe_importance(&mut self) {
        self.importance = Some(Importance::default());
    }

    /// What was seen since [`Session::observe_importance`]; `None` if that was not called.
    pub fn importance(&self) -> Option<&Importance> {
        self.importance.as_ref()
    }

    /// Bytes of the key/value pages held.
    pub fn kv_bytes(&self) -> u64 {
        self.sequence.kv.bytes()
    }

    /// The logits after the last token, `[vocab]`; empty before the first call.
    pub fn logits(&self) -> &[f32] {
        self.buffers.logits()
    }

    /// Forgets everything from position `len` on. The logits are gone until the next call. A hybrid goes back to its
    /// last copy before `len`, and the next call evaluates the tokens from there on again.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.sequence.truncate(len);
        self.buffers.clear_logits();
    }

    /// Appends `tokens` and computes the logits after the last; `progress` hears the number done after each
    /// slice.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::PromptTooLong`], [`Error::TokenOutOfRange`], [`Error::Cancelled`],
    /// [`Error::NonFiniteLogits`], [`Error::Memory`], [`Error::KvMemory`]; the session is then as it was before the call, without
    /// logits.
    pub fn extend(&mut self, tokens: &[u32], cancel: &Cancel, progress: &mut dyn FnMut(usize)) -> Result<()> {
        self.run(tokens, None, cancel, (LogitRows::Last, Output::Logits), &mut |_| {}, progress)
    }

    /// Appends `tokens` and hands out the logits after each one, `[vocab]`, in order.
    ///
    /// # Errors
    /// As [`Session::extend`]; some logits may have been handed out before.
    pub fn extend_with_logits(
        &mut self,
        tokens: &[u32],
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        self.run(tokens, None, cancel, (LogitRows::All, Output::Logits), sink, &mut |_| {})
    }

    /// Appends `tokens` and hands out the states after the last norm, `[embedding]`, in order: those of `rows`. There are
    /// no logits afterwards.
    ///
    /// # Errors
    /// As [`Session::extend`]; some states may have been handed out before.
    pub fn extend_with_states(
        &mut self,
        tokens: &[u32],
        rows: LogitRows,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        self.run(tokens, None, cancel, (rows, Output::States), sink, &mut |_| {})
    }

    pub(crate) fn fits(&self, start: usize, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let vocab = self.model.config().vocab;
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(Error::TokenOutOfRange { token, vocab });
        }
        let needed = start + tokens.len();
        if needed > self.context {
            return Err(Error::PromptTooLong { tokens: needed, context: self.context });
        }
        // Where tokens see what follows them, all must come together.
        if !self.model.config().causal && (start > 0 || needed > Self::MAX_BATCH) {
            return Err(Error::NotAtOnce { before: start, tokens: tokens.len(), most: Self::MAX_BATCH });
        }
        Ok(())
    }

    /// Evaluates `tokens`, which may be a part of a `whole`, in slices; `wanted` says whose logits, or states, `sink` gets.
    fn run(
        &mut self,
        tokens: &[u32],
        whole: Option<Whole>,
        cancel: &Cancel,
        (wanted, output): (LogitRows, Output),
        sink: &mut dyn FnMut(&[f32]),
        progress: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let before = self.tokens.len();
        self.fits(before, tokens)?;
        self.catch_up(cancel)?;
        let whole = whole.unwrap_or(Whole { start: before, end: before + tokens.len() });
        if whole.start == before && whole.end - before > 1 {
            self.surviving(cancel, &mut |session| session.snapshot())?;
        }
        self.buffers.clear_logits();
        let size = if self.model.config().causal { self.batch } else { tokens.len() };
        let mut rest = tokens;
        while !rest.is_empty() {
            let slice = whole.slice(self.tokens.len(), rest.len(), size);
            let part;
            (part, rest) = rest.split_at(slice.n);
            let logits = if wanted == LogitRows::Last && !slice.last { LogitRows::None } else { wanted };
            let batch = (Batch { tokens: part, output }, logits);
            let result = self.slice(batch, slice.copy, cancel, sink).and_then(|()| match slice.copy_behind {
                true => self.surviving(cancel, &mut |session| session.snapshot()),
                false => Ok(()),
            });
            if let Err(error) = result {
                self.truncate(before);
                return Err(error);
            }
            progress(self.tokens.len() - before);
        }
        self.buffers.keep_last_logits(self.model.config().vocab);
        Ok(())
    }

    /// Evaluates the tokens that a hybrid holds but went back behind.
    fn catch_up(&mut self, cancel: &Cancel) -> Result<()> {
        if self.sequence.spoilt {
            // Something unwound out of a slice.
            self.sequence.truncate(self.sequence.len());
        }
        let from = self.sequence.len();
        if from == self.tokens.len() {
            return Ok(());
        }
        // It is not what the caller measures.
        let (times, importance) = (self.verb_times.take(), self.importance.take());
        let behind = self.tokens.split_off(from);
        let mut parts = behind.chunks(self.batch).peekable();
        let mut result = Ok(());
        while let (Ok(()), Some(part)) = (&result, parts.next()) {
            let batch = Batch { tokens: part, output: Output::Logits };
            result = self.slice((batch, LogitRows::None), None, cancel, &mut |_| {});
            if result.is_ok() && parts.peek().is_some() {
                result = self.surviving(cancel, &mut |session| session.snapshot());
            }
        }
        (self.verb_times, self.importance) = (times, importance);
        if result.is_err() {
            self.truncate(from);
            self.tokens.extend(behind);
        }
        result
    }

    /// Keeps a copy of a hybrid's memory, if none is near.
    fn snapshot(&mut self) -> Result<()> {
        let Sequence { memory, snapshots, .. } = &mut self.sequence;
        memory.as_ref().map_or(Ok(()), |memory| snapshots.copy(self.tokens.len(), memory))
    }

    /// Evaluates one slice, on the CPU if the device fails and may be left.
    fn slice(
        &mut self,
        batch: (Batch<'_>, LogitRows),
        copy: Option<usize>,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        // What has been handed out before it failed is not handed out again.
        let mut rows = 0;
        self.surviving(cancel, &mut |session| {
            let mut at = 0;
            session.try_slice(batch, copy, cancel, &mut |row| {
                if at == rows {
                    sink(row);
                    rows += 1;
                }
                at += 1;
            })
        })
    }

    /// Evaluates one slice; a hybrid's memory is copied as it is at position `copy`, if the slice comes by and it helps.
    fn try_slice(
        &mut self,
        (batch, logits): (Batch<'_>, LogitRows),
        copy: Option<usize>,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        let _ieee = IeeeDefaults::enter();
        let (start, n) = (self.tokens.len(), batch.tokens.len());
        let width = match batch.output {
            Output::Logits => self.model.config().vocab,
            Output::States => self.model.config().embedding,
        };
        let mut position = if logits == LogitRows::All { start } else { start + n - 1 };
        let mut check_and_hand_out = |rows: &[f32]| {
            for row in rows.chunks_exact(width) {
                if !all_finite(row) {
                    return Err(Error::NonFiniteLogits { position });
                }
                sink(row);
                position += 1;
            }
            Ok(())
        };
        let mut room = self.sequence.prepare(n, copy)?;
        let mut cancel = cancel.flag();
        // A single token is not broken off: its answer would take the way back to the last copy with it.
        if self.sequence.memory.is_some() && n == 1 {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            cancel = &NEVER;
        }
        let mut parts = [self.sequence.part(&mut room, n, logits)];
        let mut backend = CpuBackend::new(
            &self.cpu,
            self.model.file(),
            self.model.config(),
            &self.rope,
            &mut parts,
            &mut self.buffers,
            cancel,
            &mut check_and_hand_out,
        );
        match (&mut self.device, &mut self.verb_times, &mut self.importance) {
            (Some(device), _, importance) => {
                let mut seen = importance.as_ref().map(|_| Importance::default());
                device.forward(&self.model, backend, &batch, seen.as_mut())?;
                if let (Some(importance), Some(seen)) = (importance, seen) {
                    importance.add(seen);
                }
            }
            (None, None, None) => self.model.forward(&mut backend, &batch)?,
            (None, Some(times), _) => {
                self.model.forward(&mut Timed { backend: &mut backend, times }, &batch)?
            }
            (None, None, Some(importance)) => {
                let mut seen = Importance::default();
                self.model.forward(&mut Observed { backend: &mut backend, seen: &mut seen }, &batch)?;
                importance.add(seen);
            }
        }
        self.sequence.finish(n, room);
        self.tokens.extend_from_slice(batch.tokens);
        Ok(())
    }
}

/// Whether none of the numbers is infinite or none at all; blocks are looked at whole, which vectors can do.
fn all_finite(row: &[f32]) -> bool {
    row.chunks(1024).all(|block| block.iter().fold(true, |all, x| all & x.is_finite()))
}

/// Most positions of a session.
pub(crate) fn context_of(config: &Config, options: &SessionOptions) -> Result<usize> {
    if options.context > Session::MAX_CONTEXT {
        let (found, want) = (options.context.to_string(), format!("0 to {}", Session::MAX_CONTEXT));
        return Err(Error::BadOption { what: "context", found, want });
    }
    let rope = config.rope.with(&options.rope, config.context, options.context)?;
    Ok(if options.context == 0 { rope.reach(config.context) } else { options.context })
}

/// Tokens of a session's slices.
pub(crate) fn batch_of(config: &Config, options: &SessionOptions) -> Result<usize> {
    match options.batch {
        0 => Ok(default_batch(config)),
        batch if batch <= Session::MAX_BATCH => Ok(batch),
        batch => {
            let (found, want) = (batch.to_string(), format!("0 to {}", Session::MAX_BATCH));
            Err(Error::BadOption { what: "batch", found, want })
        }
    }
}

/// Tokens of a slice unless the caller chooses.
fn default_batch(config: &Config) -> usize {
    const MOST: usize = 512;
    const BYTES: usize = 80 << 20;
    (BYTES / Buffers::bytes_per_token(config).max(1)).clamp(16, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rope, Scaling};

    #[test]
    fn wide_models_take_smaller_slices() {
        let small = Config {
            layers: 24,
            mtp_layers: 0,
            embedding: 896,
            ffn: 4864,
            experts: None,
            hybrid: None,
            heads: 14,
            kv_heads: 2,
            head_dim: 64,
            vocab: 151936,
            context: 32768,
            eps: 1e-6,
            rope: Rope { theta: 1e6, rotated: 64, scaling: Scaling::None },
            logn: None,
            causal: true,
        };
        let wide =
            Config { embedding: 3584, ffn: 18944, heads: 28, kv_heads: 4, head_dim: 128, ..small.clone() };
        assert_eq!(default_batch(&small), 512);
        let batch = default_batch(&wide);
        assert!(
            (200..512).contains(&batch) && batch * Buffers::bytes_per_token(&wide) <= 80 << 20,
            "{batch}"
        );
    }
}
