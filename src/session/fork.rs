//! Sessions that share the pages of a common beginning, and a limit on what all of them hold.

use std::sync::Arc;

use super::Session;
use crate::backend::Buffers;
use crate::error::{Error, Result};
use crate::kv::KvBudget;

impl Session {
    /// How many of the first tokens of `prompt` [`Session::prompt`] would not evaluate: those that are the same here, but at
    /// most all but the last, and of a hybrid only up to a position that it can go back to.
    pub fn shares(&self, prompt: &[u32]) -> usize {
        // At least one token is evaluated, so that there are logits.
        let most = if self.model.config().causal { prompt.len().saturating_sub(1) } else { 0 };
        let same = self.tokens.iter().zip(prompt).take(most).take_while(|(a, b)| a == b).count();
        self.sequence.reachable(same)
    }

    /// A new session with the same settings that begins with the first `len` tokens of this one. It shares their pages; from
    /// there on neither sees what the other does. A hybrid's begins with fewer, at the last position up to `len` that it
    /// can go back to: [`Session::tokens`] tells. Tokens that this session would evaluate again with its next call, the
    /// fork will, too. There are no logits until the next call, and no copies of a hybrid's
    /// memory but the one that it begins with.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::KvMemory`] where a hybrid's memory has no room, [`Error::Gpu`].
    pub fn fork(&self, len: usize) -> Result<Session> {
        // Where every token sees all others, there is no beginning without the end.
        let len = if self.model.config().causal { len } else { 0 };
        let sequence = self.sequence.fork(len)?;
        // What lies behind what is evaluated waits to be, here and there.
        let held = if len > self.sequence.len() { len.min(self.tokens.len()) } else { sequence.len() };
        Ok(Session {
            model: self.model.clone(),
            cpu: self.cpu.clone(),
            options: self.options,
            rope: self.rope.clone(),
            reach: self.reach,
            context: self.context,
            batch: self.batch,
            tokens: self.tokens[..held].to_vec(),
            sequence,
            budget: self.budget.clone(),
            device: self.device.as_ref().map(|part| part.another()),
            left: self.left.clone(),
            stepped: None,
            buffers: Buffers::default(),
            verb_times: None,
            importance: None,
        })
    }

    /// From now on what this session and its forks hold of keys, values and memories counts in `budget`.
    ///
    /// # Errors
    /// [`Error::BadOption`] if the session is not empty, [`Error::KvMemory`] if there is no room for a hybrid's memory.
    pub fn set_budget(&mut self, budget: Arc<KvBudget>) -> Result<()> {
        if !self.tokens.is_empty() || self.sequence.len() > 0 {
            let found = format!("one of {} tokens", self.tokens.len().max(self.sequence.len()));
            return Err(Error::BadOption {
                what: "the session to be limited",
                found,
                want: "an empty one".into(),
            });
        }
        self.sequence.set_budget(self.model.config(), &budget)?;
        self.budget = Some(budget);
        Ok(())
    }

    /// Bytes that it has taken of its budget: pages and, of a hybrid, the memory and its copies. Pages that sessions share
    /// count in each of them.
    pub fn budget_bytes(&self) -> u64 {
        self.sequence.charged()
    }
}
