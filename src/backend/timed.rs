//! Measures how long each verb takes.

use std::time::Instant;

use super::{Backend, Batch, HeadNorms};
use crate::error::Result;
use crate::model::{DeltaNet, Experts, Linear, Weight};

const VERBS: [&str; 9] = [
    "embed",
    "norm_project",
    "rope_store",
    "attend",
    "project_add",
    "delta_net",
    "gated_mlp",
    "moe",
    "logits",
];

/// Seconds that each verb took.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerbTimes {
    seconds: [f64; VERBS.len()],
}

impl VerbTimes {
    /// The verbs that the model uses, in the order of a forward pass, and the seconds of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        VERBS.into_iter().zip(self.seconds).filter(|(_, seconds)| *seconds > 0.0)
    }
}

/// A backend whose verbs are timed.
pub(crate) struct Timed<'a, B> {
    pub(crate) backend: &'a mut B,
    pub(crate) times: &'a mut VerbTimes,
}

impl<B> Timed<'_, B> {
    fn time<R>(&mut self, verb: usize, run: impl FnOnce(&mut B) -> R) -> R {
        let started = Instant::now();
        let result = run(self.backend);
        self.times.seconds[verb] += started.elapsed().as_secs_f64();
        result
    }
}

impl<B: Backend> Backend for Timed<'_, B> {
    fn embed(&mut self, table: &Weight, batch: &Batch<'_>) -> Result<()> {
        self.time(0, |b| b.embed(table, batch))
    }

    fn norm_project(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.time(1, |b| b.norm_project(norm, eps, outs))
    }

    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.time(1, |b| b.norm_project_gated(norm, eps, outs))
    }

    fn rope_store(&mut self, layer: usize, norms: Option<HeadNorms<'_>>, eps: f32) -> Result<()> {
        self.time(2, |b| b.rope_store(layer, norms, eps))
    }

    fn attend(&mut self, layer: usize) -> Result<()> {
        self.time(3, |b| b.attend(layer))
    }

    fn project_add(&mut self, w: &Linear) -> Result<()> {
        self.time(4, |b| b.project_add(w))
    }

    fn project_add_gated(&mut self, w: &Linear) -> Result<()> {
        self.time(4, |b| b.project_add_gated(w))
    }

    fn delta_net(&mut self, index: usize, norm: &[f32], eps: f32, net: &DeltaNet) -> Result<()> {
        self.time(5, |b| b.delta_net(index, norm, eps, net))
    }

    fn gated_mlp(&mut self, norm: &[f32], eps: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()> {
        self.time(6, |b| b.gated_mlp(norm, eps, gate, up, down))
    }

    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()> {
        self.time(7, |b| b.moe(norm, eps, experts))
    }

    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()> {
        self.time(8, |b| b.logits(norm, eps, w, batch))
    }
}
