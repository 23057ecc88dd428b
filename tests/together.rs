//! Several sessions in one pass: the same bits as each alone, and what happens to one is no business of the others.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{FIXTURES, fixture_tokens, load, options};
use qwip::file::Bytes;
use qwip::quant::gguf::{Set, Writer};
use qwip::{Cancel, Cpu, Error, Kernels, KvBudget, KvType, Model, ModelFile, Session, SessionOptions};
use qwip::{Together, Turn};

const HYBRID: &str = "qwen35-untiled";
const PLAIN: &str = "qwen2-gqa";

fn session(model: &Arc<Model>, cpu: &Cpu) -> Session {
    let options = SessionOptions { context: 1024, ..options(KvType::F16, 16) };
    Session::new(model.clone(), cpu.clone(), &options).expect("a session")
}

/// The tokens of session `who`: others for each.
fn sequence(name: &str, who: usize) -> Vec<u32> {
    let mut tokens = fixture_tokens(name);
    let at = 3 * who % tokens.len();
    tokens.rotate_left(at);
    tokens.repeat(30)
}

/// The logits after all of `tokens`, of a session that is alone.
fn alone(model: &Arc<Model>, cpu: &Cpu, tokens: &[u32]) -> Vec<f32> {
    let mut session = session(model, cpu);
    session.extend(tokens, &Cancel::new(), &mut |_| {}).expect("logits");
    session.logits().to_vec()
}

/// Who takes part in a pass, with how many tokens, and whether logits are wanted.
type Pass = &'static [(usize, usize, bool)];

/// Sessions come and go, some read a prompt in slices while others answer.
const PASSES: [Pass; 8] = [
    &[(0, 10, false), (1, 7, true)],
    &[(0, 13, true), (1, 1, true)],
    &[(2, 20, true), (0, 1, true), (1, 1, true)],
    &[(1, 1, true), (3, 5, false), (2, 1, true)],
    &[(3, 1, true), (1, 1, true)],
    &[(0, 30, true), (1, 1, true), (2, 1, true), (3, 1, true)],
    &[(3, 1, true), (2, 1, true), (1, 1, true), (0, 1, true)],
    &[(2, 9, true)],
];

/// Takes the passes, and compares each session with one that takes the same tokens alone.
fn compare(what: &str, model: &Arc<Model>, cpu: &Cpu, sequence: &dyn Fn(usize) -> Vec<u32>, passes: &[Pass]) {
    let count = passes.iter().flat_map(|pass| pass.iter()).map(|turn| turn.0).max().expect("a turn") + 1;
    let sequences: Vec<_> = (0..count).map(sequence).collect();
    let mut sessions: Vec<_> = (0..count).map(|_| session(model, cpu)).collect();
    let mut lonely: Vec<_> = (0..count).map(|_| session(model, cpu)).collect();
    let (mut together, cancel) = (Together::new(), Cancel::new());
    for (i, pass) in passes.iter().enumerate() {
        let mut left: Vec<Option<&mut Session>> = sessions.iter_mut().map(Some).collect();
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for &(who, n, logits) in *pass {
            let session = left[who].take().expect("a session takes one turn");
            let from = session.tokens().len();
            turns.push(Turn::new(session, &sequences[who][from..from + n], logits));
        }
        together.extend(&mut turns, &cancel).expect("a pass");
        assert!(turns.iter().all(|turn| turn.result.is_ok()), "{what}: pass {i}");
        drop(turns);
        for &(who, _, logits) in *pass {
            let (session, lonely) = (&sessions[who], &mut lonely[who]);
            if logits {
                let behind = &session.tokens()[lonely.tokens().len()..];
                lonely.extend(behind, &cancel, &mut |_| {}).expect("logits");
                assert!(session.logits() == lonely.logits(), "{what}: session {who} after pass {i}");
            }
            assert_eq!(session.logits().is_empty(), !logits, "{what}: session {who} after pass {i}");
        }
    }
}

