//! The cache as a test sees it: page tables in disorder, and single elements of a layer's bytes.
#![allow(dead_code, reason = "each test file uses some of it")]

use half::f16;
use qwip_gpu::kv::{KvType, Page, PagePool, TILE};

/// Pages for `positions`, in an order of slots that is neither ascending nor without gaps.
pub(crate) fn pages(pool: &PagePool, positions: usize) -> Vec<Page> {
    let wanted = positions.div_ceil(TILE);
    let mut all: Vec<_> = (0..wanted + 3).map(|_| Some(pool.allocate().unwrap())).collect();
    let count = all.len();
    let step = (2..count).find(|step| gcd(*step, count) == 1).unwrap_or(1);
    (1..=wanted).map(|i| all[i * step % count].take().unwrap()).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The page table.
pub(crate) fn table(pages: &[Page]) -> Vec<u32> {
    pages.iter().map(Page::slot).collect()
}

/// Keys or values of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) ty: KvType,
    pub(crate) kv_heads: usize,
    pub(crate) d: usize,
    pub(crate) keys: bool,
}

impl Layout {
    /// Where word or element `i` of a head at a position of a slot begins, in bytes, if so many lie `together` and each
    /// has `size` bytes.
    fn at(&self, slot: u32, head: usize, position: usize, i: usize, size: usize, together: usize) -> usize {
        let position = position % TILE;
        let element = match self.keys {
            true => (i / together * TILE + position) * together + i % together,
            false => position * self.d + i,
        };
        self.tile(slot, head) + element * size
    }

    /// Where a tile begins.
    fn tile(&self, slot: u32, head: usize) -> usize {
        (slot as usize * self.kv_heads + head) * self.ty.tile_bytes(self.d)
    }

    /// Where the scale of 32 elements is.
    fn scale_at(&self, slot: u32, head: usize, position: usize, block: usize) -> usize {
        let position = position % TILE;
        let scale = match self.keys {
            true => block * TILE + position,
            false => position * (self.d / 32) + block,
        };
        self.tile(slot, head) + self.d * TILE + scale * 4
    }

    /// What a head is at a position of a slot.
    pub(crate) fn get(&self, bytes: &[u8], slot: u32, head: usize, position: usize) -> Vec<f32> {
        let float = |at: usize| f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let element = |i: usize| match self.ty {
            KvType::F32 => float(self.at(slot, head, position, i, 4, 4)),
            KvType::F16 => {
                let at = self.at(slot, head, position, i, 2, 8);
                f16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).to_f32()
            }
            KvType::Q8_0 => {
                let code = bytes[self.at(slot, head, position, i, 1, 4)].cast_signed();
                f32::from(code) * float(self.scale_at(slot, head, position, i / 32))
            }
        };
        (0..self.d).map(element).collect()
    }

    /// Makes a head at a position of a slot `x`, as nearly as the type can have it.
    pub(crate) fn set(&self, bytes: &mut [u8], slot: u32, head: usize, position: usize, x: &[f32]) {
        let mut put = |at: usize, data: &[u8]| bytes[at..at + data.len()].copy_from_slice(data);
        for (i, &value) in x.iter().enumerate() {
            match self.ty {
                KvType::F32 => put(self.at(slot, head, position, i, 4, 4), &value.to_le_bytes()),
                KvType::F16 => {
                    put(self.at(slot, head, position, i, 2, 8), &f16::from_f32(value).to_le_bytes());
                }
                KvType::Q8_0 => {
                    let scale = largest(&x[i / 32 * 32..][..32]) / 127.0;
                    let code = (value / scale).round() as i8;
                    put(self.at(slot, head, position, i, 1, 4), &code.to_le_bytes());
                    put(self.scale_at(slot, head, position, i / 32), &scale.to_le_bytes());
                }
            }
        }
    }

    /// By how much element `i` of `x` may change when it is stored.
    pub(crate) fn step(&self, x: &[f32], i: usize) -> f32 {
        match self.ty {
            KvType::F32 => 0.0,
            KvType::F16 => x[i].abs() / 1024.0 + 6e-8,
            KvType::Q8_0 => largest(&x[i / 32 * 32..][..32]) / 127.0 * 0.501,
        }
    }
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most, x| most.max(x.abs()))
}
