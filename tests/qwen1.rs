//! First-generation Qwen: what it does beyond the trained length, and the files of other converters.

mod common;

use std::sync::Arc;

use common::{error, fixture_tokens, folder, load, options, read_ids, read_npy};
use qwip::file::Bytes;
use qwip::quant::gguf::{Set, Writer};
use qwip::{Cancel, KvType, Model, ModelFile, Session, SessionOptions};

const NAME: &str = "qwen1-fused";

/// The trained length is 64. Expected values are those of a session of at most 160.
#[test]
fn a_session_beyond_the_trained_length_has_another_base_and_sharper_queries() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let want = read_npy(&folder(NAME).join("logits-long.npy"));
    let tokens = read_ids(&folder(NAME).join("tokens-long.txt"));
    let model = load(dir.path(), NAME, "f32");
    assert_eq!(model.config().context, 64);
    let cpu = qwip::cpu(2).expect("a CPU");
    let session = |context, kv| {
        let options = SessionOptions { context, ..options(kv, 512) };
        Session::new(model.clone(), cpu.clone(), &options).expect("a session")
    };
    let logits = |mut session: Session, split: usize| {
        let mut all = Vec::new();
        for part in tokens.chunks(split) {
            let sink = &mut |row: &[f32]| all.extend_from_slice(row);
            session.extend_with_logits(part, &Cancel::new(), sink).expect("logits");
        }
        all
    };
    let whole = logits(session(160, KvType::F32), tokens.len());
    let (exact, f16) = (error(&whole, &want), error(&logits(session(160, KvType::F16), 41), &want));
    println!("{NAME} beyond its length: f32 cache {exact:.2e}, f16 cache {f16:.2e} of the logits' range");
    assert!(exact <= 2e-4 && f16 <= 2e-3, "{exact} {f16}");
    // What identifies the logits is the limit, not the cuts; up to 128 positions the base is another.
    for split in [1, 7, 63, 64, 65] {
        assert!(logits(session(160, KvType::F32), split) == whole, "{split}");
    }
    assert!(logits(session(256, KvType::F32), 50) == whole);
    assert!(error(&logits(session(128, KvType::F32), 50), &want) > 0.01);

    let (mut session, mut answer) = (session(160, KvType::F32), Vec::new());
    let cancel = Cancel::new();
    session.extend(&tokens[..40], &cancel, &mut |_| {}).expect("a prompt");
    while answer.len() < 64 {
        let best = |(a, x): (usize, f32), (b, y): (usize, f32)| if y > x { (b, y) } else { (a, x) };
        let picked = session.logits().iter().copied().enumerate().fold((0, f32::MIN), best).0 as u32;
        answer.push(picked);
        session.extend(&[picked], &cancel, &mut |_| {}).expect("a token");
    }
    assert_eq!(answer, tokens[40..]);
}