#[test]
fn each_session_has_the_bits_that_it_has_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in FIXTURES {
        for (ty, every) in [("q8_0", true), ("q4_0", false), ("f32", false)] {
            let model = load(dir.path(), name, ty);
            let kernels = Kernels::available();
            let best = Kernels::detect().expect("kernels");
            for kernels in kernels.into_iter().filter(|kernels| every || kernels.isa == best.isa) {
                let cpu = qwip::cpu_with(kernels, 2).expect("a CPU");
                let what = format!("{name} {ty} {}", kernels.isa);
                compare(&what, &model, &cpu, &|who| sequence(name, who), &PASSES);
            }
        }
    }
}

#[test]
fn the_built_in_model_answers_several_at_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/builtin/builtin.gguf");
    let file = ModelFile::open(&path, Default::default()).expect("the built-in model");
    let model = Arc::new(Model::load(Arc::new(file)).expect("the built-in model"));
    let sequence = |who: usize| (0..200).map(|i| (i * 37 + who as u32 * 101) % 1000).collect();
    for threads in [1, 3] {
        let cpu = qwip::cpu(threads).expect("a CPU");
        compare("builtin", &model, &cpu, &sequence, &PASSES);
    }
}

/// Where the attention of a single token is shared out to threads.
#[test]
fn long_and_short_sequences_go_together() {
    const LONG: [Pass; 6] = [
        &[(0, 600, false), (1, 30, true)],
        &[(0, 60, true), (1, 1, true), (2, 700, true)],
        &[(0, 1, true), (1, 1, true), (2, 1, true)],
        &[(2, 1, true), (0, 1, true)],
        &[(1, 1, true), (2, 1, true)],
        &[(2, 64, true), (1, 50, true), (0, 3, true)],
    ];
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["qwen3-wide-heads", "qwen35-tiled"] {
        let model = load(dir.path(), name, "q8_0");
        let cpu = qwip::cpu(4).expect("a CPU");
        compare(name, &model, &cpu, &|who| sequence(name, who), &LONG);
    }
}

#[test]
fn more_sessions_than_rows_of_logits_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (model, cpu) = (load(dir.path(), PLAIN, "q8_0"), qwip::cpu(2).expect("a CPU"));
    let mut sessions: Vec<_> = (0..70).map(|_| session(&model, &cpu)).collect();
    let sequences: Vec<_> = (0..70).map(|who| sequence(PLAIN, who)).collect();
    // Every third wants none.
    let turns = sessions.iter_mut().zip(&sequences).enumerate();
    let mut turns: Vec<_> =
        turns.map(|(i, (session, tokens))| Turn::new(session, &tokens[..1 + i % 4], i % 3 > 0)).collect();
    Together::new().extend(&mut turns, &Cancel::new()).expect("a pass");
    drop(turns);
    for (i, session) in sessions.iter().enumerate() {
        let want = if i % 3 > 0 { alone(&model, &cpu, session.tokens()) } else { vec![] };
        assert!(session.logits() == want && session.tokens() == &sequences[i][..1 + i % 4], "session {i}");
    }
}

