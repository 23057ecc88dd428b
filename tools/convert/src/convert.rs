//! The conversion itself: check everything, then stream tensor by tensor.

use crate::checkpoint::{Checkpoint, Format, Stored};
use crate::config::Config;
use crate::error::{ConvertError, Result, invalid};
use crate::fp8::{self, Scales};
use crate::json::quote;
use crate::layout::Layout;
use crate::lora::Adapter;
use crate::names::{EMBEDDING, Expected, HEAD, canonical, expected, packing, reason_to_skip};
use crate::output::OutputFile;
use crate::pooling::pooling;
use crate::stream::{Encoder, Job, Numbers, Stream};
use crate::transposed::Transposed;
use crate::verify::Wanted;
use crate::vocab::Vocab;
use crate::{Options, Progress, Summary, metadata};
use qwip_quant::TensorType;
use qwip_quant::gguf::Writer;
use qwip_quant::limits::MAX_VOCAB;
use qwip_quant::mix::{self, Facts, Mix};
use qwip_quant::pooling::{Pooling, RERANK_LABELS};
use qwip_quant::types::FileType;
use std::path::{Path, PathBuf};

/// A tensor of the output and where its weights come from.
struct Planned<'a> {
    expected: Expected,
    /// One for each source.
    pieces: Vec<Piece<'a>>,
    to: TensorType,
    /// Of all pieces together.
    rows: u64,
    cols: usize,
    /// Bytes in the output.
    bytes: u64,
}

impl Planned<'_> {
    /// Sizes as GGUF has them, from the contiguous one on.
    fn dims(&self) -> Vec<u64> {
        self.expected.shape.iter().rev().copied().collect()
    }
}

/// A tensor of the checkpoint, or one of the adapter in its place.
struct Piece<'a> {
    checkpoint: &'a Checkpoint,
    stored: &'a Stored,
    from: Numbers,
}

