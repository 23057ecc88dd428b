//! Long contexts: YaRN on request and far positions against the logits of Hugging Face transformers
//! (`tests/fixtures/models/long.py`), and the promise of one answer there.

mod common;

use std::sync::Arc;

use common::{error, fixture_tokens, folder, load, read_npy};
use qwip::model::{RopeOptions, ScalingType};
use qwip::{Cancel, Cpu, KvType, Model, Session, SessionOptions};

const FAR: usize = 131072;

fn options(kv: KvType, context: usize, rope: RopeOptions) -> SessionOptions {
    SessionOptions { context, k_type: kv, v_type: kv, rope, ..SessionOptions::default() }
}

fn session(model: &Arc<Model>, cpu: &Cpu, options: &SessionOptions) -> Session {
    Session::new(model.clone(), cpu.clone(), options).expect("a session")
}

fn extend(session: &mut Session, tokens: &[u32]) {
    session.extend(tokens, &Cancel::new(), &mut |_| {}).expect("logits");
}

/// `token(i)` of long.py for the first `n` positions.
fn tokens(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) % 304).collect()
}

/// The positions below `end` that a fixture has logits for, and those, [positions, vocab].
fn expected(name: &str, end: usize) -> (Vec<usize>, Vec<f32>) {
    let text = std::fs::read_to_string(folder(name).join("positions.txt")).expect("positions.txt");
    let all: Vec<usize> = text.split_whitespace().map(|s| s.parse().expect("a position")).collect();
    let logits = read_npy(&folder(name).join("logits.npy"));
    let row = logits.len() / all.len();
    let positions: Vec<usize> = all.into_iter().filter(|&p| p < end).collect();
    let rows = positions.len() * row;
    (positions, logits[..rows].to_vec())
}

/// Logits at each of `positions`; the prompt is cut there.
fn at(session: &mut Session, tokens: &[u32], positions: &[usize]) -> Vec<f32> {
    let mut rows = Vec::new();
    for &position in positions {
        extend(session, &tokens[session.tokens().len()..=position]);
        rows.extend_from_slice(session.logits());
    }
    rows
}

#[test]
fn yarn_on_request_agrees_with_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for (name, original) in
        [("qwen2-gqa", None), ("qwen3-wide-heads", Some(64)), ("qwen2moe-shared", Some(64))]
    {
        let model = load(dir.path(), name, "f32");
        let want = read_npy(&folder(name).join("logits-yarn.npy"));
        let tokens = fixture_tokens(name);
        let yarn = RopeOptions { scaling: Some(ScalingType::Yarn), factor: Some(4.0), original, theta: None };
        let run = |rope| {
            let mut session = session(&model, &cpu, &options(KvType::F32, 64, rope));
            let mut rows = Vec::new();
            let sink = &mut |row: &[f32]| rows.extend_from_slice(row);
            session.extend_with_logits(&tokens, &Cancel::new(), sink).expect("logits");
            rows
        };
        let (with, without) = (error(&run(yarn), &want), error(&run(RopeOptions::default()), &want));
        println!("{name}: with YaRN {with:.2e}, without {without:.2e} of the logits' range");
        assert!(with <= 2e-4 && without > 0.02, "{name}: {with} {without}");
    }
}

#[test]
fn scaling_follows_from_the_limit_and_not_from_the_length() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(1).expect("a CPU");
    let model = load(dir.path(), "qwen3-wide-heads", "q8_0");
    let trained = model.config().context;
    let yarn = RopeOptions { scaling: Some(ScalingType::Yarn), ..RopeOptions::default() };
    let exact = RopeOptions { factor: Some(2.0), ..yarn };
    let run = |context, rope| {
        let mut session = session(&model, &cpu, &options(KvType::F16, context, rope));
        extend(&mut session, &tokens(20));
        (session.logits().to_vec(), session.reach())
    };
    let double = run(2 * trained, yarn);
    assert_eq!(double, run(100, exact));
    assert_eq!(double.1, 2 * trained);
    let plain = run(100, RopeOptions::default());
    assert_eq!(plain, run(100, yarn));
    assert!(plain.1 == trained && plain.0 != double.0);
    // Without a limit of its own a session is as long as its scaling reaches.
    assert_eq!(session(&model, &cpu, &options(KvType::F16, 0, exact)).context(), 2 * trained);
    let wrong = RopeOptions { scaling: Some(ScalingType::None), factor: Some(2.0), ..yarn };
    let error =
        Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 0, wrong)).expect_err("no scaling");
    assert!(error.to_string().contains("factor of rope scaling is 2"), "{error}");
}

#[test]
fn positions_to_32768_agree_with_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in ["qwen2-long", "qwen3-long"] {
        let model = load(dir.path(), name, "f32");
        let (positions, want) = expected(name, 32768);
        assert_eq!(positions.last(), Some(&32767));
        let tokens = tokens(32768);
        let mut session = session(&model, &cpu, &options(KvType::F32, 32768, RopeOptions::default()));
        let found = error(&at(&mut session, &tokens, &positions), &want);
        println!("{name}: {found:.2e} of the logits' range");
        assert!(found <= 2e-4, "{name}: {found}");
        // A thousandth of the base is seen: keys far away are turned by other angles then.
        let (near, want) = expected(name, 4096);
        let rope = RopeOptions { theta: Some(1.001e6), ..RopeOptions::default() };
        let mut session = self::session(&model, &cpu, &options(KvType::F32, 4096, rope));
        let found = error(&at(&mut session, &tokens, &near), &want);
        println!("{name} with another base: {found:.2e}");
        assert!(found > 2e-3, "{found}");
    }
}

#[test]
#[ignore = "minutes without optimisation; .ci/run runs it"]
fn positions_to_131072_agree_with_transformers_however_the_prompt_is_cut() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let model = load(dir.path(), "qwen3-long", "f32");
    let (positions, want) = expected("qwen3-long", FAR);
    assert_eq!(positions.last(), Some(&(FAR - 1)));
    let tokens = tokens(FAR);
    let mut session = session(&model, &cpu, &options(KvType::F32, FAR, RopeOptions::default()));
    let found = error(&at(&mut session, &tokens, &positions), &want);
    println!("qwen3-long: {found:.2e} of the logits' range");
    assert!(found <= 2e-4, "{found}");
    // Two layers of one key/value head of 32, f32 keys and values.
    assert_eq!(session.kv_bytes(), FAR as u64 * 2 * 2 * 32 * 4);
    assert_eq!(session.room(), 0);
    let last = session.logits().to_vec();
    for (back, cut) in [(1, 1), (63, 1), (200, 64), (700, 511)] {
        session.truncate(FAR - back);
        tokens[FAR - back..].chunks(cut).for_each(|part| extend(&mut session, part));
        assert!(session.logits() == last, "{back} tokens in calls of {cut}");
    }
}
