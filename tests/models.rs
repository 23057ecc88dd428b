//! Tiny checkpoints, converted by our converter, against the logits of Hugging Face transformers; and the
//! promise of one answer: the same bits for every instruction set, thread count and way of cutting the prompt.

mod common;

use std::sync::Arc;

use common::{FIXTURES, error, fixture_tokens as tokens, folder, load, logits, options, read_ids, read_npy};
use qwip::file::Bytes;
use qwip::quant::TensorType;
use qwip::quant::gguf::{Set, Writer};
use qwip::{CacheTypes, Cancel, KvType, Model, ModelFile, Sampler, SamplingParams, Session, SessionOptions};
use qwip_cpu::Kernels;

#[test]
fn logits_agree_with_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in FIXTURES {
        let want = read_npy(&folder(name).join("logits.npy"));
        let tokens = tokens(name);
        let model = load(dir.path(), name, "f32");
        let f32_cache = error(&logits(&model, &cpu, KvType::F32, &tokens, 512), &want);
        let f16_cache = error(&logits(&model, &cpu, KvType::F16, &tokens, 512), &want);
        println!("{name}: f32 cache {f32_cache:.2e}, f16 cache {f16_cache:.2e} of the logits' range");
        assert!(f32_cache <= 2e-4, "{name}: {f32_cache}");
        assert!(f16_cache <= 2e-3, "{name}: {f16_cache}");
    }
}

