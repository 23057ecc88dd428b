//! Keys and values of a sequence, in pages of 64 positions.
//!
//! A page holds one tile for every layer and key/value head. Pages are allocated when the sequence reaches
//! them and shared by reference between sessions with the same beginning; whoever writes into a shared page
//! gets a copy of its own first.

mod budget;
mod recurrent;
mod sequence;

use std::sync::Arc;

pub use budget::{Charge, KvBudget};
use bytemuck::{cast_slice, cast_slice_mut};
use half::f16;
pub use qwip_cpu::KvType;
use qwip_cpu::kv::{store_key, store_value};
use qwip_cpu::{KvMut, KvRef, TILE};
pub use recurrent::{Recurrent, Snapshots};
pub(crate) use sequence::{Room, Sequence};

use crate::backend::gpu;
use crate::error::{Error, Result};
use crate::model::{Config, Model};

/// Keys or values of one layer in a page: [kv_heads, tile]; a tile is [head_dim, 64] for keys (positions in
/// lanes) and [64, head_dim] for values.
#[derive(Clone, Debug)]
enum Store {
    F16(Vec<f16>),
    F32(Vec<f32>),
    Q8_0 { codes: Vec<i8>, scales: Vec<f16> },
}

impl Store {
    fn new(ty: KvType, elements: usize) -> Result<Store> {
        Ok(match ty {
            KvType::F16 => Store::F16(zeros(elements, CACHE)?),
            KvType::F32 => Store::F32(zeros(elements, CACHE)?),
            KvType::Q8_0 => {
                Store::Q8_0 { codes: zeros(elements, CACHE)?, scales: zeros(elements / 32, CACHE)? }
            }
        })
    }

    fn tile(&self, start: usize, len: usize) -> KvRef<'_> {
        match self {
            Store::F16(x) => KvRef::F16(&x[start..start + len]),
            Store::F32(x) => KvRef::F32(&x[start..start + len]),
            Store::Q8_0 { codes, scales } => KvRef::Q8_0 {
                codes: &codes[start..start + len],
                scales: &scales[start / 32..(start + len) / 32],
            },
        }
    }

    fn tile_mut(&mut self, start: usize, len: usize) -> KvMut<'_> {
        match self {
            Store::F16(x) => KvMut::F16(&mut x[start..start + len]),
            Store::F32(x) => KvMut::F32(&mut x[start..start + len]),
            Store::Q8_0 { codes, scales } => KvMut::Q8_0 {
                codes: &mut codes[start..start + len],
                scales: &mut scales[start / 32..(start + len) / 32],
            },
        }
    }

    /// Everything as bytes in the machine's order.
    fn bytes(&self) -> [&[u8]; 2] {
        match self {
            Store::F16(x) => [cast_slice(x), &[]],
            Store::F32(x) => [cast_slice(x), &[]],
            Store::Q8_0 { codes, scales } => [cast_slice(codes), cast_slice(scales)],
        }
    }

    fn bytes_mut(&mut self) -> [&mut [u8]; 2] {
        match self {
            Store::F16(x) => [cast_slice_mut(x), &mut []],
            Store::F32(x) => [cast_slice_mut(x), &mut []],
            Store::Q8_0 { codes, scales } => [cast_slice_mut(codes), cast_slice_mut(scales)],
        }
    }
}

const CACHE: &str = "the key/value cache";

fn zeros<T: Clone + Default>(n: usize, what: &'static str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    let bytes = (n * size_of::<T>()) as u64;
    v.try_reserve_exact(n).map_err(|_| Error::Memory { what, bytes })?;
    v.resize(n, T::default());
    Ok(v)
}

#[derive(Clone, Debug)]
struct LayerPage {
    k: Store,
    v: Store,
}

/// 64 positions of all layers.
#[derive(Debug)]
struct Page {
    layers: Vec<LayerPage>,    // those that the CPU has
    device: Option<gpu::Page>, // the others
    charge: Option<Charge>,    // what it takes of a budget, for as long as any session has it
}

/// The cache of one sequence.
#[derive(Clone, Debug)]
pub struct KvCache {
    kv_heads: usize,
    head_dim: usize,
    types: CacheTypes,
    device: Option<Arc<gpu::PagePool>>,
    budget: Option<Arc<KvBudget>>,
    pages: Vec<Arc<Page>>,
    len: usize,
}

/// How keys and values are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTypes {
    /// Keys, for each layer with attention.
    pub k: Vec<KvType>,
    /// Values, in all layers.
    pub v: KvType,
}

impl CacheTypes {
    /// The types that a session on `model` uses when `k` and `v` are asked for: those, but f32 for the keys
    /// of layers with large key biases.
    ///
    /// Qwen2 and Qwen2.5 have biases of a hundred and more in some layers (most of all the first and the
    /// last). They add nearly the same number to every score, which softmax takes away again; what stays is
    /// the rounding of the keys that carry them, and in half precision that is as large as the differences
    /// the layer attends by.
    pub fn for_model(model: &Model, k: KvType, v: KvType) -> CacheTypes {
        const LARGE: f32 = 32.0; // from here on, half precision's steps are 1/32 and more
        let of = |bias: f32| if bias >= LARGE { KvType::F32 } else { k };
        CacheTypes { k: model.largest_key_biases().into_iter().map(of).collect(), v }
    }

