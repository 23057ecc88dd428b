//! Matrix products straight from quantized blocks: one token (decode) and 128 tokens (prefill), for every kernel
//! set of this machine. `cargo bench -p qwip --bench linear -- q4_0` measures one type.
//!
//! Throughput is weight bytes per second for one token, so that it compares with the memory bandwidth.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use qwip_cpu::ops::Activations;
use qwip_cpu::ops::linear::{LinearJob, linear};
use qwip_cpu::{Kernels, Matrix};
use qwip_quant::{TensorType, encode_row};

const ROWS: usize = 4096;
const COLS: usize = 4096;

/// ROWS copies of a few encoded rows: encoding all of them would take longer than the benchmark.
fn weights(ty: TensorType) -> Vec<u8> {
    let row_bytes = ty.row_bytes(COLS).expect("COLS is a multiple of every block length");
    let mut rows = vec![0; 8 * row_bytes];
    let mut state = 1u32;
    for row in rows.chunks_exact_mut(row_bytes) {
        let x: Vec<f32> = (0..COLS)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        encode_row(ty, &x, row).expect("an encodable type");
    }
    rows.repeat(ROWS / 8)
}

fn bench(c: &mut Criterion) {
    for ty in [
        TensorType::Q4_0,
        TensorType::Q8_0,
        TensorType::Q5_0,
        TensorType::Q4K,
        TensorType::Q6K,
        TensorType::F16,
    ] {
        let bytes = weights(ty);
        let w = Matrix::new(ty, ROWS, COLS, &bytes).expect("the sizes fit");
        for n in [1, 128] {
            let mut group = c.benchmark_group(format!("{}/{n}", ty.name().to_lowercase()));
            group.sample_size(10);
            group.throughput(match n {
                1 => Throughput::Bytes(bytes.len() as u64),
                _ => Throughput::Elements((2 * ROWS * COLS * n) as u64),
            });
            for kernels in Kernels::available() {
                let cpu = qwip::cpu_with(kernels, 0).expect("threads");
                let x: Vec<f32> = (0..n * COLS).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect();
                let mut input = Activations::new();
                input.load(&cpu, &x, COLS, None).expect("not cancelled");
                let mut out = vec![0.0; n * ROWS];
                group.bench_function(BenchmarkId::from_parameter(kernels.isa), |b| {
                    b.iter(|| {
                        let mut jobs = [LinearJob { w, scale: 1.0, bias: None, add: false, out: &mut out }];
                        linear(&cpu, &input, &mut jobs, None).expect("not cancelled");
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
