//! A device for the tests, or the reason why there is none, and numbers to work on.
#![allow(dead_code, reason = "each test file uses some of it")]

/// The test data of the CPU's kernels.
#[path = "../../../cpu/tests/common/mod.rs"]
pub(crate) mod data;

pub(crate) use data::Rng;
use qwip_gpu::{Gpu, GpuOptions, Span};

/// A device; `None`, with a line that says so, where there is none and the environment does not demand one.
pub(crate) fn gpu() -> Option<Gpu> {
    gpu_with(&GpuOptions::default())
}

/// As [`gpu`], opened in a particular way.
pub(crate) fn gpu_with(options: &GpuOptions) -> Option<Gpu> {
    match Gpu::open(options) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("QWIP_REQUIRE_GPU").is_none() => {
            eprintln!("SKIPPED: no adapter ({error})");
            None
        }
        Err(error) => panic!("QWIP_REQUIRE_GPU is set, but {error}"),
    }
}

/// The device as it is, and without what not every device has.
pub(crate) fn gpus() -> Vec<Gpu> {
    let plain = GpuOptions { plain: true, ..GpuOptions::default() };
    let gpus: Vec<Gpu> = [GpuOptions::default(), plain].iter().filter_map(gpu_with).collect();
    // One multiplies codes as integers, the other as floats.
    gpus.iter().enumerate().for_each(|(i, gpu)| gpu.set_integer_dot(i == 0));
    gpus
}

/// Numbers on the device.
pub(crate) fn upload(gpu: &Gpu, numbers: &[f32]) -> Span {
    gpu.floats("numbers", numbers).expect("memory")
}

/// Words on the device.
pub(crate) fn upload_words(gpu: &Gpu, words: &[u32]) -> Span {
    let span = gpu.buffer("words", words.len() as u64 * 4).expect("memory").whole();
    gpu.write(&span, &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
    span
}

/// Zeros on the device.
pub(crate) fn zeros(gpu: &Gpu, n: usize) -> Span {
    upload(gpu, &vec![0.0; n])
}

/// Numbers from the device.
pub(crate) fn download(gpu: &Gpu, span: &Span) -> Vec<f32> {
    words(gpu, span).into_iter().map(f32::from_bits).collect()
}

/// Words from the device.
pub(crate) fn words(gpu: &Gpu, span: &Span) -> Vec<u32> {
    let bytes = gpu.read(span).expect("a result");
    bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

/// Fails unless all of `found` are within `bound` times the largest magnitude of `wanted`.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], wanted: &[f32], bound: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let worst = found
        .iter()
        .zip(wanted)
        .map(|(f, w)| (f - w).abs())
        .fold(0.0f32, |m, d| if d > m || d.is_nan() { d } else { m });
    assert!(worst <= bound * largest.max(1e-30), "{what}: off by {worst}, the largest is {largest}");
}
