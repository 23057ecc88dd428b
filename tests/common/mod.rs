//! What several end-to-end tests need: the tiny checkpoints, converted, and their logits.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this module")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qwip::{Cancel, Cpu, KvType, Model, ModelFile, Session, SessionOptions};
use qwip_convert::{Options, convert, file_type};

/// The tiny checkpoints: one or more of every architecture.
pub const FIXTURES: [&str; 18] = [
    "codeqwen-pieces",
    "qwen1-fused",
    "qwen2-gqa",
    "qwen2-outliers",
    "qwen2-sharded",
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

pub fn folder(name: &str) -> PathBuf {
    // Some of these tests are built with the root package, some with the command line's.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|dir| dir.join("tests/fixtures/models")).filter(|dir| dir.exists());
    found.next().expect("tests/fixtures/models in the repository").join(name)
}

pub fn fixture_tokens(name: &str) -> Vec<u32> {
    read_ids(&folder(name).join("tokens.txt"))
}

pub fn read_ids(path: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path).expect("a file of token ids");
    text.split([' ', ',', '\n']).filter(|s| !s.is_empty()).map(|s| s.parse().expect("an id")).collect()
}

pub fn load(dir: &Path, name: &str, ty: &str) -> Arc<Model> {
    load_with(dir, name, Options { reference: true, ..Options::new(file_type(ty).expect("a type")) })
}

pub fn load_with(dir: &Path, name: &str, options: Options) -> Arc<Model> {
    let out = dir.join(format!("{name}-{}.gguf", options.ty.name));
    convert(&folder(name), &out, &Options { threads: Some(1), ..options }, &mut ())
        .expect("the fixture converts");
    let file = ModelFile::open(&out, Default::default()).expect("our own file opens");
    Arc::new(Model::load(Arc::new(file)).expect("our own file loads"))
}

pub fn options(kv: KvType, batch: usize) -> SessionOptions {
    SessionOptions { context: 64, batch, k_type: kv, v_type: kv, ..SessionOptions::default() }
}

/// Logits after every token, [n_tokens, n_vocab], with the prompt cut into calls of `split` tokens.
pub fn logits(model: &Arc<Model>, cpu: &Cpu, kv: KvType, tokens: &[u32], split: usize) -> Vec<f32> {
    let mut session = Session::new(model.clone(), cpu.clone(), &options(kv, 512)).expect("a session");
    let mut all = Vec::new();
    for part in tokens.chunks(split) {
        let sink = &mut |row: &[f32]| all.extend_from_slice(row);
        session.extend_with_logits(part, &Cancel::new(), sink).expect("logits");
    }
    all
}

/// The float32 array of a version 1 .npy file: [n_tokens, n_vocab].
pub fn read_npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("logits.npy");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{text}");
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Largest difference as a share of the expected values' range.
pub fn error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().all(|x| x.is_finite()));
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / (high - low)
}
