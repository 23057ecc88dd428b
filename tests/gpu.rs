//! Whole models on the GPU beside the CPU: logits within 1e-2 of their range, the same greedy answers, layers split
//! between both. Needs an adapter (a software one will do) and says so where there is none.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{FIXTURES, error, fixture_tokens, load, options};
use qwip::backend::gpu::{Gpu, GpuModel, GpuOptions};
use qwip::{
    Cancel, Cpu, GenerateOptions, KvBudget, KvType, Model, ModelFile, Sampler, SamplingParams, Session,
    SessionOptions, Together, Tokenizer, Turn, generate,
};

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

fn on_gpu(gpu: &Arc<Gpu>, model: &Arc<Model>, layers: usize) -> Arc<GpuModel> {
    Arc::new(GpuModel::load(gpu.clone(), model.clone(), layers, &mut |_| true).expect("an upload"))
}

/// Logits after every token, [n_tokens, n_vocab], with the tokens cut into calls of `split`.
fn logits(mut session: Session, tokens: &[u32], split: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for part in tokens.chunks(split) {
        session
            .extend_with_logits(part, &Cancel::new(), &mut |row| all.extend_from_slice(row))
            .expect("logits");
    }
    all
}

fn builtin() -> Arc<Model> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|dir| dir.join("tools/builtin/builtin.gguf")).filter(|path| path.exists());
    let path = found.next().expect("the built-in model in the repository");
    let file = ModelFile::open(&path, Default::default()).expect("the built-in model opens");
    Arc::new(Model::load(Arc::new(file)).expect("the built-in model loads"))
}

fn session(device: &Arc<GpuModel>, cpu: &Cpu, kv: KvType) -> Session {
    Session::on_gpu(device.clone(), cpu.clone(), &options(kv, 512)).expect("a session")
}

/// The root of the mean square of the differences as a share of the expected values' range.
fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    let squares: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum();
    (squares / want.len() as f64).sqrt() as f32 / (high - low)
}

/// Both quantize activations in the same way, so that the order of a sum is all that differs; that may push a number over the
/// border between two codes, which in models as narrow as these shifts single logits by a percent.
#[test]
fn logits_of_every_architecture_are_near_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in FIXTURES {
        let tokens = fixture_tokens(name);
        for ty in ["f32", "q8_0"] {
            let model = load(dir.path(), name, ty);
            let want = common::logits(&model, &cpu, KvType::F16, &tokens, 512);
            let device = on_gpu(&gpu, &model, usize::MAX);
            for split in [512, 5, 1] {
                let got = logits(session(&device, &cpu, KvType::F16), &tokens, split);
                let (worst, mean) = (error(&got, &want), mean_error(&got, &want));
                println!(
                    "{name} {ty}, {split} at a time: {worst:.1e} of the range at most, {mean:.1e} on average"
                );
                assert!(
                    if ty == "f32" { worst } else { mean } <= 1e-2,
                    "{name} {ty} {split}: {worst} {mean}"
                );
            }
        }
    }
}

/// What a model answers, up to 32 tokens.
fn answer(session: &mut Session, params: SamplingParams, prompt: &str) -> Vec<u32> {
    let file = session.model().file().clone();
    let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).expect("a tokenizer");
    let text = format!("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n");
    let tokens = tokenizer.encode(&text, qwip::tokenizer::Special::Parse);
    let cancel = Cancel::new();
    session.prompt(&tokens, &cancel, &mut |_| {}).expect("a prompt");
    let options = GenerateOptions { max_tokens: Some(32), ignore_eos: true, ..Default::default() };
    let mut sampler = Sampler::new(params);
    let sink = &mut |_: &str| std::ops::ControlFlow::Continue(());
    generate(session, &tokenizer, &mut sampler, &options, &cancel, sink).expect("an answer").tokens
}