/// The model with other bytes of its embedding from row `token` on: as float, not a number.
fn with_a_broken_token(model: &Model, token: usize) -> Arc<Model> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    for (key, value) in &file.header().metadata {
        writer.set(key, Set::from_value(value, bytes).expect("a value"));
    }
    for tensor in file.tensors() {
        writer.tensor(&tensor.info.name, &tensor.info.dims, tensor.info.ty).expect("a tensor");
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    for tensor in file.tensors() {
        let mut data = file.tensor_bytes(tensor).to_vec();
        if tensor.info.name == "token_embd.weight" {
            data[token * model.config().embedding * 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        out.write(&data).expect("data");
    }
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Arc::new(Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file"))).expect("a model"))
}

#[test]
fn what_fails_fails_alone_and_leaves_its_session_as_it_was() {
    const BROKEN: u32 = 99;
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in [PLAIN, HYBRID] {
        let cpu = qwip::cpu(2).expect("a CPU");
        let model = with_a_broken_token(&load(dir.path(), name, "f32"), BROKEN as usize);
        let (mut together, cancel) = (Together::new(), Cancel::new());
        let tokens: Vec<u32> = sequence(name, 0).into_iter().filter(|&token| token != BROKEN).collect();
        let vocab = model.config().vocab as u32;
        let mut sessions: Vec<_> = (0..5).map(|_| session(&model, &cpu)).collect();
        let full = SessionOptions { context: 32, ..options(KvType::F16, 16) };
        sessions[2] = Session::new(model.clone(), cpu.clone(), &full).expect("a session");
        for session in &mut sessions {
            session.extend(&tokens[..30], &cancel, &mut |_| {}).expect("a prompt");
        }
        let next: [&[u32]; 5] = [&tokens[30..31], &[vocab], &tokens[30..40], &[BROKEN], &[]];
        let mut turns: Vec<_> =
            sessions.iter_mut().zip(next).map(|(session, next)| Turn::new(session, next, true)).collect();
        together.extend(&mut turns, &cancel).expect("a pass");
        let found: Vec<_> = turns.iter().map(|turn| turn.result.as_ref().map_err(Error::to_string)).collect();
        assert_eq!(found[0], Ok(&()), "{name}");
        let outside = format!("token {vocab} is outside the vocabulary of {vocab} entries");
        assert_eq!(found[1], Err(outside));
        assert!(
            matches!(turns[2].result, Err(Error::PromptTooLong { tokens: 40, context: 32 })),
            "{found:?}"
        );
        assert!(matches!(turns[3].result, Err(Error::NonFiniteLogits { position: 30 })), "{found:?}");
        assert!(matches!(turns[4].result, Err(Error::EmptyPrompt)), "{found:?}");
        drop(turns);
        let more = alone(&model, &cpu, &tokens[..31]);
        assert!(sessions[0].logits() == more, "{name}");
        for session in &mut sessions[1..] {
            assert_eq!(session.tokens(), &tokens[..30], "{name}");
            let mut turns = [Turn::new(session, &tokens[30..31], true)];
            together.extend(&mut turns, &cancel).expect("a pass");
            assert!(turns[0].result.is_ok() && session.logits() == more, "{name}");
        }
    }
}

#[test]
fn a_pass_that_is_cancelled_leaves_all_sessions_as_they_were() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in [PLAIN, HYBRID, "qwen2moe-shared"] {
        let (model, cpu) = (load(dir.path(), name, "q8_0"), qwip::cpu(2).expect("a CPU"));
        let sequences = [sequence(name, 0), sequence(name, 1)];
        let mut sessions = [session(&model, &cpu), session(&model, &cpu)];
        let (mut together, cancel) = (Together::new(), Cancel::new());
        for (session, tokens) in sessions.iter_mut().zip(&sequences) {
            session.extend(&tokens[..70], &cancel, &mut |_| {}).expect("a prompt");
        }
        let pages: Vec<u64> = sessions.iter().map(Session::kv_bytes).collect();
        // Cancelled before it has begun: a hybrid does not even lose the memory of where it is.
        cancel.cancel();
        let mut turns = [Turn::new(&mut sessions[0], &sequences[0][70..71], true)];
        assert!(matches!(together.extend(&mut turns, &cancel), Err(Error::Cancelled)), "{name}");
        cancel.reset();
        assert_eq!(sessions[0].shares(&sequences[0][..71]), 70, "{name}");
        // At once, and at some moment or other of the pass.
        let mut stopped = 0;
        for micros in [None, Some(0), Some(50), Some(200), Some(400), Some(800), Some(3000)] {
            if micros.is_none() {
                cancel.cancel();
            }
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    if let Some(micros) = micros {
                        std::thread::sleep(Duration::from_micros(micros));
                        cancel.cancel();
                    }
                });
                let mut turns = sessions
                    .iter_mut()
                    .zip(&sequences)
                    .map(|(session, tokens)| Turn::new(session, &tokens[70..300], true))
                    .collect::<Vec<_>>();
                together.extend(&mut turns, &cancel)
            });
            cancel.reset();
            match result {
                Err(Error::Cancelled) => stopped += 1,
                result => {
                    result.expect("done before it was cancelled");
                    sessions.iter_mut().for_each(|session| session.truncate(70));
                }
            }
            for ((session, tokens), pages) in sessions.iter().zip(&sequences).zip(&pages) {
                assert_eq!((session.tokens(), session.logits()), (&tokens[..70], &[][..]), "{name}");
                assert!(session.kv_bytes() <= *pages, "{name}");
            }
        }
        assert!(stopped > 0, "{name}");
        for (session, tokens) in sessions.iter_mut().zip(&sequences) {
            let mut turns = [Turn::new(session, &tokens[70..75], true)];
            together.extend(&mut turns, &cancel).expect("a pass");
            assert!(session.logits() == alone(&model, &cpu, &tokens[..75]), "{name}");
        }
    }
}