/// Transformers computed each token from all those before it, without a state that is carried along.
#[test]
fn greedy_answers_are_those_of_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let cancel = Cancel::new();
    let with_answers: Vec<&str> =
        FIXTURES.into_iter().filter(|name| folder(name).join("greedy.txt").exists()).collect();
    // One or more of every architecture but `qwen`, which has a test of its own.
    assert_eq!(with_answers.len(), 11, "{with_answers:?}");
    for name in with_answers {
        let want = read_ids(&folder(name).join("greedy.txt"));
        assert_eq!(want.len(), 64, "{name}");
        let model = load(dir.path(), name, "f32");
        let roomy = SessionOptions { context: 128, ..options(KvType::F32, 512) };
        let mut session = Session::new(model, cpu.clone(), &roomy).expect("a session");
        session.prompt(&tokens(name), &cancel, &mut |_| {}).expect("a prompt");
        let mut got = Vec::new();
        for _ in &want {
            let logits = session.logits();
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("a token");
            got.push(best as u32);
            session.extend(&[best as u32], &cancel, &mut |_| {}).expect("room for a token");
        }
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn layers_with_large_key_biases_keep_their_keys_exact() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, keys) in
        [("qwen2-outliers", KvType::F32), ("qwen2-yarn", KvType::F16), ("qwen3-kquant", KvType::F16)]
    {
        let model = load(dir.path(), name, "q8_0");
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
        for (ty, kv) in
            [("f32", KvType::F32), ("f16", KvType::F16), ("q8_0", KvType::F16), ("q4_0", KvType::F16)]
        {
            let model = load(dir.path(), name, ty);
            let mut want: Option<Vec<f32>> = None;
            for kernels in Kernels::available() {
                for threads in [1, 2, 3] {
                    let cpu = qwip::cpu_with(kernels, threads).expect("a CPU");
                    // The last is one call, more than a sub-slice of the output projection.
                    assert!(tokens.len() > 32);
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
    let model = load(dir.path(), "qwen3-wide-heads", "f16");
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

    // A prompt that shares only its beginning, cancelled half way: what was held is held again.
    let mut other = changed.clone();
    other[3] = 7;
    let raise = cancel.clone();
    let result = session.prompt(&other, &cancel, &mut |_| raise.cancel());
    assert!(matches!(result, Err(qwip::Error::Cancelled)), "{result:?}");
    assert_eq!(session.tokens(), changed);
    cancel.reset();
    assert_eq!(session.prompt(&changed, &cancel, quiet).expect("a prompt"), 1);
    assert_eq!(session.logits(), changed_logits);

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
    let model = load(dir.path(), "qwen2-gqa", "f16");
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
    let error = Session::new(model, cpu, &options(KvType::F16, Session::MAX_BATCH + 1))
        .expect_err("too many")
        .to_string();
    assert!(error.contains("batch is 4097") && error.contains("0 to 4096"), "{error}");
}

/// The model again with further F32 vectors, and with the bytes of its tensors as `edit` returns them.
fn copy(
    model: &Model,
    extra: &[(&str, &[f32])],
    edit: impl Fn(&str, &[u8]) -> Vec<u8>,
) -> Result<Model, qwip::Error> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    for (key, value) in &file.header().metadata {
        writer.set(key, Set::from_value(value, bytes).expect("a value"));
    }
    for tensor in file.tensors() {
        writer.tensor(&tensor.info.name, &tensor.info.dims, tensor.info.ty).expect("a tensor");
    }
    for (name, values) in extra {
        writer.tensor(name, &[values.len() as u64], TensorType::F32).expect("a tensor");
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    for tensor in file.tensors() {
        out.write(&edit(&tensor.info.name, file.tensor_bytes(tensor))).expect("data");
    }
    for (_, values) in extra {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        out.write(&bytes).expect("data");
    }
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file")))
}

#[test]
fn the_factor_of_a_matrix_multiplies_its_product_but_not_the_bias() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = "qwen2-gqa";
    let good = load(dir.path(), name, "f32");
    // Matrices four times as large with factors of a quarter: no rounding differs.
    let large = ["blk.0.attn_k.weight", "blk.0.ffn_up.weight", "blk.1.ffn_down.weight"];
    let (quarter, seven): (&[f32], &[f32]) = (&[0.25], &[7.0]);
    let extra = [
        ("blk.0.attn_k.scale", quarter),
        ("blk.0.attn_k.input_scale", seven),
        ("blk.0.ffn_up.scale", quarter),
        ("blk.1.ffn_down.scale", quarter),
    ];
    let edited = copy(&good, &extra, |name, bytes| match large.contains(&name) {
        true => {
            let values = bytes.as_chunks::<4>().0.iter();
            values.flat_map(|b| (4.0 * f32::from_le_bytes(*b)).to_le_bytes()).collect()
        }
        false => bytes.to_vec(),
    });
    let edited = Arc::new(edited.expect("a model with factors"));
    let cpu = qwip::cpu(2).expect("a CPU");
    let run = |model: &Arc<Model>| logits(model, &cpu, KvType::F32, &tokens(name), 9);
    assert!(run(&edited) == run(&good));
    let error = copy(&good, &[("blk.0.attn_k.scale", &[1.0; 2][..])], |_, bytes| bytes.to_vec());
    assert!(error.expect_err("one factor a matrix").to_string().contains("shape [2], expected [1]"));
}

#[test]
fn experts_have_factors_of_their_own_and_are_read_only_by_their_tokens() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = "qwen3moe-plain";
    let good = load(dir.path(), name, "f32");
    // Matrices four times as large with factors of a quarter; the last expert, which no token goes to, is not a number.
    let (nine, one): (&[f32], &[f32]) = (&[0.25; 9], &[0.25]);
    let extra = [("blk.0.ffn_gate_exps.scale", nine), ("blk.0.ffn_down_exps.scale", one)];
    let edited = copy(&good, &extra, |name, bytes| {
        if !name.ends_with("_exps.weight") {
            return bytes.to_vec();
        }
        let factor = if name.contains("ffn_up") { 1.0 } else { 4.0 };
        let used = bytes.len() / 9 * 8;
        let values = bytes.as_chunks::<4>().0.iter().enumerate().map(|(i, b)| match 4 * i < used {
            true => factor * f32::from_le_bytes(*b),
            false => f32::NAN,
        });
        values.flat_map(f32::to_le_bytes).collect()
    });
    let edited = Arc::new(edited.expect("a model with factors"));
    let cpu = qwip::cpu(2).expect("a CPU");
    let run = |model: &Arc<Model>| logits(model, &cpu, KvType::F32, &tokens(name), 9);
    assert!(run(&edited) == run(&good));
    let error = copy(&good, &[("blk.0.ffn_up_exps.scale", &[1.0; 2][..])], |_, bytes| bytes.to_vec());
    assert!(error.expect_err("a factor an expert").to_string().contains("shape [2], expected [9]"));
}

/// The model again with the rows of some tensors in one: gate and up of each expert, and q, k and v.
fn fused(model: &Model) -> Arc<Model> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    for (key, value) in &file.header().metadata {
        writer.set(key, Set::from_value(value, bytes).expect("a value"));
    }
    let mut data = Vec::new();
    for tensor in file.tensors() {
        let (name, dims, ty) = (&tensor.info.name, &tensor.info.dims, tensor.info.ty);
        let sibling = |from: &str, to: &str| file.tensor(&name.replace(from, to)).expect("a sibling");
        let bytes = |tensor| file.tensor_bytes(tensor);
        if name.contains("ffn_up_exps") || name.contains("attn_k.") || name.contains("attn_v.") {
            continue;
        }
        if name.contains("ffn_gate_exps") {
            let (experts, up) = (dims[2] as usize, sibling("gate", "up"));
            let each = |tensor| bytes(tensor).chunks_exact(bytes(tensor).len() / experts);
            let both = each(tensor).zip(each(up)).flat_map(|(gate, up)| [gate, up].concat());
            writer
                .tensor(&name.replace("gate", "gate_up"), &[dims[0], 2 * dims[1], dims[2]], ty)
                .expect("a tensor");
            data.push(both.collect());
        } else if name.contains("attn_q.") {
            let parts = [tensor, sibling("_q.", "_k."), sibling("_q.", "_v.")];
            let mut all = dims.clone();
            *all.last_mut().expect("a dimension") =
                parts.iter().map(|part| part.info.dims[dims.len() - 1]).sum();
            writer.tensor(&name.replace("_q.", "_qkv."), &all, ty).expect("a tensor");
            data.push(parts.map(bytes).concat());
        } else {
            writer.tensor(name, dims, ty).expect("a tensor");
            data.push(bytes(tensor).to_vec());
        }
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    data.iter().for_each(|bytes| out.write(bytes).expect("data"));
    let bytes = Bytes::Owned(out.finish().expect("a file"));
    Arc::new(Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file"))).expect("a model"))
}

#[test]
fn gate_and_up_of_experts_may_be_one_tensor_and_so_may_q_k_and_v() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in ["qwen2moe-shared", "qwen3moe-norm", "qwen3moe-plain"] {
        for ty in ["f32", "f16", "q8_0", "q4_0"] {
            let apart = load(dir.path(), name, ty);
            let fused = fused(&apart);
            assert!(fused.file().tensor("blk.0.ffn_gate_up_exps.weight").is_some());
            let run = |model: &Arc<Model>, split| logits(model, &cpu, KvType::F16, &tokens(name), split);
            for split in [1, 9, 40] {
                assert!(run(&fused, split) == run(&apart, split), "{name} {ty} {split}");
            }
            let seen = |model: &Arc<Model>, weight: &str| {
                let mut session =
                    Session::new(model.clone(), cpu.clone(), &options(KvType::F16, 9)).expect("a session");
                session.observe_importance();
                session.extend(&tokens(name), &Cancel::new(), &mut |_| {}).expect("logits");
                let found =
                    session.importance().expect("what was seen").iter().find(|(name, ..)| *name == weight);
                found.map(|(_, sums, rows)| (sums.to_vec(), rows.to_vec())).expect(weight)
            };
            for (one, parts) in [("ffn_gate_up_exps", "ffn_up_exps"), ("attn_qkv", "attn_v")] {
                let [one, parts] = [one, parts].map(|part| format!("blk.0.{part}.weight"));
                assert!(seen(&fused, &one) == seen(&apart, &parts), "{name} {ty} {one}");
            }
        }
    }
}

#[test]
fn tensors_that_the_architecture_has_no_use_for_are_an_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = load(dir.path(), "qwen2-gqa", "f16");
    let with = |names: &[&str]| {
        let extra: Vec<(&str, &[f32])> = names.iter().map(|&name| (name, &[0.0; 16][..])).collect();
        copy(&good, &extra, |_, bytes| bytes.to_vec())
    };
    let layers = good.config().layers;
    for name in [
        "blk.200.attn_q.weight",
        "blk.0.attn_q_norm.weight",
        "rope_freqs.weight",
        "output.weight.scale",
        "token_embd_norm.weight",
    ] {
        let error = with(&["v.blk.0.attn_q.weight", name, "blk.9.x"]).expect_err(name).to_string();
        assert_eq!(
            error,
            format!("tensor '{name}' has no place in qwen2 of {layers} layers (2 such tensors)")
        );
    }
    let notes =
        with(&["v.blk.0.attn_q.weight", "mm.0.weight"]).expect("a vision part is ignored").notes().to_vec();
    assert!(notes.len() == 1 && notes[0].contains("v.blk.0.attn_q.weight"), "{notes:?}");
}

