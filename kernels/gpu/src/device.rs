//! Finding an adapter and opening a device on it with all the limits and features that the kernels can use.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::error::{GpuError, Result};
use crate::execute::BindGroups;
use crate::pipelines::Pipelines;

/// Bytes of parameters that a kernel takes at most.
pub(crate) const PARAMETER_BYTES: u32 = 64;

/// What `doctor` shows of an adapter.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Its name.
    pub name: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// Discrete, integrated, virtual, or a CPU that pretends.
    pub kind: &'static str,
    /// Driver and version.
    pub driver: String,
    /// True where kernels are run by the CPU.
    pub software: bool,
    /// Largest part of a buffer that a kernel sees, in bytes.
    pub binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Threads that run in step, least and most; `None` without subgroup operations.
    pub subgroup: Option<(u32, u32)>,
    /// Half-precision arithmetic.
    pub f16: bool,
    /// Why it cannot be used, if so.
    pub unusable: Option<String>,
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Which of [`adapters`]; `None` takes the best.
    pub index: Option<usize>,
    /// Does without subgroup operations and half-precision arithmetic, as a device that has none.
    pub plain: bool,
    /// A smaller limit for bindings than the adapter's, in bytes.
    pub binding_bytes: Option<u64>,
    /// Where compiled kernels are kept between runs, for drivers that can do that.
    pub cache_dir: Option<PathBuf>,
}

/// An open device.
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) pipelines: Mutex<Pipelines>,
    pub(crate) bind_groups: Arc<Mutex<BindGroups>>,
    pub(crate) held: Arc<AtomicU64>,
    /// The last submission that nobody has waited for.
    pub(crate) under_way: Mutex<Option<wgpu::SubmissionIndex>>,
    pub(crate) grids: crate::upload::Grids,
    report: AdapterReport,
    lost: Arc<OnceLock<String>>,
    faults: Arc<Mutex<Option<String>>>,
    limits: wgpu::Limits,
    lanes: u32,
    use_subgroups: bool,
    use_f16: bool,
    integer_dot: OnceLock<bool>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("report", &self.report).finish_non_exhaustive()
    }
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn found() -> Vec<wgpu::Adapter> {
    pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY))
}

/// The adapters of this machine, in the order of their numbers.
pub fn adapters() -> Vec<AdapterReport> {
    found().iter().map(report).collect()
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    AdapterReport {
        unusable: unusable(adapter).map(|error| error.to_string()),
        name: info.name,
        backend: format!("{:?}", info.backend),
        kind,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        software: info.device_type == wgpu::DeviceType::Cpu,
        binding_bytes: limits.max_storage_buffer_binding_size,
        buffer_bytes: limits.max_buffer_size,
        subgroup: features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((info.subgroup_min_size, info.subgroup_max_size)),
        f16: features.contains(wgpu::Features::SHADER_F16),
    }
}

/// What every kernel needs and this adapter lacks.
fn unusable(adapter: &wgpu::Adapter) -> Option<GpuError> {
    let (name, limits) = (adapter.get_info().name, adapter.limits());
    let flags = adapter.get_downlevel_capabilities().flags;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some(GpuError::Missing { adapter: name, what: "the ability to compute" });
    }
    if !adapter.features().contains(wgpu::Features::IMMEDIATES) {
        return Some(GpuError::Missing { adapter: name, what: "the feature for immediate data" });
    }
    let least = [
        ("a kernel's parameters", limits.max_immediate_size, PARAMETER_BYTES),
        ("a workgroup's threads", limits.max_compute_invocations_per_workgroup, 256),
        ("a workgroup's memory", limits.max_compute_workgroup_storage_size, 16 << 10),
        ("a kernel's buffers", limits.max_storage_buffers_per_shader_stage, 8),
    ];
    let (what, limit, needed) = least.into_iter().find(|(_, limit, needed)| limit < needed)?;
    let (needed, limit) = (needed.into(), limit.into());
    Some(GpuError::Limit { adapter: name, what: what.into(), needed, limit })
}

/// A discrete GPU before an integrated one, and software last.
fn rank(adapter: &wgpu::Adapter) -> usize {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let order = [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu];
    let kind = adapter.get_info().device_type;
    let unusable = usize::from(unusable(adapter).is_some());
    unusable * order.len() + order.iter().position(|k| *k == kind).unwrap_or(order.len())
}

