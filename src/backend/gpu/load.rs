//! Uploading: a forward pass in which each verb brings what it is given to the device.

use qwip_cpu::ops::moe::Part;
use qwip_gpu::layout::Layout;
use qwip_gpu::{Gpu, GpuMatrix, Span, Uploader};

use crate::backend::{Backend, Batch, HeadNorms, Output};
use crate::error::{Error, Result};
use crate::model::{DeltaNet, ExpertLinear, Experts, Linear, Model, RateInputs, Weight};

/// A projection on the device.
#[derive(Debug)]
pub(super) struct Projection {
    /// Names of the weights that it is made of.
    pub(super) names: Vec<String>,
    /// `[rows, cols]`.
    pub(super) matrix: GpuMatrix,
    /// Multiplies the product.
    pub(super) scale: f32,
    /// Added to that, `[rows]`.
    pub(super) bias: Option<Span>,
}

/// Two projections of the same input, the second of which is gated by the first.
#[derive(Debug)]
pub(super) enum GateUp {
    /// One below the other.
    Together(Projection),
    /// Each for itself, where they are stored differently.
    Apart(Box<[Projection; 2]>),
}

/// Such a pair for each expert.
#[derive(Debug)]
pub(super) struct ExpertGateUp {
    /// The matrices: one for both, `[experts * 2 * ffn, cols]`, or one for each, `[experts * ffn, cols]`.
    pub(super) matrices: Vec<GpuMatrix>,
    /// For each matrix `[2, experts]`; of one for both the factors of the gates, then of the others.
    pub(super) factors: Vec<Span>,
    /// Names of the weights.
    pub(super) names: Vec<String>,
}

/// The weights of a verb.
#[derive(Debug)]
pub(super) enum Verb {
    /// Of a layer or a part of the model that the CPU has.
    Elsewhere,
    Project {
        norm: Span,
        parts: Vec<Projection>,
    },
    Rope {
        norms: Option<(Span, Span)>,
    },
    Attend,
    Add(Projection),
    Mlp(Box<MlpWeights>),
    Moe(Box<MoeWeights>),
    Delta(Box<DeltaWeights>),
    Logits {
        norm: Span,
        output: Projection,
    },
}

/// A feed-forward part.
#[derive(Debug)]
pub(super) struct MlpWeights {
    pub(super) norm: Span,
    pub(super) gate_up: GateUp,
    pub(super) down: Projection,
}

/// A layer of experts.
#[derive(Debug)]
pub(super) struct MoeWeights {
    pub(super) norm: Span,
    pub(super) router: Projection,
    pub(super) gate_up: ExpertGateUp,
    pub(super) down: GpuMatrix,
    pub(super) down_name: String,
    pub(super) down_factors: Span,
    pub(super) shared: Option<SharedWeights>,
}

/// The expert of all tokens.
#[derive(Debug)]
pub(super) struct SharedWeights {
    pub(super) router: Projection,
    pub(super) gate_up: GateUp,
    pub(super) down: Projection,
}

/// A delta net.
#[derive(Debug)]
pub(super) struct DeltaWeights {
    pub(super) norm: Span,
    pub(super) qkv: Projection,
    pub(super) gate: Projection,
    /// beta and alpha, or both in one.
    pub(super) rates: Vec<Projection>,
    pub(super) taps: Span,
    /// `[2, values]`: decay and bias.
    pub(super) forget: Span,
    pub(super) head_norm: Span,
    pub(super) output: Projection,
}

/// Uploads the layers from `first_layer` on, and the output projection if wanted.
pub(super) fn upload(
    gpu: &Gpu,
    model: &Model,
    first_layer: usize,
    output: bool,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<Verb>> {
    let uploader = Uploader::new(gpu);
    let mut load =
        Load { gpu, model, uploader, first_layer, layer: 0, output, verbs: Vec::new(), done: 0, progress };
    let batch = Batch { tokens: &[0], output: Output::Logits };
    model.forward(&mut load, &batch)?;
    load.uploader.finish()?;
    Ok(load.verbs)
}

struct Load<'a> {
    gpu: &'a Gpu,
    model: &'a Model,
    uploader: Uploader<'a>,
    first_layer: usize,
    layer: usize,
    output: bool,
    verbs: Vec<Verb>,
    done: u64,
    progress: &'a mut dyn FnMut(u64) -> bool,
}