#[test]
fn positions_of_three_dimensions_fit_the_heads() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let good = load(dir.path(), "qwen3vl-text", "f16");
    let bytes: &[u8] = (*good.file().parts()[0].bytes).as_ref();
    let with = |name: &str, value: Option<Set>| {
        let (name, mut writer) = (format!("qwen3vl.{name}"), Writer::new());
        for (key, old) in &good.file().header().metadata {
            match (&value, *key == name) {
                (None, true) => {}
                (Some(value), true) => _ = writer.set(key, value.clone()),
                (_, false) => _ = writer.set(key, Set::from_value(old, bytes).expect("a value")),
            }
        }
        for tensor in good.file().tensors() {
            writer.tensor(&tensor.info.name, &tensor.info.dims, tensor.info.ty).expect("a tensor");
        }
        let mut out = writer.start(Vec::new()).expect("a header");
        good.file().tensors().for_each(|t| out.write(good.file().tensor_bytes(t)).expect("data"));
        let bytes = Bytes::Owned(out.finish().expect("a file"));
        Model::load(Arc::new(ModelFile::from_bytes(bytes).expect("a file")))
    };
    let sections = "rope.dimension_sections";
    let refused = |name: &str, value: Option<Set>, parts: &[&str]| {
        let error = with(name, value).expect_err(name).to_string();
        assert!(parts.iter().chain([&name]).all(|part| error.contains(part)), "{error}");
    };
    refused(sections, None, &["metadata key 'qwen3vl.rope.dimension_sections' is missing"]);
    refused(sections, Some(Set::I32s(vec![6, 5, 4, 0])), &["is [6, 5, 4, 0], in all 15", "add up to 16"]);
    refused(sections, Some(Set::I32s(vec![26, -5, -5, 0])), &["is [26, -5, -5, 0], in all 16"]);
    refused(sections, Some(Set::I32s(vec![16])), &["is of 1 numbers"]);
    refused(sections, Some(Set::I32s(vec![1; 4000])), &["is of 4000 numbers"]);
    refused(sections, Some(Set::F32s(vec![6.0, 5.0, 5.0])), &["is of elements of type f32"]);
    refused("n_deepstack_layers", Some(Set::U32(3)), &["is 3, expected 0 to block_count = 2"]);
    // Three numbers are as good as four, and no layer need add anything.
    for (name, value) in [(sections, Set::U32s(vec![6, 5, 5])), ("n_deepstack_layers", Set::U32(0))] {
        assert_eq!(with(name, Some(value)).expect("a model").architecture(), "qwen3vl");
    }
    with("n_deepstack_layers", None).expect("the key may be missing");
}

