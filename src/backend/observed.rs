//! Watches what meets the columns of the weight matrices, for an importance matrix.

use std::collections::BTreeMap;

use super::{Backend, Batch, CpuBackend, HeadNorms};
use crate::error::Result;
use crate::model::{DeltaNet, Experts, Linear, RateInputs, Weight};

/// Sums of the squares of the activations that met each column, by the name of the weight.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Importance {
    entries: BTreeMap<String, Columns>,
}

#[derive(Clone, PartialEq, Debug)]
struct Columns {
    sums: Vec<f64>, // [matrices, cols]
    rows: Vec<u64>, // [matrices]
}

impl Importance {
    /// Of each weight, by name: the name, sums of squares `[matrices, cols]` and how many rows of activations each matrix
    /// met. A weight is one matrix, or one for each expert.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f64], &[u64])> {
        self.entries.iter().map(|(name, columns)| (name.as_str(), &columns.sums[..], &columns.rows[..]))
    }

    /// Adds rows of activations, `[n, cols]`, that met a weight.
    fn see(&mut self, weight: &Weight, x: &[f32]) {
        self.see_expert(weight, 1, 0, x.chunks_exact(weight.cols));
    }

    /// Adds rows of activations that met one of a weight's matrices.
    fn see_expert<'x>(
        &mut self,
        weight: &Weight,
        matrices: usize,
        matrix: usize,
        rows: impl Iterator<Item = &'x [f32]>,
    ) {
        let columns = self
            .entries
            .entry(weight.name.clone())
            .or_insert_with(|| Columns { sums: vec![0.0; matrices * weight.cols], rows: vec![0; matrices] });
        let sums = &mut columns.sums[matrix * weight.cols..(matrix + 1) * weight.cols];
        for row in rows {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += f64::from(*x) * f64::from(*x);
            }
            columns.rows[matrix] += 1;
        }
    }

    /// Adds sums of squares, `[matrices, cols]`, of a weight that is elsewhere, and how many rows each of its matrices met.
    #[cfg(feature = "gpu")]
    pub(super) fn add_sums(&mut self, name: &str, sums: &[f32], rows: &[f32]) {
        let columns = Columns {
            sums: sums.iter().map(|&sum| f64::from(sum)).collect(),
            rows: rows.iter().map(|&rows| rows as u64).collect(),
        };
        self.add(Importance { entries: BTreeMap::from([(name.into(), columns)]) });
    }

    /// Adds what was seen elsewhere.
    pub(crate) fn add(&mut self, other: Importance) {
        for (name, more) in other.entries {
            match self.entries.get_mut(&name) {
                None => {
                    self.entries.insert(name, more);
                }
                Some(columns) => {
                    columns.sums.iter_mut().zip(&more.sums).for_each(|(sum, more)| *sum += more);
                    columns.rows.iter_mut().zip(&more.rows).for_each(|(rows, more)| *rows += more);
                }
            }
        }
    }
}

/// A backend that is watched. The output matrix is not: its importance matters to no mix, and it would have to be
/// computed for every token.
pub(crate) struct Observed<'a, 'b> {
    pub(crate) backend: &'a mut CpuBackend<'b>,
    pub(crate) seen: &'a mut Importance,
}

impl Backend for Observed<'_, '_> {
    fn embed(&mut self, table: &Weight, batch: &Batch<'_>) -> Result<()> {
        self.backend.embed(table, batch)
    }

    fn norm_project(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.backend.norm_project(norm, eps, outs)?;
        for (i, out) in outs.iter().enumerate() {
            // Parts of one tensor are seen once.
            if outs[..i].iter().all(|before| before.weight.name != out.weight.name) {
                self.seen.see(&out.weight, self.backend.input());
            }
        }
        Ok(())
    }

    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.backend.norm_project_gated(norm, eps, outs)?;
        outs.iter().for_each(|out| self.seen.see(&out.weight, self.backend.input()));
        Ok(())
    }

    fn rope_store(&mut self, layer: usize, norms: Option<HeadNorms<'_>>, eps: f32) -> Result<()> {
        self.backend.rope_store(layer, norms, eps)
    }

    fn attend(&mut self, layer: usize) -> Result<()> {
        self.backend.attend(layer)
    }

    fn project_add(&mut self, w: &Linear) -> Result<()> {
        self.backend.project_add(w)?;
        self.seen.see(&w.weight, self.backend.input());
        Ok(())
    }

    fn project_add_gated(&mut self, w: &Linear) -> Result<()> {
        self.backend.project_add_gated(w)?;
        self.seen.see(&w.weight, self.backend.input());
        Ok(())
    }

    fn delta_net(&mut self, index: usize, norm: &[f32], eps: f32, net: &DeltaNet) -> Result<()> {
        // Once more for us: afterwards the input of the output projection has taken its place.
        self.backend.load_normed(norm, eps)?;
        let h = self.backend.input();
        self.seen.see(&net.qkv.weight, h);
        self.seen.see(&net.gate.weight, h);
        match &net.rates {
            RateInputs::Apart { beta, alpha } => {
                self.seen.see(&beta.weight, h);
                self.seen.see(&alpha.weight, h);
            }
            RateInputs::Grouped(both) => self.seen.see(&both.weight, h),
        }
        self.backend.delta_net(index, norm, eps, net)?;
        self.seen.see(&net.output.weight, self.backend.input());
        Ok(())
    }

    fn gated_mlp(&mut self, norm: &[f32], eps: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()> {
        // Once more for us: afterwards the input of the down projection has taken its place.
        self.backend.load_normed(norm, eps)?;
        self.seen.see(&gate.weight, self.backend.input());
        self.seen.see(&up.weight, self.backend.input());
        self.backend.gated_mlp(norm, eps, gate, up, down)?;
        self.seen.see(&down.weight, self.backend.input());
        Ok(())
    }

    fn moe(&mut self, norm: &[f32], eps: f32, experts: &Experts) -> Result<()> {
        self.backend.moe(norm, eps, experts)?;
        let Experts { router, gate, up, down, shared, .. } = experts;
        let h = self.backend.input();
        self.seen.see(&router.weight, h);
        if let Some(shared) = shared {
            let met_by_h = [&shared.router, &shared.gate, &shared.up];
            met_by_h.into_iter().for_each(|linear| self.seen.see(&linear.weight, h));
            self.seen.see(&shared.down.weight, self.backend.shared_input());
        }
        let (count, cols) = (router.weight.rows, router.weight.cols);
        for (expert, tokens, hidden) in self.backend.routed().experts() {
            // Gate and up may be parts of one weight, which meets a row once.
            for linear in [gate, up].into_iter().filter(|linear| linear.part.index == 0) {
                let rows = tokens.iter().map(|&t| &h[t * cols..(t + 1) * cols]);
                self.seen.see_expert(&linear.weight, count, expert, rows);
            }
            let rows = hidden.chunks_exact(down.weight.cols);
            self.seen.see_expert(&down.weight, count, expert, rows);
        }
        Ok(())
    }

    fn logits(&mut self, norm: &[f32], eps: f32, w: &Linear, batch: &Batch<'_>) -> Result<()> {
        self.backend.logits(norm, eps, w, batch)
    }
}
