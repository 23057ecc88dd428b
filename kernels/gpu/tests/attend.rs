//! Attention over pages against the CPU's definition, and the pool that the pages come from.

mod cache;
mod common;

use std::sync::Arc;

use cache::{Layout, pages, table};
use common::{Rng, download, gpu_with, upload, upload_words, zeros};
use qwip_cpu::KvRef;
use qwip_cpu::reference::attend::{attend_tile, finish};
use qwip_gpu::kv::{KvType, KvTypes, PagePool, TILE};
use qwip_gpu::ops::attend::{Attend, attend, attend_split, parts_bytes, split_bytes};
use qwip_gpu::ops::rope::{Cache, Heads};
use qwip_gpu::{Gpu, GpuError, GpuOptions, Span};

const HALF: KvTypes = KvTypes { k: KvType::F16, v: KvType::F16 };
const FULL: KvTypes = KvTypes { k: KvType::F32, v: KvType::F32 };
const MIXED: KvTypes = KvTypes { k: KvType::F32, v: KvType::F16 };

struct Case {
    heads: Heads,
    n: usize,
    start: usize,
    causal: bool,
    gated: bool,
    types: KvTypes,
    /// Tiles that a workgroup takes, where that is forced.
    tiles: Option<usize>,
    /// Magnitude of queries.
    sharp: f32,
    /// Added to one channel of all keys.
    bias: f32,
}

fn case(heads: usize, kv_heads: usize, d: usize, n: usize, start: usize) -> Case {
    let heads = Heads { heads, kv_heads, d };
    Case { heads, n, start, causal: true, gated: false, types: HALF, tiles: None, sharp: 0.3, bias: 0.0 }
}