#[test]
fn the_built_in_model_answers_the_same_wherever_its_layers_are() {
    let Some(gpu) = gpu() else { return };
    let (model, cpu) = (builtin(), qwip::cpu(2).expect("a CPU"));
    let options = SessionOptions { context: 256, ..SessionOptions::default() };
    let all = model.config().layers;
    let prompts = ["How do I quantize a model?", "What is 7 + 5?", "你好"];
    let sampled = SamplingParams {
        temperature: 0.7,
        top_k: 20,
        top_p: 0.9,
        repeat_penalty: 1.1,
        presence_penalty: 0.5,
        seed: 7,
        ..SamplingParams::default()
    };
    for prompt in prompts {
        for params in [SamplingParams::default(), sampled.clone()] {
            let mut on_cpu = Session::new(model.clone(), cpu.clone(), &options).expect("a session");
            let want = answer(&mut on_cpu, params.clone(), prompt);
            assert_eq!(want.len(), 32);
            for layers in [1, all, usize::MAX] {
                let device = on_gpu(&gpu, &model, layers);
                assert_eq!(device.layers(), layers.min(all));
                let mut session = Session::on_gpu(device, cpu.clone(), &options).expect("a session");
                assert_eq!(answer(&mut session, params.clone(), prompt), want, "{prompt}, {layers} layers");
            }
        }
    }
}

/// The words that end the thinking come in one batch, between tokens that are chosen on the device.
#[test]
fn thinking_is_ended_the_same_way_on_a_device() {
    let Some(gpu) = gpu() else { return };
    let (model, cpu) = (builtin(), qwip::cpu(2).expect("a CPU"));
    let file = model.file().clone();
    let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).expect("a tokenizer");
    let options = SessionOptions { context: 256, ..SessionOptions::default() };
    let prompt = "<|im_start|>user\nWhat is 23 + 45?<|im_end|>\n<|im_start|>assistant\n<think>\n";
    let answer = |mut session: Session| {
        let cancel = Cancel::new();
        let prompt = tokenizer.encode(prompt, qwip::tokenizer::Special::Parse);
        session.prompt(&prompt, &cancel, &mut |_| {}).expect("a prompt");
        let options =
            GenerateOptions { max_tokens: Some(60), thinking_budget: Some(5), ..GenerateOptions::default() };
        let mut sampler = Sampler::new(SamplingParams::default());
        let mut text = String::new();
        let sink = &mut |more: &str| {
            text.push_str(more);
            std::ops::ControlFlow::Continue(())
        };
        let tokens =
            generate(&mut session, &tokenizer, &mut sampler, &options, &cancel, sink).expect("an answer");
        (tokens.tokens, text)
    };
    let (tokens, text) = answer(Session::new(model.clone(), cpu.clone(), &options).expect("a session"));
    assert!(text.contains(qwip::CLOSING_WORDS) && !text.starts_with(qwip::CLOSING_WORDS), "{text}");
    for layers in [1, usize::MAX] {
        let device = on_gpu(&gpu, &model, layers);
        let found = answer(Session::on_gpu(device, cpu.clone(), &options).expect("a session"));
        assert_eq!(found, (tokens.clone(), text.clone()), "{layers} layers");
    }
}

#[test]
fn a_token_takes_few_kernels_and_one_submission() {
    let Some(gpu) = gpu() else { return };
    let (model, cpu) = (builtin(), qwip::cpu(2).expect("a CPU"));
    let device = on_gpu(&gpu, &model, usize::MAX);
    let options = SessionOptions { context: 256, ..SessionOptions::default() };
    let mut session = Session::on_gpu(device.clone(), cpu, &options).expect("a session");
    // Its last token was chosen on the device.
    answer(&mut session, SamplingParams::default(), "How do I quantize a model?");
    let work = session.work().expect("a device");
    println!("{work:?}, weights of {} bytes", device.weight_bytes());
    // Two kernels find the largest logits after the output projection.
    assert!(work.dispatches <= 8 * model.config().layers + 3, "{work:?}");
    assert_eq!(work.submissions, 1);
    assert!(work.bytes_read <= 1024, "{work:?}");
    let read = model.file().tensors().filter(|t| t.info.dims.len() > 1).map(|t| t.info.len).sum::<u64>();
    assert!((work.bytes_moved as f64) < 1.1 * read as f64, "{work:?}, {read} bytes of weights");
}

#[test]
fn a_layer_takes_at_most_eight_kernels_with_mixed_types_and_a_long_context() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let model = load(dir.path(), "qwen3-kquant", "q4_k_m");
    let types: std::collections::BTreeSet<_> =
        model.file().tensors().filter(|t| t.info.dims.len() > 1).map(|t| t.info.ty.name()).collect();
    assert!(types.len() > 1, "{types:?}");
    let options = SessionOptions { context: 512, ..options(KvType::F16, 64) };
    let mut session = Session::on_gpu(on_gpu(&gpu, &model, usize::MAX), cpu, &options).expect("a session");
    let tokens: Vec<u32> = (0..300).map(|i| i * 7 % 64).collect();
    session.extend(&tokens, &Cancel::new(), &mut |_| {}).expect("a prompt");
    session.extend_greedily(1, &Cancel::new()).expect("a token");
    let work = session.work().expect("a device");
    println!("{types:?}: {work:?}");
    // Attention is split and merged at this length.
    assert!(work.dispatches > 7 * model.config().layers, "{work:?}");
    assert!(work.dispatches <= 8 * model.config().layers + 3, "{work:?}");
    assert_eq!((work.submissions, work.bytes_read), (1, 24));
}

