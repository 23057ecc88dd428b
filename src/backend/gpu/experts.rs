//! Layers of experts on a device: the few that a token is sent to are chosen there, and nothing is read back.

use qwip_gpu::ops::linear::{self, Chosen, FEW, Input, Preparation, Rows};
use qwip_gpu::ops::moe::{self, Routing};
use qwip_gpu::{ALIGNMENT, Span};

use super::forward::{GpuBackend, Made, SLOTS, rows};
use super::load::{ExpertGateUp, MoeWeights};
use crate::error::Result;

impl GpuBackend<'_, '_> {
    /// x += the weighted answers of each token's experts, and of the shared one.
    pub(super) fn mixture(&mut self, eps: f32, w: &MoeWeights) -> Result<()> {
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
}
