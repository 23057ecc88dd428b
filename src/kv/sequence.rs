//! All that a sequence leaves behind in a session: keys and values and, of a hybrid, the memory of its delta nets.

use std::sync::Arc;

use super::{CacheTypes, KvBudget, KvCache, Recurrent, Snapshots};
use crate::backend::{LogitRows, Part, gpu};
use crate::error::{Error, Result};
use crate::model::Config;

/// What the evaluated tokens of a sequence have left behind.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) kv: KvCache,
    pub(crate) memory: Option<Recurrent>,
    pub(crate) snapshots: Snapshots,
    /// An evaluation was broken off, so the memory is that of no position.
    pub(crate) spoilt: bool,
}

/// Room for a copy of the memory, and after how many of the tokens to come it is made.
pub(crate) type Room = Option<(usize, Recurrent)>;

/// What was taken away from a sequence and can be put back.
pub(crate) struct Forgotten {
    kv: KvCache,
    snapshots: Vec<(usize, Recurrent)>,
    position: usize,
}

impl Sequence {
    /// Nothing yet; keeps at most `snapshots` copies of the memory. `device` has the layers from some one on. What it takes
    /// counts in `budget`.
    pub(crate) fn new(
        config: &Config,
        mut types: CacheTypes,
        snapshots: usize,
        device: Option<&gpu::GpuModel>,
        budget: Option<&Arc<KvBudget>>,
    ) -> Result<Sequence> {
        let (layers, pool, memories) = match device {
            None => (config.layers, None, None),
            Some(device) => (device.first_layer(), Some(device.pages(&types)?), device.delta_memories()?),
        };
        types.k.truncate(config.attention_layers_before(layers));
        let (kv, memory) = (KvCache::new(config, types, pool)?, Recurrent::new(config, layers, memories)?);
        let mut sequence = Sequence { kv, memory, snapshots: Snapshots::new(snapshots), spoilt: false };
        if let Some(budget) = budget {
            sequence.set_budget(config, budget)?;
        }
        Ok(sequence)
    }

    /// What it takes from now on counts in `budget`, and of a hybrid the memory that it has.
    pub(crate) fn set_budget(&mut self, config: &Config, budget: &Arc<KvBudget>) -> Result<()> {
        if let Some(memory) = &mut self.memory {
            memory.set_budget(config, budget)?;
        }
        self.kv.set_budget(budget.clone());
        Ok(())
    }

    /// Bytes that all of it has taken of a budget.
    pub(crate) fn charged(&self) -> u64 {
        let memory = self.memory.as_ref().map_or(0, Recurrent::charged);
        self.kv.charged() + memory + self.snapshots.charged()
    }

    /// Another sequence with the same beginning, up to the last [`reachable`](Sequence::reachable) position; the pages are
    /// shared.
    pub(crate) fn fork(&self, position: usize) -> Result<Sequence> {
        let to = self.reachable(position);
        let memory = match &self.memory {
            None => None,
            Some(memory) if memory.is_released() => Some(memory.released()),
            Some(memory) => {
                let mut copy = memory.another()?;
                match to == self.len() && !self.spoilt {
                    true => copy.copy_from(memory),
                    false => _ = self.snapshots.restore(to, &mut copy),
                }
                Some(copy)
            }
        };
        let mut kv = self.kv.clone();
        kv.truncate(to);
        Ok(Sequence { kv, memory, snapshots: self.snapshots.fresh(), spoilt: false })
    }

    /// Forgets everything and gives back what it holds: pages, copies and, but for what is on a device, the memory.
    pub(crate) fn release(&mut self) {
        self.snapshots = self.snapshots.fresh();
        if let Some(memory) = &mut self.memory {
            memory.release();
        }
        self.spoilt = false;
        self.kv.truncate(0);
    }

    /// Has a memory again, if that was given back.
    pub(crate) fn regain(&mut self) -> Result<()> {
        self.memory.as_mut().map_or(Ok(()), |memory| memory.regain(self.kv.budget()))
    }

    /// Gets ready for `n` more tokens: pages and, of a hybrid, room for a copy of the memory as it will be at position
    /// `copy`, if they come by and it helps.
    pub(crate) fn prepare(&mut self, n: usize, copy: Option<usize>) -> Result<Room> {
        self.regain()?;
        let start = self.len();
        let mut reserved = self.kv.reserve(n);
        // Copies only save time: where that helps, they make room for pages.
        if let Err(Error::KvMemory { needed, used, limit }) = reserved
            && self.snapshots.give_up(used.saturating_add(needed).saturating_sub(limit), start + n)
        {
            reserved = self.kv.reserve(n);
        }
        reserved?;
        let copy = copy.filter(|&at| at > start && self.snapshots.want(at));
        Ok(match (copy, &self.memory) {
            (Some(at), Some(memory)) => {
                self.snapshots.room(memory, start + n)?.map(|room| (at - start, room))
            }
            _ => None,
        })
    }

    /// What the next `n` tokens, for which it is prepared, read and write.
    pub(crate) fn part<'a>(&'a mut self, room: &'a mut Room, n: usize, logits: LogitRows) -> Part<'a> {
        self.spoilt = self.memory.is_some();
        Part {
            start: self.kv.len(),
            n,
            kv: &mut self.kv,
            memory: self.memory.as_mut(),
            snapshot: room.as_mut().map(|(tokens, copy)| (*tokens, copy)),
            logits,
        }
    }

    /// The `n` tokens have been evaluated.
    pub(crate) fn finish(&mut self, n: usize, room: Room) {
        self.spoilt = false;
        if let Some((tokens, copy)) = room {
            self.snapshots.keep(self.len() + tokens, copy);
        }
        self.kv.advance(n);
    }

    /// Tokens that have been evaluated.
    pub(crate) fn len(&self) -> usize {
        self.kv.len()
    }

    /// The last position, at or before `position`, to which it can go back without evaluating anything.
    pub(crate) fn reachable(&self, position: usize) -> usize {
        match self.memory {
            Some(_) if self.spoilt || self.len() > position => {
                self.snapshots.positions().take_while(|&p| p <= position).last().unwrap_or(0)
            }
            _ => position.min(self.len()),
        }
    }

    /// Goes back to the last [`reachable`](Sequence::reachable) position, if it is behind `position` or spoilt.
    pub(crate) fn truncate(&mut self, position: usize) {
        if self.len() <= position && !self.spoilt {
            // Pages may have been reserved for what did not come.
            return self.kv.truncate(self.len());
        }
        let mut to = position;
        if let Some(memory) = &mut self.memory {
            self.snapshots.take_behind(position);
            to = self.snapshots.restore(position, memory);
        }
        self.spoilt = false;
        self.kv.truncate(to);
    }

    /// As [`truncate`](Sequence::truncate); gives what is needed to take it back. Pages are shared by reference, so
    /// that costs little.
    pub(crate) fn forget(&mut self, position: usize) -> Forgotten {
        let forgotten =
            Forgotten { kv: self.kv.clone(), snapshots: self.snapshots.take_behind(position), position };
        self.truncate(position);
        forgotten
    }

    /// Has again what [`forget`](Sequence::forget) took away. The memory goes back to the last copy.
    pub(crate) fn recall(&mut self, forgotten: Forgotten) {
        let Forgotten { kv, snapshots, position } = forgotten;
        self.kv = kv;
        self.snapshots.put_back(position, snapshots);
        self.spoilt = self.memory.is_some();
        self.truncate(self.len());
    }
}
