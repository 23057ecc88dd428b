//! All that a sequence leaves behind in a session: keys and values and, of a hybrid, the memory of its delta nets.

use super::{CacheTypes, KvCache, Recurrent, Snapshots};
use crate::backend::gpu;
use crate::error::Result;
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

/// What was taken away from a sequence and can be put back.
pub(crate) struct Forgotten {
    kv: KvCache,
    snapshots: Vec<(usize, Recurrent)>,
    position: usize,
}

impl Sequence {
    /// Nothing yet; keeps at most `snapshots` copies of the memory. `device` has the layers from some one on.
    pub(crate) fn new(
        config: &Config,
        mut types: CacheTypes,
        snapshots: usize,
        device: Option<&gpu::GpuModel>,
    ) -> Result<Sequence> {
        let (layers, pool, memories) = match device {
            None => (config.layers, None, None),
            Some(device) => (device.first_layer(), Some(device.pages(&types)?), device.delta_memories()?),
        };
        types.k.truncate(config.attention_layers_before(layers));
        let (kv, memory) = (KvCache::new(config, types, pool)?, Recurrent::new(config, layers, memories)?);
        Ok(Sequence { kv, memory, snapshots: Snapshots::new(snapshots), spoilt: false })
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
