//! Delta nets on a device.

use qwip_gpu::ops::delta;

use super::forward::GpuBackend;
use super::load::DeltaWeights;
use crate::error::{Error, Result};

impl GpuBackend<'_, '_> {
    /// x += the gated answers of the delta net with that index.
    pub(super) fn delta(&mut self, index: usize, eps: f32, w: &DeltaWeights) -> Result<()> {
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
        let Some(memory) = self.cpu.part().memory.as_ref().and_then(|memory| memory.device()) else {
            return Err(Error::BadOption { what: "memory", found: "none".into(), want: "a device's".into() });
        };
        let heads = *memory.heads();
        let snapshot = self.cpu.part().snapshot.as_ref();
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
}
