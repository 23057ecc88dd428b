//! Rotation and norms of heads against the CPU's definition, and what arrives in the pages.

mod cache;
mod common;

use std::sync::Arc;

use cache::{Layout, pages, table};
use common::{Rng, assert_close, download, upload, upload_words, zeros};
use qwip_cpu::reference::norm::rms_norm;
use qwip_cpu::reference::rope::rope;
use qwip_gpu::Gpu;
use qwip_gpu::kv::{KvType, KvTypes, PagePool, TILE};
use qwip_gpu::ops::rope::{Cache, Heads, RopeStore, rope_store};

const HALF: KvTypes = KvTypes { k: KvType::F16, v: KvType::F16 };
const FULL: KvTypes = KvTypes { k: KvType::F32, v: KvType::F32 };
const EPS: f32 = 1e-6;

struct Case {
    heads: Heads,
    n: usize,
    start: usize,
    rotated: usize,
    gated: bool,
    growth: bool,
    norms: bool,
    types: KvTypes,
    /// Magnitude of what comes in.
    large: f32,
}

fn case(heads: usize, kv_heads: usize, d: usize, n: usize, start: usize) -> Case {
    let heads = Heads { heads, kv_heads, d };
    let (gated, growth, norms, types) = (false, false, false, FULL);
    Case { heads, n, start, rotated: d, gated, growth, norms, types, large: 3.0 }
}

/// Queries and keys may be off by 2e-6 of the largest, values not at all; then the rounding to half precision comes on
/// top where the cache has that: one step of that, since a device may round either way.
fn check(gpu: &Arc<Gpu>, case: &Case) {
    let Heads { heads, kv_heads, d } = case.heads;
    let (n, half) = (case.n, case.rotated / 2);
    let mut random = Rng(d as u64);
    let q_stride = if case.gated { 2 * d } else { d };
    // Something stands between and behind.
    let k_at = heads * q_stride + 8;
    let v_at = k_at + kv_heads * d;
    let width = v_at + kv_heads * d + 16;
    let qkv: Vec<f32> = random.floats(n * width).into_iter().map(|x| x * case.large).collect();
    let cos = random.floats(n * half);
    let sin: Vec<f32> = cos.iter().map(|c| (1.0 - c * c).sqrt().copysign(random.float())).collect();
    let growth: Vec<f32> = (0..n).map(|_| 1.5 + random.float()).collect();
    let (q_norm, k_norm) = (random.floats(d), random.floats(d));

    let pool = PagePool::new(gpu.clone(), kv_heads, d, vec![FULL, case.types]).unwrap();
    let pages = pages(&pool, case.start + n);
    let slots = table(&pages);
    let (keys, values) = pool.layer(1);
    let tables = [&cos[..], &sin[..], &growth[..]].concat();
    let (qkv_span, table_span, page_span) =
        (upload(gpu, &qkv), upload(gpu, &tables), upload_words(gpu, &slots));
    let (q_norm_span, k_norm_span) = (upload(gpu, &q_norm), upload(gpu, &k_norm));
    let q_span = zeros(gpu, n * heads * d);
    let mut rec = gpu.recording();
    rope_store(
        &mut rec,
        &RopeStore {
            heads: case.heads,
            n,
            start: case.start,
            qkv: &qkv_span,
            width,
            gated: case.gated,
            k_at,
            v_at,
            tables: &table_span,
            rotated: case.rotated,
            growth: case.growth,
            norms: case.norms.then_some((&q_norm_span, &k_norm_span, EPS)),
            q: &q_span,
            cache: Cache { keys: &keys, values: &values, types: case.types, pages: &page_span },
        },
    );
    assert_eq!(rec.dispatches().count(), 1);
    gpu.run(&rec).unwrap();
    let q = download(gpu, &q_span);
    let (k_bytes, v_bytes) = (gpu.read(&keys).unwrap(), gpu.read(&values).unwrap());

    let head = |x: &[f32], norm: &[f32], t: usize| {
        let mut y = x.to_vec();
        if case.norms {
            rms_norm(x, norm, EPS, &mut y);
        }
        rope(&mut y, &cos[t * half..][..half], &sin[t * half..][..half]);
        y
    };
    let layout = |ty: KvType, keys: bool| Layout { ty, kv_heads, d, keys };
    let (in_keys, in_values) = (layout(case.types.k, true), layout(case.types.v, false));
    let (mut wanted, mut found, mut wanted_keys, mut found_keys) = (vec![], vec![], vec![], vec![]);
    for t in 0..n {
        let row = &qkv[t * width..][..width];
        let position = case.start + t;
        let slot = slots[position / TILE];
        for h in 0..heads {
            let scale = if case.growth { growth[t] } else { 1.0 } / (d as f32).sqrt();
            wanted.extend(head(&row[h * q_stride..][..d], &q_norm, t).into_iter().map(|x| x * scale));
            found.extend(&q[(t * heads + h) * d..][..d]);
        }
        for h in 0..kv_heads {
            wanted_keys.push(head(&row[k_at + h * d..][..d], &k_norm, t));
            found_keys.push(in_keys.get(&k_bytes, slot, h, position));
            let v = row[v_at + h * d..][..d].to_vec();
            let found = in_values.get(&v_bytes, slot, h, position);
            close(&in_values, &found, &v, 0.0);
        }
    }
    assert_close(&found, &wanted, 2e-6, "queries");
    let largest = wanted_keys.iter().flatten().fold(0.0f32, |most, x| most.max(x.abs()));
    for (found, wanted) in found_keys.iter().zip(&wanted_keys) {
        close(&in_keys, found, wanted, 2e-6 * largest);
    }
}

