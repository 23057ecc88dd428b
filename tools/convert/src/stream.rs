//! Weights from one type to another, slab by slab, on all cores.

use crate::Progress;
use crate::change::Change;
use crate::error::{ConvertError, Result, gguf_error, invalid};
use crate::fp8::Scales;
use crate::lora::Patch;
use crate::output::OutputFile;
use qwip_quant::gguf::DataWriter;
use qwip_quant::types::{TypeError, check_row};
use qwip_quant::{TensorType, decode_row, encode_row, encode_row_searched};
use rayon::prelude::*;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Weights converted at once. It bounds the memory, together with the longest row.
const SLAB_ELEMENTS: usize = 2 << 20;
/// Weights that one thread takes at a time.
const GROUP_ELEMENTS: usize = 32 << 10;

/// What is to be done with a tensor. Its rows are whole blocks of both types.
pub(crate) struct Job<'a> {
    /// The name in the output.
    pub(crate) name: &'a str,
    /// Which rows of the source.
    pub(crate) rows: Range<u64>,
    pub(crate) cols: usize,
    pub(crate) from: &'a Numbers,
    /// What happens to the numbers in between: an adapter's part, then what the output's format asks for.
    pub(crate) patch: Option<&'a Patch>,
    pub(crate) change: &'a Change,
    pub(crate) to: TensorType,
    pub(crate) encoder: Encoder<'a>,
}

/// How the numbers that are read are written down.
pub(crate) enum Numbers {
    Type(TensorType),
    Fp8(Scales),
}

impl Numbers {
    /// Bytes of a row.
    fn row_bytes(&self, cols: usize) -> Option<usize> {
        match self {
            Numbers::Type(ty) => ty.row_bytes(cols),
            Numbers::Fp8(_) => Some(cols),
        }
    }
}

/// How codes are chosen.
#[derive(Clone, Copy)]
pub(crate) enum Encoder<'a> {
    /// As llama.cpp does without an importance matrix, bit by bit.
    Reference,
    /// With less error where there is a way, and with the importance of each column, `[matrices, cols]`, where it is known.
    Searched(Option<&'a [f32]>),
}

/// Reads bytes of a tensor, from the given one of them on.
pub(crate) type Read<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> Result<()>;

/// The threads and the buffers, which are reused from slab to slab.
pub(crate) struct Stream {
    pool: rayon::ThreadPool,
    allow_nan: bool,
    hasher: Option<DefaultHasher>,
    lost: Lost,
    source: Vec<u8>,
    encoded: Vec<u8>,
}

/// Weights of a tensor that did not arrive as they were.
#[derive(Default)]
struct Lost {
    /// Too large for the type.
    overflowed: AtomicU64,
    /// Infinite or not a number, and now zero.
    zeroed: AtomicU64,
}

impl Stream {
    /// With so many threads (`None` is one a core). Weights that are infinite or not numbers are an error, or with
    /// `allow_nan` become zero. With `hashes`, what is written is hashed.
    pub(crate) fn new(threads: Option<usize>, allow_nan: bool, hashes: bool) -> Result<Self> {
        let mut pool = rayon::ThreadPoolBuilder::new();
        if let Some(threads) = threads {
            pool = pool.num_threads(threads);
        }
        match pool.build() {
            Ok(pool) => Ok(Self {
                pool,
                allow_nan,
                hasher: hashes.then(DefaultHasher::new),
                lost: Lost::default(),
                source: Vec::new(),
                encoded: Vec::new(),
            }),
            Err(e) => invalid(format!("cannot start threads: {e}")),
        }
    }

    /// After the last piece of the tensor `name`: says to `progress` and in `notes` what was lost, and returns the hash of
    /// its bytes, 0 without hashes.
    pub(crate) fn finish(
        &mut self,
        name: &str,
        to: TensorType,
        progress: &mut dyn Progress,
        notes: &mut Vec<String>,
    ) -> u64 {
        let Lost { overflowed, zeroed } = std::mem::take(&mut self.lost);
        for (count, what) in [
            (overflowed, format!("too large for {to}")),
            (zeroed, "infinite or not numbers, and became zero".to_string()),
        ] {
            let count = count.into_inner();
            if count > 0 {
                let note = format!("{name}: {count} weights are {what}");
                progress.note(&note);
                notes.push(note);
            }
        }
        self.hasher.as_mut().map_or(0, |hasher| std::mem::take(hasher).finish())
    }

    /// Writes a piece of a tensor, which may be all of it.
    pub(crate) fn piece(
        &mut self,
        job: &Job,
        read: Read,
        out: &mut DataWriter<OutputFile>,
        path: &Path,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let fits = |bytes: Option<usize>| match bytes {
            Some(bytes) => Ok(bytes),
            None => invalid(format!("{}: rows of {} do not fit {}", job.name, job.cols, job.to.name())),
        };
        let (source_row, encoded_row) =
            (fits(job.from.row_bytes(job.cols))?, fits(job.to.row_bytes(job.cols))?);
        let slab_rows = (SLAB_ELEMENTS / job.cols).max(1) as u64;
        let mut row = job.rows.start;
        while row < job.rows.end {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let rows = slab_rows.min(job.rows.end - row) as usize;
            self.source.resize(rows * source_row, 0);
            read(row * source_row as u64, &mut self.source)?;
            let rows_in = Rows { first: row, bytes: &self.source, stride: source_row };
            let bytes = match job.copies(self.allow_nan) {
                true => self.pool.install(|| check(job, rows_in)).map(|()| &self.source)?,
                false => {
                    self.encoded.resize(rows * encoded_row, 0);
                    let rows_out = (self.encoded.as_mut_slice(), encoded_row);
                    let (allow_nan, lost) = (self.allow_nan, &self.lost);
                    self.pool.install(|| recode(job, rows_in, rows_out, allow_nan, lost))?;
                    &self.encoded
                }
            };
            out.write(bytes).map_err(gguf_error(path))?;
            if let Some(hasher) = &mut self.hasher {
                hasher.write(bytes);
            }
            progress.advance(bytes.len() as u64, job.name);
            row += rows as u64;
        }
        Ok(())
    }
}

