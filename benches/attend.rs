//! Attention over the cache: one token (decode) and 128 tokens (prefill) behind 512 and 4096 positions, for every
//! kernel set of this machine, with the heads of a 0.5B model. `cargo bench -p qwip --bench attend -- f16` measures
//! one cache type.
//!
//! Throughput is multiply-adds per second, counted twice.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use qwip_cpu::ops::attend::{Heads, attend};
use qwip_cpu::{Kernels, KvRef, KvType, TILE};

const SHAPE: Heads = Heads { heads: 14, kv_heads: 2, d: 64, causal: true };

/// Keys and values of all tiles, which share their contents: what is in them does not change the time.
struct Cache {
    ty: KvType,
    floats: Vec<f32>,
    halves: Vec<f16>,
    codes: Vec<i8>,
    scales: Vec<f16>,
    tiles: usize,
}

impl Cache {
    fn new(ty: KvType, positions: usize) -> Cache {
        let tiles = positions.div_ceil(TILE);
        let all = 2 * SHAPE.kv_heads * tiles;
        let value = |i: usize| (i % 61) as f32 / 30.0 - 1.0;
        let count = |wanted: KvType| if wanted == ty { all * ty.tile_elements(SHAPE.d) } else { 0 };
        Cache {
            ty,
            floats: (0..count(KvType::F32)).map(value).collect(),
            halves: (0..count(KvType::F16)).map(|i| f16::from_f32(value(i))).collect(),
            codes: (0..count(KvType::Q8_0)).map(|i| (i % 251) as i8).collect(),
            scales: vec![f16::from_f32(0.01); all * ty.tile_scales(SHAPE.d)],
            tiles,
        }
    }

    /// The keys (0) or the values (1) of a tile.
    fn tile(&self, part: usize, kv_head: usize, tile: usize) -> KvRef<'_> {
        let index = (part * SHAPE.kv_heads + kv_head) * self.tiles + tile;
        let (elements, scales) = (self.ty.tile_elements(SHAPE.d), self.ty.tile_scales(SHAPE.d));
        let range = index * elements..(index + 1) * elements;
        match self.ty {
            KvType::F32 => KvRef::F32(&self.floats[range]),
            KvType::F16 => KvRef::F16(&self.halves[range]),
            KvType::Q8_0 => KvRef::Q8_0 {
                codes: &self.codes[range],
                scales: &self.scales[index * scales..(index + 1) * scales],
            },
        }
    }
}

fn bench(c: &mut Criterion) {
    let row = SHAPE.heads * SHAPE.d;
    for ty in [KvType::F16, KvType::Q8_0] {
        for (n, depth) in [(1, 512), (1, 4096), (128, 512), (128, 4096)] {
            let cache = Cache::new(ty, depth + n);
            let tiles =
                |kv_head: usize, tile: usize| (cache.tile(0, kv_head, tile), cache.tile(1, kv_head, tile));
            let q: Vec<f32> = (0..n * row).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect();
            let (mut parts, mut out) = (Vec::new(), vec![0.0; n * row]);
            let mut group = c.benchmark_group(format!("attend/{}/{n}@{depth}", ty.name()));
            group.sample_size(10);
            // Each token and head: a product with the keys and one with the values, up to its own position.
            let positions = n * depth + n * (n + 1) / 2;
            group.throughput(Throughput::Elements((4 * positions * row) as u64));
            for kernels in Kernels::available() {
                let cpu = qwip::cpu_with(kernels, 0).expect("threads");
                group.bench_function(BenchmarkId::from_parameter(kernels.isa), |b| {
                    b.iter(|| {
                        attend(&cpu, &q, SHAPE, 0.125, depth, &tiles, &mut parts, &mut out, None)
                            .expect("not cancelled");
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
