//! Keys and values of the attention layers on the GPU, in pages of 64 positions.
//!
//! A page is the slot of the same number in two buffers of every layer, with a tile for each key/value head. In a tile of
//! keys the positions lie side by side, a few dimensions at a time, so that 64 threads read 64 positions at once; in a
//! tile of values the dimensions of a position do. Sessions share a pool; a page is free again when its owner drops it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::buffer::{Buffer, Span};
use crate::device::{Gpu, lock};
use crate::error::{GpuError, Result};

/// Positions in a tile.
pub const TILE: usize = 64;
/// The largest dimension of a head.
pub const MAX_HEAD_DIM: usize = 256;
/// Pages that the first buffers have room for.
const FIRST_PAGES: u32 = 8;

/// How the cache stores a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KvType {
    /// Single precision.
    F32,
    /// Half precision; what is larger than 65504 becomes that.
    F16,
    /// 8-bit codes with a scale (here in single precision) for 32 dimensions of a position.
    Q8_0,
}

impl KvType {
    /// Bytes of a tile of head dimension `d`.
    pub const fn tile_bytes(self, d: usize) -> usize {
        match self {
            KvType::F32 => d * TILE * 4,
            KvType::F16 => d * TILE * 2,
            KvType::Q8_0 => d * TILE + d / 32 * TILE * 4,
        }
    }
}

/// How a layer stores keys and values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KvTypes {
    /// Keys.
    pub k: KvType,
    /// Values.
    pub v: KvType,
}

/// The pages of all layers that a model's attention has on the GPU.
///
/// A recording holds the buffers as they were when it was made, and those that a growing pool has left are no longer read. So
/// whoever makes a recording that writes into pages allocates them before and then [holds](PagePool::hold) the pool until it
/// has run.
pub struct PagePool {
    gpu: Arc<Gpu>,
    kv_heads: usize,
    head_dim: usize,
    types: Vec<KvTypes>,
    /// Locked before `slots`, where both are.
    growing: RwLock<()>,
    slots: Arc<Mutex<Slots>>,
}

struct Slots {
    /// Keys and values of each layer, `[capacity, kv_heads, tile]`, or more while some layers have grown.
    layers: Vec<(Buffer, Buffer)>,
    capacity: u32,
    /// Slots of no page; the next comes from the end.
    free: Vec<u32>,
}

/// A page. Its slot is free when it is dropped; what was submitted before still finds its content.
pub struct Page {
    slot: u32,
    slots: Arc<Mutex<Slots>>,
}

impl Page {
    /// The number by which page tables name it.
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        lock(&self.slots).free.push(self.slot);
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl fmt::Debug for PagePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagePool")
            .field("pages", &self.capacity())
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

impl PagePool {
    /// A pool for layers that store so, of `kv_heads` heads of `head_dim` elements. It takes no memory yet.
    ///
    /// # Errors
    /// The kernels cannot do heads of that dimension.
    pub fn new(gpu: Arc<Gpu>, kv_heads: usize, head_dim: usize, types: Vec<KvTypes>) -> Result<PagePool> {
        if head_dim == 0 || !head_dim.is_multiple_of(8) || head_dim > MAX_HEAD_DIM {
            let want = "multiples of 8, up to 256";
            return Err(GpuError::Shape { what: "the dimension of a head", found: head_dim, want });
        }
        let coded = types.iter().any(|types| [types.k, types.v].contains(&KvType::Q8_0));
        if coded && !head_dim.is_multiple_of(32) {
            let want = "multiples of 32 in a q8_0 cache";
            return Err(GpuError::Shape { what: "the dimension of a head", found: head_dim, want });
        }
        if kv_heads == 0 {
            let want = "1 or more";
            return Err(GpuError::Shape { what: "the number of key/value heads", found: kv_heads, want });
        }
        let slots = Slots { layers: Vec::new(), capacity: 0, free: Vec::new() };
        Ok(PagePool {
            gpu,
            kv_heads,
            head_dim,
            types,
            growing: RwLock::default(),
            slots: Arc::new(Mutex::new(slots)),
        })
    }

    /// How a layer stores keys and values.
    pub fn types(&self, layer: usize) -> KvTypes {
        self.types[layer]
    }

    /// Pages that there is room for.
    pub fn capacity(&self) -> usize {
        lock(&self.slots).capacity as usize
    }

    /// Bytes of device memory that are held.
    pub fn bytes(&self) -> u64 {
        lock(&self.slots).layers.iter().map(|(k, v)| k.bytes() + v.bytes()).sum()
    }

