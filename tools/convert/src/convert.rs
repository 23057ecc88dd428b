//! The conversion itself: check everything, then stream tensor by tensor.

use crate::checkpoint::{Checkpoint, Float, Stored};
use crate::config::Config;
use crate::error::{ConvertError, Result, gguf_error, invalid};
use crate::json::quote;
use crate::names::{Expected, expected, reason_to_skip};
use crate::output::OutputFile;
use crate::vocab::Vocab;
use crate::{Options, OutputType, Progress, Summary, metadata};
use qwip_quant::gguf::{DataWriter, Writer};
use qwip_quant::{TensorType, encode_row};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Weights converted at once. It bounds the memory, together with the longest row.
const SLAB_ELEMENTS: usize = 2 << 20;
/// Weights that one thread takes at a time.
const GROUP_ELEMENTS: usize = 32 << 10;

/// A tensor of the output and where its weights come from.
struct Planned {
    expected: Expected,
    stored: Stored,
    float: Float,
    ty: TensorType,
    rows: u64,
    cols: usize,
    /// Bytes of a row in the output.
    row_bytes: usize,
}

/// See [`crate::convert`].
pub(crate) fn run(dir: &Path, out: &Path, options: &Options, progress: &mut dyn Progress) -> Result<Summary> {
    if !dir.is_dir() {
        return invalid(format!("{} is not a folder with a checkpoint", dir.display()));
    }
    OutputFile::check(out)?;
    let mut config = Config::read(dir)?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut notes = std::mem::take(&mut config.notes);
    let plan = plan(&config, &checkpoint, options.ty, &mut notes)?;
    let mut vocab = Vocab::read(dir, config.vocab)?;
    notes.append(&mut vocab.notes);

    let parameters: u64 = plan.iter().map(|t| t.rows * t.cols as u64).sum();
    let bytes: u64 = plan.iter().map(|t| t.rows * t.row_bytes as u64).sum();
    let mut writer = Writer::new();
    metadata::general(&mut writer, dir, &config, parameters, options.ty.label().id)?;
    metadata::hyper_parameters(&mut writer, &config);
    metadata::tokenizer(&mut writer, dir, &config, vocab, &mut notes)?;
    for t in &plan {
        // GGUF counts dimensions from the contiguous one.
        let dims: Vec<u64> = t.expected.shape.iter().rev().copied().collect();
        writer.tensor(&t.expected.name, &dims, t.ty).map_err(gguf_error(out))?;
    }
    for note in &notes {
        progress.note(note);
    }
    if progress.cancelled() {
        return Err(ConvertError::Cancelled);
    }

    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = options.threads {
        pool = pool.num_threads(threads);
    }
    let pool = match pool.build() {
        Ok(pool) => pool,
        Err(e) => return invalid(format!("cannot start threads: {e}")),
    };
    progress.start(bytes);
    let output = OutputFile::create(out)?;
    let path = output.part().to_path_buf();
    let data = writer.start(output).map_err(gguf_error(&path))?;
    let mut stream = Stream { pool, checkpoint, data, path, source: Vec::new(), encoded: Vec::new() };
    for t in &plan {
        let overflowed = stream.tensor(t, progress)?;
        if overflowed > 0 {
            let note = format!("{}: {overflowed} weights are too large for F16", t.expected.name);
            progress.note(&note);
            notes.push(note);
        }
    }
    let output = stream.data.finish().map_err(gguf_error(&stream.path))?;
    output.finish()?;
    Ok(Summary {
        tensors: plan.len(),
        parameters,
        bytes,
        bits_per_weight: bytes as f64 * 8.0 / parameters as f64,
        notes,
    })
}

/// Every tensor of the model with its place in the checkpoint; nothing missing, nothing left over.
fn plan(
    config: &Config,
    checkpoint: &Checkpoint,
    ty: OutputType,
    notes: &mut Vec<String>,
) -> Result<Vec<Planned>> {
    let expected = expected(config);
    let missing: Vec<&str> =
        expected.iter().map(|e| e.source.as_str()).filter(|e| !checkpoint.tensors.contains_key(*e)).collect();
    if let Some(first) = missing.first() {
        return invalid(format!("the checkpoint has no tensor {first}{}", and_more(missing.len())));
    }
    let known: std::collections::HashSet<&str> = expected.iter().map(|e| e.source.as_str()).collect();
    let mut unknown = Vec::new();
    for source in checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str())) {
        match reason_to_skip(source, config) {
            Some(reason) => notes.push(format!("{} is left out: {reason}", quote(source))),
            None => unknown.push(source),
        }
    }
    if let Some(first) = unknown.first() {
        let arch = config.arch.name();
        return invalid(format!(
            "the tensor {}{} has no place in {arch}",
            quote(first),
            and_more(unknown.len())
        ));
    }
    expected.into_iter().map(|e| plan_tensor(e, config, checkpoint, ty)).collect()
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn plan_tensor(e: Expected, config: &Config, checkpoint: &Checkpoint, ty: OutputType) -> Result<Planned> {
    let stored = checkpoint.tensors[&e.source].clone();
    if stored.shape != e.shape {
        return invalid(format!(
            "{} has shape {:?}, but config.json gives {:?}",
            e.source, stored.shape, e.shape
        ));
    }
    let float = stored.float(&e.source)?;
    // Shapes equal those of the configuration, whose numbers are bounded.
    let cols = e.shape[e.shape.len() - 1] as usize;
    let ty = tensor_type(&e, config.tied, ty, cols);
    let Some(row_bytes) = ty.row_bytes(cols) else {
        return invalid(format!("{}: rows of {cols} do not fit {}", e.source, ty.name()));
    };
    let rows = if e.shape.len() == 1 { 1 } else { e.shape[0] };
    Ok(Planned { stored, float, ty, rows, cols, row_bytes, expected: e })
}

