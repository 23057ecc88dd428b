//! Hybrids: what a session does with a memory that cannot be rewound, and files whose layers contradict themselves.

mod common;

use std::sync::Arc;

use common::{fixture_tokens as tokens, load, options};
use qwip::file::Bytes;
use qwip::kv::Recurrent;
use qwip::quant::TensorType;
use qwip::quant::gguf::{Set, Writer};
use qwip::{Cancel, Error, KvType, Model, ModelFile, Session, SessionOptions};

const HYBRIDS: [&str; 4] = ["qwen35-tiled", "qwen35-untiled", "qwen35moe-packed", "qwen3next-grouped"];

fn session(model: &Arc<Model>, batch: usize, snapshots: usize) -> Session {
    let options = SessionOptions { context: 256, snapshots, ..options(KvType::F32, batch) };
    Session::new(model.clone(), qwip::cpu(2).expect("a CPU"), &options).expect("a session")
}

/// The logits after all of `tokens`, of a session that has seen nothing else.
fn fresh(model: &Arc<Model>, tokens: &[u32]) -> Vec<f32> {
    let mut session = session(model, 512, 0);
    session.extend(tokens, &Cancel::new(), &mut |_| {}).expect("logits");
    session.logits().to_vec()
}

#[test]
fn a_changed_prompt_is_evaluated_from_the_last_copy_of_the_memory() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    let quiet = &mut |_| {};
    for name in HYBRIDS {
        let model = load(dir.path(), name, "q8_0");
        let first = [tokens(name), tokens(name)].concat();
        let mut session = session(&model, 32, 4);
        assert_eq!(session.prompt(&first, &cancel, quiet).expect("a prompt"), 80);
        let logits = session.logits().to_vec();
        assert_eq!(logits, fresh(&model, &first), "{name}");

        // The same again: from eight tokens before the end.
        assert_eq!(session.prompt(&first, &cancel, quiet).expect("a prompt"), 8);
        assert_eq!(session.logits(), logits, "{name}");

        // An answer, and a prompt that goes on behind it: what is held is not evaluated again.
        for token in [5, 6, 7] {
            session.extend(&[token], &cancel, quiet).expect("an answer");
        }
        let second = [&first[..], &[5, 6, 7], &first[..30]].concat();
        assert_eq!(session.prompt(&second, &cancel, quiet).expect("a prompt"), 30);
        assert_eq!(session.logits(), fresh(&model, &second), "{name}");

        // The second prompt changed from its third token on: from the end of the answer.
        let mut edited = second.clone();
        edited[85] = 9;
        assert_eq!(session.prompt(&edited, &cancel, quiet).expect("a prompt"), 30);
        assert_eq!(session.logits(), fresh(&model, &edited), "{name}");

        // The answer left out of the history: from near the end of the first prompt. Of the five copies the one closest
        // behind another has been given up.
        let without = [&first[..], &first[..30]].concat();
        assert_eq!(session.prompt(&without, &cancel, quiet).expect("a prompt"), 110 - 64);
        assert_eq!(session.logits(), fresh(&model, &without), "{name}");

        // Back in the middle of the first prompt, where a slice ended.
        let middle = [&first[..40], &[3; 20]].concat();
        assert_eq!(session.prompt(&middle, &cancel, quiet).expect("a prompt"), 60 - 32);
        assert_eq!(session.logits(), fresh(&model, &middle), "{name}");
        session.truncate(37);
        session.extend(&[4], &cancel, quiet).expect("a token");
        assert_eq!(session.logits(), fresh(&model, &[&first[..37], &[4]].concat()), "{name}");
    }
}

#[test]
fn a_call_that_fails_leaves_the_session_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let quiet = &mut |_| {};
    for (name, snapshots) in [("qwen35-tiled", 4), ("qwen35-tiled", 1), ("qwen3next-grouped", 0)] {
        let model = load(dir.path(), name, "q8_0");
        let first = [tokens(name), tokens(name)].concat();
        let mut session = session(&model, 16, snapshots);
        let cancel = Cancel::new();
        session.prompt(&first, &cancel, quiet).expect("a prompt");

        // Prompts that share nothing, half, or all of it, cancelled after their first slice.
        for shared in [0, 50, 80] {
            let mut other = first[..shared].to_vec();
            other.extend([1; 60]);
            let raise = cancel.clone();
            let result = session.prompt(&other, &cancel, &mut |_| raise.cancel());
            assert!(matches!(result, Err(Error::Cancelled)), "{name}: {result:?}");
            assert_eq!(session.tokens(), first, "{name}");
            cancel.reset();
        }
        session.extend(&[4, 5], &cancel, quiet).expect("two tokens");
        let so_far = [&first[..], &[4, 5]].concat();
        assert_eq!(session.logits(), fresh(&model, &so_far), "{name}");

        // A single token is not broken off in the middle.
        cancel.cancel();
        assert!(matches!(session.extend(&[6], &cancel, quiet), Err(Error::Cancelled)));
        assert_eq!(session.tokens(), so_far);
        cancel.reset();
        session.extend(&[6], &cancel, quiet).expect("a token");
        assert_eq!(session.logits(), fresh(&model, &[&so_far[..], &[6]].concat()), "{name}");
    }
}

#[test]
fn only_layers_with_attention_take_room_in_the_cache() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = load(dir.path(), "qwen35-tiled", "f32");
    let config = model.config();
    // 3 key and 6 value heads of 32 elements in 3 of 4 layers.
    let channels = 2 * 3 * 32 + 6 * 32;
    assert_eq!(Recurrent::bytes(config), 3 * 4 * (3 * channels + 6 * 32 * 32));
    let mut session = session(&model, 0, 4);
    session.extend(&tokens("qwen35-tiled"), &Cancel::new(), &mut |_| {}).expect("logits");
    assert_eq!(session.kv_bytes(), (64 * 2 * config.kv_heads * config.head_dim * 4) as u64);
}

