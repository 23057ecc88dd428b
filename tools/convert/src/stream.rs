//! Weights from one type to another, slab by slab, on all cores.

use crate::Progress;
use crate::error::{ConvertError, Result, gguf_error, invalid};
use crate::output::OutputFile;
use qwip_quant::gguf::DataWriter;
use qwip_quant::{TensorType, decode_row, encode_row, encode_row_searched};
use rayon::prelude::*;
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
    pub(crate) rows: u64,
    pub(crate) cols: usize,
    pub(crate) from: TensorType,
    pub(crate) to: TensorType,
    pub(crate) encoder: Encoder<'a>,
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
    source: Vec<u8>,
    encoded: Vec<u8>,
}

impl Stream {
    /// With so many threads; `None` is one a core.
    pub(crate) fn new(threads: Option<usize>) -> Result<Self> {
        let mut pool = rayon::ThreadPoolBuilder::new();
        if let Some(threads) = threads {
            pool = pool.num_threads(threads);
        }
        match pool.build() {
            Ok(pool) => Ok(Self { pool, source: Vec::new(), encoded: Vec::new() }),
            Err(e) => invalid(format!("cannot start threads: {e}")),
        }
    }

    /// Writes one tensor; returns how many finite weights became infinite.
    pub(crate) fn tensor(
        &mut self,
        job: &Job,
        read: Read,
        out: &mut DataWriter<OutputFile>,
        path: &Path,
        progress: &mut dyn Progress,
    ) -> Result<u64> {
        let row_bytes = |ty: TensorType| match ty.row_bytes(job.cols) {
            Some(bytes) => Ok(bytes),
            None => invalid(format!("{}: rows of {} do not fit {}", job.name, job.cols, ty.name())),
        };
        let (source_row, encoded_row) = (row_bytes(job.from)?, row_bytes(job.to)?);
        let slab_rows = (SLAB_ELEMENTS / job.cols).max(1) as u64;
        let overflowed = AtomicU64::new(0);
        let mut row = 0;
        while row < job.rows {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let rows = slab_rows.min(job.rows - row) as usize;
            self.source.resize(rows * source_row, 0);
            read(row * source_row as u64, &mut self.source)?;
            let bytes = if job.from == job.to {
                &self.source
            } else {
                self.encoded.resize(rows * encoded_row, 0);
                let (source, encoded) = (&self.source, &mut self.encoded);
                self.pool
                    .install(|| recode(job, row, source, source_row, encoded, encoded_row, &overflowed))?;
                &self.encoded
            };
            out.write(bytes).map_err(gguf_error(path))?;
            progress.advance(bytes.len() as u64, job.name);
            row += rows as u64;
        }
        Ok(overflowed.into_inner())
    }
}

/// Decodes and encodes whole rows, the first of which is `first`, in groups spread over the threads of the pool.
fn recode(
    job: &Job,
    first: u64,
    source: &[u8],
    source_row: usize,
    encoded: &mut [u8],
    encoded_row: usize,
    overflowed: &AtomicU64,
) -> Result<()> {
    let group = (GROUP_ELEMENTS / job.cols).max(1);
    let groups = source.par_chunks(group * source_row).zip(encoded.par_chunks_mut(group * encoded_row));
    groups.enumerate().try_for_each_init(
        || vec![0f32; job.cols],
        |values, (index, (source, encoded))| {
            let rows = source.chunks_exact(source_row).zip(encoded.chunks_exact_mut(encoded_row));
            for (row, (source, encoded)) in rows.enumerate() {
                let named = |e| ConvertError::Invalid(format!("{}: {e}", job.name));
                decode_row(job.from, source, values).map_err(named)?;
                if job.to == TensorType::F16 {
                    let lost = values.iter().filter(|v| v.is_finite() && v.abs() >= F16_OVERFLOW).count();
                    overflowed.fetch_add(lost as u64, Ordering::Relaxed);
                }
                match job.encoder {
                    Encoder::Reference => encode_row(job.to, values, encoded),
                    Encoder::Searched(importance) => {
                        let row = first + (index * group + row) as u64;
                        let importance = importance.map(|all| importance_of(job, row, all));
                        encode_row_searched(job.to, values, importance, encoded)
                    }
                }
                .map_err(named)?;
            }
            Ok(())
        },
    )
}

/// The importance of the columns that a row meets: those of its matrix.
fn importance_of<'a>(job: &Job, row: u64, all: &'a [f32]) -> &'a [f32] {
    let matrices = (all.len() / job.cols).max(1) as u64;
    let matrix = (row / (job.rows / matrices).max(1)).min(matrices - 1) as usize;
    &all[matrix * job.cols..(matrix + 1) * job.cols]
}

/// The smallest magnitude that rounds to infinity: half a step above the largest F16 number.
const F16_OVERFLOW: f32 = 65520.0;
