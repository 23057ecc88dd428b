//! Whole models on the GPU beside the CPU: logits within 1e-2 of their range, the same greedy answers, layers split
//! between both. Needs an adapter (a software one will do) and says so where there is none.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{error, fixture_tokens, load, options};
use qwip::backend::gpu::{Gpu, GpuModel, GpuOptions};
use qwip::{Cancel, Cpu, KvType, Model, Session, SessionOptions};

/// One or more of every architecture.
const MODELS: [&str; 17] = [
    "codeqwen-pieces",
    "qwen1-fused",
    "qwen2-gqa",
    "qwen2-outliers",
    "qwen2-yarn",
    "qwen2moe-shared",
    "qwen2vl-text",
    "qwen3-kquant",
    "qwen3-wide-heads",
    "qwen35-tiled",
    "qwen35-untiled",
    "qwen35moe-packed",
    "qwen3moe-norm",
    "qwen3moe-plain",
    "qwen3next-grouped",
    "qwen3vl-text",
    "qwen3vlmoe-transposed",
];

fn gpu() -> Option<Arc<Gpu>> {
    match Gpu::open(&GpuOptions::default()) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(error) if std::env::var_os("QWIP_REQUIRE_GPU").is_none() => {
            eprintln!("SKIPPED: no adapter ({error})");
            None
        }
        Err(error) => panic!("QWIP_REQUIRE_GPU is set, but {error}"),
    }
}

fn on_gpu(gpu: &Arc<Gpu>, model: &Arc<Model>, layers: usize) -> Arc<GpuModel> {
    Arc::new(GpuModel::load(gpu.clone(), model.clone(), layers, &mut |_| true).expect("an upload"))
}

/// Logits after every token, [n_tokens, n_vocab], with the tokens cut into calls of `split`.
fn logits(mut session: Session, tokens: &[u32], split: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for part in tokens.chunks(split) {
        session
            .extend_with_logits(part, &Cancel::new(), &mut |row| all.extend_from_slice(row))
            .expect("logits");
    }
    all
}

fn session(device: &Arc<GpuModel>, cpu: &Cpu, kv: KvType) -> Session {
    Session::on_gpu(device.clone(), cpu.clone(), &options(kv, 512)).expect("a session")
}

/// The root of the mean square of the differences as a share of the expected values' range.
fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    let squares: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (squares / want.len() as f64).sqrt() as f32 / (high - low)
}

/// Both quantize activations in the same way, so that the order of a sum is all that differs; that may push a number over the
/// border between two codes, which in models as narrow as these shifts single logits by a percent.
#[test]
fn logits_of_every_architecture_are_near_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in MODELS {
        let tokens = fixture_tokens(name);
        for ty in ["f32", "q8_0"] {
            let model = load(dir.path(), name, ty);
            let want = common::logits(&model, &cpu, KvType::F16, &tokens, 512);
            let device = on_gpu(&gpu, &model, usize::MAX);
            for split in [512, 5, 1] {
                let got = logits(session(&device, &cpu, KvType::F16), &tokens, split);
                let (worst, mean) = (error(&got, &want), mean_error(&got, &want));
                println!(
                    "{name} {ty}, {split} at a time: {worst:.1e} of the range at most, {mean:.1e} on average"
                );
                assert!(
                    if ty == "f32" { worst } else { mean } <= 1e-2,
                    "{name} {ty} {split}: {worst} {mean}"
                );
            }
        }
    }
}
