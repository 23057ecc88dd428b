//! What several end-to-end tests need: the tiny checkpoints, converted, and their logits.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this module")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qwip::{Cancel, Cpu, KvType, Model, ModelFile, Session, SessionOptions};
use qwip_convert::{Options, Progress, convert, file_type};

struct Quiet;

impl Progress for Quiet {
    fn start(&mut self, _: u64) {}
    fn advance(&mut self, _: u64, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

pub fn folder(name: &str) -> PathBuf {
    // Some of these tests are built with the root package, some with the command line's.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|dir| dir.join("tests/fixtures/models")).filter(|dir| dir.exists());
    found.next().expect("tests/fixtures/models in the repository").join(name)
}

pub fn fixture_tokens(name: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(folder(name).join("tokens.txt")).expect("tokens.txt");
    text.split([' ', ',', '\n']).filter(|s| !s.is_empty()).map(|s| s.parse().expect("an id")).collect()
}

pub fn load(dir: &Path, name: &str, ty: &str) -> Arc<Model> {
    let out = dir.join(format!("{name}-{ty}.gguf"));
    let ty = file_type(ty).expect("a type");
    let options = Options { reference: true, threads: Some(1), ..Options::new(ty) };
    convert(&folder(name), &out, &options, &mut Quiet).expect("the fixture converts");
    let file = ModelFile::open(&out, Default::default()).expect("our own file opens");
    Arc::new(Model::load(Arc::new(file)).expect("our own file loads"))
}

pub fn options(kv: KvType, batch: usize) -> SessionOptions {
    SessionOptions { context: 64, batch, k_type: kv, v_type: kv }
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
