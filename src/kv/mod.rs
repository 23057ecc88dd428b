//! Keys and values of a sequence, in pages of 64 positions.
//!
//! A page holds one tile for every layer and key/value head. Pages are allocated when the sequence reaches
//! them and shared by reference between sessions with the same beginning; whoever writes into a shared page
//! gets a copy of its own first.

use std::sync::Arc;

use half::f16;
pub use qwip_cpu::KvType;
use qwip_cpu::kv::{store_key, store_value};
use qwip_cpu::{KvMut, KvRef, TILE};

use crate::error::{Error, Result};
use crate::model::Config;

/// The sizes that a page's layout follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Layout {
    /// Elements of one tile.
    fn tile(self) -> usize {
        self.head_dim * TILE
    }

    /// Elements of one page's keys (or values).
    fn page(self) -> usize {
        self.layers * self.kv_heads * self.tile()
    }

    /// Where the tile of a layer and head starts, in elements.
    fn start(self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * self.tile()
    }
}

/// Keys or values of one page: [layers, kv_heads, tile]; a tile is [head_dim, 64] for keys (positions in
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
            KvType::F16 => Store::F16(zeros(elements)?),
            KvType::F32 => Store::F32(zeros(elements)?),
            KvType::Q8_0 => Store::Q8_0 { codes: zeros(elements)?, scales: zeros(elements / 32)? },
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
}

fn zeros<T: Clone + Default>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    let bytes = (n * size_of::<T>()) as u64;
    v.try_reserve_exact(n).map_err(|_| Error::Memory { what: "the key/value cache", bytes })?;
    v.resize(n, T::default());
    Ok(v)
}

#[derive(Clone, Debug)]
struct Page {
    k: Store,
    v: Store,
}

/// The cache of one sequence.
#[derive(Clone, Debug)]
pub struct KvCache {
    layout: Layout,
    k_type: KvType,
    v_type: KvType,
    pages: Vec<Arc<Page>>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model. `q8_0` needs heads of a multiple of 32 elements.
    pub fn new(config: &Config, k_type: KvType, v_type: KvType) -> Result<KvCache> {
        if !k_type.fits(config.head_dim) || !v_type.fits(config.head_dim) {
            return Err(Error::BadOption {
                what: "cache type",
                found: "q8_0".into(),
                want: format!("f16 or f32, because the heads have {} elements", config.head_dim),
            });
        }
        let layout = Layout { layers: config.layers, kv_heads: config.kv_heads, head_dim: config.head_dim };
        Ok(KvCache { layout, k_type, v_type, pages: Vec::new(), len: 0 })
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
        let tile = |ty: KvType| ty.tile_bytes(self.layout.head_dim) as u64;
        let tiles = self.pages.len() * self.layout.layers * self.layout.kv_heads;
        tiles as u64 * (tile(self.k_type) + tile(self.v_type))
    }

    /// Forgets everything from position `len` on and gives pages that are no longer reached back.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(TILE));
    }

    /// Makes room for `n` more positions: allocates missing pages, copies a shared one that will be written.
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        if !self.len.is_multiple_of(TILE)
            && let Some(last) = self.pages.last_mut()
        {
            Arc::make_mut(last);
        }
        while self.pages.len() * TILE < self.len + n {
            let elements = self.layout.page();
            let page = Page { k: Store::new(self.k_type, elements)?, v: Store::new(self.v_type, elements)? };
            self.pages.push(Arc::new(page));
        }
        Ok(())
    }

    /// Stores key and value (`[head_dim]` each) of one head at `position`, which must have been reserved.
    pub fn store(&mut self, layer: usize, head: usize, position: usize, k: &[f32], v: &[f32]) {
        let layout = self.layout;
        let (start, len) = (layout.start(layer, head), layout.tile());
        let page = Arc::make_mut(&mut self.pages[position / TILE]);
        store_key(k, position % TILE, page.k.tile_mut(start, len));
        store_value(v, position % TILE, page.v.tile_mut(start, len));
    }

    /// The tiles of keys and values of one head for positions `64 * tile ..`.
    pub fn tile(&self, layer: usize, head: usize, tile: usize) -> (KvRef<'_>, KvRef<'_>) {
        let (start, len) = (self.layout.start(layer, head), self.layout.tile());
        let page = &self.pages[tile];
        (page.k.tile(start, len), page.v.tile(start, len))
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
            embedding: 64,
            ffn: 64,
            heads: 2,
            kv_heads: 2,
            head_dim: 32,
            vocab: 10,
            context: 1000,
            eps: 1e-6,
            rope: Rope { theta: 1e4, rotated: 32, scaling: Scaling::None },
        }
    }

    #[test]
    fn pages_come_when_reached_and_go_when_truncated() {
        let mut kv = KvCache::new(&config(), KvType::F16, KvType::Q8_0).unwrap();
        assert_eq!(kv.bytes(), 0);
        kv.reserve(64).unwrap();
        kv.advance(64);
        assert_eq!(kv.pages.len(), 1);
        kv.reserve(1).unwrap();
        kv.advance(1);
        assert_eq!(kv.pages.len(), 2);
        assert_eq!(kv.bytes(), 2 * (2 * 2 * 32 * 64 * 2 + 2 * 2 * 32 * 64 * 34 / 32));
        kv.truncate(64);
        assert_eq!((kv.len(), kv.pages.len()), (64, 1));
    }

    #[test]
    fn a_shared_page_is_copied_when_written() {
        let mut a = KvCache::new(&config(), KvType::F32, KvType::F32).unwrap();
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
        let error = KvCache::new(&config, KvType::Q8_0, KvType::F16).unwrap_err().to_string();
        assert!(error.contains("16"), "{error}");
    }
}
