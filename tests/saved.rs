//! Sessions on disk: one that is restored goes on with the bits of the one that was saved, evaluating nothing again; one
//! that does not fit or is damaged changes nothing.

mod common;

use std::sync::Arc;

use common::{fixture_tokens as tokens, load, options};
use qwip::model::{RopeOptions, ScalingType};
use qwip::session::SavedError;
use qwip::{Cancel, Error, KvType, Model, Session, SessionOptions};

fn session(model: &Arc<Model>, options: SessionOptions) -> Session {
    let options = SessionOptions { context: 256, batch: 32, ..options };
    Session::new(model.clone(), qwip::cpu(1).expect("a CPU"), &options).expect("a session")
}

fn prompt(session: &mut Session, tokens: &[u32]) -> usize {
    session.prompt(tokens, &Cancel::new(), &mut |_| {}).expect("logits")
}

fn saved(session: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(&mut bytes, &Cancel::new()).expect("a saved session");
    bytes
}

fn restore(session: &mut Session, mut bytes: &[u8]) -> Result<(), Error> {
    session.restore(&mut bytes, &Cancel::new())
}

#[test]
fn a_restored_session_goes_on_with_the_same_bits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Keys in f32 in some layers, experts, first-generation Qwen beyond its trained length, delta nets.
    let names = [
        "qwen3-wide-heads",
        "qwen2-outliers",
        "qwen3moe-norm",
        "qwen1-fused",
        "qwen35-tiled",
        "qwen3next-grouped",
    ];
    for (name, kv) in
        names.map(|name| (name, KvType::F16)).into_iter().chain([("qwen3-wide-heads", KvType::Q8_0)])
    {
        let model = load(dir.path(), name, "q8_0");
        let settings = options(kv, 32);
        let first = [tokens(name), tokens(name)].concat();
        let mut before = session(&model, settings);
        assert_eq!(prompt(&mut before, &first), first.len(), "{name}");
        for token in [5, 6, 7] {
            before.extend(&[token], &Cancel::new(), &mut |_| {}).expect("an answer");
        }
        let bytes = saved(&mut before);

        let mut after = session(&model, settings);
        restore(&mut after, &bytes).expect(name);
        assert_eq!(after.tokens(), before.tokens());
        assert_eq!(after.kv_bytes(), before.kv_bytes());
        assert!(after.logits().is_empty());
        assert_eq!(saved(&mut after), bytes, "{name}: saved again");

        // On behind the end; then a history that changed where the answer began, as when thinking is left out.
        let longer = [&first[..], &[5, 6, 7], &first[..9]].concat();
        let changed = [&first[..], &first[..20]].concat();
        for next in [&longer, &changed] {
            let (live, again) = (prompt(&mut before, next), prompt(&mut after, next));
            assert_eq!(live, again, "{name}: tokens evaluated");
            assert!(again < 45, "{name}: {again} tokens evaluated");
            assert_eq!(before.logits(), after.logits(), "{name}");
        }
        let mut fresh = session(&model, settings);
        prompt(&mut fresh, &changed);
        assert_eq!(fresh.logits(), after.logits(), "{name}: a session that was never saved");
    }
}

#[test]
fn what_a_hybrid_went_back_behind_is_saved_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = "qwen35-tiled";
    let model = load(dir.path(), name, "q8_0");
    let first = tokens(name);
    let mut before = session(&model, SessionOptions::default());
    prompt(&mut before, &first);
    before.truncate(first.len() - 3);
    let bytes = saved(&mut before);
    let mut after = session(&model, SessionOptions { snapshots: 1, ..SessionOptions::default() });
    restore(&mut after, &bytes).expect("restored");
    assert_eq!(after.tokens(), &first[..first.len() - 3]);
    before.extend(&[9], &Cancel::new(), &mut |_| {}).expect("a token");
    after.extend(&[9], &Cancel::new(), &mut |_| {}).expect("a token");
    assert_eq!(before.logits(), after.logits());
}

