//! A session as a host drives it: a prompt step by step, with other threads, giving memory back in between. The bits are
//! always those of one call.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::{fixture_tokens, load, options};
use qwip::{Cancel, Error, Kernels, KvBudget, KvType, Model, Session, SessionOptions};

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

        // In the middle, at moments all over a step, by a thread that is awake already.
        let start = Instant::now();
        session.prompt_step(&other, 30, &cancel).expect("a step");
        let whole = start.elapsed();
        session.truncate(held.len());
        let mut broken_off = 0;
        for moment in (0..200).map(|i| whole * i / 200) {
            let (ready, raise) = (AtomicBool::new(false), cancel.clone());
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.store(true, Ordering::Release);
                    let start = Instant::now();
                    while start.elapsed() < moment {
                        std::hint::spin_loop();
                    }
                    raise.cancel();
                });
                while !ready.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                session.prompt_step(&other, 30, &cancel)
            });
            cancel.reset();
            match result {
                Err(Error::Cancelled) => {
                    assert_eq!(session.tokens(), held, "{name} after {moment:?}");
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

#[test]
fn other_threads_change_no_bit() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in [DENSE, HYBRIDS[1]] {
        let model = load(dir.path(), name, "q8_0");
        let all = tokens(name);
        let mut session = session(&model);
        for (threads, part) in [3, 1, 2].into_iter().zip(all.chunks(all.len().div_ceil(3))) {
            session.set_cpu(qwip::cpu(threads).expect("a CPU")).expect("the same kernels");
            assert_eq!(session.cpu().pool.threads(), threads);
            session.extend(part, &Cancel::new(), &mut |_| {}).expect("tokens");
        }
        assert_eq!(session.logits(), fresh(&model, &all), "{name}");
        #[cfg(target_os = "linux")]
        {
            // On a processor that we have, and on one that there is not.
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("the thread's status");
            let list =
                status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
            let first =
                list.trim().split(['-', ',']).next().and_then(|core| core.parse().ok()).expect("a number");
            session.set_cpu(qwip::cpu_pinned(2, &[first]).expect("a CPU")).expect("the same kernels");
            session.truncate(0);
            session.extend(&all, &Cancel::new(), &mut |_| {}).expect("tokens");
            assert_eq!(session.logits(), fresh(&model, &all), "{name}");
            let error = qwip::cpu_pinned(2, &[first, 60_000]).expect_err("no such processor").to_string();
            let want =
                "could not start 2 threads: logical processor 60000 does not exist or may not be used here";
            assert_eq!(error, want);
        }
        let ours = session.cpu().kernels.isa;
        for isa in Kernels::available() {
            let result = session.set_cpu(qwip::cpu_with(isa, 1).expect("a CPU"));
            assert_eq!(result.is_ok(), isa.isa == ours, "{:?}", isa.isa);
        }
    }
}

#[test]
fn memory_that_is_given_back_costs_time_and_no_bit() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    for name in [DENSE, HYBRIDS[0], HYBRIDS[1]] {
        let model = load(dir.path(), name, "q8_0");
        let (all, more) = (tokens(name), [5, 6, 7]);
        let longer = [&all[..], &more].concat();
        let budget = KvBudget::new(1 << 30);
        let mut session = session(&model);
        session.set_budget(budget.clone()).expect("room");
        prompt(&mut session, &all);
        let (logits, bytes, kv) = (session.logits().to_vec(), session.budget_bytes(), session.kv_bytes());
        assert!(kv > 0 && bytes >= kv);

        session.release_buffers();
        assert!(session.logits() == logits && session.budget_bytes() == bytes);
        session.extend(&more, &cancel, &mut |_| {}).expect("tokens");
        assert_eq!(session.logits(), fresh(&model, &longer), "{name}");
        session.truncate(all.len());

        for round in 0..2 {
            session.release_pages();
            assert_eq!((session.budget_bytes(), session.kv_bytes(), budget.used()), (0, 0, 0), "{name}");
            assert_eq!(session.tokens(), all);
            // A fork of what was given back has the tokens, and will evaluate them as well.
            let mut fork = session.fork(all.len()).expect("a fork");
            assert!(fork.tokens() == all && fork.kv_bytes() == 0);
            fork.extend(&more, &cancel, &mut |_| {}).expect("tokens");
            assert_eq!(fork.logits(), fresh(&model, &longer), "{name}");
            drop(fork);
            if round == 0 {
                session.extend(&more, &cancel, &mut |_| {}).expect("tokens");
                assert_eq!(session.logits(), fresh(&model, &longer), "{name}");
                // Of a hybrid some copies were made on the way.
                assert!(session.shares(&[&all[..all.len() - 5], &[9; 10]].concat()) >= 32, "{name}");
                session.truncate(all.len());
            } else {
                assert_eq!(prompt(&mut session, &all), all.len());
                assert_eq!(session.logits(), logits, "{name}");
                assert_eq!(session.kv_bytes(), kv, "{name}");
            }
        }
        // The logits stay, and a call that does not come about has changed nothing.
        session.release_pages();
        assert_eq!(session.logits(), logits);
        cancel.cancel();
        assert!(matches!(session.extend(&more, &cancel, &mut |_| {}), Err(Error::Cancelled)));
        cancel.reset();
        assert_eq!(session.tokens(), all, "{name}");
        // Nor one that has no room.
        session.release_pages();
        let rest = budget.charge(budget.limit()).expect("all there is");
        assert_eq!(rest.bytes(), 1 << 30);
        assert!(matches!(session.extend(&more, &cancel, &mut |_| {}), Err(Error::KvMemory { .. })));
        drop(rest);
        session.extend(&more, &cancel, &mut |_| {}).expect("tokens");
        assert_eq!(session.logits(), fresh(&model, &longer), "{name}");

        // Saved and restored with nothing evaluated.
        session.release_pages();
        let mut saved = Vec::new();
        session.save(&mut saved, &cancel).expect("a saved session");
        let mut restored = self::session(&model);
        restored.restore(&mut &saved[..], &cancel).expect("a restored session");
        assert_eq!((restored.tokens(), restored.kv_bytes()), (&longer[..], 0));
        restored.extend(&[8], &cancel, &mut |_| {}).expect("a token");
        assert_eq!(restored.logits(), fresh(&model, &[&longer[..], &[8]].concat()), "{name}");
    }
}
