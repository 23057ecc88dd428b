//! A GGUF file with its matrices in other types.
//!
//! [`Plan::new`] decides what becomes of every tensor, [`Plan::write`] does it.

use crate::change::Change;
use crate::edit::{Changes, Edit, changes};
use crate::error::{ConvertError, Result, gguf_error, invalid};
use crate::json::quote;
use crate::layout::{Layout, Limits};
use crate::output::OutputFile;
use crate::source::Source;
use crate::stream::{Encoder, Job, Numbers, Stream};
use crate::verify::Wanted;
use crate::{Progress, Summary};
use qwip_quant::TensorType;
use qwip_quant::gguf::{Gguf, Set, TensorInfo, Writer};
pub use qwip_quant::imatrix::Imatrix;
use qwip_quant::mix::{self, Facts, Mix};
use qwip_quant::types::FileType;
use regex::Regex;
use std::path::Path;

/// What [`Plan::new`] may be told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The mix; `None` leaves every type as it is, to merge the files of a split model.
    pub ty: Option<FileType>,
    /// Types by name, in place of the mix's; the first that fits counts.
    pub tensor_types: Vec<ByName>,
    /// The type of `output.weight`, or of the embeddings that stand in for it.
    pub output_tensor: Option<TensorType>,
    /// The type of `token_embd.weight`.
    pub token_embedding: Option<TensorType>,
    /// Leave `output.weight` as it is.
    pub leave_output: bool,
    /// The mix's base type for every matrix.
    pub pure: bool,
    /// Quantize what is quantized already.
    pub allow_requantize: bool,
    /// The codes of llama.cpp's quantizer without an importance matrix, bit by bit, in place of codes with less error.
    pub reference: bool,
    /// How much the columns of each tensor matter, and the name of the file that says so.
    pub imatrix: Option<(Imatrix, String)>,
    /// Weights that are infinite or not numbers become zero; otherwise they are an error.
    pub allow_nan: bool,
    /// Read the output again, before it gets its name, and check it.
    pub verify: bool,
    /// Into how many files the output goes.
    pub split: Split,
    /// Changes to the metadata.
    pub edits: Vec<Edit>,
    /// How many threads encode; `None` is one a core.
    pub threads: Option<usize>,
}

/// Into how many files an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// As few as the limits allow: without any, one.
    Within(Limits),
    /// As many as the model came in.
    Kept,
}

impl Default for Split {
    fn default() -> Self {
        Split::Within(Limits::default())
    }
}

/// A type for tensors in whose name an expression is found.
#[derive(Clone, Debug)]
pub struct ByName {
    name: Regex,
    ty: TensorType,
}

impl std::str::FromStr for ByName {
    type Err = ConvertError;

    /// Reads `EXPRESSION=TYPE`; the expression is taken in lower case, as names of tensors are.
    fn from_str(text: &str) -> Result<ByName> {
        let wrong = |e: String| ConvertError::Invalid(format!("{}: {e}", quote(text)));
        let Some((name, ty)) = text.rsplit_once('=') else { return Err(wrong("there is no = in it".into())) };
        let name = Regex::new(&name.to_lowercase())
            .map_err(|e| wrong(e.to_string().lines().last().unwrap_or_default().to_string()))?;
        Ok(ByName { name, ty: tensor_type(ty)? })
    }
}

/// A type by its name, in upper or lower case, such as `q6_k`.
///
/// # Errors
/// There is no such type, or none that can be written; the message lists those that can.
pub fn tensor_type(name: &str) -> Result<TensorType> {
    let known = || TensorType::ALL.into_iter().filter(|ty| ty.is_encodable());
    match known().find(|ty| ty.name().eq_ignore_ascii_case(name)) {
        Some(ty) => Ok(ty),
        None => {
            let known: Vec<&str> = known().map(TensorType::name).collect();
            invalid(format!("unknown tensor type {} (known: {})", quote(name), known.join(", ")))
        }
    }
}