#[test]
fn a_session_of_something_else_is_named_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = "qwen3-wide-heads";
    let model = load(dir.path(), name, "q8_0");
    let mut before = session(&model, SessionOptions::default());
    prompt(&mut before, &tokens(name));
    let bytes = saved(&mut before);

    let other = load(dir.path(), name, "q4_0");
    let rope =
        RopeOptions { scaling: Some(ScalingType::Linear), factor: Some(2.0), ..RopeOptions::default() };
    let plain = SessionOptions::default();
    for (model, settings, word) in [
        (&other, plain, "model file"),
        (&model, SessionOptions { k_type: KvType::F32, ..plain }, "cache types"),
        (&model, SessionOptions { v_type: KvType::Q8_0, ..plain }, "cache types"),
        (&model, SessionOptions { rope, ..plain }, "rotary positions"),
    ] {
        let mut here = session(model, settings);
        prompt(&mut here, &[1, 2, 3]);
        let logits = here.logits().to_vec();
        let error = restore(&mut here, &bytes).expect_err(word);
        assert!(matches!(&error, Error::Saved(SavedError::Other { what, .. }) if *what == word), "{error}");
        assert_eq!((here.tokens(), here.logits()), (&[1, 2, 3][..], &logits[..]));
    }
    let newer = String::from_utf8_lossy(&bytes).contains("\"contract\":1").then(|| {
        let at = bytes.windows(12).position(|part| part == b"\"contract\":1").expect("in the header");
        let mut bytes = bytes.clone();
        bytes[at + 11] = b'9';
        bytes
    });
    let error =
        restore(&mut session(&model, plain), &newer.expect("contract 1")).expect_err("another contract");
    assert_eq!(error.to_string(), "the saved session has number contract 9, here it is 1");
    let options = SessionOptions { context: 16, ..plain };
    let mut short = Session::new(model.clone(), qwip::cpu(1).expect("a CPU"), &options).expect("a session");
    let error = restore(&mut short, &bytes).expect_err("too long");
    assert!(error.to_string().contains("has 40 tokens, but the context holds 16"), "{error}");
}

#[test]
fn a_damaged_one_is_an_error_wherever_it_is_damaged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["qwen3-wide-heads", "qwen35-tiled"] {
        let model = load(dir.path(), name, "q8_0");
        let mut before = session(&model, SessionOptions::default());
        prompt(&mut before, &tokens(name));
        let bytes = saved(&mut before);
        let mut here = session(&model, SessionOptions::default());
        // All of the header, and places in the rest.
        let step = bytes.len() / 97;
        for at in (0..1024.min(bytes.len())).chain((1024..bytes.len()).step_by(step)).chain([bytes.len() - 1])
        {
            for wrong in [bytes[at] ^ 0x01, bytes[at] ^ 0x80, b'9'] {
                let mut damaged = bytes.clone();
                damaged[at] = wrong;
                if damaged != bytes {
                    let error = restore(&mut here, &damaged).expect_err("damaged").to_string();
                    assert!(!error.contains('\n'), "{error}");
                }
            }
            assert!(restore(&mut here, &bytes[..at]).is_err(), "{name}: cut at {at}");
        }
        assert!(here.tokens().is_empty());
        restore(&mut here, &bytes).expect("the whole one");

        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(here.restore(&mut &bytes[..], &cancel), Err(Error::Cancelled)));
        assert!(matches!(here.save(&mut Vec::new(), &cancel), Err(Error::Cancelled)));
        assert_eq!(here.tokens(), tokens(name));
    }
}

#[test]
fn a_fingerprint_tells_files_apart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let print = |name, ty| load(dir.path(), name, ty).file().fingerprint();
    let one = print("qwen3-wide-heads", "q8_0");
    assert_eq!(one, print("qwen3-wide-heads", "q8_0"));
    assert_ne!(one, print("qwen3-wide-heads", "q4_0"));
    assert_ne!(one, print("qwen2-gqa", "q8_0"));
}
