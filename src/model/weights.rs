//! Finding a model's tensors in its file and checking each shape before anything is computed.
//!
//! Matrices stay in the file: a [`Weight`] says where one lies. Vectors (norms, biases) are a few hundred KiB
//! in all and are decoded to f32 once.

use std::cell::RefCell;
use std::collections::HashSet;

use qwip_cpu::Matrix;
use qwip_cpu::ops::moe::{Part, Stack};
use qwip_quant::{TensorType, decode_row};

use crate::error::{Error, Result};
use crate::file::{ModelFile, TensorRef};

/// A weight matrix in the file: `rows` outputs of `cols` inputs each.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The tensor's name.
    pub name: String,
    /// How its blocks are stored.
    pub ty: TensorType,
    /// Outputs.
    pub rows: usize,
    /// Inputs; contiguous in memory.
    pub cols: usize,
    part: usize,
    start: usize,
    end: usize,
}

impl Weight {
    /// The matrix over the bytes of `file`, which must be the file that it was found in.
    pub fn matrix<'a>(&self, file: &'a ModelFile) -> Matrix<'a> {
        let bytes: &[u8] = (*file.parts()[self.part].bytes).as_ref();
        Matrix { ty: self.ty, rows: self.rows, cols: self.cols, bytes: &bytes[self.start..self.end] }
    }
}

/// A projection: a matrix and, for some, a factor and a bias.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The matrix.
    pub weight: Weight,
    /// Multiplies the product; 1 if the file has none.
    pub scale: f32,
    /// Added to that; `[rows]`.
    pub bias: Option<Vec<f32>>,
}

/// The projections of all experts of a layer: a matrix and a factor for each.
#[derive(Clone, Debug)]
pub struct ExpertLinear {
    /// The tensor with the matrices, one below the other.
    pub weight: Weight, // [experts * parts * rows, cols]
    /// Which rows of each expert's are its matrix: all, or half of them where gate and up are one tensor.
    pub part: Part,
    /// Multiplies the product of each; 1 if the file has none.
    pub scales: Vec<f32>, // [experts]
}

impl ExpertLinear {
    /// The matrices over the bytes of `file`, which must be the file that they were found in.
    pub fn stack<'a>(&'a self, file: &'a ModelFile) -> Stack<'a> {
        Stack { all: self.weight.matrix(file), part: self.part, scales: &self.scales }
    }
}

/// The tensor with gate and up of all experts of a layer, where they are one.
pub(super) const FUSED_EXPERTS: &str = "ffn_gate_up_exps";

