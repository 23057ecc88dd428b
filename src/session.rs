//! A session: one sequence of tokens on one model, with its cache.
//!
//! However a sequence is cut into calls and slices, its logits are the same to the last bit. A call that
//! fails or is cancelled leaves the session as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qwip_cpu::ops::Cpu;

use crate::backend::{Batch, Buffers, CpuBackend, LogitRows};
use crate::error::{Error, Result};
use crate::kv::{CacheTypes, KvCache, KvType};
use crate::model::{Model, RopeFrequencies};

/// Settings of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Most positions that the sequence may reach; 0 takes the model's trained length.
    pub context: usize,
    /// Tokens of a prompt evaluated in one slice, 1 to 4096; more is faster and takes more memory.
    pub batch: usize,
    /// How keys are stored; layers with large key biases take f32 instead ([`CacheTypes::for_model`]).
    pub k_type: KvType,
    /// How values are stored.
    pub v_type: KvType,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { context: 0, batch: 512, k_type: KvType::F16, v_type: KvType::F16 }
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

/// One sequence on one model.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    cpu: Cpu,
    rope: RopeFrequencies,
    context: usize,
    batch: usize,
    kv: KvCache,
    tokens: Vec<u32>,
    buffers: Buffers,
}

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// [`Error::BadOption`] if a setting is out of range.
    pub fn new(model: Arc<Model>, cpu: Cpu, options: &SessionOptions) -> Result<Session> {
        const LARGEST_CONTEXT: usize = 1 << 24;
        let config = model.config();
        if options.batch == 0 || options.batch > 4096 {
            let found = options.batch.to_string();
            return Err(Error::BadOption { what: "batch", found, want: "1 to 4096".into() });
        }
        if options.context > LARGEST_CONTEXT {
            let found = options.context.to_string();
            return Err(Error::BadOption { what: "context", found, want: format!("1 to {LARGEST_CONTEXT}") });
        }
        let context = if options.context == 0 { config.context } else { options.context };
        Ok(Session {
            kv: KvCache::new(config, CacheTypes::for_model(&model, options.k_type, options.v_type))?,
            rope: RopeFrequencies::new(&config.rope),
            context,
            batch: options.batch,
            tokens: Vec::new(),
            buffers: Buffers::default(),
            model,
            cpu,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The tokens evaluated so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Most positions that the sequence may reach.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Positions that are still free.
    pub fn room(&self) -> usize {
        self.context - self.tokens.len()
    }

    /// Bytes of the key/value pages held.
    pub fn kv_bytes(&self) -> u64 {
        self.kv.bytes()
    }

    /// The logits after the last token, `[vocab]`; empty before the first call.
    pub fn logits(&self) -> &[f32] {
        self.buffers.logits()
    }

    /// Forgets everything from position `len` on. The logits are gone until the next call.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.kv.truncate(len);
        self.buffers.clear_logits();
    }

    /// Continues with `prompt`, of which the part that the session already holds is not computed again.
    /// Returns how many tokens were evaluated.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn prompt(
        &mut self,
        prompt: &[u32],
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<usize> {
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // At least one token is evaluated, so that there are logits.
        let keep = same.min(prompt.len().saturating_sub(1));
        self.fits(0, prompt)?;
        self.truncate(keep);
        self.extend(&prompt[keep..], cancel, progress)?;
        Ok(prompt.len() - keep)
    }

    /// Appends `tokens` and computes the logits after the last; `progress` hears the number done after each
    /// slice.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::PromptTooLong`], [`Error::TokenOutOfRange`], [`Error::Cancelled`],
    /// [`Error::NonFiniteLogits`], [`Error::Memory`]; the session is then as it was before the call, without
    /// logits.
    pub fn extend(&mut self, tokens: &[u32], cancel: &Cancel, progress: &mut dyn FnMut(usize)) -> Result<()> {
        self.run(tokens, cancel, false, &mut |_, done| progress(done))
    }

    /// Appends `tokens` and hands out the logits after each one, `[vocab]`, in order.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn extend_with_logits(
        &mut self,
        tokens: &[u32],
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        let vocab = self.model.config().vocab;
        self.run(tokens, cancel, true, &mut |logits, _| logits.chunks_exact(vocab).for_each(&mut *sink))
    }

    fn fits(&self, start: usize, tokens: &[u32]) -> Result<()> {
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
        Ok(())
    }

    fn run(
        &mut self,
        tokens: &[u32],
        cancel: &Cancel,
        every: bool,
        done: &mut dyn FnMut(&[f32], usize),
    ) -> Result<()> {
        let before = self.tokens.len();
        self.fits(before, tokens)?;
        // A slice that wants all its logits needs [slice, vocab] floats: keep that to some 20 MB.
        let slice = if every { self.batch.min(32) } else { self.batch };
        let last = tokens.len().div_ceil(slice) - 1;
        let mut evaluated = 0;
        for (i, part) in tokens.chunks(slice).enumerate() {
            let logits = match (every, i == last) {
                (true, _) => LogitRows::All,
                (false, true) => LogitRows::Last,
                (false, false) => LogitRows::None,
            };
            let result = self.slice(&Batch { tokens: part, logits }, cancel);
            if let Err(error) = result {
                self.truncate(before);
                return Err(error);
            }
            evaluated += part.len();
            done(self.buffers.logits(), evaluated);
        }
        self.buffers.keep_last_logits(self.model.config().vocab);
        Ok(())
    }

    fn slice(&mut self, batch: &Batch<'_>, cancel: &Cancel) -> Result<()> {
        let start = self.tokens.len();
        self.kv.reserve(batch.tokens.len())?;
        let mut backend = CpuBackend::new(
            &self.cpu,
            self.model.file(),
            self.model.config(),
            &self.rope,
            &mut self.kv,
            &mut self.buffers,
            start,
            batch.tokens.len(),
            cancel.flag(),
        );
        self.model.forward(&mut backend, batch)?;
        if let Some(bad) = self.buffers.logits().iter().position(|l| !l.is_finite()) {
            let row = bad / self.model.config().vocab;
            let position =
                if batch.logits == LogitRows::All { start + row } else { start + batch.tokens.len() - 1 };
            return Err(Error::NonFiniteLogits { position });
        }
        self.kv.advance(batch.tokens.len());
        self.tokens.extend_from_slice(batch.tokens);
        Ok(())
    }
}
