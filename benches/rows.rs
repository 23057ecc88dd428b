//! What happens to rows between matrix products: RMS norm and quantization, rotation, the gate; for one token and
//! for 128, for every kernel set of this machine, with the sizes of a 0.5B model.
//!
//! Throughput is values per second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use qwip_cpu::Kernels;
use qwip_cpu::ops::{Activations, Cpu, norm, rope, silu};

const HIDDEN: usize = 896;
const FFN: usize = 4864;
const HEADS: usize = 14;
const D: usize = 64;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect()
}

/// Measures `op(cpu)` on every kernel set; `prepare` makes it.
fn measure<F: FnMut(&Cpu)>(
    c: &mut Criterion,
    name: &str,
    n: usize,
    values: usize,
    mut prepare: impl FnMut() -> F,
) {
    let mut group = c.benchmark_group(format!("{name}/{n}"));
    group.sample_size(20);
    group.throughput(Throughput::Elements(values as u64));
    for kernels in Kernels::available() {
        let cpu = qwip::cpu_with(kernels, 0).expect("threads");
        let mut op = prepare();
        group.bench_function(BenchmarkId::from_parameter(kernels.isa), |b| b.iter(|| op(&cpu)));
    }
    group.finish();
}

fn bench(c: &mut Criterion) {
    for n in [1, 128] {
        measure(c, "norm", n, n * HIDDEN, || {
            let (x, w, mut out) = (values(n * HIDDEN), values(HIDDEN), Activations::new());
            move |cpu| norm::rms_norm_rows(cpu, &x, &w, 1e-6, &mut out, None).expect("not cancelled")
        });
        measure(c, "rope", n, n * HIDDEN, || {
            let (mut x, cos, sin) = (values(n * HIDDEN), vec![0.6; n * D / 2], vec![0.8; n * D / 2]);
            move |cpu| rope::rope_rows(cpu, &mut x, HEADS, D, &cos, &sin, None).expect("not cancelled")
        });
        measure(c, "silu", n, n * FFN, || {
            let (gate, up, mut out) = (values(n * FFN), values(n * FFN), Activations::new());
            move |cpu| silu::silu_mul_load(cpu, &gate, &up, FFN, &mut out, None).expect("not cancelled")
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
