//! What the delta nets of a hybrid remember of a sequence. It cannot be rewound, so copies of earlier states are kept:
//! to go back to a position, the latest copy before it is taken and the tokens in between are evaluated again.

use std::sync::Arc;

use bytemuck::{cast_slice, cast_slice_mut};
use qwip_cpu::ops::delta::{DeltaHeads, Memory};
use qwip_cpu::table::DELTA_COLUMNS;

use super::{Charge, KvBudget, zeros};
use crate::backend::gpu;
use crate::error::{Error, Result};
use crate::model::Config;

/// The memories of all layers after some tokens.
#[derive(Debug)]
pub struct Recurrent {
    heads: DeltaHeads,
    layers: usize,                       // that the CPU has
    rows: Vec<f32>,                      // [layers, taps - 1, channels]; empty while it is released
    matrices: Vec<[f32; DELTA_COLUMNS]>, // [layers, values, value_dim / 32, key_dim] of 32 columns; as above
    device: Option<gpu::DeltaMemories>,  // of the layers that are not the CPU's
    charge: Option<Charge>,              // what it takes of a budget
}

impl Recurrent {
    /// The state before the first token, for the delta nets in the first `layers` layers on the CPU, beside those of
    /// `device`; `None` if the model has no delta nets.
    pub(crate) fn new(
        config: &Config,
        layers: usize,
        device: Option<gpu::DeltaMemories>,
    ) -> Result<Option<Recurrent>> {
        let Some(hybrid) = &config.hybrid else { return Ok(None) };
        let (heads, layers) =
            (hybrid.heads, hybrid.attends[..layers].iter().filter(|attends| !**attends).count());
        let mut state =
            Recurrent { heads, layers, rows: Vec::new(), matrices: Vec::new(), device, charge: None };
        state.allocate()?;
        Ok(Some(state))
    }

    /// Takes what all its layers need, wherever they are, of a budget.
    pub(crate) fn set_budget(&mut self, config: &Config, budget: &Arc<KvBudget>) -> Result<()> {
        self.charge = Some(budget.charge(Self::bytes(config))?);
        Ok(())
    }

    fn allocate(&mut self) -> Result<()> {
        let what = "the memory of the delta nets";
        let rows = zeros(self.layers * self.heads.kept(), what)?;
        (self.rows, self.matrices) = (rows, zeros(self.layers * self.heads.memory_rows(), what)?);
        Ok(())
    }

    /// Another of the same sizes and the same budget. What it holds means nothing.
    pub(crate) fn another(&self) -> Result<Recurrent> {
        let charge = self.charge.as_ref().map(Charge::again).transpose()?;
        let mut other = Recurrent { charge, ..self.released() };
        other.allocate()?;
        other.device = self.device.as_ref().map(gpu::DeltaMemories::another).transpose()?;
        Ok(other)
    }

    /// Another of the same sizes that holds nothing yet.
    pub(super) fn released(&self) -> Recurrent {
        let (rows, matrices) = (Vec::new(), Vec::new());
        Recurrent { heads: self.heads, layers: self.layers, rows, matrices, device: None, charge: None }
    }

    /// Whether it has given back what it held.
    pub(super) fn is_released(&self) -> bool {
        self.rows.is_empty() && self.device.is_none()
    }

    /// Becomes the state before the first token and gives back what it holds, until [`regain`](Recurrent::regain). On a
    /// device the room is kept.
    pub(super) fn release(&mut self) {
        match self.device {
            Some(_) => self.clear(),
            None => *self = self.released(),
        }
    }

    /// Has again what it gave back, taken of `budget`: the state before the first token.
    pub(super) fn regain(&mut self, budget: Option<&Arc<KvBudget>>) -> Result<()> {
        if !self.is_released() {
            return Ok(());
        }
        // An empty session may have been given another budget meanwhile.
        self.charge = None;
        let bytes = self.layers * layer_floats(&self.heads) * size_of::<f32>();
        let charge = budget.map(|budget| budget.charge(bytes as u64)).transpose()?;
        self.allocate()?;
        self.charge = charge;
        Ok(())
    }

    /// Bytes that the state of a model of these sizes takes, however long the sequence is.
    pub fn bytes(config: &Config) -> u64 {
        config.hybrid.as_ref().map_or(0, |hybrid| {
            let layers = hybrid.attends.iter().filter(|attends| !**attends).count();
            (layers * layer_floats(&hybrid.heads) * size_of::<f32>()) as u64
        })
    }

    /// Bytes that it has taken of a budget.
    pub(crate) fn charged(&self) -> u64 {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    /// The heads of every layer.
    pub fn heads(&self) -> &DeltaHeads {
        &self.heads
    }

    /// What the delta net number `index` remembers.
    pub fn layer(&mut self, index: usize) -> Memory<'_> {
        let (kept, rows) = (self.heads.kept(), self.heads.memory_rows());
        Memory {
            rows: &mut self.rows[index * kept..(index + 1) * kept],
            matrices: &mut self.matrices[index * rows..(index + 1) * rows],
        }
    }

    /// All of it as bytes in the machine's order, but for what is on a device.
    pub(crate) fn contents(&self) -> [&[u8]; 2] {
        [cast_slice(&self.rows), cast_slice(self.matrices.as_flattened())]
    }

