//! A device that is lost in the middle: if it may, the session goes on with the CPU as if it had always been there.

mod common;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{error, fixture_tokens, load, options};
use qwip::backend::gpu::{Gpu, GpuError, GpuModel, GpuOptions};
use qwip::{Cancel, Cpu, Error, GenerateOptions, KvType, Model, Sampler, SamplingParams, Session, Tokenizer};

fn gpu() -> Option<Arc<Gpu>> {
    match Gpu::open(&GpuOptions::default()) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(error) if std::env::var_os("QWIP_REQUIRE_GPU").is_none() => {
            eprintln!("SKIPPED: no adapter ({error})");
            None
        }
        Err(error) => panic!("QWIP_REQUIRE_GPU is set, but {error}"),
    }
}

fn session(gpu: &Arc<Gpu>, model: &Arc<Model>, cpu: &Cpu, batch: usize) -> Session {
    let layers = GpuModel::load(gpu.clone(), model.clone(), usize::MAX, &mut |_| true).expect("an upload");
    Session::on_gpu(Arc::new(layers), cpu.clone(), &options(KvType::F16, batch)).expect("a session")
}

#[test]
fn a_lost_device_is_an_error_that_leaves_the_session_as_it_was() {
    if gpu().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in ["qwen3-wide-heads", "qwen35-tiled"] {
        let (model, tokens) = (load(dir.path(), name, "q8_0"), fixture_tokens(name));
        let gpu = Arc::new(Gpu::open(&GpuOptions::default()).expect("a second device"));
        let mut session = session(&gpu, &model, &cpu, 512);
        session.extend(&tokens[..10], &Cancel::new(), &mut |_| {}).expect("logits");
        gpu.destroy();
        let failed = session.extend(&tokens[10..], &Cancel::new(), &mut |_| {});
        assert!(matches!(failed, Err(Error::Gpu(GpuError::Lost { .. }))), "{failed:?}");
        assert_eq!(session.tokens(), &tokens[..10]);
        // Whoever wants to go on can.
        session.leave_device().expect("memory");
        assert!(session.device().is_none());
        session.extend(&tokens[10..], &Cancel::new(), &mut |_| {}).expect("logits of the CPU");
        let mut want = Session::new(model, cpu.clone(), &options(KvType::F16, 512)).expect("a session");
        want.extend(&tokens, &Cancel::new(), &mut |_| {}).expect("logits");
        assert_eq!(session.logits(), want.logits(), "{name}");
    }
}

#[test]
fn a_session_that_may_leave_goes_on_wherever_the_device_is_lost() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    drop(gpu);
    for name in ["qwen3-wide-heads", "qwen35-tiled"] {
        let (model, tokens) = (load(dir.path(), name, "q8_0"), fixture_tokens(name));
        let want = common::logits(&model, &cpu, KvType::F16, &tokens, 512);
        let vocab = model.config().vocab;
        // The device goes after so many logits; slices are of five tokens.
        for lost_after in [1, 5, 13] {
            let gpu = Arc::new(Gpu::open(&GpuOptions::default()).expect("an adapter"));
            let mut session = session(&gpu, &model, &cpu, 5);
            let (heard, why) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
            let (count, text) = (heard.clone(), why.clone());
            session.leave_failing_device(move |error| {
                count.fetch_add(1, Ordering::Relaxed);
                *text.lock().expect("no panic") = error.to_string();
            });
            let mut found = Vec::new();
            session
                .extend_with_logits(&tokens, &Cancel::new(), &mut |row| {
                    found.extend_from_slice(row);
                    if found.len() == lost_after * vocab {
                        gpu.destroy();
                    }
                })
                .expect("logits of both");
            assert_eq!(found.len(), want.len(), "each row comes once");
            assert!(error(&found, &want) <= 1e-2, "{name}");
            assert_eq!(heard.load(Ordering::Relaxed), 1);
            assert!(why.lock().expect("no panic").contains("the device was lost"), "{why:?}");
            assert_eq!(session.tokens(), tokens);
            // What follows is the CPU's, bit for bit, although its beginning was the GPU's.
            session.extend(&tokens[..3], &Cancel::new(), &mut |_| {}).expect("logits");
            let mut whole =
                Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 512)).expect("a session");
            whole.extend(&[&tokens[..], &tokens[..3]].concat(), &Cancel::new(), &mut |_| {}).expect("logits");
            assert_eq!(session.logits(), whole.logits(), "{name} {lost_after}");
        }
    }
}

#[test]
fn an_answer_goes_on_when_the_device_is_lost() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let model = load(dir.path(), "qwen3-wide-heads", "q8_0");
    let tokenizer = Tokenizer::from_gguf(model.file().header(), model.file().parts()[0].bytes.clone());
    let tokenizer = tokenizer.expect("a tokenizer");
    let generate = GenerateOptions { max_tokens: Some(24), ignore_eos: true, ..GenerateOptions::default() };
    let mut session = session(&gpu, &model, &cpu, 512);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    session.leave_failing_device(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let prompt = fixture_tokens("qwen3-wide-heads");
    session.prompt(&prompt, &Cancel::new(), &mut |_| {}).expect("logits");
    let mut sampler = Sampler::new(SamplingParams { temperature: 0.0, ..SamplingParams::default() });
    let mut pieces = 0;
    let answer =
        qwip::generate(&mut session, &tokenizer, &mut sampler, &generate, &Cancel::new(), &mut |_| {
            pieces += 1;
            if pieces == 6 {
                gpu.destroy();
            }
            ControlFlow::Continue(())
        });
    let answer = answer.expect("an answer");
    assert_eq!((answer.tokens.len(), heard.load(Ordering::Relaxed)), (24, 1));
    assert!(session.device().is_none());
    // From there on it is what the CPU says after the same tokens.
    let mut whole = Session::new(model, cpu, &options(KvType::F16, 512)).expect("a session");
    let evaluated = [&prompt[..], &answer.tokens[..23]].concat();
    whole.extend(&evaluated, &Cancel::new(), &mut |_| {}).expect("logits");
    assert_eq!(session.tokens(), evaluated);
    assert_eq!(session.logits(), whole.logits());
}

#[test]
fn a_call_that_is_stopped_after_the_device_was_lost_keeps_the_tokens() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let (model, tokens) = (load(dir.path(), "qwen3-wide-heads", "q8_0"), fixture_tokens("qwen3-wide-heads"));
    let mut session = session(&gpu, &model, &cpu, 512);
    session.extend(&tokens, &Cancel::new(), &mut |_| {}).expect("logits");
    let cancel = Cancel::new();
    let stop = cancel.clone();
    session.leave_failing_device(move |_| stop.cancel());
    gpu.destroy();
    let mut other = tokens[..8].to_vec();
    other.extend([1, 2, 3]);
    let stopped = session.prompt(&other, &cancel, &mut |_| {});
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert_eq!(session.tokens(), tokens);
    session.extend(&[5], &Cancel::new(), &mut |_| {}).expect("logits");
    let mut want = Session::new(model, cpu, &options(KvType::F16, 512)).expect("a session");
    want.extend(&[&tokens[..], &[5]].concat(), &Cancel::new(), &mut |_| {}).expect("logits");
    assert_eq!(session.logits(), want.logits());
}