impl Gpu {
    /// Opens a device.
    ///
    /// # Errors
    /// There is no adapter, or not that one; it lacks what the kernels need; its driver refuses.
    pub fn open(options: &GpuOptions) -> Result<Gpu> {
        let mut all = found();
        let adapter = match options.index {
            Some(index) if index < all.len() => all.swap_remove(index),
            Some(wanted) => return Err(GpuError::NoSuchAdapter { wanted, found: all.len() }),
            None => {
                let none = || GpuError::NoAdapter("Vulkan, Metal and DX12 were asked".into());
                all.into_iter().min_by_key(rank).ok_or_else(none)?
            }
        };
        if let Some(error) = unusable(&adapter) {
            return Err(error);
        }
        let mut report = report(&adapter);
        let wanted = match options.plain {
            true => wgpu::Features::empty(),
            false => wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::PIPELINE_CACHE,
        };
        let features = (adapter.features() & wanted) | wgpu::Features::IMMEDIATES;
        let mut limits = adapter.limits();
        // Larger ones are not addressed by 32 bits.
        const LARGEST: u64 = 1 << 31;
        let binding = options.binding_bytes.unwrap_or(u64::MAX).min(LARGEST - 256);
        limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(binding);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("qwip"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..wgpu::DeviceDescriptor::default()
        };
        let refused = |e: wgpu::RequestDeviceError| driver(&report.name, &e.to_string());
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(refused)?;
        let (lost, faults) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(None)));
        let tell = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                // Only the first loss is of interest.
                let _ = tell.set(message);
            }
        });
        let keep = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&keep).get_or_insert_with(|| error.to_string());
        }));
        let use_subgroups = features.contains(wgpu::Features::SUBGROUP);
        if !use_subgroups {
            report.subgroup = None;
        }
        let largest_subgroup = report.subgroup.map_or(32, |(_, most)| most);
        report.f16 = features.contains(wgpu::Features::SHADER_F16);
        report.binding_bytes = limits.max_storage_buffer_binding_size;
        let pipelines = Pipelines::new(&device, &adapter.get_info(), options.cache_dir.as_deref());
        Ok(Gpu {
            use_f16: report.f16,
            integer_dot: OnceLock::new(),
            device,
            queue,
            pipelines: Mutex::new(pipelines),
            bind_groups: Arc::default(),
            held: Arc::default(),
            under_way: Mutex::default(),
            grids: crate::upload::Grids::default(),
            report,
            lost,
            faults,
            limits,
            lanes: largest_subgroup.clamp(32, 128),
            use_subgroups,
        })
    }

    /// What is known of the adapter.
    pub fn report(&self) -> &AdapterReport {
        &self.report
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.report.name
    }

    /// Largest part of a buffer that a kernel sees, in bytes.
    pub fn binding_bytes(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size
    }

    /// Largest buffer, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.limits.max_buffer_size
    }

    /// Bytes of device memory that are held.
    pub fn held_bytes(&self) -> u64 {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Threads that share a row of a matrix: at least as many as run in step.
    pub(crate) fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Whether kernels may use subgroup operations.
    pub(crate) fn subgroups(&self) -> bool {
        self.use_subgroups
    }

    /// Whether kernels may compute in half precision.
    pub(crate) fn f16(&self) -> bool {
        self.use_f16
    }

    /// Whether matrix products of codes as integers are faster here than in floats. Both give the same bits.
    pub(crate) fn integer_dot(&self) -> bool {
        // Until it has been measured: most drivers have an instruction for it, Metal does not.
        *self.integer_dot.get().unwrap_or(&(self.report.backend != "Metal"))
    }

    /// Whether that has been decided.
    pub(crate) fn integer_dot_is_known(&self) -> bool {
        self.integer_dot.get().is_some()
    }

    /// Decides, once, whether matrix products of quantized matrices multiply integers, which gives the same bits.
    pub fn set_integer_dot(&self, faster: bool) {
        // Whoever comes second has measured the same.
        let _ = self.integer_dot.set(faster);
    }

    /// Most workgroups in each dimension.
    pub(crate) fn grid(&self) -> u32 {
        self.limits.max_compute_workgroups_per_dimension
    }

    /// What has gone wrong since the last call, outside of an error scope.
    pub(crate) fn fault(&self) -> Result<()> {
        if let Some(message) = self.lost.get() {
            return Err(GpuError::Lost { adapter: self.name().into(), message: first_line(message) });
        }
        match lock(&self.faults).take() {
            Some(message) => Err(driver(self.name(), &message)),
            None => Ok(()),
        }
    }

    /// Runs what may fail for lack of memory or for what the driver thinks of it.
    pub(crate) fn scoped<T>(&self, what: &str, bytes: u64, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        // What the driver's compiler does not take.
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = make();
        let failed = pollster::block_on(internal.pop());
        let refused = pollster::block_on(validation.pop()).or(failed);
        let full = pollster::block_on(memory.pop());
        if full.is_some() {
            let (adapter, held) = (self.name().into(), self.held_bytes());
            return Err(GpuError::Memory { adapter, what: what.into(), bytes, held });
        }
        match refused {
            Some(error) => Err(driver(self.name(), &format!("{what}: {error}"))),
            None => Ok(made),
        }
    }

    /// Gives the device up: whatever is asked of it from now on fails as if it had been lost.
    pub fn destroy(&self) {
        // It may be lost already, for another reason.
        let _ = self.lost.set("it was given up".into());
        self.device.destroy();
    }

    /// Waits until the device has done everything.
    ///
    /// # Errors
    /// The device was lost, or reported something.
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits until the device has done that submission, or the last one.
    pub(crate) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let polled = self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        self.fault()?;
        polled.map(drop).map_err(|e| driver(self.name(), &e.to_string()))
    }
}

/// What a mutex holds, also after a panic elsewhere: everything here stays usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) fn driver(adapter: &str, message: &str) -> GpuError {
    GpuError::Driver { adapter: adapter.into(), message: first_line(message) }
}

/// wgpu's messages have a line for each cause; what matters stands in the first and the last.
pub(crate) fn first_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("unknown error");
    match lines.next_back() {
        Some(last) => format!("{first} ... {last}"),
        None => first.into(),
    }
}