/// The types that a mix gives the tensors of a model in one file, in their order there.
///
/// # Errors
/// `header` is not that of a model.
pub fn types(header: &Gguf, ty: FileType) -> Result<Vec<TensorType>> {
    let options = Options { ty: Some(ty), ..Options::default() };
    let mut tensors: Vec<(usize, &TensorInfo)> = header.tensors.iter().enumerate().collect();
    tensors.sort_by(|a, b| mix::order(&a.1.name, &b.1.name));
    let mut chooser = Chooser::new(header, &tensors, &options)?;
    let mut types: Vec<TensorType> = header.tensors.iter().map(|t| t.ty).collect();
    for (place, t) in tensors {
        types[place] = chooser.choose(t)?;
    }
    Ok(types)
}

/// What becomes of a tensor.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Its sizes; `dims[0]` is contiguous.
    pub dims: Vec<u64>,
    /// Its type in the input.
    pub from: TensorType,
    /// Its type in the output.
    pub to: TensorType,
    /// Its bytes in the output.
    pub bytes: u64,
    /// The file that it comes from.
    shard: usize,
}

/// A quantization that has been checked and can begin.
pub struct Plan {
    source: Source,
    options: Options,
    changes: Changes,
    steps: Vec<Step>,
    layout: Layout,
}

impl Plan {
    /// Opens `input`, the only or the first file of a model, and decides about its tensors.
    ///
    /// # Errors
    /// It is no GGUF file or a damaged one; a tensor's rows do not fit the type that it was to get by name; a tensor is
    /// quantized already, and that is not allowed; a type cannot be read or written.
    pub fn new(input: &Path, options: Options) -> Result<Plan> {
        let typed = options.pure
            || options.output_tensor.or(options.token_embedding).is_some()
            || !options.tensor_types.is_empty();
        if options.ty.is_none() && typed {
            return invalid("a copy keeps every type: name a type, or leave out what chooses types");
        }
        let source = Source::open(input)?;
        let changes = changes(&options.edits, source.header())?;
        let tensors = source.shards.iter().enumerate();
        let mut tensors: Vec<(usize, &TensorInfo)> =
            tensors.flat_map(|(shard, s)| s.header.tensors.iter().map(move |t| (shard, t))).collect();
        tensors.sort_by(|a, b| mix::order(&a.1.name, &b.1.name));
        let mut chooser = Chooser::new(source.header(), &tensors, &options)?;
        let mut steps = Vec::with_capacity(tensors.len());
        for (shard, t) in tensors {
            let to = chooser.choose(t)?;
            let (name, dims, from) = (t.name.clone(), t.dims.clone(), t.ty);
            if from != to && from.is_quantized() && !options.allow_requantize {
                return invalid(format!(
                    "{name} is {from} already, and quantizing it again to {to} loses more (--allow-requantize does it \
                     all the same)"
                ));
            }
            if from != to && !(from.is_decodable() && to.is_encodable()) {
                return invalid(format!("{name}: {from} cannot be made {to} here"));
            }
            let row = usize::try_from(t.cols()).ok().and_then(|cols| to.row_bytes(cols));
            match row.and_then(|row| t.rows().checked_mul(row as u64)) {
                Some(bytes) => steps.push(Step { name, dims, from, to, bytes, shard }),
                None => return invalid(format!("{name}: rows of {} do not fit {to}", t.cols())),
            }
        }
        let layout = match options.split {
            Split::Within(limits) => Layout::within(limits, steps.iter().map(|step| step.bytes))?,
            Split::Kept => {
                steps.sort_by_key(|step| step.shard);
                let shards: Vec<usize> = steps.iter().map(|step| step.shard).collect();
                Layout::kept(&shards, source.shards.len())?
            }
        };
        let plan = Plan { source, options, changes, steps, layout };
        plan.check_importance()?;
        Ok(plan)
    }

    /// What becomes of every tensor, in the order in which they are written.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What [`Plan::write`] would say of `out`.
    pub fn summary(&self, out: &Path) -> Summary {
        let parameters: u64 = self.steps.iter().map(|s| s.dims.iter().product::<u64>()).sum();
        let bytes: u64 = self.steps.iter().map(|s| s.bytes).sum();
        Summary {
            tensors: self.steps.len(),
            parameters,
            bytes,
            bits_per_weight: bytes as f64 * 8.0 / parameters.max(1) as f64,
            files: self.layout.portions(out, |i| self.steps[i].bytes),
            notes: Vec::new(),
        }
    }