/// All logits of a prompt, between passes.
#[test]
fn all_logits_come_in_the_buffers_of_the_passes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    for name in [PLAIN, HYBRID] {
        let (model, cpu) = (load(dir.path(), name, "q8_0"), qwip::cpu(2).expect("a CPU"));
        let tokens = sequence(name, 0);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut lonely = session(&model, &cpu);
        lonely
            .extend_with_logits(&tokens[..70], &cancel, &mut |row| expected.extend_from_slice(row))
            .expect("logits");
        let (mut together, mut shared) = (Together::new(), session(&model, &cpu));
        let mut other = session(&model, &cpu);
        for (from, to) in [(0, 33), (33, 34), (34, 70)] {
            together
                .extend_with_logits(&mut shared, &tokens[from..to], &cancel, &mut |row| {
                    found.extend_from_slice(row);
                })
                .expect("logits");
            assert!(shared.logits() == alone(&model, &cpu, &tokens[..to]), "{name} {to}");
            together.extend(&mut [Turn::new(&mut other, &tokens[from..to], true)], &cancel).expect("a pass");
            assert!(other.logits() == shared.logits(), "{name} {to}");
        }
        assert!(found == expected, "{name}");
        cancel.cancel();
        let broken = together.extend_with_logits(&mut shared, &tokens[70..80], &cancel, &mut |_| {});
        cancel.reset();
        assert!(matches!(broken, Err(Error::Cancelled)), "{name}");
        assert_eq!((shared.tokens(), shared.logits()), (&tokens[..70], &[][..]), "{name}");
    }
}

/// What a hybrid went back behind is evaluated again before its turn.
#[test]
fn a_hybrid_that_went_back_catches_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (model, cpu) = (load(dir.path(), HYBRID, "q8_0"), qwip::cpu(2).expect("a CPU"));
    let sequences = [sequence(HYBRID, 0), sequence(HYBRID, 1)];
    let mut sessions = [session(&model, &cpu), session(&model, &cpu)];
    let (mut together, cancel) = (Together::new(), Cancel::new());
    let mut pass = |sessions: &mut [Session; 2], to: [usize; 2]| {
        let mut turns: Vec<_> = sessions
            .iter_mut()
            .zip(&sequences)
            .zip(to)
            .map(|((session, tokens), to)| {
                let from = session.tokens().len();
                Turn::new(session, &tokens[from..to], true)
            })
            .collect();
        together.extend(&mut turns, &cancel).expect("a pass");
        assert!(turns.iter().all(|turn| turn.result.is_ok()));
    };
    pass(&mut sessions, [60, 50]);
    // Copies of the memory are there as after a prompt alone: shortly before the end.
    assert_eq!(sessions[0].shares(&sequences[0]), 60);
    assert_eq!(sessions[0].shares(&[&sequences[0][..59], &[1, 2]].concat()), 52);
    sessions[0].truncate(57);
    pass(&mut sessions, [58, 51]);
    for (session, tokens) in sessions.iter().zip(&sequences) {
        assert!(session.logits() == alone(&model, &cpu, &tokens[..session.tokens().len()]));
    }
    // Slices of one prompt: a copy at the end of each.
    let mut turns = [Turn::new(&mut sessions[0], &sequences[0][58..90], false)];
    Together::new().extend(&mut turns, &Cancel::new()).expect("a pass");
    assert_eq!(sessions[0].shares(&[&sequences[0][..90], &[1, 2]].concat()), 90);
    sessions[0].extend(&sequences[0][90..91], &Cancel::new(), &mut |_| {}).expect("a token");
    assert_eq!(sessions[0].shares(&[&sequences[0][..90], &[1, 2]].concat()), 90);
}