/// See [`crate::convert`].
pub(crate) fn run(dir: &Path, out: &Path, options: &Options, progress: &mut dyn Progress) -> Result<Summary> {
    if !dir.is_dir() {
        return invalid(format!("{} is not a folder with a checkpoint", dir.display()));
    }
    OutputFile::check(out)?;
    let mut config = Config::read(dir)?;
    let mut checkpoint = Checkpoint::open(dir)?;
    checkpoint.rename(canonical)?;
    if let Some(hybrid) = &config.hybrid {
        hybrid.check(&checkpoint.tensors)?;
    }
    let adapter = options.lora.as_ref().map(|lora| Adapter::open(&lora.dir, lora.scale)).transpose()?;
    let mut notes = std::mem::take(&mut config.notes);
    let packing = packing(&checkpoint, &config)?;
    if let Some(experts) = &mut config.experts {
        experts.packing = packing;
    }
    config.pooling = pooling(dir, &config, &mut notes)?;
    config.headless |= config.pooling.is_some_and(|pooling| pooling != Pooling::Rank);
    if config.headless && !config.tied && !checkpoint.tensors.contains_key(HEAD) {
        config.tied = true;
        notes.push(format!("there is no {HEAD}: the model can embed, but not answer"));
    }
    let origin = Origin { checkpoint: &checkpoint, adapter: adapter.as_ref(), tied: config.tied };
    origin.fit(&mut config, &mut notes)?;
    let tokenizer_dir = adapter.as_ref().map_or(dir, |adapter| adapter.tokenizer_dir(dir));
    let mut vocab = Vocab::read(tokenizer_dir, config.vocab, config.arch.pre())?;
    if config.pooling == Some(Pooling::Rank) {
        config.labels = Some(labels(&vocab)?);
    }
    let plan = plan(&config, &origin, options.ty, &mut notes)?;
    notes.append(&mut vocab.notes);

    let parameters: u64 = plan.iter().map(|t| t.rows * t.cols as u64).sum();
    let bytes: u64 = plan.iter().map(|t| t.bytes).sum();
    let mut writer = Writer::new();
    metadata::general(&mut writer, dir, &config, parameters, options.ty.id, &mut notes)?;
    metadata::hyper_parameters(&mut writer, &config);
    metadata::tokenizer(&mut writer, [tokenizer_dir, dir], &config, vocab, &mut notes)?;
    let layout = Layout::within(options.limits, plan.iter().map(|t| t.bytes))?;
    let files = layout.portions(out, |i| plan[i].bytes);
    let folders = [Some(dir), options.lora.as_ref().map(|lora| lora.dir.as_path())];
    let inputs: Vec<PathBuf> = folders.into_iter().flatten().flat_map(contents).collect();
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    files.iter().try_for_each(|file| OutputFile::check_beside(&file.path, &inputs))?;
    let headers = layout.headers(out, writer, |i, writer| {
        writer.tensor(&plan[i].expected.name, &plan[i].dims(), plan[i].to)
    })?;
    for note in &notes {
        progress.note(note);
    }
    if progress.cancelled() {
        return Err(ConvertError::Cancelled);
    }

    let mut stream = Stream::new(options.threads, options.allow_nan, options.verify)?;
    progress.start(bytes);
    let complete = layout.write(&files, headers, |i, data, path| {
        let t = &plan[i];
        let Planned { cols, to, .. } = *t;
        let encoder = if options.reference { Encoder::Reference } else { Encoder::Searched(None) };
        for (source, Piece { checkpoint, stored, from }) in t.expected.sources.iter().zip(&t.pieces) {
            let patch = adapter.as_ref().map_or(Ok(None), |adapter| adapter.patch(source))?;
            let number = match from {
                Numbers::Type(ty) => ty.block_bytes(),
                Numbers::Fp8(_) => 1,
            };
            let mut turned = Transposed::new(checkpoint, stored, number as u64);
            for rows in t.expected.runs.iter().cloned() {
                let Expected { name, change, transposed, .. } = &t.expected;
                let job = Job { name, rows, cols, from, patch: patch.as_ref(), change, to, encoder };
                let mut read = |at, bytes: &mut [u8]| match transposed {
                    true => turned.read(at, bytes),
                    false => checkpoint.read(stored, at, bytes),
                };
                stream.piece(&job, &mut read, data, path, progress)?;
            }
        }
        Ok(stream.finish(&t.expected.name, to, progress, &mut notes))
    })?;
    if options.verify {
        let wanted = |i: usize| Wanted { name: &plan[i].expected.name, dims: plan[i].dims(), ty: plan[i].to };
        complete.verify(wanted, progress)?;
    }
    complete.finish()?;
    Ok(Summary {
        tensors: plan.len(),
        parameters,
        bytes,
        bits_per_weight: bytes as f64 * 8.0 / parameters as f64,
        files,
        notes,
    })
}

/// The tokens of what a reranker answers.
fn labels(vocab: &Vocab) -> Result<[u32; 2]> {
    let [yes, no] = RERANK_LABELS.map(|label| match vocab.id(label) {
        Some(id) => Ok(id),
        None => invalid(format!("the tokenizer has no token {}, which a reranker answers", quote(label))),
    });
    Ok([yes?, no?])
}

/// What a folder holds but for GGUF files, which are ours to replace.
fn contents(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_none_or(|e| e != "gguf")).collect()
}

/// Where weights come from: a checkpoint, and perhaps an adapter over it.
struct Origin<'a> {
    checkpoint: &'a Checkpoint,
    adapter: Option<&'a Adapter>,
    /// Whether embeddings and output of the checkpoint are one matrix.
    tied: bool,
}

impl<'a> Origin<'a> {
    /// Gives `config` the vocabulary and the output matrix that the adapter asks for.
    fn fit(&self, config: &mut Config, notes: &mut Vec<String>) -> Result<()> {
        let Some(adapter) = self.adapter else { return Ok(()) };
        let rows = u64::from(config.vocab);
        // A model without an output matrix needs none for an adapter.
        if config.tied && !config.headless && !adapter.stays_tied(rows)? {
            config.tied = false;
            notes.push(
                "the adapter changes only one of embeddings and output: they are no longer tied".into(),
            );
        }
        if let Some(rows) = adapter.vocabulary() {
            config.vocab = match u32::try_from(rows).ok().filter(|n| (1..=MAX_VOCAB).contains(&(*n as usize)))
            {
                Some(vocab) => vocab,
                None => {
                    return invalid(format!(
                        "the adapter's embeddings have {rows} rows, not 1 to {MAX_VOCAB}"
                    ));
                }
            };
        }
        notes.push(adapter.check(&expected(config), config.tied)?);
        Ok(())
    }