    /// Bytes of one page in all layers.
    pub fn page_bytes(&self) -> u64 {
        self.types.iter().map(|types| self.slot_bytes(types.k) + self.slot_bytes(types.v)).sum()
    }

    /// The keys and the values of a layer.
    ///
    /// # Panics
    /// No page has been allocated yet, or there is no such layer.
    pub fn layer(&self, layer: usize) -> (Span, Span) {
        let slots = lock(&self.slots);
        let (k, v) = &slots.layers[layer];
        (k.whole(), v.whole())
    }

    /// While it is held the pool does not grow. Whoever holds it allocates no pages.
    pub fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.growing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of arbitrary content. Where none is free, the pool grows to twice its size as soon as nobody holds it.
    ///
    /// # Errors
    /// More pages than a buffer can have, or than there is memory for; the pool stays as it was.
    pub fn allocate(&self) -> Result<Page> {
        let mut slots = lock(&self.slots);
        if slots.free.is_empty() {
            drop(slots);
            let _alone = self.growing.write().unwrap_or_else(PoisonError::into_inner);
            slots = lock(&self.slots);
            // Somebody else may have been first.
            if slots.free.is_empty() {
                self.grow(&mut slots)?;
            }
        }
        let slot = slots.free.pop().expect("a pool that has grown has free slots");
        Ok(Page { slot, slots: self.slots.clone() })
    }

    /// A page with the content that `page` has when everything submitted is done.
    ///
    /// # Errors
    /// As [`PagePool::allocate`]; the device was lost.
    pub fn copy(&self, page: &Page) -> Result<Page> {
        let copy = self.allocate()?;
        let _held = self.hold();
        // A copy within a buffer has to go through another one.
        let between = self.gpu.buffer("a page on its way", self.page_bytes())?;
        let (mut recording, mut at) = (self.gpu.recording(), 0);
        for ((k, v), types) in lock(&self.slots).layers.iter().zip(&self.types) {
            for (buffer, ty) in [(k, types.k), (v, types.v)] {
                let bytes = self.slot_bytes(ty);
                let place = |page: &Page| buffer.span(u64::from(page.slot) * bytes, bytes);
                recording.copy(&place(page), &between.span(at, bytes));
                recording.copy(&between.span(at, bytes), &place(&copy));
                at += bytes;
            }
        }
        self.gpu.run(&recording)?;
        Ok(copy)
    }

    /// Bytes of one page in a buffer of one layer: a multiple of 256, so that every slot can be a span.
    fn slot_bytes(&self, ty: KvType) -> u64 {
        (self.kv_heads * ty.tile_bytes(self.head_dim)) as u64
    }

    /// Makes room for twice as many pages, or as many as the device can do.
    fn grow(&self, slots: &mut Slots) -> Result<()> {
        let pages = slots.capacity;
        let largest =
            self.types.iter().map(|types| self.slot_bytes(types.k).max(self.slot_bytes(types.v))).max();
        let limit = self.gpu.binding_bytes().min(self.gpu.buffer_bytes());
        let most = largest.map_or(u64::MAX, |bytes| limit / bytes);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if most <= pages {
            let what = format!("one layer of {} pages of {TILE} positions", u64::from(pages) + 1);
            let needed = (u64::from(pages) + 1) * largest.unwrap_or(0);
            return Err(GpuError::Limit { adapter: self.gpu.name().into(), what, needed, limit });
        }
        let capacity = pages.saturating_mul(2).max(FIRST_PAGES).min(most);
        // One layer after the other, so that no more than one has its pages twice.
        for (i, types) in self.types.iter().enumerate() {
            let k = self.larger("keys", capacity, types.k, slots.layers.get(i).map(|layer| &layer.0))?;
            let v = self.larger("values", capacity, types.v, slots.layers.get(i).map(|layer| &layer.1))?;
            match slots.layers.get_mut(i) {
                Some(layer) => *layer = (k, v),
                None => slots.layers.push((k, v)),
            }
        }
        slots.capacity = capacity;
        slots.free.extend((pages..capacity).rev());
        Ok(())
    }

    /// A buffer for so many pages with the content of `old`; `old` itself if that has grown before.
    fn larger(&self, what: &str, pages: u32, ty: KvType, old: Option<&Buffer>) -> Result<Buffer> {
        let bytes = u64::from(pages) * self.slot_bytes(ty);
        if let Some(old) = old.filter(|old| old.bytes() >= bytes) {
            return Ok(old.clone());
        }
        let new = self.gpu.buffer(what, bytes)?;
        if let Some(old) = old {
            let mut recording = self.gpu.recording();
            recording.copy(&old.whole(), &new.whole());
            self.gpu.run(&recording)?;
        }
        Ok(new)
    }
}
