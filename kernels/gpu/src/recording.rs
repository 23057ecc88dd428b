//! What a GPU is to do, as plain data: it can be counted and looked at before anything runs.

use qwip_quant::TensorType;

use crate::buffer::Span;
use crate::preprocess::Define;
use crate::shaders::Kernel;

/// One kernel over a grid of workgroups.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which.
    pub kernel: Kernel,
    /// Its options, which choose a permutation.
    pub options: Vec<Define>,
    /// What it works on, in the order of its bindings.
    pub spans: Vec<Span>,
    /// Its parameters, words; floats by their bits.
    pub params: Vec<u32>,
    /// Workgroups. The first number may be larger than a device's limit: it is folded.
    pub groups: [u32; 3],
    /// Bytes of the parts of buffers that it works on.
    pub bytes: u64,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// A kernel.
    Dispatch(Dispatch),
    /// Bytes from one place to another.
    Copy {
        /// From here.
        from: Span,
        /// To here, as many bytes.
        to: Span,
    },
    /// Zeros.
    Clear(Span),
}

/// Steps that are submitted together, each after the one before.
#[derive(Clone, Debug)]
pub struct Recording {
    lanes: u32,
    f16: bool,
    integer_dot: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) read: Option<Span>,
    pub(crate) writes: Vec<(Span, Vec<u8>)>,
}

impl Recording {
    /// Nothing to do yet, for a device with so many threads to a row of a matrix, perhaps half precision, and perhaps fast
    /// products of integers.
    pub(crate) fn new(lanes: u32, f16: bool, integer_dot: bool) -> Recording {
        Recording { lanes, f16, integer_dot, steps: Vec::new(), read: None, writes: Vec::new() }
    }

    /// Workgroups of `linear.wgsl` for so many rows, of which each thread works on `each`.
    pub(crate) fn teams(&self, rows: usize, each: usize) -> u32 {
        rows.div_ceil(128 / self.lanes as usize * each) as u32
    }

    /// Tokens in a tile of `linear_tiled.wgsl`: those of quantized matrices fit the memory of a workgroup with scales beside
    /// them if their codes are no f32.
    pub(crate) fn tile(&self, ty: TensorType, tokens: usize) -> usize {
        if tokens <= 32 || ty.is_quantized() && !self.f16 && !self.integer_dot { 32 } else { 64 }
    }

    /// Whether `linear_tiled.wgsl` multiplies integers.
    pub(crate) fn integer_dot(&self, ty: TensorType) -> bool {
        self.integer_dot && ty.is_quantized()
    }

    /// Adds a kernel. Without workgroups nothing is added.
    pub fn dispatch(
        &mut self,
        kernel: Kernel,
        options: &[Define],
        spans: &[&Span],
        params: &[u32],
        groups: [u32; 3],
    ) {
        if groups.contains(&0) {
            return;
        }
        let bytes = spans.iter().map(|span| span.bytes).sum();
        let spans = spans.iter().map(|&span| span.clone()).collect();
        let (options, params) = (options.to_vec(), params.to_vec());
        self.steps.push(Step::Dispatch(Dispatch { kernel, options, spans, params, groups, bytes }));
    }

    /// Says that the last kernel works on so many bytes less than it is given: a cache has room for more than there is.
    pub(crate) fn leaves(&mut self, bytes: u64) {
        if let Some(Step::Dispatch(dispatch)) = self.steps.last_mut() {
            dispatch.bytes = dispatch.bytes.saturating_sub(bytes);
        }
    }

    /// Adds a copy of all of `from` to the beginning of `to`.
    pub fn copy(&mut self, from: &Span, to: &Span) {
        debug_assert!(from.bytes <= to.bytes);
        self.steps.push(Step::Copy { from: from.clone(), to: to.clone() });
    }

    /// Adds zeros in all of `span`.
    pub fn clear(&mut self, span: &Span) {
        self.steps.push(Step::Clear(span.clone()));
    }

    /// Puts `data`, whole words, at the beginning of `span` before the first step.
    pub fn write(&mut self, span: &Span, data: Vec<u8>) {
        debug_assert!(data.len() as u64 <= span.bytes && data.len().is_multiple_of(4));
        self.writes.push((span.clone(), data));
    }

    /// Makes `span` what [`Gpu::run`](crate::Gpu::run) returns.
    pub fn read(&mut self, span: &Span) {
        self.read = Some(span.clone());
    }

    /// The kernels, in order.
    pub fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.steps.iter().filter_map(|step| match step {
            Step::Dispatch(dispatch) => Some(dispatch),
            Step::Copy { .. } | Step::Clear(_) => None,
        })
    }

    /// Bytes that come back to the host.
    pub fn bytes_read(&self) -> u64 {
        self.read.as_ref().map_or(0, |span| span.bytes)
    }

    /// Bytes that go to the device.
    pub fn bytes_written(&self) -> u64 {
        self.writes.iter().map(|(_, data)| data.len() as u64).sum()
    }

    /// Bytes of all that the kernels work on, each part counted once for each kernel.
    pub fn bytes_moved(&self) -> u64 {
        self.dispatches().map(|d| d.bytes).sum()
    }
}