#[test]
fn sessions_that_do_not_fit_together_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (model, cpu) = (load(dir.path(), PLAIN, "f16"), qwip::cpu(2).expect("a CPU"));
    let refused = |mut a: Session, mut b: Session| {
        let mut turns = [Turn::new(&mut a, &[1], true), Turn::new(&mut b, &[1], true)];
        let error = Together::new().extend(&mut turns, &Cancel::new()).expect_err("refused").to_string();
        assert_eq!(a.tokens().len() + b.tokens().len(), 0);
        error
    };
    let one = || session(&model, &cpu);
    let with = |change: &dyn Fn(&mut SessionOptions)| {
        let mut options = SessionOptions { context: 1024, ..options(KvType::F16, 16) };
        change(&mut options);
        Session::new(model.clone(), cpu.clone(), &options).expect("a session")
    };
    let other = load(dir.path(), PLAIN, "f32");
    let want = |what: &str| {
        format!("a session in a pass is number 1, with another {what}, expected the {what} of number 0")
    };
    assert_eq!(refused(one(), session(&other, &cpu)), want("model"));
    assert_eq!(refused(one(), session(&model, &qwip::cpu(2).expect("a CPU"))), want("CPU"));
    assert_eq!(refused(one(), with(&|options| options.v_type = KvType::F32)), want("type of cache"));
    let stretched = with(&|options| {
        options.rope.scaling = Some(qwip::model::ScalingType::Linear);
        options.rope.factor = Some(2.0);
    });
    assert_eq!(refused(one(), stretched), want("rotation"));
    let embedding = load(dir.path(), "qwen2-embedding-mean", "f16");
    let error = refused(session(&embedding, &cpu), session(&embedding, &cpu));
    assert!(error.starts_with("attention.causal is false"), "{error}");

    let (mut a, tokens) = (one(), vec![1; Session::MAX_BATCH + 1]);
    let error = Together::new().extend(&mut [Turn::new(&mut a, &tokens, true)], &Cancel::new());
    let error = error.expect_err("too many").to_string();
    assert!(error.contains("is 4097, expected at most 4096"), "{error}");
    Together::new().extend(&mut [], &Cancel::new()).expect("nothing to do");
}

