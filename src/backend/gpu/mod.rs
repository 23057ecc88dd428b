//! The verbs on a GPU: the layers from some one on, whose weights have been uploaded.
//!
//! A forward pass is the same sequence of verbs for every batch. So the weights of each verb are kept in that order: loading
//! runs the pass once with a backend that uploads what each verb is given (`load`), and computing takes them one after
//! the other (`forward`). Verbs are recorded, and run in one submission when logits are wanted.

mod delta;
mod experts;
mod forward;
mod load;
mod observe;
mod room;

use std::sync::{Arc, Mutex};

pub use qwip_gpu::{AdapterReport, Gpu, GpuError, GpuOptions, adapters};

pub(crate) use qwip_gpu::kv::{Page, PagePool};
pub(crate) use room::DeltaMemories;

use qwip_gpu::kv::KvTypes;
use qwip_gpu::ops::moe;

use super::{Batch, CpuBackend, Importance};
use crate::error::Result;
use crate::kv::{CacheTypes, KvType};
use crate::model::Model;
use crate::sample::{Candidates, Wanted};
use forward::{GpuBackend, Part};
use load::Verb;
use observe::Squares;
use room::Room;

/// A model whose last layers are on a GPU.
pub struct GpuModel {
    gpu: Arc<Gpu>,
    model: Arc<Model>,
    first_layer: usize,
    output: bool,
    verbs: Vec<Verb>,
    weight_bytes: u64,
    pools: Mutex<Vec<(CacheTypes, Arc<PagePool>)>>,
}

impl std::fmt::Debug for GpuModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GpuModel")
            .field("gpu", &self.gpu)
            .field("first_layer", &self.first_layer)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl GpuModel {
    /// Uploads the last `layers` layers, and the output projection if that is more than there are. `progress` hears bytes
    /// that have been read of the file, and may stop it by false.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if something does not fit; [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn load(
        gpu: Arc<Gpu>,
        model: Arc<Model>,
        layers: usize,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<GpuModel> {
        let all = model.config().layers;
        let (first_layer, output) = (all - layers.min(all), layers > all);
        // Before gigabytes are uploaded.
        shapes_fit(&gpu, &model)?;
        gpu.tune()?;
        let held = gpu.held_bytes();
        let verbs = load::upload(&gpu, &model, first_layer, output, progress)?;
        let weight_bytes = gpu.held_bytes().saturating_sub(held);
        Ok(GpuModel { gpu, model, first_layer, output, verbs, weight_bytes, pools: Mutex::default() })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The model that it has layers of.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The first layer that is here; those before are the CPU's.
    pub fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// Layers that are here.
    pub fn layers(&self) -> usize {
        self.model.config().layers - self.first_layer
    }

    /// Whether the output projection is here, too.
    pub fn has_output(&self) -> bool {
        self.output
    }

    /// Device memory that the weights take.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Tokens whose intermediate results fit the device's bindings.
    pub(crate) fn most_tokens(&self) -> usize {
        let c = self.model.config();
        let heads = c.heads * c.head_dim * 2 + 2 * c.kv_heads * c.head_dim;
        let nets = c.hybrid.as_ref().map_or(0, |hybrid| hybrid.heads.channels());
        let slots = c.experts.map_or(0, |e| e.routing.used * c.embedding.max(2 * e.ffn));
        let widest = c.embedding.max(2 * c.ffn).max(heads).max(nets).max(slots);
        // A grid has at most so many workgroups in its second dimension, one for each block of slots.
        let blocks = c.experts.map_or(usize::MAX, |e| {
            usize::from(u16::MAX).saturating_sub(e.count) * moe::TILE_TOKENS / e.routing.used
        });
        (self.gpu.binding_bytes() as usize / size_of::<f32>() / widest).min(blocks).max(1)
    }

    /// The adapter, and a hash of what else its numbers depend on: the driver, and which layers are here.
    pub(crate) fn fingerprint(&self) -> String {
        let AdapterReport { name, backend, driver, .. } = self.gpu.report();
        let rest = format!("{driver} {} {}", self.first_layer, self.output);
        // FNV-1a.
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = rest.bytes().fold(0x811c_9dc5, step);
        let words = format!("{backend} {name}").to_lowercase();
        let words: Vec<&str> =
            words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        format!("{}-{hash:08x}", words.join("-"))
    }

    /// The pool of pages for sessions that store keys and values so; `types` has the keys of all layers.
    pub(crate) fn pages(&self, types: &CacheTypes) -> Result<Arc<PagePool>> {
        let mut pools = self.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, pool)) = pools.iter().find(|(of, _)| of == types) {
            return Ok(pool.clone());
        }
        let config = self.model.config();
        let of = |ty: KvType| match ty {
            KvType::F32 => qwip_gpu::kv::KvType::F32,
            KvType::F16 => qwip_gpu::kv::KvType::F16,
            KvType::Q8_0 => qwip_gpu::kv::KvType::Q8_0,
        };
        let here = types.k.iter().skip(config.attention_layers_before(self.first_layer));
        let layers = here.map(|&k| KvTypes { k: of(k), v: of(types.v) }).collect();
        let pool = Arc::new(PagePool::new(self.gpu.clone(), config.kv_heads, config.head_dim, layers)?);
        pools.push((types.clone(), pool.clone()));
        Ok(pool)
    }

    /// What the delta nets here remember before the first token.
    pub(crate) fn delta_memories(&self) -> Result<Option<DeltaMemories>> {
        let config = self.model.config();
        let Some(hybrid) = &config.hybrid else { return Ok(None) };
        let layers = hybrid.attends[self.first_layer..].iter().filter(|attends| !**attends).count();
        DeltaMemories::new(self.gpu.clone(), forward::delta_heads(&hybrid.heads), layers).map(Some)
    }
}