/// The type mix of llama.cpp for these file types.
fn tensor_type(e: &Expected, tied: bool, ty: OutputType, cols: usize) -> TensorType {
    if e.shape.len() == 1 || e.name.ends_with("_norm.weight") {
        return TensorType::F32;
    }
    let base = ty.label().base;
    let head = e.name == "output.weight" || (tied && e.name == "token_embd.weight");
    // What decides over all logits gets more bits.
    let wanted = match base {
        TensorType::Q4_0 if head && cols.is_multiple_of(256) => TensorType::Q6K,
        TensorType::Q4_0 if head => TensorType::Q8_0,
        _ => base,
    };
    if wanted.row_bytes(cols).is_some() { wanted } else { TensorType::F16 }
}

/// The file being written and the buffers, which are reused from slab to slab.
struct Stream {
    pool: rayon::ThreadPool,
    checkpoint: Checkpoint,
    data: DataWriter<OutputFile>,
    path: PathBuf,
    source: Vec<u8>,
    encoded: Vec<u8>,
}

impl Stream {
    /// Writes one tensor; returns how many finite weights became infinite.
    fn tensor(&mut self, t: &Planned, progress: &mut dyn Progress) -> Result<u64> {
        let source_row = t.cols * t.float.bytes();
        let slab_rows = (SLAB_ELEMENTS / t.cols).max(1) as u64;
        let overflowed = AtomicU64::new(0);
        let mut row = 0;
        while row < t.rows {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let rows = slab_rows.min(t.rows - row) as usize;
            self.source.resize(rows * source_row, 0);
            self.checkpoint.read(&t.stored, row * source_row as u64, &mut self.source)?;
            let same = matches!(
                (t.float, t.ty),
                (Float::F32, TensorType::F32)
                    | (Float::F16, TensorType::F16)
                    | (Float::Bf16, TensorType::Bf16)
            );
            let bytes = if same {
                &self.source
            } else {
                self.encoded.resize(rows * t.row_bytes, 0);
                let (source, encoded) = (&self.source, &mut self.encoded);
                self.pool.install(|| encode(t, source, encoded, &overflowed))?;
                &self.encoded
            };
            self.data.write(bytes).map_err(gguf_error(&self.path))?;
            progress.advance(bytes.len() as u64, &t.expected.name);
            row += rows as u64;
        }
        Ok(overflowed.into_inner())
    }
}

/// Encodes whole rows, in groups spread over the threads of the pool.
fn encode(t: &Planned, source: &[u8], encoded: &mut [u8], overflowed: &AtomicU64) -> Result<()> {
    let source_row = t.cols * t.float.bytes();
    let group = (GROUP_ELEMENTS / t.cols).max(1);
    let groups = source.par_chunks(group * source_row).zip(encoded.par_chunks_mut(group * t.row_bytes));
    groups.try_for_each_init(
        || vec![0f32; t.cols],
        |values, (source, encoded)| {
            for (source, encoded) in
                source.chunks_exact(source_row).zip(encoded.chunks_exact_mut(t.row_bytes))
            {
                decode(t.float, source, values);
                if t.ty == TensorType::F16 {
                    let lost = values.iter().filter(|v| v.is_finite() && v.abs() >= F16_OVERFLOW).count();
                    overflowed.fetch_add(lost as u64, Ordering::Relaxed);
                }
                encode_row(t.ty, values, encoded)
                    .map_err(|e| ConvertError::Invalid(format!("{}: {e}", t.expected.name)))?;
            }
            Ok(())
        },
    )
}

/// The smallest magnitude that rounds to infinity: half a step above the largest F16 number.
const F16_OVERFLOW: f32 = 65520.0;

fn decode(float: Float, bytes: &[u8], out: &mut [f32]) {
    match float {
        Float::F32 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        Float::F16 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = half::f16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        Float::Bf16 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = half::bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
    }
}