/// Some rows of a tensor as they were read, the first of which has the number `first`.
#[derive(Clone, Copy)]
struct Rows<'a> {
    first: u64,
    bytes: &'a [u8],
    /// Bytes of a row.
    stride: usize,
}

impl<'a> Rows<'a> {
    /// In groups, with the number of each group's first row.
    fn groups(
        self,
        cols: usize,
    ) -> (usize, impl IndexedParallelIterator<Item = (u64, std::slice::ChunksExact<'a, u8>)>) {
        let group = (GROUP_ELEMENTS / cols).max(1);
        let chunks = self.bytes.par_chunks(group * self.stride).enumerate();
        let numbered =
            chunks.map(move |(i, bytes)| (self.first + (i * group) as u64, bytes.chunks_exact(self.stride)));
        (group, numbered)
    }
}

impl Job<'_> {
    /// Whether the bytes stay as they are, but for a check.
    fn copies(&self, allow_nan: bool) -> bool {
        self.patch.is_none()
            && self.change.is_none()
            && matches!(self.from, Numbers::Type(ty) if *ty == self.to && (ty.is_quantized() || !allow_nan))
    }

    /// An error about one of its rows.
    fn error(&self, e: TypeError) -> ConvertError {
        ConvertError::Invalid(format!("{}: {e}", self.name))
    }

    /// The numbers of the row with the number `row`, after the patch and the change.
    fn numbers(&self, row: u64, bytes: &[u8], values: &mut [f32], scratch: &mut Vec<f32>) -> Result<()> {
        match self.from {
            Numbers::Type(ty) => decode_row(*ty, bytes, values).map_err(|e| self.error(e))?,
            Numbers::Fp8(scales) => scales.decode_row(row, bytes, values),
        }
        if let Some(patch) = self.patch {
            patch.apply(row, values);
        }
        self.change.apply(values, scratch);
        Ok(())
    }
}

/// Looks for weights that are infinite or not numbers in rows that are copied.
fn check(job: &Job, rows: Rows) -> Result<()> {
    if !job.to.is_decodable() {
        return Ok(());
    }
    rows.groups(job.cols).1.try_for_each(|(first, rows)| {
        for (bytes, row) in rows.zip(first..) {
            let named = |e| ConvertError::Invalid(format!("{}: row {row}: {e}", job.name));
            check_row(job.to, bytes, job.cols).map_err(named)?;
        }
        Ok(())
    })
}

/// Decodes and encodes rows, in groups spread over the threads of the pool.
fn recode(
    job: &Job,
    rows: Rows,
    (encoded, stride): (&mut [u8], usize),
    allow_nan: bool,
    lost: &Lost,
) -> Result<()> {
    let (group, groups) = rows.groups(job.cols);
    groups.zip(encoded.par_chunks_mut(group * stride)).try_for_each_init(
        || (vec![0f32; job.cols], Vec::new()),
        |(values, scratch), ((first, rows), encoded)| {
            for ((bytes, encoded), row) in rows.zip(encoded.chunks_exact_mut(stride)).zip(first..) {
                job.numbers(row, bytes, values, scratch)?;
                if !all_finite(values) {
                    if !allow_nan {
                        return Err(not_finite(job.name, row, values));
                    }
                    for value in values.iter_mut().filter(|value| !value.is_finite()) {
                        *value = 0.0;
                        lost.zeroed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if job.to == TensorType::F16 {
                    let overflowed = values.iter().filter(|v| v.abs() >= F16_OVERFLOW).count();
                    lost.overflowed.fetch_add(overflowed as u64, Ordering::Relaxed);
                }
                match job.encoder {
                    Encoder::Reference => encode_row(job.to, values, encoded),
                    Encoder::Searched(importance) => {
                        let importance = importance.map(|all| importance_of(job, row, all));
                        encode_row_searched(job.to, values, importance, encoded)
                    }
                }
                .map_err(|e| job.error(e))?;
            }
            Ok(())
        },
    )
}

/// A question that is asked of every weight: without a branch, it costs next to nothing.
fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(0, |most, value| most.max(value.abs().to_bits())) < f32::INFINITY.to_bits()
}

/// The error that names the first such weight.
fn not_finite(name: &str, row: u64, values: &[f32]) -> ConvertError {
    let column = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
    let value = values[column];
    ConvertError::Invalid(format!(
        "{name}: row {row}, column {column} is {value} (--allow-nan makes it zero)"
    ))
}

/// The importance of the columns that a row meets: those of its matrix.
fn importance_of<'a>(job: &Job, row: u64, all: &'a [f32]) -> &'a [f32] {
    let matrices = (all.len() / job.cols).max(1) as u64;
    let matrix = (row / (job.rows.end / matrices).max(1)).min(matrices - 1) as usize;
    &all[matrix * job.cols..(matrix + 1) * job.cols]
}

/// The smallest magnitude that rounds to infinity: half a step above the largest F16 number.
const F16_OVERFLOW: f32 = 65520.0;