#[test]
fn hybrids_go_back_on_a_device_too() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let model = load(dir.path(), "qwen35-tiled", "f32");
    let cancel = Cancel::new();
    for layers in [1, 2, usize::MAX] {
        let device = on_gpu(&gpu, &model, layers);
        let fresh = |tokens: &[u32]| {
            let mut session = session(&device, &cpu, KvType::F16);
            session.prompt(tokens, &cancel, &mut |_| {}).expect("a prompt");
            session.logits().to_vec()
        };
        let first: Vec<u32> = (0..40).map(|i| i * 7 % 64).collect();
        let mut second = first.clone();
        second.truncate(35);
        second.extend([3, 1, 4]);
        let mut session = session(&device, &cpu, KvType::F16);
        session.prompt(&first, &cancel, &mut |_| {}).expect("a prompt");
        session.extend(&[5], &cancel, &mut |_| {}).expect("a token");
        let evaluated = session.prompt(&second, &cancel, &mut |_| {}).expect("a prompt");
        assert!(evaluated < second.len(), "it went back to a copy, not to the beginning");
        assert!(error(session.logits(), &fresh(&second)) <= 1e-4, "{layers} layers");
        session.truncate(20);
        session.extend(&[9], &cancel, &mut |_| {}).expect("a token");
        assert!(error(session.logits(), &fresh(&[&second[..20], &[9]].concat())) <= 1e-4, "{layers} layers");
    }
}

#[test]
fn outliers_give_no_nan() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let (name, tokens) = ("qwen2-outliers", fixture_tokens("qwen2-outliers"));
    for ty in ["f32", "f16", "q8_0", "q4_0"] {
        let model = load(dir.path(), name, ty);
        let device = on_gpu(&gpu, &model, usize::MAX);
        for kv in [KvType::F16, KvType::Q8_0] {
            let fits = model.config().head_dim.is_multiple_of(32) || kv == KvType::F16;
            for split in [512, 1].into_iter().filter(|_| fits) {
                let got = logits(session(&device, &cpu, kv), &tokens, split);
                assert!(got.iter().all(|x| x.is_finite()), "{ty} {kv:?} {split}");
            }
        }
    }
}

#[test]
fn the_same_call_gives_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let (model, cpu) = (builtin(), qwip::cpu(2).expect("a CPU"));
    let device = on_gpu(&gpu, &model, usize::MAX);
    let tokens: Vec<u32> = (0..50).map(|i| i * 31 % 4000).collect();
    let once = || logits(session(&device, &cpu, KvType::F16), &tokens, 17);
    assert!(once().iter().map(|x| x.to_bits()).eq(once().iter().map(|x| x.to_bits())));
}

#[test]
fn what_does_not_fit_is_told() {
    let Some(gpu) = gpu() else { return };
    let model = builtin();
    let options = GpuOptions { binding_bytes: Some(4096), ..GpuOptions::default() };
    let small = Arc::new(Gpu::open(&options).expect("a device"));
    let error =
        GpuModel::load(small, model.clone(), usize::MAX, &mut |_| true).expect_err("a limit").to_string();
    assert!(error.contains(gpu.name()) && error.contains("4096") && !error.contains('\n'), "{error}");
    let error =
        GpuModel::load(gpu, model, usize::MAX, &mut |_| false).expect_err("it was stopped").to_string();
    assert_eq!(error, "cancelled");
    let error =
        Gpu::open(&GpuOptions { index: Some(99), ..GpuOptions::default() }).expect_err("no such adapter");
    assert!(error.to_string().contains("99"), "{error}");
}