    /// As [`contents`](Recurrent::contents), to be filled.
    pub(crate) fn contents_mut(&mut self) -> [&mut [u8]; 2] {
        [cast_slice_mut(&mut self.rows), cast_slice_mut(self.matrices.as_flattened_mut())]
    }

    /// The memories on a device.
    #[cfg(feature = "gpu")]
    pub(crate) fn device(&self) -> Option<&gpu::DeltaMemories> {
        self.device.as_ref()
    }

    /// Becomes what `other`, a state of the same model, is.
    pub(super) fn copy_from(&mut self, other: &Recurrent) {
        self.rows.copy_from_slice(&other.rows);
        self.matrices.copy_from_slice(&other.matrices);
        if let (Some(device), Some(other)) = (&mut self.device, &other.device) {
            device.copy_from(other);
        }
    }

    /// Becomes the state before the first token.
    fn clear(&mut self) {
        self.rows.fill(0.0);
        self.matrices.fill([0.0; DELTA_COLUMNS]);
        if let Some(device) = &mut self.device {
            device.clear();
        }
    }
}

/// Numbers that a delta net remembers.
fn layer_floats(heads: &DeltaHeads) -> usize {
    heads.kept() + heads.memory_rows() * DELTA_COLUMNS
}

/// Copies of the state at some positions of one sequence, in ascending order.
#[derive(Debug)]
pub struct Snapshots {
    most: usize,
    kept: Vec<(usize, Recurrent)>,
}

/// Evaluating so few tokens again costs less than a copy.
const NEAR: usize = 8;

impl Snapshots {
    /// Keeps at most so many.
    pub fn new(most: usize) -> Snapshots {
        Snapshots { most, kept: Vec::new() }
    }

    /// None yet of another sequence, of which as many are kept.
    pub(crate) fn fresh(&self) -> Snapshots {
        Snapshots::new(self.most)
    }

    /// The positions.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.kept.iter().map(|(position, _)| *position)
    }

    /// The copies, with their positions.
    pub(crate) fn kept(&self) -> &[(usize, Recurrent)] {
        &self.kept
    }

    /// True if a copy at `position` would help: none is at most a few tokens before it.
    pub fn want(&self, position: usize) -> bool {
        self.most > 0 && position > NEAR && !self.positions().any(|p| p <= position && position - p < NEAR)
    }

    /// Room for a copy of `state`: of a copy that is given up, or new. What it holds means nothing. A budget that is used up
    /// lets a copy that is there be given up; without one there is no room, and no harm done.
    pub fn room(&mut self, state: &Recurrent, end: usize) -> Result<Option<Recurrent>> {
        if self.kept.len() < self.most {
            match state.another() {
                Ok(room) => return Ok(Some(room)),
                Err(Error::KvMemory { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!self.kept.is_empty()).then(|| self.kept.remove(self.least(end)).1))
    }

    /// Gives copies up until `bytes` of a budget are free again, if they hold so many; those first that are missed least by
    /// a sequence of `end` tokens.
    pub(crate) fn give_up(&mut self, bytes: u64, end: usize) -> bool {
        if self.charged() < bytes {
            return false;
        }
        let mut freed = 0;
        while freed < bytes {
            freed += self.kept.remove(self.least(end)).1.charged();
        }
        true
    }

    /// Bytes that the copies have taken of a budget.
    pub(crate) fn charged(&self) -> u64 {
        self.kept.iter().map(|(_, copy)| copy.charged()).sum()
    }

    /// The one that is missed least: few tokens would have to be evaluated again, or it is far from the end, where
    /// sequences are seldom changed.
    fn least(&self, end: usize) -> usize {
        let before = std::iter::once(0).chain(self.positions());
        let worth = self.positions().zip(before).map(|(p, before)| {
            let distance = end.saturating_sub(p) as u64 + NEAR as u64;
            ((p - before) as u64 * 1024) / distance
        });
        worth.enumerate().min_by_key(|(_, worth)| *worth).map_or(0, |(i, _)| i)
    }

    /// Keeps `copy`, the state after `position` tokens.
    pub fn keep(&mut self, position: usize, copy: Recurrent) {
        let at = self.kept.partition_point(|(p, _)| *p < position);
        self.kept.insert(at, (position, copy));
    }

    /// Keeps the state as it is after `position` tokens, if that helps.
    pub fn copy(&mut self, position: usize, state: &Recurrent) -> Result<()> {
        if self.want(position)
            && let Some(mut copy) = self.room(state, position)?
        {
            copy.copy_from(state);
            self.keep(position, copy);
        }
        Ok(())
    }

    /// Takes the copies behind `position` away.
    pub fn take_behind(&mut self, position: usize) -> Vec<(usize, Recurrent)> {
        let at = self.kept.partition_point(|(p, _)| *p <= position);
        self.kept.split_off(at)
    }

    /// Puts copies back that were taken away, in the place of those that came after.
    pub fn put_back(&mut self, position: usize, taken: Vec<(usize, Recurrent)>) {
        self.take_behind(position);
        self.kept.extend(taken);
        while self.kept.len() > self.most {
            self.kept.remove(0);
        }
    }

    /// Brings `state` to the last position at or before `position` and tells which that is.
    pub fn restore(&self, position: usize, state: &mut Recurrent) -> usize {
        match self.kept.iter().rfind(|(p, _)| *p <= position) {
            Some((p, copy)) => {
                state.copy_from(copy);
                *p
            }
            None => {
                state.clear();
                0
            }
        }
    }
}