/// Whether there are kernels for a model of these sizes.
fn shapes_fit(gpu: &Arc<Gpu>, model: &Model) -> Result<()> {
    let c = model.config();
    if let Some(found) = c.experts.map(|e| e.count).filter(|count| *count > moe::MAX_EXPERTS) {
        return Err(GpuError::Shape { what: "the number of experts", found, want: "up to 2048" }.into());
    }
    PagePool::new(gpu.clone(), c.kv_heads, c.head_dim, Vec::new())?;
    Ok(())
}

/// What a session has of its own on a device.
#[derive(Debug)]
pub(crate) struct DevicePart {
    model: Arc<GpuModel>,
    room: Room,
    /// What is wanted of the next logits, in place of all.
    wanted: Option<Wanted>,
    /// What came of it.
    found: Option<Candidates>,
    /// What the last batch took.
    work: Work,
    /// What meets the weights, where that is watched.
    squares: Option<Squares>,
}

/// What a batch takes of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Kernels.
    pub dispatches: usize,
    /// Submissions.
    pub submissions: usize,
    /// Bytes of all that the kernels work on, each part counted once for each kernel.
    pub bytes_moved: u64,
    /// Bytes that go to the device.
    pub bytes_written: u64,
    /// Bytes that come back.
    pub bytes_read: u64,
}

impl DevicePart {
    /// For a session with these layers on the device.
    pub(crate) fn new(model: Arc<GpuModel>) -> DevicePart {
        DevicePart {
            model,
            room: Room::default(),
            wanted: None,
            found: None,
            work: Work::default(),
            squares: None,
        }
    }

    /// For another session.
    pub(crate) fn another(&self) -> DevicePart {
        DevicePart::new(self.model.clone())
    }

    /// The layers on the device.
    pub(crate) fn model(&self) -> &Arc<GpuModel> {
        &self.model
    }

    /// What the last batch took.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// What is wanted of the logits of the next batch, in place of all.
    pub(crate) fn want(&mut self, wanted: Option<Wanted>) {
        (self.wanted, self.found) = (wanted, None);
    }

    /// What was found of it.
    pub(crate) fn found(&mut self) -> Option<Candidates> {
        self.wanted = None;
        self.found.take()
    }

    /// Runs a batch, which `cpu` begins. What meets the columns of the device's weights is added to `importance`.
    pub(crate) fn forward(
        &mut self,
        model: &Model,
        cpu: CpuBackend<'_>,
        batch: &Batch<'_>,
        importance: Option<&mut Importance>,
    ) -> Result<()> {
        if importance.is_some() {
            self.squares.get_or_insert_default().begin();
        } else {
            self.squares = None;
        }
        self.work = Work::default();
        let pool = cpu.part().kv.pool();
        let part = Part {
            device: &self.model,
            pool: pool.as_deref(),
            room: &mut self.room,
            wanted: self.wanted.as_ref(),
            found: &mut self.found,
            work: &mut self.work,
            squares: self.squares.as_mut(),
        };
        model.forward(&mut GpuBackend::new(cpu, part), batch)?;
        match (&self.squares, importance) {
            (Some(squares), Some(importance)) => squares.finish(self.model.gpu(), importance),
            _ => Ok(()),
        }
    }
}