#[test]
fn importance_is_what_the_cpu_sees() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in ["qwen1-fused", "qwen3-kquant", "qwen35-tiled", "qwen2moe-shared", "qwen3moe-norm"] {
        let model = load(dir.path(), name, "f32");
        let tokens = fixture_tokens(name);
        let seen = |mut session: Session| {
            session.observe_importance();
            for part in [&tokens[..20], &tokens[20..21], &tokens[21..24]] {
                session.extend(part, &Cancel::new(), &mut |_| {}).expect("tokens");
            }
            session.importance().cloned().expect("it was observed")
        };
        let want =
            seen(Session::new(model.clone(), cpu.clone(), &options(KvType::F32, 512)).expect("a session"));
        let got = seen(session(&on_gpu(&gpu, &model, usize::MAX), &cpu, KvType::F32));
        assert_eq!(got.iter().count(), want.iter().count(), "{name}");
        for ((weight, got, got_rows), (name_too, want, rows)) in got.iter().zip(want.iter()) {
            assert_eq!((weight, got_rows), (name_too, rows), "{name}");
            let largest = want.iter().fold(0.0f64, |m, x| m.max(*x));
            let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= 1e-4 * largest, "{name} {weight}: {worst} of {largest}");
        }
    }
}

/// Those on the device one after the other, the one on the CPU in the pass; forks share pages there, too.
#[test]
fn sessions_with_layers_on_a_gpu_take_turns_with_others() {
    let Some(gpu) = gpu() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (cpu, cancel) = (qwip::cpu(2).expect("a CPU"), Cancel::new());
    for name in ["qwen2-gqa", "qwen35-tiled"] {
        let model = load(dir.path(), name, "q8_0");
        let device = on_gpu(&gpu, &model, 2);
        let tokens = fixture_tokens(name);
        let budget = KvBudget::new(1 << 30);
        let new = |there: bool| match there {
            true => session(&device, &cpu, KvType::F16),
            false => {
                let options = options(KvType::F16, 512);
                Session::new(model.clone(), cpu.clone(), &options).expect("a session")
            }
        };
        let mut sessions = [true, false, true].map(new);
        let mut lonely = [true, false, true].map(new);
        for session in &mut sessions {
            session.set_budget(budget.clone()).expect("an empty session");
        }
        let mut together = Together::new();
        // A prompt, and an answer to it.
        for range in [0..20, 20..21, 21..22] {
            let mut turns: Vec<_> = sessions
                .iter_mut()
                .enumerate()
                .map(|(i, session)| Turn::new(session, &tokens[range.start + i..range.end + i], true))
                .collect();
            together.extend(&mut turns, &cancel).expect("a pass");
            assert!(turns.iter().all(|turn| turn.result.is_ok()), "{name}");
            for (i, session) in lonely.iter_mut().enumerate() {
                let part = &tokens[range.start + i..range.end + i];
                session.extend(part, &cancel, &mut |_| {}).expect("logits");
                assert!(session.logits() == sessions[i].logits(), "{name}: session {i} at {range:?}");
            }
        }
        let used = budget.used();
        assert!(used >= sessions.iter().map(Session::kv_bytes).sum(), "{name}");

        // A fork goes its own way, and the session does not hear of it.
        let mut fork = sessions[0].fork(22).expect("a fork");
        assert_eq!(fork.tokens(), sessions[0].tokens(), "{name}");
        for session in [&mut fork, &mut sessions[0], &mut lonely[0]] {
            session.extend(&tokens[30..33], &cancel, &mut |_| {}).expect("logits");
        }
        assert!(fork.logits() == sessions[0].logits() && fork.logits() == lonely[0].logits(), "{name}");
        fork.extend(&[7], &cancel, &mut |_| {}).expect("a token");
        for session in [&mut sessions[0], &mut lonely[0]] {
            session.extend(&[9], &cancel, &mut |_| {}).expect("a token");
        }
        assert!(sessions[0].logits() == lonely[0].logits(), "{name}");

        // One that cannot, and then a pass that is cancelled.
        let outside = [model.config().vocab as u32];
        let before = sessions.each_ref().map(|session| session.tokens().to_vec());
        let mut turns: Vec<_> =
            sessions.iter_mut().map(|session| Turn::new(session, &outside, true)).collect();
        together.extend(&mut turns, &cancel).expect("a pass");
        assert!(turns.iter().all(|turn| turn.result.is_err()), "{name}");
        cancel.cancel();
        let mut turns: Vec<_> = sessions.iter_mut().map(|session| Turn::new(session, &[3], true)).collect();
        assert!(together.extend(&mut turns, &cancel).is_err(), "{name}");
        cancel.reset();
        assert_eq!(sessions.each_ref().map(|session| session.tokens().to_vec()), before, "{name}");
        drop((sessions, fork));
        assert_eq!(budget.used(), 0, "{name}");
    }
}