/// A host whose threads flush denormals and round up gets the same bits.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_float_control_word_of_the_host_changes_nothing() {
    const DEFAULT: u32 = 0x1f80;
    const FLUSH_AND_ROUND_UP: u32 = DEFAULT | 0x8000 | 0x0040 | 0x4000;
    fn set_control_word(word: u32) {
        // SAFETY: loads the 32-bit MXCSR from the variable whose address is given; no reserved bit is set, and what
        // runs before the default is back is only the code under test.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags))
        };
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["qwen2-yarn", "qwen3-kquant"] {
        let file = load(dir.path(), name, "q8_0").file().clone();
        let cpu = qwip::cpu(2).expect("a CPU");
        let tokens = tokens(name);
        let work = || {
            let model = Arc::new(Model::load(file.clone()).expect("a model"));
            let logits = logits(&model, &cpu, KvType::F16, &tokens, 9);
            let params =
                SamplingParams { temperature: 0.7, top_p: 0.9, repeat_penalty: 1.1, ..Default::default() };
            let mut sampler = Sampler::new(params);
            let rows = logits.chunks_exact(model.config().vocab);
            let picked: Vec<_> = rows.map(|row| sampler.pick(row, &tokens, |_| true)).collect();
            (logits.iter().map(|l| l.to_bits()).collect::<Vec<u32>>(), picked)
        };
        let want = work();
        set_control_word(FLUSH_AND_ROUND_UP);
        let got = work();
        set_control_word(DEFAULT);
        assert!(got == want, "{name}");
    }
}
