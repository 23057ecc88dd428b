//! Runs a recording: one encoder, one compute pass where nothing is copied in between, one submission.

use std::collections::HashMap;
use std::sync::Arc;

use crate::buffer::Span;
use crate::device::{Gpu, PARAMETER_BYTES, driver, lock};
use crate::error::{GpuError, Result};
use crate::pipelines::Pipeline;
use crate::recording::{Dispatch, Recording, Step};

/// Bind groups by the layout they are for and what they bind; those that have not been used lately go.
#[derive(Debug, Default)]
pub(crate) struct BindGroups {
    kept: HashMap<Key, (wgpu::BindGroup, u64)>,
    runs: u64,
}

/// The kernel's number; then of each part of a buffer that number, offset and size.
type Key = Vec<(u64, u64, u64)>;

/// A bind group that so many runs did without is dropped, and with it its hold on the buffers.
const FORGOTTEN_AFTER: u64 = 64;

impl BindGroups {
    /// Drops those that have a buffer which nobody else has any more: they would keep its memory.
    pub(crate) fn forget(&mut self, buffer: u64) {
        self.kept.retain(|key, _| key.iter().skip(1).all(|(id, _, _)| *id != buffer));
    }

    fn next_run(&mut self) {
        self.runs += 1;
        if self.runs.is_multiple_of(FORGOTTEN_AFTER) {
            let oldest = self.runs - FORGOTTEN_AFTER;
            self.kept.retain(|_, (_, used)| *used >= oldest);
        }
    }

    fn get(&mut self, gpu: &Gpu, layout: (&wgpu::BindGroupLayout, u64), spans: &[Span]) -> wgpu::BindGroup {
        let key = std::iter::once((layout.1, 0, 0))
            .chain(spans.iter().map(|span| (span.buffer.id, span.offset, span.bytes)))
            .collect();
        let runs = self.runs;
        let (group, used) = self.kept.entry(key).or_insert_with(|| {
            let entries: Vec<_> = (0u32..)
                .zip(spans)
                .map(|(binding, span)| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &span.buffer.raw,
                        offset: span.offset,
                        size: std::num::NonZeroU64::new(span.bytes),
                    }),
                })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: layout.0, entries: &entries };
            (gpu.device.create_bind_group(&descriptor), runs)
        });
        *used = runs;
        group.clone()
    }
}

impl Gpu {
    /// An empty recording for this device.
    pub fn recording(&self) -> Recording {
        self.recording_with(self.integer_dot())
    }

    /// An empty recording in which codes are multiplied as integers, or not.
    pub(crate) fn recording_with(&self, integer_dot: bool) -> Recording {
        Recording::new(self.lanes(), self.f16(), integer_dot)
    }

    /// Submits everything at once and gives back what the recording reads, if anything; then it has waited for it. Otherwise it
    /// waits for the recording before: what is written lies in the host's memory until the device has taken it, and a caller
    /// who is ahead by a whole prompt could not stop it.
    ///
    /// # Errors
    /// A kernel was refused, a part of a buffer is larger than a binding may be, the device was lost.
    pub fn run(&self, recording: &Recording) -> Result<Vec<u8>> {
        self.fault()?;
        // Compiled first: that takes long, and may fail.
        let pipelines = recording.dispatches().map(|dispatch| self.pipeline(dispatch));
        let mut pipelines = pipelines.collect::<Result<Vec<_>>>()?.into_iter();
        for (span, data) in &recording.writes {
            self.write(span, data);
        }
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        lock(&self.bind_groups).next_run();
        let mut steps = recording.steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Copy { from, to } => encoder.copy_buffer_to_buffer(
                    &from.buffer.raw,
                    from.offset,
                    &to.buffer.raw,
                    to.offset,
                    from.bytes,
                ),
                Step::Clear(span) => {
                    encoder.clear_buffer(&span.buffer.raw, span.offset, Some(span.bytes));
                }
                Step::Dispatch(first) => {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                    self.dispatch(&mut pass, first, pipelines.next());
                    while let Some(Step::Dispatch(next)) =
                        steps.next_if(|step| matches!(step, Step::Dispatch(_)))
                    {
                        self.dispatch(&mut pass, next, pipelines.next());
                    }
                }
            }
        }
        let Some(span) = &recording.read else {
            let submitted = self.queue.submit([encoder.finish()]);
            let before = lock(&self.under_way).replace(submitted);
            return match before {
                Some(before) => self.wait_for(Some(before)),
                None => self.fault(),
            }
            .map(|()| Vec::new());
        };
        let copy = lock(&self.pipelines).take_readback(self, span.bytes)?;
        encoder.copy_buffer_to_buffer(&span.buffer.raw, span.offset, &copy, 0, span.bytes);
        self.queue.submit([encoder.finish()]);
        let read = self.mapped(&copy, span.bytes)?;
        lock(&self.pipelines).give_readback(copy);
        Ok(read)
    }

    /// The compiled kernel of a dispatch that the device can do.
    fn pipeline(&self, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        for span in &dispatch.spans {
            if span.bytes > self.binding_bytes() {
                let (needed, limit) = (span.bytes, self.binding_bytes());
                let what = format!("a buffer of the kernel {}", dispatch.kernel.name());
                return Err(GpuError::Limit { adapter: self.name().into(), what, needed, limit });
            }
        }
        if dispatch.params.len() * 4 > PARAMETER_BYTES as usize {
            return Err(driver(self.name(), "a kernel has too many parameters"));
        }
        lock(&self.pipelines).get(self, dispatch)
    }

    fn dispatch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatch: &Dispatch,
        pipeline: Option<Arc<Pipeline>>,
    ) {
        let Some(pipeline) = pipeline else { unreachable!("there is one for each dispatch") };
        let layout = (&pipeline.bindings, pipeline.id);
        let group = lock(&self.bind_groups).get(self, layout, &dispatch.spans);
        pass.set_pipeline(&pipeline.compute);
        pass.set_bind_group(0, &group, &[]);
        if !dispatch.params.is_empty() {
            pass.set_immediates(0, bytemuck::cast_slice(&dispatch.params));
        }
        let [x, y, z] = dispatch.groups;
        let (x, fold) = if x > self.grid() { (self.grid(), x.div_ceil(self.grid())) } else { (x, 1) };
        pass.dispatch_workgroups(x, y * fold, z);
    }
}
