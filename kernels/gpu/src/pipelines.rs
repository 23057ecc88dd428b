//! Compiled kernels, each permutation once; between runs the driver's own cache keeps them on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::device::{Gpu, PARAMETER_BYTES, first_line};
use crate::error::{GpuError, Result};
use crate::preprocess::Define;
use crate::recording::Dispatch;
use crate::shaders::{self, Kernel};

/// A compiled kernel.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) compute: wgpu::ComputePipeline,
    pub(crate) bindings: wgpu::BindGroupLayout,
    pub(crate) id: u64,
}

/// All that have been compiled.
#[derive(Debug)]
pub(crate) struct Pipelines {
    made: HashMap<(Kernel, Vec<Define>), Arc<Pipeline>>,
    cache: Option<(wgpu::PipelineCache, PathBuf)>,
    /// For what is read back, kept from run to run.
    readback: Option<wgpu::Buffer>,
}

impl Pipelines {
    /// None yet; `dir` is where the driver's cache is kept.
    pub(crate) fn new(device: &wgpu::Device, info: &wgpu::AdapterInfo, dir: Option<&Path>) -> Pipelines {
        let file = dir.zip(wgpu::util::pipeline_cache_key(info)).map(|(dir, key)| dir.join(key));
        let cache = file.filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE));
        let open = |file: PathBuf| {
            let data = std::fs::read(&file).ok();
            let descriptor =
                wgpu::PipelineCacheDescriptor { label: Some("qwip"), data: data.as_deref(), fallback: true };
            // SAFETY: the data is what `get_data` gave an earlier run, for a device and driver of the same key; wgpu
            // checks a header with both, and `fallback` starts an empty cache if they differ. The file lies in the user's
            // own cache folder, as the driver's caches do.
            let cache = unsafe { device.create_pipeline_cache(&descriptor) };
            (cache, file)
        };
        Pipelines { made: HashMap::new(), cache: cache.map(open), readback: None }
    }

    /// The kernel of a dispatch, compiled if it is new.
    pub(crate) fn get(&mut self, gpu: &Gpu, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        let mut options = dispatch.options.clone();
        options.extend(gpu.common_options());
        let key = (dispatch.kernel, options);
        if let Some(pipeline) = self.made.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.make(gpu, dispatch, &key.1)?);
        self.made.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn make(&self, gpu: &Gpu, dispatch: &Dispatch, options: &[Define]) -> Result<Pipeline> {
        let name = dispatch.kernel.name();
        let refused = |message: String| GpuError::Kernel {
            adapter: gpu.name().into(),
            kernel: name.into(),
            message: first_line(&message),
        };
        let source = shaders::source(dispatch.kernel, options).map_err(refused)?;
        let entries: Vec<_> = (0u32..)
            .zip(shaders::bindings(&source))
            .map(|(binding, read_only)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let make = || {
            let bindings = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(name),
                entries: &entries,
            });
            let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(name),
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: PARAMETER_BYTES,
            });
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            };
            let module = gpu.device.create_shader_module(descriptor);
            let compute = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: self.cache.as_ref().map(|(cache, _)| cache),
            });
            Pipeline { compute, bindings, id: self.made.len() as u64 }
        };
        gpu.scoped(name, 0, make).map_err(|error| match error {
            GpuError::Driver { message, .. } => refused(message),
            other => other,
        })
    }

    /// Memory that can be mapped, of at least so many bytes; to be given back.
    pub(crate) fn take_readback(&mut self, gpu: &Gpu, bytes: u64) -> Result<wgpu::Buffer> {
        if let Some(buffer) = self.readback.take().filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer);
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("what is read back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        gpu.scoped("what is read back", bytes, || gpu.device.create_buffer(&descriptor))
    }

    /// Keeps memory that can be mapped for the next time.
    pub(crate) fn give_readback(&mut self, buffer: wgpu::Buffer) {
        self.readback = Some(buffer);
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        // A cache that cannot be written only costs time in the next run.
        if let Some((cache, file)) = &self.cache
            && let Some(data) = cache.get_data()
            && std::fs::read(file).ok().as_deref() != Some(&data[..])
        {
            let part = file.with_extension(format!("part{}", std::process::id()));
            if std::fs::write(&part, data).and_then(|()| std::fs::rename(&part, file)).is_err() {
                let _ = std::fs::remove_file(part);
            }
        }
    }
}

impl Gpu {
    /// Options that depend on the device alone.
    fn common_options(&self) -> Vec<Define> {
        let mut options = vec![("LANES", self.lanes())];
        if self.subgroups() {
            options.push(("SUBGROUP", 1));
        }
        if self.f16() {
            options.push(("F16", 1));
        }
        options
    }
}