#[test]
fn a_fork_shares_its_beginning_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    for name in [PLAIN, "qwen3-wide-heads", HYBRID, "qwen3next-grouped"] {
        let (model, cpu) = (load(dir.path(), name, "q8_0"), qwip::cpu(2).expect("a CPU"));
        let budget = KvBudget::new(1 << 30);
        let tokens = sequence(name, 0);
        let mut first = session(&model, &cpu);
        first.set_budget(budget.clone()).expect("an empty session");
        first.extend(&tokens[..150], &cancel, &mut |_| {}).expect("a prompt");
        let used = budget.used();
        let hybrid = model.config().hybrid.is_some();
        assert!(first.budget_bytes() == used && (first.kv_bytes() < used) == hybrid, "{name}");
        for len in [0, 1, 64, 100, 140, 142, 149, 150, 1000] {
            let mut fork = first.fork(len).expect("a fork");
            let held = fork.tokens().len();
            // Copies are kept where slices of 16 end.
            let want = match (hybrid, len) {
                (true, 142) => 128,
                (true, 149) => 144,
                (true, 150..) => 150,
                (true, _) => held,
                (false, _) => len.min(150),
            };
            assert_eq!(held, want, "{name} {len}");
            assert!(held <= len && fork.tokens() == &tokens[..held], "{name} {len}");
            assert!(fork.logits().is_empty());
            // The pages are shared; only a hybrid's memory is its own.
            let own = if hybrid { qwip::kv::Recurrent::bytes(model.config()) } else { 0 };
            assert_eq!(budget.used(), used + own, "{name} {len}");

            // Both go on, each its own way, in turns.
            let mut other = first.fork(held).expect("a fork of the same");
            for i in 0..70 {
                fork.extend(&[i % 7], &cancel, &mut |_| {}).expect("a token");
                other.extend(&[(i + 3) % 11], &cancel, &mut |_| {}).expect("a token");
            }
            for session in [&fork, &other] {
                assert!(session.logits() == alone(&model, &cpu, session.tokens()), "{name} {len}");
            }
            drop((fork, other));
            assert_eq!(budget.used(), used, "{name} {len}");
        }
        let deep = first.fork(150).and_then(|fork| fork.fork(150)).expect("a fork of a fork");
        drop(first);
        let mut deep = deep;
        deep.extend(&tokens[150..151], &cancel, &mut |_| {}).expect("a token");
        assert!(deep.logits() == alone(&model, &cpu, &tokens[..151]), "{name}");
        drop(deep);
        assert_eq!(budget.used(), 0, "{name}");
    }
}

#[test]
fn what_a_session_shares_with_a_prompt_is_what_the_prompt_does_not_cost() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    for name in [PLAIN, HYBRID] {
        let (model, cpu) = (load(dir.path(), name, "q8_0"), qwip::cpu(2).expect("a CPU"));
        let tokens = sequence(name, 0);
        for same in [0, 3, 33, 70, 99, 100] {
            let mut held = session(&model, &cpu);
            held.extend(&tokens[..100], &cancel, &mut |_| {}).expect("a prompt");
            let mut prompt = tokens[..same].to_vec();
            prompt.extend([(tokens[same] + 1) % 50, 3, 4]);
            let shares = held.shares(&prompt);
            let evaluated = held.prompt(&prompt, &cancel, &mut |_| {}).expect("a prompt");
            assert_eq!(shares + evaluated, prompt.len(), "{name} {same}");
            assert!(shares <= same && (shares == same || model.config().hybrid.is_some()), "{name} {same}");
        }
        assert_eq!(session(&model, &cpu).shares(&[]), 0);
    }
}