/// Runs a case on the device and by the definition; no element may differ by more than
/// `largest value * (1e-5 + 1e-6 * largest sum of |q_i k_i|)`: the scores are sums in another order, and an error of a
/// score is a relative one of its weight.
fn check(gpu: &Arc<Gpu>, case: &Case) {
    let Heads { heads, kv_heads, d } = case.heads;
    let (n, start, group) = (case.n, case.start, heads / kv_heads);
    let end = start + n;
    let pool = PagePool::new(gpu.clone(), kv_heads, d, vec![case.types]).unwrap();
    let pages = pages(&pool, end);
    let slots = table(&pages);
    let k_at = Layout { ty: case.types.k, kv_heads, d, keys: true };
    let v_at = Layout { ty: case.types.v, kv_heads, d, keys: false };
    let (keys, values) = pool.layer(0);
    // What belongs to nobody is large, so that it shows if somebody reads it.
    let fill = |layout: &Layout, bytes: u64| match layout.ty {
        KvType::F32 => 1e30f32.to_le_bytes().repeat(bytes as usize / 4),
        KvType::F16 => 0x7bffu16.to_le_bytes().repeat(bytes as usize / 2),
        KvType::Q8_0 => vec![0x7f; bytes as usize],
    };
    let (mut k_bytes, mut v_bytes) = (fill(&k_at, keys.bytes), fill(&v_at, values.bytes));
    let tiles = end.div_ceil(TILE);
    let mut k = vec![vec![0.0f32; d * TILE]; tiles * kv_heads]; // tiles [D, 64]
    let mut v = vec![vec![0.0f32; TILE * d]; tiles * kv_heads]; // tiles [64, D]
    for head in 0..kv_heads {
        for position in 0..end {
            let seed = (head * 10_007 + position) as u64;
            let (mut x, y) = (numbers(d, 2 * seed + 2), numbers(d, 2 * seed + 3));
            x[d / 2] += case.bias;
            let (tile, j) = (position / TILE, position % TILE);
            k_at.set(&mut k_bytes, slots[tile], head, position, &x);
            v_at.set(&mut v_bytes, slots[tile], head, position, &y);
            let (x, y) = (
                k_at.get(&k_bytes, slots[tile], head, position),
                v_at.get(&v_bytes, slots[tile], head, position),
            );
            for i in 0..d {
                k[tile * kv_heads + head][i * TILE + j] = x[i];
            }
            v[tile * kv_heads + head][j * d..][..d].copy_from_slice(&y);
        }
    }
    let q: Vec<f32> = numbers(n * heads * d, 1).into_iter().map(|x| x * case.sharp).collect();
    let gate_width = 2 * heads * d + 24;
    let gates: Vec<f32> = numbers(n * gate_width, 4).into_iter().map(|x| x * 4.0).collect();

    gpu.write(&keys, &k_bytes);
    gpu.write(&values, &v_bytes);
    let (q_span, page_span, gate_span) = (upload(gpu, &q), upload_words(gpu, &slots), upload(gpu, &gates));
    let splits = case.tiles.map_or(1, |each| tiles.div_ceil(each));
    let parts = parts_bytes(d).max(split_bytes(splits * n * heads, d));
    let parts = gpu.buffer("parts", parts).unwrap().whole();
    let out = zeros(gpu, n * heads * d);
    let job = Attend {
        heads: case.heads,
        n,
        start,
        causal: case.causal,
        q: &q_span,
        cache: Cache { keys: &keys, values: &values, types: case.types, pages: &page_span },
        gates: case.gated.then_some((&gate_span, gate_width)),
        parts: &parts,
        out: &out,
    };
    let mut rec = gpu.recording();
    match case.tiles {
        None => attend(&mut rec, &job),
        Some(tiles) => attend_split(&mut rec, &job, tiles),
    }
    assert!(rec.dispatches().count() <= 2);
    gpu.run(&rec).unwrap();
    let found = download(gpu, &out);
    gpu.run(&rec).unwrap();
    assert_eq!(found, download(gpu, &out), "a second run differs");

    let mut magnitude = 0.0f32;
    let mut worst = 0.0f32;
    for t in 0..n {
        let seen = if case.causal { start + t + 1 } else { end };
        for head in 0..kv_heads {
            let first = (t * heads + head * group) * d;
            let q = &q[first..][..group * d];
            let (mut m, mut l, mut o) =
                (vec![f32::NEG_INFINITY; group], vec![0.0; group], vec![0.0; group * d]);
            for tile in 0..seen.div_ceil(TILE) {
                let (k, v) = (&k[tile * kv_heads + head], &v[tile * kv_heads + head]);
                let valid = (seen - tile * TILE).min(TILE);
                attend_tile(q, d, KvRef::F32(k), KvRef::F32(v), valid, &mut m, &mut l, &mut o);
                for q in q.chunks(d) {
                    let j = (t * 7 + tile) % valid;
                    let sum = (0..d).map(|i| (q[i] * k[i * TILE + j]).abs()).sum::<f32>();
                    magnitude = magnitude.max(sum);
                }
            }
            finish(&l, &mut o);
            for (i, o) in o.iter().enumerate() {
                let mut expected = *o;
                if case.gated {
                    let gate = gates[t * gate_width + 2 * head * group * d + i / d * 2 * d + d + i % d];
                    expected /= 1.0 + qwip_cpu::reference::math::exp(-gate);
                }
                let error = (found[first + i] - expected).abs();
                assert!(error.is_finite(), "{} for {expected}", found[first + i]);
                worst = worst.max(error);
            }
        }
    }
    let bound = 1e-5 + 1e-6 * magnitude;
    assert!(worst <= bound, "{:?} n {n} start {start}: {worst:e} is more than {bound:e}", case.heads);
}

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    Rng(seed).floats(n)
}

fn device() -> Option<Arc<Gpu>> {
    common::gpu().map(Arc::new)
}

#[test]
fn heads_groups_tokens_and_starts() {
    let Some(gpu) = device() else { return };
    for (heads, kv_heads, d) in
        [(4, 2, 64), (2, 2, 80), (7, 1, 128), (8, 1, 256), (16, 1, 64), (10, 2, 24), (3, 3, 8)]
    {
        for (n, start) in [(1, 0), (1, 5), (1, 63), (1, 64), (1, 200), (3, 63), (17, 5), (70, 64)] {
            check(&gpu, &case(heads, kv_heads, d, n, start));
        }
    }
    check(&gpu, &case(2, 1, 128, 70, 200));
}

