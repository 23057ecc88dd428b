//! A session as a host drives it: a prompt step by step, with other threads, giving memory back in between. The bits are
//! always those of one call.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{fixture_tokens, load, options};
use qwip::{Cancel, Error, KvType, Model, Session, SessionOptions};

const DENSE: &str = "qwen3-wide-heads";
const HYBRIDS: [&str; 2] = ["qwen35-tiled", "qwen3next-grouped"];

fn session(model: &Arc<Model>) -> Session {
    let options = SessionOptions { context: 1024, ..options(KvType::F16, 32) };
    Session::new(model.clone(), qwip::cpu(2).expect("a CPU"), &options).expect("a session")
}

fn tokens(name: &str) -> Vec<u32> {
    fixture_tokens(name).repeat(3)
}

fn prompt(session: &mut Session, tokens: &[u32]) -> usize {
    session.prompt(tokens, &Cancel::new(), &mut |_| {}).expect("logits")
}

/// The logits after all of `tokens`, of a session that has seen nothing else.
fn fresh(model: &Arc<Model>, tokens: &[u32]) -> Vec<f32> {
    let mut session = session(model);
    prompt(&mut session, tokens);
    session.logits().to_vec()
}

/// Takes steps of `most` tokens until there are logits; gives the tokens held after each.
fn steps(session: &mut Session, prompt: &[u32], most: usize) -> Vec<usize> {
    let mut held = Vec::new();
    loop {
        let left = session.prompt_step(prompt, most, &Cancel::new()).expect("a step");
        assert_eq!(session.tokens().len() + left, prompt.len());
        assert_eq!(session.logits().is_empty(), left > 0);
        held.push(session.tokens().len());
        if left == 0 {
            return held;
        }
    }
}

#[test]
fn a_prompt_in_steps_has_the_bits_of_a_prompt_in_one_call() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in [DENSE, HYBRIDS[0], HYBRIDS[1]] {
        let model = load(dir.path(), name, "q8_0");
        let first = tokens(name);
        let want = fresh(&model, &first);
        for most in [1, 7, 32, 50, 0, usize::MAX] {
            let mut session = session(&model);
            let size = if most == 0 { session.batch() } else { most };
            let held = steps(&mut session, &first, most);
            assert_eq!(held.len(), first.len().div_ceil(size), "{name} in steps of {most}");
            assert_eq!(session.logits(), want, "{name} in steps of {most}");
            // What is done is done.
            assert_eq!(session.prompt_step(&first, most, &Cancel::new()).expect("nothing"), 0);
            assert_eq!(session.logits(), want);
            // Without logits, the last token at least is evaluated again.
            session.truncate(first.len());
            assert!(session.logits().is_empty());
            steps(&mut session, &first, most);
            assert_eq!((session.logits(), session.tokens()), (&want[..], &first[..]), "{name}: {most}");
        }
        // Between two steps the session does something else.
        let mut session = session(&model);
        assert_eq!(session.prompt_step(&first, 45, &Cancel::new()).expect("a step"), first.len() - 45);
        session.extend(&[3, 4], &Cancel::new(), &mut |_| {}).expect("tokens");
        steps(&mut session, &first, 7);
        assert_eq!(session.logits(), want, "{name}");
    }
}

#[test]
fn a_step_that_is_cancelled_leaves_the_session_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in [DENSE, HYBRIDS[0]] {
        let model = load(dir.path(), name, "q8_0");
        let mut session = session(&model);
        let (first, other) = (tokens(name), [&tokens(name)[..50], &[7; 60]].concat());
        prompt(&mut session, &first);
        let cancel = Cancel::new();
        cancel.cancel();
        // Nothing is forgotten for a first step that does not come about.
        let result = session.prompt_step(&other, 40, &cancel);
        assert!(matches!(result, Err(Error::Cancelled)), "{name}: {result:?}");
        assert_eq!(session.tokens(), first, "{name}");
        cancel.reset();
        session.prompt_step(&other, 40, &cancel).expect("a step");
        let held = session.tokens().to_vec();
        assert!(other.starts_with(&held) && held.len() < other.len(), "{name}");

        // In the middle, at moments that differ.
        let mut broken_off = 0;
        for micros in 0..200 {
            let (over, raise) = (AtomicBool::new(false), cancel.clone());
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(10 * micros));
                    if !over.load(Ordering::Relaxed) {
                        raise.cancel();
                    }
                });
                let result = session.prompt_step(&other, 30, &cancel);
                over.store(true, Ordering::Relaxed);
                result
            });
            cancel.reset();
            match result {
                Err(Error::Cancelled) => {
                    assert_eq!(session.tokens(), held, "{name} after {micros}0 us");
                    broken_off += 1;
                }
                left => {
                    assert!(left.expect("a step") < other.len() - held.len(), "{name}");
                    session.truncate(held.len());
                }
            }
        }
        assert!(broken_off > 0, "{name}: no step was");
        steps(&mut session, &other, 30);
        assert_eq!(session.logits(), fresh(&model, &other), "{name}");
    }
}

#[test]
fn a_hybrid_is_copied_where_one_call_would_copy_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in HYBRIDS {
        let model = load(dir.path(), name, "q8_0");
        let first = tokens(name);
        let edits = [20, 40, 70, 100, first.len() - 5, first.len()];
        for most in [1, 7, 32, 50, 0] {
            let (mut at_once, mut stepped) = (session(&model), session(&model));
            prompt(&mut at_once, &first);
            steps(&mut stepped, &first, most);
            for at in edits {
                let edited = [&first[..at], &[9; 10]].concat();
                assert_eq!(stepped.shares(&edited), at_once.shares(&edited), "{name}, {most}: from {at} on");
            }
            // Not from the beginning.
            let edited = [&first[..first.len() - 5], &[9; 10]].concat();
            assert_eq!(prompt(&mut stepped, &edited), 5 + 8, "{name}, {most}");
            assert_eq!(stepped.logits(), fresh(&model, &edited), "{name}, {most}");
        }
    }
}