/// Looks tensors up in a file and remembers which were used.
pub(super) struct Loader<'a> {
    file: &'a ModelFile,
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Loader<'a> {
    /// A loader over `file`.
    pub(super) fn new(file: &'a ModelFile) -> Loader<'a> {
        Loader { file, used: RefCell::default() }
    }

    /// True if the file has a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// Names of the tensors that nothing asked for.
    pub(super) fn unused(&self) -> Vec<&'a str> {
        let used = self.used.borrow();
        self.file.tensors().map(|t| t.info.name.as_str()).filter(|name| !used.contains(name)).collect()
    }

    fn find(&self, name: &str, dims: &[usize]) -> Result<TensorRef<'a>> {
        let tensor = self.file.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.into() })?;
        let want: Vec<u64> = dims.iter().map(|&d| d as u64).collect();
        // Trailing ones say nothing: [n] and [n, 1] are the same vector.
        let significant = |d: &[u64]| d.iter().rposition(|&x| x != 1).map_or(0, |i| i + 1);
        let found = &tensor.info.dims;
        if found[..significant(found)] != want[..significant(&want)] {
            return Err(Error::TensorShape { name: name.into(), found: found.clone(), want });
        }
        if !tensor.info.ty.is_decodable() {
            return Err(Error::TensorType { name: name.into(), ty: tensor.info.ty.name() });
        }
        self.used.borrow_mut().insert(&tensor.info.name);
        Ok(tensor)
    }

    /// A matrix of exactly `rows` x `cols`.
    pub(super) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        self.weight(name, &[cols, rows])
    }

    /// A tensor of exactly these dimensions as a matrix with rows of the first.
    fn weight(&self, name: &str, dims: &[usize]) -> Result<Weight> {
        let tensor = self.find(name, dims)?;
        let bytes = self.file.tensor_bytes(tensor);
        let whole: &[u8] = (*self.file.parts()[tensor.part].bytes).as_ref();
        let start = bytes.as_ptr() as usize - whole.as_ptr() as usize;
        Ok(Weight {
            name: name.into(),
            ty: tensor.info.ty,
            rows: dims[1..].iter().product(),
            cols: dims[0],
            part: tensor.part,
            start,
            end: start + bytes.len(),
        })
    }

    /// The output projection, of the shape of the embedding; the embedding itself where the file ties them.
    pub(super) fn output(&self, token_embd: &Weight) -> Result<Linear> {
        match self.has("output.weight") {
            true => self.linear("output", token_embd.rows, token_embd.cols),
            false => Ok(Linear { weight: token_embd.clone(), scale: 1.0, bias: None }),
        }
    }

    /// A vector of exactly `n` values, decoded to f32.
    pub(super) fn vector(&self, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.find(name, &[n])?;
        let mut out = vec![0.0; n];
        decode_row(tensor.info.ty, self.file.tensor_bytes(tensor), &mut out)
            .map_err(|source| Error::TensorData { name: name.into(), source })?;
        Ok(out)
    }

    /// A matrix of exactly `rows` x `cols`, decoded to f32: one so small that it need not stay in the file.
    pub(super) fn grid(&self, name: &str, rows: usize, cols: usize) -> Result<Vec<f32>> {
        let tensor = self.find(name, &[cols, rows])?;
        let mut out = vec![0.0; rows * cols];
        decode_row(tensor.info.ty, self.file.tensor_bytes(tensor), &mut out)
            .map_err(|source| Error::TensorData { name: name.into(), source })?;
        Ok(out)
    }

    /// A projection `{name}.weight`, with the factor `{name}.scale` and `{name}.bias` if the file has them.
    ///
    /// NVFP4 files have such factors, because the scales in its blocks span few powers of two. Their `input_scale`
    /// serves machines that compute with activations of the same type, which this is not.
    pub(super) fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        let weight = self.matrix(&format!("{name}.weight"), rows, cols)?;
        let bias_name = format!("{name}.bias");
        let bias = match self.has(&bias_name) {
            true => Some(self.vector(&bias_name, rows)?),
            false => None,
        };
        Ok(Linear { weight, scale: self.factors(name, 1)?[0], bias })
    }

    /// `{name}.scale`: a factor for each of so many matrices, or one for all; 1 if the file has none.
    fn factors(&self, name: &str, matrices: usize) -> Result<Vec<f32>> {
        let read = |name: String| match self.file.tensor(&name) {
            None => Ok(vec![1.0; matrices]),
            Some(tensor) if tensor.info.dims.iter().product::<u64>() == 1 => {
                Ok(vec![self.vector(&name, 1)?[0]; matrices])
            }
            Some(_) => self.vector(&name, matrices),
        };
        read(format!("{name}.input_scale"))?;
        read(format!("{name}.scale"))
    }

    /// The projections of all experts, `{name}.weight` with `{name}.scale`: for each of them `rows` x `cols`.
    pub(super) fn stack(&self, name: &str, experts: usize, rows: usize, cols: usize) -> Result<ExpertLinear> {
        let weight = self.weight(&format!("{name}.weight"), &[cols, rows, experts])?;
        Ok(ExpertLinear { weight, part: Part::WHOLE, scales: self.factors(name, experts)? })
    }

    /// The gates and what they let through, for each expert `ffn` x `cols`: stored apart, or as one tensor that has for
    /// each expert the rows of the gate, then the others.
    pub(super) fn gate_and_up(
        &self,
        prefix: &str,
        experts: usize,
        ffn: usize,
        cols: usize,
    ) -> Result<[ExpertLinear; 2]> {
        let fused = format!("{prefix}.{FUSED_EXPERTS}");
        if !self.has(&format!("{fused}.weight")) {
            let [gate, up] = ["gate", "up"].map(|part| format!("{prefix}.ffn_{part}_exps"));
            return Ok([self.stack(&gate, experts, ffn, cols)?, self.stack(&up, experts, ffn, cols)?]);
        }
        let both = self.stack(&fused, experts, 2 * ffn, cols)?;
        Ok([0, 1].map(|index| ExpertLinear { part: Part { index, of: 2 }, ..both.clone() }))
    }

    /// Fails if a dimension of a tensor, which counts `what`, contradicts the number of a key. A tensor that is missing
    /// contradicts nothing.
    pub(super) fn agrees(
        &self,
        name: &str,
        dim: usize,
        what: &'static str,
        key: &str,
        want: usize,
    ) -> Result<()> {
        let Some(tensor) = self.file.tensor(name) else { return Ok(()) };
        let found = tensor.info.dims.get(dim).copied().unwrap_or(1);
        if found == want as u64 {
            return Ok(());
        }
        Err(Error::Contradiction { name: name.into(), what, found, key: key.into(), want })
    }

    /// The query, key and value projections, stored apart or as one tensor whose rows are q, then k, then v.
    pub(super) fn attention_inputs(
        &self,
        prefix: &str,
        q: usize,
        kv: usize,
        cols: usize,
    ) -> Result<[Linear; 3]> {
        let fused = format!("{prefix}.attn_qkv");
        if !self.has(&format!("{fused}.weight")) {
            return Ok([
                self.linear(&format!("{prefix}.attn_q"), q, cols)?,
                self.linear(&format!("{prefix}.attn_k"), kv, cols)?,
                self.linear(&format!("{prefix}.attn_v"), kv, cols)?,
            ]);
        }
        let Linear { weight, scale, bias } = self.linear(&fused, q + 2 * kv, cols)?;
        let row_bytes = (weight.end - weight.start) / weight.rows;
        let slice = |first: usize, rows: usize| Linear {
            weight: Weight {
                rows,
                start: weight.start + first * row_bytes,
                end: weight.start + (first + rows) * row_bytes,
                ..weight.clone()
            },
            scale,
            bias: bias.as_ref().map(|b| b[first..first + rows].to_vec()),
        };
        Ok([slice(0, q), slice(q, kv), slice(q + kv, kv)])
    }
}