#[test]
fn types_of_keys_and_values() {
    let Some(gpu) = device() else { return };
    for types in [HALF, FULL, MIXED, KvTypes { k: KvType::F16, v: KvType::F32 }] {
        for (d, n) in [(64, 3), (80, 17), (128, 1), (256, 1)] {
            check(&gpu, &Case { types, ..case(4, 2, d, n, 100) });
            check(&gpu, &Case { types, tiles: Some(1), ..case(4, 2, d, n, 100) });
        }
    }
}

#[test]
fn codes() {
    let Some(gpu) = device() else { return };
    let coded = KvTypes { k: KvType::Q8_0, v: KvType::Q8_0 };
    for types in [coded, KvTypes { k: KvType::F32, ..coded }, KvTypes { v: KvType::F16, ..coded }] {
        for (heads, d, n) in [(4, 32, 3), (14, 128, 17), (8, 256, 1)] {
            check(&gpu, &Case { types, ..case(heads, 2, d, n, 100) });
            check(&gpu, &Case { types, tiles: Some(1), ..case(heads, 2, d, n, 100) });
        }
    }
}

#[test]
fn all_positions_where_not_causal() {
    let Some(gpu) = device() else { return };
    for (n, tiles) in [(1, None), (17, None), (70, None), (130, None), (130, Some(1))] {
        check(&gpu, &Case { causal: false, tiles, ..case(4, 2, 64, n, 0) });
    }
}

#[test]
fn gates() {
    let Some(gpu) = device() else { return };
    for (n, tiles) in [(1, None), (17, None), (17, Some(1))] {
        check(&gpu, &Case { gated: true, tiles, ..case(8, 2, 128, n, 150) });
    }
    check(&gpu, &Case { gated: true, ..case(16, 2, 256, 1, 300) });
}

#[test]
fn splits() {
    let Some(gpu) = device() else { return };
    for (d, n) in [(64, 1), (128, 3), (256, 17), (80, 70), (8, 1)] {
        for tiles in [1, 2, 3] {
            // In the last runs of tiles some tokens see nothing.
            check(&gpu, &Case { tiles: Some(tiles), ..case(7, 1, d, n, 250) });
        }
    }
    check(&gpu, &Case { tiles: Some(1), ..case(2, 1, 64, 1, 128 * TILE - 1) });
    check(&gpu, &case(2, 1, 64, 1, 9000));
}

#[test]
fn scores_far_apart_and_large_keys() {
    let Some(gpu) = device() else { return };
    for tiles in [None, Some(1)] {
        check(&gpu, &Case { sharp: 40.0, tiles, ..case(4, 2, 64, 3, 200) });
        check(&gpu, &Case { sharp: 0.05, bias: 1e4, types: MIXED, tiles, ..case(4, 2, 128, 3, 200) });
        check(&gpu, &Case { sharp: 0.05, bias: -1e4, types: FULL, tiles, ..case(4, 2, 128, 17, 60) });
    }
}

#[test]
fn without_subgroups_and_half_precision() {
    let Some(gpu) = gpu_with(&GpuOptions { plain: true, ..GpuOptions::default() }) else { return };
    let gpu = Arc::new(gpu);
    check(&gpu, &Case { tiles: Some(1), ..case(14, 2, 64, 3, 200) });
    check(&gpu, &case(14, 2, 64, 3, 200));
}