/// The model again with some keys changed, or left out.
fn with_keys(model: &Model, keys: &[(&str, Option<Set>)]) -> Result<Arc<Model>, qwip::Error> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    let changed = |key: &str| keys.iter().any(|(name, _)| key.strip_prefix("qwen.") == Some(name));
    for (key, value) in file.header().metadata.iter().filter(|(key, _)| !changed(key)) {
        writer.set(key, Set::from_value(value, bytes).expect("a value"));
    }
    for (key, value) in keys {
        value.clone().map(|value| writer.set(&format!("qwen.{key}"), value));
    }
    for tensor in file.tensors() {
        writer.tensor(&tensor.info.name, &tensor.info.dims, tensor.info.ty).expect("a tensor");
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    file.tensors().for_each(|tensor| out.write(file.tensor_bytes(tensor)).expect("data"));
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Ok(Arc::new(Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file")))?))
}

#[test]
fn files_of_other_converters_say_less() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ours = load(dir.path(), NAME, "f16");
    let of_llama_cpp: [(&str, Option<Set>); 7] = [
        ("attention.head_count_kv", None),
        ("attention.key_length", None),
        ("attention.value_length", None),
        ("attention.layer_norm_rms_epsilon", None),
        ("attention.layer_norm_epsilon", Some(1e-6f32.into())),
        ("rope.dynamic_ntk", None),
        ("attention.logn", None),
    ];
    let theirs = with_keys(&ours, &of_llama_cpp).expect("a model");
    assert_eq!(theirs.config(), ours.config());
    assert_eq!(ours.config().logn, Some(64));
    // 72B has another base, and neither.
    let large = [&of_llama_cpp[..], &[("rope.freq_base", Some(1e6f32.into()))]].concat();
    let large = with_keys(&ours, &large).expect("a model");
    assert_eq!((large.config().logn, large.config().rope.within(1 << 20).theta), (None, 1e6));
    let off = [("rope.dynamic_ntk", Some(false.into())), ("attention.logn", Some(false.into()))];
    let off = with_keys(&ours, &off).expect("a model");
    assert_eq!((off.config().logn, off.config().rope.within(1 << 20).theta), (None, 1e4));
}

#[test]
fn hyper_parameters_that_contradict_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = load(dir.path(), NAME, "f16");
    let error = |keys: &[(&str, Option<Set>)]| with_keys(&good, keys).expect_err("contradicts").to_string();
    for (key, value, want) in [
        (
            "feed_forward_length",
            Some(193u32.into()),
            "metadata key 'qwen.feed_forward_length' is 193, expected an even number: both halves of the feed-forward part",
        ),
        (
            "feed_forward_length",
            Some(194u32.into()),
            "tensor 'blk.0.ffn_gate.weight' has shape [64, 96], expected [64, 97]",
        ),
        (
            "attention.head_count_kv",
            Some(2u32.into()),
            "tensor 'blk.0.attn_qkv.weight' has shape [64, 192], expected [64, 128]",
        ),
        (
            "attention.layer_norm_rms_epsilon",
            None,
            "metadata key 'qwen.attention.layer_norm_rms_epsilon' is missing",
        ),
        (
            "context_length",
            Some(1u32.into()),
            "metadata key 'qwen.context_length' is 1, expected 2 or more, since attention.logn is on",
        ),
    ] {
        assert_eq!(error(&[(key, value)]), want);
    }
    let error = error(&[("rope.dynamic_ntk", Some(1u32.into()))]);
    assert!(error.contains("qwen.rope.dynamic_ntk"), "{error}");
}

#[test]
fn up_to_the_trained_length_the_limit_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), NAME, "q8_0");
    let cpu = qwip::cpu(1).expect("a CPU");
    let last = |context| {
        let options = SessionOptions { context, ..options(KvType::F16, 512) };
        let mut session = Session::new(model.clone(), cpu.clone(), &options).expect("a session");
        session.extend(&fixture_tokens(NAME), &Cancel::new(), &mut |_| {}).expect("logits");
        session.logits().to_vec()
    };
    let want = last(0);
    assert!(last(40) == want && last(64) == want && last(65) != want);
}

#[test]
fn the_importance_of_a_fused_matrix_is_counted_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), NAME, "f16");
    let cpu = qwip::cpu(1).expect("a CPU");
    let mut session = Session::new(model, cpu, &options(KvType::F16, 512)).expect("a session");
    session.observe_importance();
    session.extend(&fixture_tokens(NAME), &Cancel::new(), &mut |_| {}).expect("logits");
    let seen = session.importance().expect("observed");
    let rows: Vec<_> = seen.iter().map(|(name, sums, rows)| (name, sums.len(), rows.to_vec())).collect();
    assert!(rows.contains(&("blk.1.attn_qkv.weight", 64, vec![40])), "{rows:?}");
    assert!(rows.iter().all(|(_, _, rows)| rows == &[40]), "{rows:?}");
}