impl Load<'_> {
    fn here(&self) -> bool {
        self.layer >= self.first_layer
    }

    /// Keeps the weights of a verb, unless its layer is the CPU's.
    fn keep(&mut self, make: impl FnOnce(&mut Self) -> Result<Verb>) -> Result<()> {
        let verb = if self.here() { make(self)? } else { Verb::Elsewhere };
        self.verbs.push(verb);
        Ok(())
    }

    /// Counts rows that have been uploaded.
    fn rows(&mut self, matrix: &GpuMatrix, first_row: usize, bytes: &[u8]) -> Result<()> {
        // In pieces, so that it can be stopped.
        let row = matrix.ty.row_bytes(matrix.cols).unwrap_or(1).max(1);
        let piece = ((32 << 20) / row).max(1).next_multiple_of(64);
        for (i, part) in bytes.chunks(piece * row).enumerate() {
            self.uploader.rows(matrix, first_row + i * piece, part)?;
            self.done += part.len() as u64;
            if !(self.progress)(self.done) {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    fn projection(&mut self, linears: &[&Linear]) -> Result<Projection> {
        let first = linears[0];
        let rows = linears.iter().map(|l| l.weight.rows).sum();
        let Weight { ty, cols, .. } = first.weight;
        let matrix = self.gpu.matrix(ty, rows, cols, 1)?;
        let (mut at, mut biases, mut names) = (0, Vec::new(), Vec::new());
        for linear in linears {
            self.rows(&matrix, at, linear.weight.matrix(self.model.file()).bytes)?;
            at += linear.weight.rows;
            biases.extend(linear.bias.iter().flatten());
            names.push(linear.weight.name.clone());
        }
        let bias = match biases.is_empty() {
            true => None,
            false => Some(self.gpu.floats("a bias", &biases)?),
        };
        Ok(Projection { names, matrix, scale: first.scale, bias })
    }

    /// Neighbours that can be one matrix become one.
    fn projections(&mut self, linears: &[Linear]) -> Result<Vec<Projection>> {
        let mut groups: Vec<Vec<&Linear>> = Vec::new();
        for linear in linears {
            match groups.last_mut() {
                Some(group) if follows(group, linear) => group.push(linear),
                _ => groups.push(vec![linear]),
            }
        }
        groups.iter().map(|group| self.projection(group)).collect()
    }

    fn gate_up(&mut self, gate: &Linear, up: &Linear) -> Result<GateUp> {
        let plain = gate.bias.is_none() && up.bias.is_none();
        Ok(match plain && follows(&[gate], up) {
            true => GateUp::Together(self.projection(&[gate, up])?),
            false => GateUp::Apart(Box::new([self.projection(&[gate])?, self.projection(&[up])?])),
        })
    }

    fn expert_gate_up(
        &mut self,
        gate: &ExpertLinear,
        up: &ExpertLinear,
        experts: usize,
    ) -> Result<ExpertGateUp> {
        let floats = |first: &[f32], second: &[f32]| self.gpu.floats("factors", &[first, second].concat());
        let factors = vec![floats(&gate.scales, &up.scales)?];
        let names = match gate.part == Part::WHOLE {
            true => vec![gate.weight.name.clone(), up.weight.name.clone()],
            false => vec![gate.weight.name.clone()],
        };
        let Weight { ty, cols, rows, .. } = gate.weight;
        let file = self.model.file();
        if gate.part != Part::WHOLE {
            let matrix = self.gpu.matrix(ty, rows, cols, rows / experts)?;
            self.rows(&matrix, 0, gate.weight.matrix(file).bytes)?;
            return Ok(ExpertGateUp { matrices: vec![matrix], factors, names });
        }
        let ffn = rows / experts;
        if up.weight.ty != ty || !begins_run(&gate.weight, ffn) {
            let mut matrices = Vec::new();
            for weight in [&gate.weight, &up.weight] {
                let matrix = self.gpu.matrix(weight.ty, rows, cols, ffn)?;
                self.rows(&matrix, 0, weight.matrix(file).bytes)?;
                matrices.push(matrix);
            }
            let factors = vec![floats(&gate.scales, &gate.scales)?, floats(&up.scales, &up.scales)?];
            return Ok(ExpertGateUp { matrices, factors, names });
        }
        let matrix = self.gpu.matrix(ty, 2 * rows, cols, 2 * ffn)?;
        for (part, weight) in [&gate.weight, &up.weight].into_iter().enumerate() {
            let bytes = weight.matrix(file).bytes;
            for (expert, bytes) in bytes.chunks_exact(bytes.len() / experts).enumerate() {
                self.rows(&matrix, (2 * expert + part) * ffn, bytes)?;
            }
        }
        Ok(ExpertGateUp { matrices: vec![matrix], factors, names })
    }
}

/// Whether `linear` can be the rows below those of `group` in one matrix.
fn follows(group: &[&Linear], linear: &Linear) -> bool {
    let first = group[0];
    let rows: usize = group.iter().map(|l| l.weight.rows).sum();
    first.weight.ty == linear.weight.ty
        && first.scale == linear.scale
        && first.bias.is_some() == linear.bias.is_some()
        && begins_run(&linear.weight, rows)
}

/// Whether the blocks of row number `row` of such a matrix begin a run.
fn begins_run(weight: &Weight, row: usize) -> bool {
    let blocks = if weight.ty.is_quantized() {
        weight.cols / weight.ty.block_len()
    } else {
        weight.cols.next_multiple_of(32)
    };
    Layout::of(weight.ty).is_some_and(|layout| (row * blocks).is_multiple_of(layout.run()))
}

impl Backend for Load<'_> {
    fn embed(&mut self, _: &Weight, _: &Batch<'_>) -> Result<()> {
        Ok(())
    }

    fn norm_project(&mut self, norm: &[f32], _: f32, outs: &[Linear; 3]) -> Result<()> {
        self.keep(|load| {
            Ok(Verb::Project { norm: load.gpu.floats("a norm", norm)?, parts: load.projections(outs)? })
        })
    }

    fn norm_project_gated(&mut self, norm: &[f32], eps: f32, outs: &[Linear; 3]) -> Result<()> {
        self.norm_project(norm, eps, outs)
    }

    fn rope_store(&mut self, _: usize, norms: Option<HeadNorms<'_>>, _: f32) -> Result<()> {
        self.keep(|load| {
            let floats = |norm| load.gpu.floats("a norm", norm);
            let norms = norms.map(|norms| Ok::<_, Error>((floats(norms.q)?, floats(norms.k)?)));
            Ok(Verb::Rope { norms: norms.transpose()? })
        })
    }

    fn attend(&mut self, _: usize) -> Result<()> {
        self.keep(|_| Ok(Verb::Attend))
    }

    fn project_add(&mut self, w: &Linear) -> Result<()> {
        self.keep(|load| Ok(Verb::Add(load.projection(&[w])?)))
    }

    fn project_add_gated(&mut self, w: &Linear) -> Result<()> {
        self.project_add(w)
    }

    fn delta_net(&mut self, _: usize, norm: &[f32], _: f32, net: &DeltaNet) -> Result<()> {
        self.keep(|load| {
            let rates = match &net.rates {
                RateInputs::Apart { beta, alpha } => {
                    vec![load.projection(&[beta])?, load.projection(&[alpha])?]
                }
                RateInputs::Grouped(both) => vec![load.projection(&[both])?],
            };
            Ok(Verb::Delta(Box::new(DeltaWeights {
                norm: load.gpu.floats("a norm", norm)?,
                qkv: load.projection(&[&net.qkv])?,
                gate: load.projection(&[&net.gate])?,
                rates,
                taps: load.gpu.floats("taps", &net.taps)?,
                forget: load.gpu.floats("decay and bias", &[&net.decay[..], &net.bias].concat())?,
                head_norm: load.gpu.floats("a norm", &net.norm)?,
                output: load.projection(&[&net.output])?,
            })))
        })
    }

    fn gated_mlp(&mut self, norm: &[f32], _: f32, gate: &Linear, up: &Linear, down: &Linear) -> Result<()> {
        self.keep(|load| {
            Ok(Verb::Mlp(Box::new(MlpWeights {
                norm: load.gpu.floats("a norm", norm)?,
                gate_up: load.gate_up(gate, up)?,
                down: load.projection(&[down])?,
            })))
        })?;
        self.layer += 1;
        Ok(())
    }

    fn moe(&mut self, norm: &[f32], _: f32, experts: &Experts) -> Result<()> {
        self.keep(|load| {
            let count = experts.router.weight.rows;
            let Weight { ty, rows, cols, .. } = experts.down.weight;
            let down = load.gpu.matrix(ty, rows, cols, rows / count)?;
            load.rows(&down, 0, experts.down.weight.matrix(load.model.file()).bytes)?;
            let shared = experts.shared.as_ref().map(|shared| {
                Ok::<_, Error>(SharedWeights {
                    router: load.projection(&[&shared.router])?,
                    gate_up: load.gate_up(&shared.gate, &shared.up)?,
                    down: load.projection(&[&shared.down])?,
                })
            });
            let shared = shared.transpose()?;
            let factors = &experts.down.scales;
            Ok(Verb::Moe(Box::new(MoeWeights {
                norm: load.gpu.floats("a norm", norm)?,
                router: load.projection(&[&experts.router])?,
                gate_up: load.expert_gate_up(&experts.gate, &experts.up, count)?,
                down,
                down_name: experts.down.weight.name.clone(),
                down_factors: load.gpu.floats("factors", &[&factors[..], factors].concat())?,
                shared,
            })))
        })?;
        self.layer += 1;
        Ok(())
    }

    fn logits(&mut self, norm: &[f32], _: f32, w: &Linear, _: &Batch<'_>) -> Result<()> {
        let verb = match self.output {
            true => Verb::Logits { norm: self.gpu.floats("a norm", norm)?, output: self.projection(&[w])? },
            false => Verb::Elsewhere,
        };
        self.verbs.push(verb);
        Ok(())
    }
}