    /// Writes the output. It appears when it is complete, or not at all; of several files those that are complete when
    /// a later one cannot be renamed stay.
    ///
    /// # Errors
    /// `out` is one of the input's files or cannot be written; a weight is infinite or not a number; the progress said
    /// stop.
    pub fn write(&self, out: &Path, progress: &mut dyn Progress) -> Result<Summary> {
        let mut summary = self.summary(out);
        let files = std::mem::take(&mut summary.files);
        let inputs: Vec<&Path> = self.source.shards.iter().map(|s| s.path.as_path()).collect();
        files.iter().try_for_each(|file| OutputFile::check_beside(&file.path, &inputs))?;
        let headers = self.layout.headers(out, self.metadata()?, |i, writer| {
            let Step { name, dims, to, .. } = &self.steps[i];
            writer.tensor(name, dims, *to)
        })?;
        let mut notes = Vec::new();
        let mut stream = Stream::new(self.options.threads, self.options.allow_nan, self.options.verify)?;
        progress.start(summary.bytes);
        let complete = self.layout.write(&files, headers, |i, data, path| {
            let step = &self.steps[i];
            let shard = &self.source.shards[step.shard];
            let Some(t) = shard.header.tensor(&step.name) else {
                return invalid(format!("{} is gone", step.name));
            };
            let (name, from, to) = (step.name.as_str(), &Numbers::Type(step.from), step.to);
            let importance = self.importance(t)?;
            let encoder = match self.options.reference {
                true => Encoder::Reference,
                false => Encoder::Searched(importance.as_deref()),
            };
            let (rows, cols) = (t.rows(), t.cols() as usize);
            let job =
                Job { name, rows: 0..rows, cols, from, patch: None, change: &Change::default(), to, encoder };
            let mut read = |at, bytes: &mut [u8]| shard.read(t, at, bytes);
            stream.piece(&job, &mut read, data, path, progress)?;
            Ok(stream.finish(name, to, progress, &mut notes))
        })?;
        if self.options.verify {
            let wanted = |i: usize| {
                let Step { name, dims, to, .. } = &self.steps[i];
                Wanted { name, dims: dims.clone(), ty: *to }
            };
            complete.verify(wanted, progress)?;
        }
        complete.finish()?;
        Ok(Summary { files, notes, ..summary })
    }

    /// An importance matrix of another model is an error before anything is written.
    fn check_importance(&self) -> Result<()> {
        let Some((imatrix, file)) = &self.options.imatrix else { return Ok(()) };
        let mut matching = 0;
        for t in self.source.shards.iter().flat_map(|s| &s.header.tensors) {
            matching += usize::from(self.importance(t)?.is_some());
        }
        match matching {
            0 => invalid(format!(
                "{file}: none of its {} entries has the name of a tensor here: it is of another model",
                imatrix.entries.len()
            )),
            _ => Ok(()),
        }
    }

    /// The importance of a tensor's columns, if it is known.
    fn importance(&self, t: &TensorInfo) -> Result<Option<Vec<f32>>> {
        let Some((imatrix, file)) = &self.options.imatrix else { return Ok(None) };
        imatrix.weights(&t.name, &t.dims).map_err(|e| ConvertError::Invalid(format!("{file}: {e}")))
    }