    /// Bytes of one page, for key/value heads of `head_dim` elements.
    fn page_bytes(&self, kv_heads: usize, head_dim: usize) -> u64 {
        let layer = |k: &KvType| (kv_heads * (k.tile_bytes(head_dim) + self.v.tile_bytes(head_dim))) as u64;
        self.k.iter().map(layer).sum()
    }

    /// Bytes of keys and values of one position, in all layers, of a model of these sizes.
    pub fn bytes_per_token(&self, config: &Config) -> u64 {
        self.page_bytes(config.kv_heads, config.head_dim) / TILE as u64
    }
}

impl KvCache {
    /// An empty cache for the layers of a model that `types` has keys of, beside those of `device`. `q8_0` needs heads of a
    /// multiple of 32 elements.
    pub(crate) fn new(
        config: &Config,
        types: CacheTypes,
        device: Option<Arc<gpu::PagePool>>,
    ) -> Result<KvCache> {
        let &Config { kv_heads, head_dim, .. } = config;
        if !types.k.iter().chain([&types.v]).all(|ty| ty.fits(head_dim)) {
            return Err(Error::BadOption {
                what: "cache type",
                found: "q8_0".into(),
                want: format!("f16 or f32, because the heads have {head_dim} elements"),
            });
        }
        Ok(KvCache { kv_heads, head_dim, types, device, budget: None, pages: Vec::new(), len: 0 })
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the pages held (shared ones count in every cache that holds them).
    pub fn bytes(&self) -> u64 {
        self.pages.len() as u64 * self.page_bytes()
    }

    /// Bytes of a budget that the pages held have taken (as with [`bytes`](KvCache::bytes)).
    pub(crate) fn charged(&self) -> u64 {
        self.pages.iter().filter_map(|page| page.charge.as_ref()).map(Charge::bytes).sum()
    }

    fn page_bytes(&self) -> u64 {
        let device = self.device.as_ref().map_or(0, |pool| pool.page_bytes());
        self.types.page_bytes(self.kv_heads, self.head_dim) + device
    }

    /// From now on new pages are taken of a budget.
    pub(crate) fn set_budget(&mut self, budget: Arc<KvBudget>) {
        self.budget = Some(budget);
    }

    /// What new pages are taken of.
    pub(crate) fn budget(&self) -> Option<&Arc<KvBudget>> {
        self.budget.as_ref()
    }

    /// Forgets everything from position `len` on and gives pages that are no longer reached back.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(TILE));
    }

