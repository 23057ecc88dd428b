//! Handles of device memory.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::device::{Gpu, driver, lock};
use crate::error::{GpuError, Result};
use crate::execute::BindGroups;

/// Parts of a buffer begin at multiples of this.
pub const ALIGNMENT: u64 = 256;

/// Device memory; copies are the same memory, which is given back with the last of them.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(crate) raw: wgpu::Buffer,
    /// Distinguishes buffers.
    pub(crate) id: u64,
    _counted: Arc<Counted>,
}

/// Takes the bytes off the count of what is held, and the buffer out of the bind groups.
struct Counted {
    id: u64,
    bytes: u64,
    held: Arc<AtomicU64>,
    bind_groups: Arc<Mutex<BindGroups>>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.bind_groups).forget(self.id);
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A part of a buffer, as kernels see it.
#[derive(Clone, Debug)]
pub struct Span {
    /// The buffer.
    pub buffer: Buffer,
    /// First byte, a multiple of 256.
    pub offset: u64,
    /// Bytes, a multiple of 4.
    pub bytes: u64,
}

impl Buffer {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.raw.size()
    }

    /// All of it.
    pub fn whole(&self) -> Span {
        self.span(0, self.bytes())
    }

    /// A part of it.
    pub fn span(&self, offset: u64, bytes: u64) -> Span {
        debug_assert!(offset.is_multiple_of(ALIGNMENT) && offset + bytes <= self.bytes());
        Span { buffer: self.clone(), offset, bytes }
    }
}

impl Gpu {
    /// Memory of `bytes` bytes, rounded up to whole words, all zero.
    ///
    /// # Errors
    /// It is more than a buffer may be, or than there is.
    pub fn buffer(&self, what: &str, bytes: u64) -> Result<Buffer> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let size = bytes.max(4).next_multiple_of(4);
        if size > self.buffer_bytes() {
            let (adapter, limit) = (self.name().into(), self.buffer_bytes());
            return Err(GpuError::Limit { adapter, what: what.into(), needed: size, limit });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation: false };
        let raw = self.scoped(what, size, || self.device.create_buffer(&descriptor))?;
        self.held.fetch_add(size, Ordering::Relaxed);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (held, bind_groups) = (self.held.clone(), self.bind_groups.clone());
        Ok(Buffer { raw, id, _counted: Arc::new(Counted { id, bytes: size, held, bind_groups }) })
    }

    /// Puts `data`, whole words, at the beginning of `span` before whatever is submitted next.
    pub fn write(&self, span: &Span, data: &[u8]) {
        debug_assert!(data.len() as u64 <= span.bytes && data.len().is_multiple_of(4));
        self.queue.write_buffer(&span.buffer.raw, span.offset, data);
    }

    /// What `span` holds when everything submitted is done. Waits for that.
    ///
    /// # Errors
    /// The device was lost, or memory for the copy is short.
    pub fn read(&self, span: &Span) -> Result<Vec<u8>> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("a copy to read"),
            size: span.bytes,
            usage,
            mapped_at_creation: false,
        };
        let copy = self.scoped("a copy to read", span.bytes, || self.device.create_buffer(&descriptor))?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&span.buffer.raw, span.offset, &copy, 0, span.bytes);
        self.queue.submit([encoder.finish()]);
        self.mapped(&copy, span.bytes)
    }

    /// The first bytes of a buffer that can be mapped, once everything submitted is done.
    pub(crate) fn mapped(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>> {
        let (send, receive) = std::sync::mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            // Nobody waits any more if waiting failed.
            let _ = send.send(result);
        });
        self.wait()?;
        let failed = |message: String| driver(self.name(), &message);
        match receive.try_recv() {
            Ok(Ok(())) => {
                let view = buffer.get_mapped_range(..bytes).map_err(|e| failed(e.to_string()))?;
                let data = view.to_vec();
                drop(view);
                buffer.unmap();
                Ok(data)
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