#[test]
fn a_pool_grows_copies_and_takes_back() {
    let Some(gpu) = device() else { return };
    let pool = PagePool::new(gpu.clone(), 2, 64, vec![HALF, MIXED]).unwrap();
    assert_eq!((pool.bytes(), pool.capacity()), (0, 0));
    assert_eq!(pool.page_bytes(), 2 * 64 * 64 * (2 + 2 + 4 + 2));
    let first = pool.allocate().unwrap();
    let capacity = pool.capacity();
    assert_eq!(pool.bytes(), capacity as u64 * pool.page_bytes());
    let sizes = |layer: usize| {
        let (k, v) = pool.layer(layer);
        (k.bytes as usize / capacity, v.bytes as usize / capacity)
    };
    let (old_keys, _) = pool.layer(1);
    let content: Vec<(Vec<u8>, Vec<u8>)> = (0..2)
        .map(|layer| {
            let (k, v) = pool.layer(layer);
            let (k_size, v_size) = sizes(layer);
            let content = |size: usize, seed: u64| -> Vec<u8> {
                numbers(size / 4, seed).iter().flat_map(|x| x.to_le_bytes()).collect()
            };
            let (k_data, v_data) = (content(k_size, 1 + layer as u64), content(v_size, 5 + layer as u64));
            let part = |size: usize| first.slot() as u64 * size as u64;
            gpu.write(&k.buffer.span(part(k_size), k_size as u64), &k_data);
            gpu.write(&v.buffer.span(part(v_size), v_size as u64), &v_data);
            (k_data, v_data)
        })
        .collect();
    let sizes = [sizes(0), sizes(1)];
    let mut others: Vec<_> = (0..capacity).map(|_| pool.allocate().unwrap()).collect();
    assert_eq!(pool.capacity(), 2 * capacity);
    let copy = pool.copy(&first).unwrap();
    for page in [&first, &copy] {
        for layer in 0..2 {
            let (k, v) = pool.layer(layer);
            let (k_size, v_size) = sizes[layer];
            let part = |size: usize| page.slot() as u64 * size as u64;
            let read =
                |span: &Span, size: usize| gpu.read(&span.buffer.span(part(size), size as u64)).unwrap();
            assert!(read(&k, k_size) == content[layer].0 && read(&v, v_size) == content[layer].1);
        }
    }
    let mut slots: Vec<_> = others.iter().chain([&first, &copy]).map(|page| page.slot()).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), capacity + 2, "each page has a slot of its own");
    let freed = others.pop().unwrap().slot();
    assert_eq!(pool.allocate().unwrap().slot(), freed);
    assert_eq!(old_keys.bytes as usize, capacity * sizes[1].0, "who still holds the old buffer keeps it");
}

#[test]
fn a_pool_that_is_held_grows_later() {
    let Some(gpu) = device() else { return };
    let pool = PagePool::new(gpu, 1, 8, vec![HALF]).unwrap();
    let mut pages = vec![pool.allocate().unwrap()];
    while pages.len() < pool.capacity() {
        pages.push(pool.allocate().unwrap());
    }
    let held = pool.hold();
    let (keys, _) = pool.layer(0);
    std::thread::scope(|scope| {
        let another = scope.spawn(|| pool.allocate().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!another.is_finished() && pool.layer(0).0.bytes == keys.bytes);
        drop(held);
        pages.push(another.join().unwrap());
    });
    assert!(pool.capacity() >= pages.len() && pool.layer(0).0.bytes > keys.bytes);
}

#[test]
fn a_pool_says_what_it_cannot_do() {
    let limit = 1 << 20;
    let options = GpuOptions { binding_bytes: Some(limit), ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options).map(Arc::new) else { return };
    for d in [0, 12, 264] {
        let error = PagePool::new(gpu.clone(), 2, d, vec![HALF]).unwrap_err();
        assert!(matches!(&error, GpuError::Shape { found, .. } if *found == d), "{error}");
    }
    let coded = KvTypes { k: KvType::Q8_0, v: KvType::F16 };
    let error = PagePool::new(gpu.clone(), 2, 80, vec![coded]).unwrap_err().to_string();
    assert!(error.contains("80") && error.contains("32"), "{error}");
    // 80 KiB for the keys of a page: 12 fit.
    let pool = PagePool::new(gpu, 4, 80, vec![HALF, MIXED]).unwrap();
    let mut held: Vec<_> = (0..12).map(|_| pool.allocate().unwrap()).collect();
    let error = pool.allocate().unwrap_err();
    let needed = (13 * 80) << 10;
    assert!(
        matches!(&error, GpuError::Limit { needed: n, limit: l, .. } if (*n, *l) == (needed, limit)),
        "{error}"
    );
    assert!(error.to_string().contains("13 pages"), "{error}");
    held.pop();
    assert!(pool.allocate().is_ok());
}
