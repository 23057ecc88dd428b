//! Tiny checkpoints, converted by our converter, against the logits of Hugging Face transformers; and the
//! promise of one answer: the same bits for every instruction set, thread count and way of cutting the prompt.

mod common;

use std::path::Path;

use common::{fixture_tokens as tokens, folder, load, logits, options};
use qwip::{CacheTypes, Cancel, KvType, Session};
use qwip_convert::OutputType;
use qwip_cpu::Kernels;

const FIXTURES: [&str; 6] =
    ["qwen2-gqa", "qwen2-outliers", "qwen2-sharded", "qwen2-yarn", "qwen3-kquant", "qwen3-wide-heads"];

/// The float32 array of a version 1 .npy file: [n_tokens, n_vocab].
fn read_npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("logits.npy");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{text}");
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Largest difference as a share of the expected values' range.
fn error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().all(|x| x.is_finite()));
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / (high - low)
}

#[test]
fn logits_agree_with_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in FIXTURES {
        let want = read_npy(&folder(name).join("logits.npy"));
        let tokens = tokens(name);
        let model = load(dir.path(), name, OutputType::F32);
        let f32_cache = error(&logits(&model, &cpu, KvType::F32, &tokens, 512), &want);
        let f16_cache = error(&logits(&model, &cpu, KvType::F16, &tokens, 512), &want);
        println!("{name}: f32 cache {f32_cache:.2e}, f16 cache {f16_cache:.2e} of the logits' range");
        assert!(f32_cache <= 2e-4, "{name}: {f32_cache}");
        assert!(f16_cache <= 2e-3, "{name}: {f16_cache}");
    }
}

#[test]
fn layers_with_large_key_biases_keep_their_keys_exact() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, keys) in
        [("qwen2-outliers", KvType::F32), ("qwen2-yarn", KvType::F16), ("qwen3-kquant", KvType::F16)]
    {
        let model = load(dir.path(), name, OutputType::Q8_0);
        let types = CacheTypes::for_model(&model, KvType::F16, KvType::F16);
        assert!(
            types.k.len() == model.config().layers && types.k.iter().all(|&k| k == keys),
            "{name}: {types:?}"
        );
    }
}

#[test]
fn one_answer_for_every_instruction_set_thread_count_and_split() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let same = |a: &[f32], b: &[f32]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
    for name in FIXTURES {
        let tokens = tokens(name);
        for (ty, kv) in [
            (OutputType::F32, KvType::F32),
            (OutputType::F16, KvType::F16),
            (OutputType::Q8_0, KvType::F16),
            (OutputType::Q4_0, KvType::F16),
        ] {
            let model = load(dir.path(), name, ty);
            let mut want: Option<Vec<f32>> = None;
            for kernels in Kernels::available() {
                for threads in [1, 2, 3] {
                    let cpu = qwip::cpu_with(kernels, threads).expect("a CPU");
                    for split in [1, 7, 32, tokens.len()] {
                        let got = logits(&model, &cpu, kv, &tokens, split);
                        let want = want.get_or_insert_with(|| got.clone());
                        assert!(
                            same(&got, want),
                            "{name} {ty:?} {kernels:?} threads {threads} split {split}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_session_reuses_what_it_holds_and_survives_cancelling() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), "qwen3-wide-heads", OutputType::F16);
    let tokens = tokens("qwen3-wide-heads");
    let cpu = qwip::cpu(1).expect("a CPU");
    let cancel = Cancel::new();
    let quiet = &mut |_| {};
    let mut session = Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 8)).expect("a session");
    assert_eq!(session.prompt(&tokens, &cancel, quiet).expect("a prompt"), tokens.len());
    let first = session.logits().to_vec();

    // The same prompt again costs one token; a changed tail costs the tail.
    assert_eq!(session.prompt(&tokens, &cancel, quiet).expect("a prompt"), 1);
    assert_eq!(session.logits(), first);
    let mut changed = tokens.clone();
    changed[30] = 5;
    assert_eq!(session.prompt(&changed, &cancel, quiet).expect("a prompt"), tokens.len() - 30);
    let changed_logits = session.logits().to_vec();
    assert_ne!(changed_logits, first);

    // Cancelled in the middle of the prompt: as before the call.
    session.truncate(10);
    let raise = cancel.clone();
    let result = session.extend(&changed[10..], &cancel, &mut |_| raise.cancel());
    assert!(matches!(result, Err(qwip::Error::Cancelled)), "{result:?}");
    assert_eq!(session.tokens(), &changed[..10]);
    cancel.reset();
    session.extend(&changed[10..], &cancel, quiet).expect("the rest");
    assert_eq!(session.logits(), changed_logits);
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), "qwen2-gqa", OutputType::F16);
    let cpu = qwip::cpu(1).expect("a CPU");
    let mut session = Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 8)).expect("a session");
    let cancel = Cancel::new();
    let mut message =
        |tokens: &[u32]| session.prompt(tokens, &cancel, &mut |_| {}).expect_err("does not fit").to_string();
    assert_eq!(message(&[]), "the prompt is empty");
    assert!(message(&[1; 65]).contains("65 tokens, but the context holds 64"));
    assert!(message(&[1, 320]).contains("token 320 is outside the vocabulary of 320"));
    session.prompt(&[1; 64], &cancel, &mut |_| {}).expect("fits exactly");
    assert_eq!(session.room(), 0);
    let error = Session::new(model, cpu, &options(KvType::F16, 0)).expect_err("no batch").to_string();
    assert!(error.contains("batch is 0"), "{error}");
}