#[test]
fn a_call_that_unwinds_leaves_no_wrong_memory() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = "qwen35-tiled";
    let model = load(dir.path(), name, "q8_0");
    let first = tokens(name);
    let mut session = session(&model, 16, 4);
    let cancel = Cancel::new();
    session.extend(&first[..20], &cancel, &mut |_| {}).expect("a prompt");
    let panicking = std::panic::AssertUnwindSafe(|| {
        session.extend_with_logits(&first[20..30], &cancel, &mut |_| panic!("the caller's"))
    });
    assert!(std::panic::catch_unwind(panicking).is_err());
    let held = session.tokens().to_vec();
    session.extend(&[4], &cancel, &mut |_| {}).expect("a token");
    assert_eq!(session.logits(), fresh(&model, &[&held[..], &[4]].concat()));
}

#[test]
fn a_call_that_is_cancelled_gives_its_pages_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["qwen35-tiled", "qwen3-wide-heads"] {
        let model = load(dir.path(), name, "q8_0");
        let mut session = session(&model, 64, 4);
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(session.extend(&tokens(name), &cancel, &mut |_| {}).is_err());
        assert_eq!((session.tokens().len(), session.kv_bytes()), (0, 0), "{name}");
    }
}

/// The model with other values of some keys, and with further F32 vectors.
fn with(model: &Model, keys: &[(&str, Set)], extra: &[&str]) -> Result<Model, Error> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    for (key, value) in &file.header().metadata {
        writer.set(key, Set::from_value(value, bytes).expect("a value"));
    }
    for (key, value) in keys {
        writer.set(key, value.clone());
    }
    for tensor in file.tensors() {
        writer.tensor(&tensor.info.name, &tensor.info.dims, tensor.info.ty).expect("a tensor");
    }
    for name in extra {
        writer.tensor(name, &[8], TensorType::F32).expect("a tensor");
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    for tensor in file.tensors() {
        out.write(file.tensor_bytes(tensor)).expect("data");
    }
    for _ in extra {
        out.write(&[0; 32]).expect("data");
    }
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file")))
}

#[test]
fn layers_that_guess_further_tokens_are_left_aside() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = load(dir.path(), "qwen35-tiled", "f32");
    let blocks = good.config().layers as u32 + 1;
    let keys = [("qwen35.block_count", Set::from(blocks)), ("qwen35.nextn_predict_layers", Set::from(1u32))];
    let names = ["blk.4.attn_norm.weight", "blk.4.nextn.eh_proj.weight", "blk.4.attn_q.weight"];
    let model = Arc::new(with(&good, &keys, &names).expect("a model"));
    assert!(
        model.notes().iter().any(|note| note.starts_with("3 tensors are not part of")),
        "{:?}",
        model.notes()
    );
    let tokens = tokens("qwen35-tiled");
    assert_eq!(fresh(&model, &tokens), fresh(&good, &tokens));
    let error = with(&good, &keys, &["blk.5.attn_norm.weight"]).expect_err("a sixth block").to_string();
    assert!(error.contains("'blk.5.attn_norm.weight' has no place"), "{error}");
    let all = [("qwen35.nextn_predict_layers", Set::from(4u32))];
    let error = with(&good, &all, &[]).expect_err("nothing left").to_string();
    assert_eq!(error, "metadata key 'qwen35.nextn_predict_layers' is 4, expected less than block_count = 4");
}

#[test]
fn numbers_that_contradict_each_other_or_the_tensors_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = load(dir.path(), "qwen35-tiled", "f32");
    let recurrent = |layers: &[bool]| Set::from(layers.to_vec());
    for (key, value, want) in [
        ("ssm.time_step_rank", Set::from(7u32), "is 7, expected a multiple of ssm.group_count = 3"),
        ("ssm.group_count", Set::from(0u32), "is 0, expected 1 to 1024"),
        ("ssm.inner_size", Set::from(100u32), "is 100, expected 32 to 1024, in steps of 32, for each of"),
        ("ssm.inner_size", Set::from(6 * 1024u32), "'blk.0.ssm_conv1d.weight' has shape"),
        ("ssm.conv_kernel", Set::from(9u32), "is 9, expected 1 to 8"),
        (
            "ssm.conv_kernel",
            Set::from(3u32),
            "'blk.0.ssm_conv1d.weight' has shape [4, 384], expected [3, 384]",
        ),
        (
            "ssm.state_size",
            Set::from(64u32),
            "'blk.0.ssm_conv1d.weight' has shape [4, 384], expected [4, 576]",
        ),
        (
            "full_attention_interval",
            Set::from(2u32),
            "layer 1 has attention by the metadata (attention.recurrent_layers or full_attention_interval), but \
             there is a tensor 'blk.1.ssm_a'",
        ),
        (
            "attention.recurrent_layers",
            recurrent(&[true; 4]),
            "layer 3 has a delta net by the metadata (attention.recurrent_layers or full_attention_interval), but \
             there is a tensor 'blk.3.attn_q.weight'",
        ),
        (
            "attention.recurrent_layers",
            recurrent(&[true, true]),
            "is of 2 entries, expected one for each of 4 layers",
        ),
    ] {
        let error = with(&good, &[(&format!("qwen35.{key}"), value)], &[]).expect_err(key).to_string();
        assert!(error.contains(want), "{key}: {error}");
    }
    let right = [("qwen35.attention.recurrent_layers", recurrent(&[true, true, true, false]))];
    assert!(with(&good, &right, &[]).is_ok());
}
