//! The conversion itself: check everything, then stream tensor by tensor.

use crate::checkpoint::{Checkpoint, Stored};
use crate::config::Config;
use crate::error::{ConvertError, Result, gguf_error, invalid};
use crate::json::quote;
use crate::names::{Expected, expected, reason_to_skip};
use crate::output::OutputFile;
use crate::stream::{Encoder, Job, Stream};
use crate::vocab::Vocab;
use crate::{Options, Progress, Summary, metadata};
use qwip_quant::TensorType;
use qwip_quant::gguf::Writer;
use qwip_quant::mix::{self, Facts, Mix};
use qwip_quant::types::FileType;
use std::path::Path;

/// A tensor of the output and where its weights come from.
struct Planned {
    expected: Expected,
    stored: Stored,
    from: TensorType,
    to: TensorType,
    rows: u64,
    cols: usize,
    /// Bytes in the output.
    bytes: u64,
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
    let bytes: u64 = plan.iter().map(|t| t.bytes).sum();
    let mut writer = Writer::new();
    metadata::general(&mut writer, dir, &config, parameters, options.ty.id, &mut notes)?;
    metadata::hyper_parameters(&mut writer, &config);
    metadata::tokenizer(&mut writer, dir, &config, vocab, &mut notes)?;
    for t in &plan {
        // GGUF counts dimensions from the contiguous one.
        let dims: Vec<u64> = t.expected.shape.iter().rev().copied().collect();
        writer.tensor(&t.expected.name, &dims, t.to).map_err(gguf_error(out))?;
    }
    for note in &notes {
        progress.note(note);
    }
    if progress.cancelled() {
        return Err(ConvertError::Cancelled);
    }

    let mut stream = Stream::new(options.threads)?;
    progress.start(bytes);
    let output = OutputFile::create(out)?;
    let path = output.part().to_path_buf();
    let mut data = writer.start(output).map_err(gguf_error(&path))?;
    for t in &plan {
        let Planned { rows, cols, from, to, .. } = *t;
        let encoder = if options.reference { Encoder::Reference } else { Encoder::Searched(None) };
        let job = Job { name: &t.expected.name, rows, cols, from, to, encoder };
        let mut read = |at, bytes: &mut [u8]| checkpoint.read(&t.stored, at, bytes);
        let overflowed = stream.tensor(&job, &mut read, &mut data, &path, progress)?;
        if overflowed > 0 {
            let note = format!("{}: {overflowed} weights are too large for F16", t.expected.name);
            progress.note(&note);
            notes.push(note);
        }
    }
    let output = data.finish().map_err(gguf_error(&path))?;
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
    file_type: FileType,
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
    let types = types(&expected, config, file_type);
    expected.into_iter().zip(types).map(|(e, to)| plan_tensor(e, checkpoint, to)).collect()
}

/// What each tensor becomes.
fn types(expected: &[Expected], config: &Config, file_type: FileType) -> Vec<TensorType> {
    let facts = Facts {
        layers: config.layers.into(),
        shared_heads: (config.heads / config.kv_heads).into(),
        values: expected.iter().filter(|e| mix::is_value(&e.name)).count() as u64,
        tied: config.tied,
        imatrix: false,
    };
    let mut order: Vec<usize> = (0..expected.len()).collect();
    order.sort_by(|&a, &b| mix::order(&expected[a].name, &expected[b].name));
    let mut mix = Mix::new(file_type, facts);
    let mut types = vec![TensorType::F32; expected.len()];
    for i in order {
        let dims: Vec<u64> = expected[i].shape.iter().rev().copied().collect();
        if mix::is_quantizable(&expected[i].name, &dims) {
            types[i] = mix::fallback(mix.choose(&expected[i].name, &dims), dims[0]);
        }
    }
    types
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn plan_tensor(e: Expected, checkpoint: &Checkpoint, to: TensorType) -> Result<Planned> {
    let stored = checkpoint.tensors[&e.source].clone();
    if stored.shape != e.shape {
        return invalid(format!(
            "{} has shape {:?}, but config.json gives {:?}",
            e.source, stored.shape, e.shape
        ));
    }
    let from = stored.number_type(&e.source)?;
    // Shapes equal those of the configuration, whose numbers are bounded.
    let cols = e.shape[e.shape.len() - 1] as usize;
    let Some(row_bytes) = to.row_bytes(cols) else {
        return invalid(format!("{}: rows of {cols} do not fit {}", e.source, to.name()));
    };
    let rows = if e.shape.len() == 1 { 1 } else { e.shape[0] };
    Ok(Planned { stored, from, to, rows, cols, bytes: rows * row_bytes as u64, expected: e })
}