    /// The tensor with a name.
    fn find(&self, source: &str) -> Option<(&'a Checkpoint, &'a Stored)> {
        if let Some(found) = self.adapter.and_then(|adapter| adapter.replacement(source)) {
            return Some(found);
        }
        let name = if self.tied && source == HEAD { EMBEDDING } else { source };
        Some((self.checkpoint, self.checkpoint.tensors.get(name)?))
    }
}

/// Every tensor of the model with its place in the checkpoint; nothing missing, nothing left over.
fn plan<'a>(
    config: &Config,
    origin: &Origin<'a>,
    file_type: FileType,
    notes: &mut Vec<String>,
) -> Result<Vec<Planned<'a>>> {
    let expected = expected(config);
    let sources = || expected.iter().flat_map(|e| &e.sources);
    let missing: Vec<&String> = sources().filter(|e| origin.find(e).is_none()).collect();
    if let Some(first) = missing.first() {
        return invalid(format!("the checkpoint has no tensor {first}{}", and_more(missing.len())));
    }
    let known: std::collections::HashSet<&str> = sources().map(String::as_str).collect();
    let (mut unknown, mut skipped) = (Vec::new(), Vec::<(&str, Vec<&String>)>::new());
    for source in origin.checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str())) {
        match reason_to_skip(source, config) {
            Some(reason) => match skipped.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, names)) => names.push(source),
                None => skipped.push((reason, vec![source])),
            },
            None if config.fp8_tile.is_some() && fp8::is_scale(source) => {}
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
    for (reason, names) in skipped {
        notes.push(match names.as_slice() {
            [name] => format!("{} is left out: {reason}", quote(name)),
            all => format!("{}{} are left out: {reason}", quote(all[0]), and_more(all.len())),
        });
    }
    let types = types(&expected, config, file_type);
    expected.into_iter().zip(types).map(|(e, to)| plan_tensor(e, origin, config.fp8_tile, to)).collect()
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

fn plan_tensor<'a>(
    e: Expected,
    origin: &Origin<'a>,
    fp8_tile: Option<[u64; 2]>,
    to: TensorType,
) -> Result<Planned<'a>> {
    let mut pieces = Vec::with_capacity(e.sources.len());
    for source in &e.sources {
        pieces.push(piece(source, &e, origin, fp8_tile)?);
    }
    // Shapes equal those of the configuration, whose numbers are bounded.
    let cols = e.shape[e.shape.len() - 1] as usize;
    let Some(row_bytes) = to.row_bytes(cols) else {
        return invalid(format!("{}: rows of {cols} do not fit {}", e.name, to.name()));
    };
    let rows = e.shape[..e.shape.len() - 1].iter().product::<u64>();
    Ok(Planned { pieces, to, rows, cols, bytes: rows * row_bytes as u64, expected: e })
}

/// Finds a tensor, which must have the shape of a source.
fn piece<'a>(
    source: &str,
    Expected { source_shape: shape, transposed, .. }: &Expected,
    origin: &Origin<'a>,
    fp8_tile: Option<[u64; 2]>,
) -> Result<Piece<'a>> {
    let Some((checkpoint, stored)) = origin.find(source) else {
        return invalid(format!("the checkpoint has no tensor {source}"));
    };
    let mut wanted = shape.clone();
    if let (true, [.., outputs, inputs]) = (transposed, &mut wanted[..]) {
        std::mem::swap(outputs, inputs);
    }
    if stored.shape != wanted {
        return invalid(format!("{source} has shape {:?}, but config.json gives {wanted:?}", stored.shape));
    }
    let from = match (stored.format(source)?, fp8_tile) {
        (Format::Type(ty), _) => Numbers::Type(ty),
        (Format::Fp8, Some(_)) if *transposed => {
            return invalid(format!("{source} is {}, which does not convert transposed", fp8::DTYPE));
        }
        (Format::Fp8, Some(tile)) => Numbers::Fp8(Scales::read(checkpoint, source, shape, tile)?),
        (Format::Fp8, None) => {
            return invalid(format!(
                "{source} is {}, but config.json has no quantization_config of FP8",
                fp8::DTYPE
            ));
        }
    };
    Ok(Piece { checkpoint, stored, from })
}