#[test]
fn a_budget_that_is_used_up_stops_one_session_and_comes_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    for name in [PLAIN, HYBRID] {
        let (model, cpu) = (load(dir.path(), name, "q8_0"), qwip::cpu(2).expect("a CPU"));
        let mut probe = session(&model, &cpu);
        probe.extend(&[1], &cancel, &mut |_| {}).expect("a page");
        let (page, memory) = (probe.kv_bytes(), qwip::kv::Recurrent::bytes(model.config()));
        // Three pages, the memories of two sessions and no copies of them.
        let budget = KvBudget::new(3 * page + 2 * memory);
        let options = SessionOptions { context: 1024, snapshots: 0, ..options(KvType::F16, 16) };
        let session = || Session::new(model.clone(), cpu.clone(), &options).expect("a session");
        let mut sessions = [session(), session()];
        for session in &mut sessions {
            session.set_budget(budget.clone()).expect("an empty session");
        }
        let sequences = [sequence(name, 0), sequence(name, 1)];
        let mut together = Together::new();
        let mut pass = |sessions: &mut [Session; 2], n: [usize; 2]| {
            let mut turns: Vec<_> = sessions
                .iter_mut()
                .zip(&sequences)
                .zip(n)
                .map(|((session, tokens), n)| {
                    let from = session.tokens().len();
                    Turn::new(session, &tokens[from..from + n], true)
                })
                .collect();
            together.extend(&mut turns, &cancel).expect("a pass");
            turns.into_iter().map(|turn| turn.result).collect::<Vec<_>>()
        };
        assert!(pass(&mut sessions, [60, 60]).iter().all(Result::is_ok), "{name}");
        assert_eq!(budget.used(), 2 * page + 2 * memory, "{name}");
        // One more page is there: the first gets it, the second needs two.
        let results = pass(&mut sessions, [10, 100]);
        assert!(results[0].is_ok(), "{name}: {results:?}");
        let Err(Error::KvMemory { needed, used, limit }) = results[1] else { panic!("{name}: {results:?}") };
        assert_eq!((needed, used, limit), (2 * page, budget.limit(), budget.limit()), "{name}");
        assert_eq!(sessions[1].tokens(), &sequences[1][..60], "{name}");
        let [first, mut second] = sessions;
        assert!(first.logits() == alone(&model, &cpu, first.tokens()), "{name}");
        // Alone it fails in the same way, and goes on once the other is gone.
        let error = second.extend(&sequences[1][60..70], &cancel, &mut |_| {}).expect_err("no page");
        assert!(matches!(error, Error::KvMemory { .. }) && !error.to_string().contains('\n'), "{error}");
        drop(first);
        second.extend(&sequences[1][60..70], &cancel, &mut |_| {}).expect("a page");
        assert!(second.logits() == alone(&model, &cpu, second.tokens()), "{name}");
        assert!(second.set_budget(KvBudget::new(0)).is_err(), "{name}: not empty");
        // A copy of a page that is shared is a page, too.
        let mut fork = second.fork(70).expect("a fork");
        fork.extend(&[1], &cancel, &mut |_| {}).expect("room for a copy");
        let mut more = second.fork(70).map_err(|error| error.to_string());
        if let Ok(more) = &mut more {
            let error = more.extend(&[1], &cancel, &mut |_| {}).expect_err("no more");
            assert!(matches!(error, Error::KvMemory { .. }), "{name}: {error}");
        }
        assert_eq!(more.is_err(), model.config().hybrid.is_some(), "{name}: {more:?}");
        drop((second, fork, more));
        assert_eq!(budget.used(), 0, "{name}");
    }
}

/// Copies of a hybrid's memory only save time.
#[test]
fn copies_of_a_memory_make_room_for_pages() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = Cancel::new();
    let (model, cpu) = (load(dir.path(), HYBRID, "q8_0"), qwip::cpu(2).expect("a CPU"));
    let memory = qwip::kv::Recurrent::bytes(model.config());
    let mut session = session(&model, &cpu);
    session.extend(&[1], &cancel, &mut |_| {}).expect("a page");
    let page = session.kv_bytes();
    session.truncate(0);
    // Four pages and the memory itself.
    let budget = KvBudget::new(4 * page + memory);
    session.set_budget(budget.clone()).expect("an empty session");
    let tokens = sequence(HYBRID, 0);
    session.extend(&tokens[..60], &cancel, &mut |_| {}).expect("a prompt");
    let copies = (budget.used() - page - memory) / memory;
    assert!(copies > 0, "as many as there is room for");
    for i in 60..256 {
        session.extend(&tokens[i..i + 1], &cancel, &mut |_| {}).expect("copies that make room");
    }
    assert_eq!(budget.used(), budget.limit());
    assert!(session.logits() == alone(&model, &cpu, &tokens[..256]));
    let error = session.extend(&tokens[256..257], &cancel, &mut |_| {}).expect_err("no more").to_string();
    let (limit, used) = (budget.limit(), budget.used());
    assert_eq!(error, format!("keys and values need {page} more bytes, but {used} of {limit} are taken"));
    assert_eq!(session.tokens(), &tokens[..256]);
}