    /// Makes room for `n` more positions: allocates missing pages, copies a shared one that will be written.
    ///
    /// # Errors
    /// [`Error::KvMemory`], [`Error::Memory`], [`Error::Gpu`]; what has been reserved goes with [`KvCache::truncate`].
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        // The page that is written first, if another sequence has it, too.
        let shared = (!self.len.is_multiple_of(TILE))
            .then_some(self.len / TILE)
            .filter(|&page| self.pages.get_mut(page).is_some_and(|page| Arc::get_mut(page).is_none()));
        let missing = (self.len + n).div_ceil(TILE).saturating_sub(self.pages.len());
        let new = missing as u64 + u64::from(shared.is_some());
        let page_bytes = self.page_bytes();
        let mut charge = match &self.budget {
            Some(budget) if new > 0 => Some(budget.charge(new.saturating_mul(page_bytes))?),
            _ => None,
        };
        let mut take = || charge.as_mut().map(|charge| charge.split(page_bytes));
        if let Some(page) = shared {
            let page = &mut self.pages[page];
            let copy =
                |pool: &Arc<gpu::PagePool>| page.device.as_ref().map(|page| pool.copy(page)).transpose();
            let device = self.device.as_ref().map(copy).transpose()?.flatten();
            *page = Arc::new(Page { layers: page.layers.clone(), device, charge: take() });
        }
        for _ in 0..missing {
            let elements = self.kv_heads * self.tile_elements();
            let layer = |&k: &KvType| {
                Ok(LayerPage { k: Store::new(k, elements)?, v: Store::new(self.types.v, elements)? })
            };
            let layers = self.types.k.iter().map(layer).collect::<Result<_>>()?;
            let device = self.device.as_ref().map(|pool| pool.allocate()).transpose()?;
            self.pages.push(Arc::new(Page { layers, device, charge: take() }));
        }
        Ok(())
    }

    /// The pool of the layers on a device.
    #[cfg(feature = "gpu")]
    pub(crate) fn pool(&self) -> Option<Arc<gpu::PagePool>> {
        self.device.clone()
    }

    /// The pool of the layers on a device, and of each page there the slot.
    #[cfg(feature = "gpu")]
    pub(crate) fn device(&self) -> Option<(&gpu::PagePool, impl Iterator<Item = u32>)> {
        let slots = self.pages.iter().filter_map(|page| page.device.as_ref()).map(|page| page.slot());
        self.device.as_deref().map(|pool| (pool, slots))
    }

    /// Stores key and value (`[head_dim]` each) of one head at `position`, which must have been reserved.
    pub fn store(&mut self, layer: usize, head: usize, position: usize, k: &[f32], v: &[f32]) {
        let len = self.tile_elements();
        let start = head * len;
        let Some(page) = Arc::get_mut(&mut self.pages[position / TILE]) else {
            unreachable!("a page that is written into has been reserved");
        };
        let page = &mut page.layers[layer];
        store_key(k, position % TILE, page.k.tile_mut(start, len));
        store_value(v, position % TILE, page.v.tile_mut(start, len));
    }

    /// The tiles of keys and values of one head for positions `64 * tile ..`.
    pub fn tile(&self, layer: usize, head: usize, tile: usize) -> (KvRef<'_>, KvRef<'_>) {
        let len = self.tile_elements();
        let start = head * len;
        let page = &self.pages[tile].layers[layer];
        (page.k.tile(start, len), page.v.tile(start, len))
    }

    /// What the pages hold, in order; the bytes of layers on a device are not among them.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        let layers = self.pages.iter().flat_map(|page| &page.layers);
        layers.flat_map(|layer| [&layer.k, &layer.v]).flat_map(Store::bytes)
    }

    /// What the last page holds, to be filled; a page that is shared has nothing to fill.
    pub(crate) fn last_page_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let layers =
            self.pages.last_mut().and_then(Arc::get_mut).into_iter().flat_map(|page| &mut page.layers);
        layers.flat_map(|layer| [&mut layer.k, &mut layer.v]).flat_map(Store::bytes_mut)
    }

    /// How keys and values are stored.
    pub(crate) fn types(&self) -> &CacheTypes {
        &self.types
    }

    /// Elements of one head's tile of keys (or of values).
    fn tile_elements(&self) -> usize {
        self.head_dim * TILE
    }

    /// Counts `n` stored positions as held.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.pages.len() * TILE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rope, Scaling};

    fn config() -> Config {
        Config {
            layers: 2,
            mtp_layers: 0,
            embedding: 64,
            ffn: 64,
            experts: None,
            hybrid: None,
            heads: 2,
            kv_heads: 2,
            head_dim: 32,
            vocab: 10,
            context: 1000,
            eps: 1e-6,
            rope: Rope { theta: 1e4, rotated: 32, scaling: Scaling::None },
            logn: None,
            causal: true,
        }
    }

    fn types(k: [KvType; 2], v: KvType) -> CacheTypes {
        CacheTypes { k: k.to_vec(), v }
    }

    #[test]
    fn pages_come_when_reached_and_go_when_truncated() {
        let mut kv = KvCache::new(&config(), types([KvType::F16, KvType::F32], KvType::Q8_0), None).unwrap();
        assert_eq!(kv.bytes(), 0);
        kv.reserve(64).unwrap();
        kv.advance(64);
        assert_eq!(kv.pages.len(), 1);
        kv.reserve(1).unwrap();
        kv.advance(1);
        assert_eq!(kv.pages.len(), 2);
        let head = 32 * 64; // elements of a tile
        assert_eq!(kv.bytes(), 2 * 2 * (head * 2 + head * 4 + 2 * head * 34 / 32));
        assert_eq!(kv.types.bytes_per_token(&config()) * 128, kv.bytes());
        kv.truncate(64);
        assert_eq!((kv.len(), kv.pages.len()), (64, 1));
    }

    #[test]
    fn a_shared_page_is_copied_when_written() {
        let mut a = KvCache::new(&config(), types([KvType::F32; 2], KvType::F32), None).unwrap();
        a.reserve(3).unwrap();
        let (one, two) = (vec![1.0; 32], vec![2.0; 32]);
        a.store(1, 1, 2, &one, &one);
        a.advance(3);
        let mut b = a.clone();
        b.reserve(1).unwrap();
        b.store(1, 1, 2, &two, &two);
        let read = |kv: &KvCache| match kv.tile(1, 1, 0) {
            (KvRef::F32(k), KvRef::F32(v)) => (k[2], v[2 * 32]),
            _ => unreachable!("the cache is f32"),
        };
        assert_eq!((read(&a), read(&b)), ((1.0, 1.0), (2.0, 2.0)));
    }

    #[test]
    fn q8_0_needs_whole_blocks() {
        let config = Config { head_dim: 16, ..config() };
        let error =
            KvCache::new(&config, types([KvType::Q8_0; 2], KvType::F16), None).unwrap_err().to_string();
        assert!(error.contains("16"), "{error}");
    }
}
