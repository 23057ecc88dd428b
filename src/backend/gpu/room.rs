//! Device memory of a session: intermediate results, and what delta nets remember.

use std::collections::HashMap;
use std::sync::Arc;

use qwip_gpu::ops::delta::{DeltaHeads, Memory};
use qwip_gpu::{Buffer, Gpu, Recording, Span};

use crate::error::Result;

/// Buffers for intermediate results, by name; each as large as it was needed so far.
#[derive(Debug, Default)]
pub(crate) struct Room {
    buffers: HashMap<&'static str, Buffer>,
    allowed: Option<(Arc<[u32]>, Span)>,
}

impl Room {
    /// The first `n` numbers of the buffer of that name.
    pub(crate) fn floats(&mut self, gpu: &Gpu, name: &'static str, n: usize) -> Result<Span> {
        let bytes = (n * 4).max(4) as u64;
        if let Some(buffer) = self.buffers.get(name).filter(|buffer| buffer.bytes() >= bytes) {
            return Ok(buffer.span(0, bytes));
        }
        self.buffers.remove(name);
        let buffer = gpu.buffer(name, bytes)?;
        let span = buffer.span(0, bytes);
        self.buffers.insert(name, buffer);
        Ok(span)
    }

    /// A mask of tokens, which is seldom another than the last time.
    pub(crate) fn allowed(&mut self, gpu: &Gpu, mask: &Arc<[u32]>) -> Result<Span> {
        if let Some((of, span)) = &self.allowed
            && Arc::ptr_eq(of, mask)
        {
            return Ok(span.clone());
        }
        let span = gpu.buffer("a mask of tokens", mask.len() as u64 * 4)?.whole();
        gpu.write(&span, &mask.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
        self.allowed = Some((mask.clone(), span.clone()));
        Ok(span)
    }
}

/// What the delta nets of some layers remember.
#[derive(Debug)]
pub(crate) struct DeltaMemories {
    gpu: Arc<Gpu>,
    heads: DeltaHeads,
    layers: Vec<Memory>,
}

impl DeltaMemories {
    /// Those of so many layers before the first token.
    pub(crate) fn new(gpu: Arc<Gpu>, heads: DeltaHeads, layers: usize) -> Result<DeltaMemories> {
        let memory = || -> Result<Memory> {
            Ok(Memory {
                rows: gpu.buffer("rows of a delta net", heads.rows_bytes())?.whole(),
                matrices: gpu.buffer("the memory of a delta net", heads.matrices_bytes())?.whole(),
            })
        };
        let layers = (0..layers).map(|_| memory()).collect::<Result<_>>()?;
        Ok(DeltaMemories { gpu, heads, layers })
    }

    /// The heads of each layer.
    pub(crate) fn heads(&self) -> &DeltaHeads {
        &self.heads
    }

    /// One layer's.
    pub(crate) fn layer(&self, index: usize) -> &Memory {
        &self.layers[index]
    }

    /// Room for a copy.
    pub(crate) fn another(&self) -> Result<DeltaMemories> {
        Self::new(self.gpu.clone(), self.heads, self.layers.len())
    }

    /// Becomes what `other` is.
    pub(crate) fn copy_from(&mut self, other: &DeltaMemories) {
        let mut rec = self.gpu.recording();
        for (to, from) in self.layers.iter().zip(&other.layers) {
            rec.copy(&from.rows, &to.rows);
            rec.copy(&from.matrices, &to.matrices);
        }
        self.submit(&rec);
    }

    /// Becomes what it is before the first token.
    pub(crate) fn clear(&mut self) {
        let mut rec = self.gpu.recording();
        for layer in &self.layers {
            rec.clear(&layer.rows);
            rec.clear(&layer.matrices);
        }
        self.submit(&rec);
    }

    /// What a copy that failed leaves behind belongs to no position: the device is given up, so that every later call fails.
    fn submit(&self, rec: &Recording) {
        if self.gpu.run(rec).is_err() {
            self.gpu.destroy();
        }
    }
}