/// Fails unless a head differs by no more than `error` and what storing it adds.
fn close(layout: &Layout, found: &[f32], wanted: &[f32], error: f32) {
    for (i, (found, wanted_i)) in found.iter().zip(wanted).enumerate() {
        let stored = match layout.ty {
            KvType::F16 => wanted_i.clamp(-65504.0, 65504.0),
            _ => *wanted_i,
        };
        let bound = error + layout.step(wanted, i);
        assert!((found - stored).abs() <= bound, "{found} for {wanted_i}, {:?}", layout.ty);
    }
}

fn device() -> Option<Arc<Gpu>> {
    common::gpu().map(Arc::new)
}

#[test]
fn heads_tokens_and_starts() {
    let Some(gpu) = device() else { return };
    for (heads, kv_heads, d) in [(4, 2, 64), (2, 2, 80), (7, 1, 128), (8, 2, 256), (3, 3, 8)] {
        for (n, start) in [(1, 0), (1, 63), (1, 64), (3, 5), (17, 60), (70, 200)] {
            check(&gpu, &case(heads, kv_heads, d, n, start));
            check(&gpu, &Case { norms: true, types: HALF, ..case(heads, kv_heads, d, n, start) });
        }
    }
}

#[test]
fn part_of_a_head_or_none_of_it() {
    let Some(gpu) = device() else { return };
    for (d, rotated) in [(256, 64), (128, 32), (80, 20), (64, 0)] {
        check(&gpu, &Case { rotated, norms: true, ..case(4, 2, d, 5, 62) });
        check(&gpu, &Case { rotated, types: HALF, ..case(4, 2, d, 5, 62) });
    }
}

#[test]
fn queries_beside_gates_and_growing_ones() {
    let Some(gpu) = device() else { return };
    check(&gpu, &Case { gated: true, norms: true, rotated: 64, ..case(8, 2, 256, 3, 7) });
    check(&gpu, &Case { growth: true, ..case(4, 4, 128, 5, 7) });
    check(&gpu, &Case { growth: true, gated: true, types: HALF, ..case(4, 4, 128, 5, 7) });
}

#[test]
fn types_of_keys_and_values() {
    let Some(gpu) = device() else { return };
    for k in [KvType::F32, KvType::F16, KvType::Q8_0] {
        for v in [KvType::F32, KvType::F16, KvType::Q8_0] {
            let types = KvTypes { k, v };
            check(&gpu, &Case { types, ..case(4, 2, 64, 70, 10) });
            check(&gpu, &Case { types, norms: true, ..case(4, 1, 128, 3, 62) });
            check(&gpu, &Case { types, large: 0.0, ..case(4, 3, 32, 3, 62) });
        }
    }
}

#[test]
fn halves_stay_finite() {
    let Some(gpu) = device() else { return };
    check(&gpu, &Case { types: HALF, large: 1e5, ..case(4, 2, 64, 3, 10) });
    check(&gpu, &Case { types: FULL, large: 1e5, ..case(4, 2, 64, 3, 10) });
}