    /// The metadata of the output.
    fn metadata(&self) -> Result<Writer> {
        let mut writer = Writer::new();
        let first = &self.source.shards[0];
        for (key, value) in &first.header.metadata {
            let goes = self.changes.iter().any(|(changed, to)| changed == key && to.is_none());
            if !key.starts_with("split.") && !goes {
                writer.set(key, Set::from_value(value, &first.start).map_err(gguf_error(&first.path))?);
            }
        }
        for (key, value) in &self.changes {
            if let Some(value) = value {
                writer.set(key, value.clone());
            }
        }
        if self.steps.iter().any(|step| step.to.is_quantized()) {
            writer.set("general.quantization_version", 2u32);
        }
        if let Some(ty) = self.options.ty {
            writer.set("general.file_type", ty.id);
        }
        let used = self.steps.iter().any(|step| step.from != step.to && step.to.is_quantized());
        if let Some((imatrix, file)) = self.options.imatrix.as_ref().filter(|_| used) {
            writer.set("quantize.imatrix.file", file.as_str());
            if let Some(dataset) = imatrix.datasets.first() {
                writer.set("quantize.imatrix.dataset", dataset.as_str());
            }
            writer.set("quantize.imatrix.entries_count", imatrix.entries.len() as u32);
            writer.set("quantize.imatrix.chunks_count", imatrix.chunks);
        }
        Ok(writer)
    }
}

/// Chooses the type of each tensor, in the order of [`mix::order`].
struct Chooser<'a> {
    options: &'a Options,
    mix: Option<Mix>,
    tied: bool,
}

impl<'a> Chooser<'a> {
    fn new(header: &Gguf, tensors: &[(usize, &TensorInfo)], options: &'a Options) -> Result<Self> {
        let tied = !tensors.iter().any(|(_, t)| t.name == "output.weight");
        let values = tensors.iter().filter(|(_, t)| mix::is_value(&t.name)).count() as u64;
        let mix = match options.ty {
            Some(ty) => {
                let (layers, shared_heads) = layers_and_shared_heads(header)?;
                Some(Mix::new(
                    ty,
                    Facts { layers, shared_heads, values, tied, imatrix: options.imatrix.is_some() },
                ))
            }
            None => None,
        };
        Ok(Self { options, mix, tied })
    }

    /// What becomes of a tensor.
    fn choose(&mut self, t: &TensorInfo) -> Result<TensorType> {
        let options = self.options;
        let (Some(mix), Some(file_type)) = (&mut self.mix, options.ty) else { return Ok(t.ty) };
        let output = t.name == "output.weight";
        if !mix::is_quantizable(&t.name, &t.dims) || (output && options.leave_output) {
            return Ok(t.ty);
        }
        let wanted = mix.choose(&t.name, &t.dims);
        let embedding = t.name == "token_embd.weight";
        let named = if output || (embedding && self.tied) { options.output_tensor } else { None };
        if let Some(ty) = named.or(options.token_embedding.filter(|_| embedding)) {
            return match t.cols().is_multiple_of(ty.block_len() as u64) {
                true => Ok(ty),
                false => invalid(format!(
                    "{}: rows of {} are not a multiple of the {ty} block of {}",
                    t.name,
                    t.cols(),
                    ty.block_len()
                )),
            };
        }
        let by_name = options.tensor_types.iter().find(|by| by.name.is_match(&t.name));
        let wanted = match by_name {
            Some(by) => by.ty,
            None if options.pure => file_type.base,
            None => wanted,
        };
        Ok(mix::fallback(wanted, t.cols()))
    }
}

/// The number of layers, and how many query heads share a key/value head in the first one.
fn layers_and_shared_heads(header: &Gguf) -> Result<(u64, u64)> {
    let wrong = |e: qwip_quant::gguf::Error| ConvertError::Invalid(e.to_string());
    let Some(arch) = header.str("general.architecture").map_err(wrong)? else {
        return invalid("the file has no general.architecture: it is no model");
    };
    let number = |key: &str| {
        let key = format!("{arch}.{key}");
        // Some models have a number for each layer.
        match header.array(&key) {
            Ok(Some(_)) => Ok(None),
            _ => header.u64(&key).map_err(wrong),
        }
    };
    let Some(layers) = number("block_count")? else {
        return invalid(format!("the file has no {}.block_count: it is no model", quote(arch)));
    };
    let heads = number("attention.head_count")?.unwrap_or(1);
    let shared = number("attention.head_count_kv")?.filter(|kv| *kv > 0).map_or(1, |kv| heads / kv);
    Ok((layers, shared))
}
