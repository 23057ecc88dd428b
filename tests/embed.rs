//! Embedding models and rerankers, converted by our converter, against Hugging Face transformers; the same bits however
//! they are computed; and what they are not for.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{error, folder, load, options, read_npy};
use qwip::backend::LogitRows;
use qwip::file::Bytes;
use qwip::model::Task;
use qwip::quant::gguf::{Set, Writer};
use qwip::quant::pooling::Pooling;
use qwip::tokenizer::Special;
use qwip::{
    Cancel, Cpu, EmbedOptions, Embedder, GenerateOptions, KvType, Model, ModelFile, Reranker, Sampler,
    Session, Tokenizer,
};
use qwip_convert::{Options, convert, file_type};
use qwip_cpu::Kernels;

const MODELS: [&str; 2] = ["qwen2-embedding-mean", "qwen3-embedding-last"];
const RERANKER: &str = "qwen3-reranker";

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).expect("a text").lines().map(str::to_string).collect()
}

fn tokenizer(model: &Model) -> Tokenizer {
    let file = model.file();
    Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).expect("a tokenizer")
}

fn session(model: &Arc<Model>, cpu: &Cpu, batch: usize) -> Session {
    let mut options = options(KvType::F32, batch);
    options.context = 1024;
    Session::new(model.clone(), cpu.clone(), &options).expect("a session")
}

/// The vectors of the texts of a fixture, `[texts, dimensions]`.
fn vectors(model: &Arc<Model>, cpu: &Cpu, name: &str, batch: usize, options: &EmbedOptions) -> Vec<f32> {
    let mut embedder = Embedder::new(session(model, cpu, batch), options).expect("an embedder");
    let tokenizer = tokenizer(model);
    let texts = lines(&folder(name).join("texts.txt"));
    let embed = |text: &String| {
        embedder.embed(&tokenizer.encode_sequence(text, Special::Text), &Cancel::new()).expect("a vector")
    };
    texts.iter().flat_map(embed).collect()
}

/// The model again with these keys set.
fn with(model: &Model, keys: &[(&str, Set)]) -> Result<Arc<Model>, qwip::Error> {
    let (file, mut writer) = (model.file(), Writer::new());
    let bytes: &[u8] = (*file.parts()[0].bytes).as_ref();
    for (key, value) in &file.header().metadata {
        if keys.iter().all(|(other, _)| other != key) {
            writer.set(key, Set::from_value(value, bytes).expect("a value"));
        }
    }
    for (key, value) in keys {
        writer.set(key, value.clone());
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
fn embeddings_agree_with_transformers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    for name in MODELS {
        let want = read_npy(&folder(name).join("embeddings.npy"));
        let model = load(dir.path(), name, "f32");
        let error = error(&vectors(&model, &cpu, name, 512, &EmbedOptions::default()), &want);
        println!("{name}: {error:.2e} of the range");
        assert!(error <= 2e-4, "{name}: {error}");
    }
}

#[test]
fn one_vector_for_every_instruction_set_thread_count_and_split() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in MODELS {
        for ty in ["f32", "q8_0"] {
            let model = load(dir.path(), name, ty);
            for pooling in [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last] {
                let options = EmbedOptions { pooling: Some(pooling), dimensions: None };
                let mut want: Option<Vec<f32>> = None;
                for kernels in Kernels::available() {
                    for threads in [1, 3] {
                        let cpu = qwip::cpu_with(kernels, threads).expect("a CPU");
                        for batch in [1, 7, 512] {
                            let found = vectors(&model, &cpu, name, batch, &options);
                            let want = want.get_or_insert_with(|| found.clone());
                            let same = found.iter().map(|x| x.to_bits()).eq(want.iter().map(|x| x.to_bits()));
                            assert!(
                                same,
                                "{name} {ty} {pooling:?} {kernels:?} threads {threads} batch {batch}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn poolings_and_dimensions() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let name = "qwen3-embedding-last";
    let model = load(dir.path(), name, "f32");
    let tokens = tokenizer(&model).encode_sequence("Rain and wind, 12 of them.", Special::Text);
    let run = |pooling, dimensions| {
        let options = EmbedOptions { pooling, dimensions };
        let mut embedder = Embedder::new(session(&model, &cpu, 512), &options).expect("an embedder");
        embedder.embed(&tokens, &Cancel::new()).expect("a vector")
    };
    let length = |x: &[f32]| x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let each = run(Some(Pooling::None), None);
    let rows: Vec<&[f32]> = each.chunks(64).collect();
    assert_eq!(rows.len(), tokens.len());
    assert!(rows.iter().all(|row| (length(row) - 1.0).abs() < 1e-6));
    assert_eq!(run(Some(Pooling::Cls), None), rows[0]);
    assert_eq!(run(None, None), rows[rows.len() - 1]);
    // The first elements in their proportions, and of length 1 again.
    let (all, some) = (run(None, None), run(None, Some(10)));
    assert!(some.len() == 10 && (length(&some) - 1.0).abs() < 1e-6);
    for (some, x) in some.iter().zip(&all) {
        assert!((f64::from(*some) - f64::from(*x) / length(&all[..10])).abs() < 1e-6);
    }
    // The mean of the states themselves, not of their directions.
    let (mut states, mut mean) = (Vec::new(), vec![0.0f64; 64]);
    session(&model, &cpu, 5)
        .extend_with_states(&tokens, LogitRows::All, &Cancel::new(), &mut |row| states.push(row.to_vec()))
        .expect("states");
    states.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x)));
    let norm = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
    let found = run(Some(Pooling::Mean), None);
    assert!(found.iter().zip(&mean).all(|(x, sum)| (f64::from(*x) - sum / norm).abs() < 1e-6));
}

/// A text in steps, of which some are broken off.
#[test]
fn the_same_in_steps() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (cpu, cancel) = (qwip::cpu(2).expect("a CPU"), Cancel::new());
    for name in MODELS {
        let model = load(dir.path(), name, "q8_0");
        let tokens: Vec<u32> = (0..50).collect();
        for pooling in [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last] {
            let options = EmbedOptions { pooling: Some(pooling), dimensions: Some(20) };
            let mut embedder = Embedder::new(session(&model, &cpu, 16), &options).expect("an embedder");
            let want = embedder.embed(&tokens, &cancel).expect("a vector");
            let ended = embedder.step(7, &cancel).expect_err("there is no more");
            assert_eq!(ended.to_string(), "the prompt is empty");
            // One that is given up is of no matter.
            embedder.begin(&tokens[20..]).expect("a text");
            embedder.step(7, &cancel).expect("a step");
            embedder.begin(&tokens).expect("a text");
            let (mut found, mut steps) = (None, 0);
            while found.is_none() {
                cancel.cancel();
                embedder.step(7, &cancel).expect_err("cancelled");
                cancel.reset();
                found = embedder.step(7, &cancel).expect("a step");
                steps += 1;
            }
            assert!(found.as_ref() == Some(&want), "{name} {pooling:?}");
            assert_eq!(steps, if model.config().causal { 8 } else { 1 }, "{name}");
            embedder.begin(&[1; 1025]).expect_err("too many");
            embedder.step(7, &cancel).expect_err("nothing was begun");
        }
    }
    let model = load(dir.path(), RERANKER, "f32");
    let mut reranker = reranker(&model, &cpu, 512);
    let want = reranker.score("What is white?", "The stones in it.", &cancel).expect("a score");
    reranker.score("What is it?", "A stone.", &cancel).expect("a score");
    assert_eq!(reranker.begin("What is white?", "The stones in it.").expect("a prompt"), want.tokens);
    let mut found = None;
    while found.is_none() {
        found = reranker.step(3, &cancel).expect("a step");
    }
    assert_eq!(found, Some(want));
    let long = reranker.begin("What?", &"white ".repeat(1100)).expect_err("too long").to_string();
    assert!(long.contains("the context holds 1024"), "{long}");
    reranker.step(3, &cancel).expect_err("nothing was begun");
}

#[test]
fn options_that_make_no_vector() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(1).expect("a CPU");
    let embedder = |name: &str, pooling, dimensions| {
        let model = load(dir.path(), name, "f16");
        Embedder::new(session(&model, &cpu, 512), &EmbedOptions { pooling, dimensions })
    };
    let message =
        |name, pooling, dimensions| embedder(name, pooling, dimensions).expect_err(name).to_string();
    let name = "qwen3-embedding-last";
    assert_eq!(message(name, None, Some(0)), "dimensions is 0, expected 1 to 64, the width of the model");
    assert_eq!(message(name, None, Some(65)), "dimensions is 65, expected 1 to 64, the width of the model");
    assert!(
        message(name, Some(Pooling::Rank), None)
            .contains("pooling is rank, expected none, mean, cls or last")
    );
    assert_eq!(message("qwen2-gqa", None, None), "metadata key 'qwen2.pooling_type' is missing");
    let mut embedder = embedder(name, None, None).expect("an embedder");
    assert_eq!(
        embedder.embed(&[], &Cancel::new()).expect_err("no tokens").to_string(),
        "the prompt is empty"
    );
    let error = embedder.embed(&[1; 1025], &Cancel::new()).expect_err("too many").to_string();
    assert!(error.contains("1025 tokens, but the context holds 1024"), "{error}");
}

#[test]
fn where_tokens_see_what_follows_all_come_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(2).expect("a CPU");
    let model = load(dir.path(), "qwen2-embedding-mean", "f32");
    let states = |session: &mut Session, tokens: &[u32]| {
        let mut all = Vec::new();
        let sink = &mut |row: &[f32]| all.extend_from_slice(row);
        session.extend_with_states(tokens, LogitRows::All, &Cancel::new(), sink).map(|()| all)
    };
    // The first state knows of the last token; where the file does not say so, it does not.
    let causal = with(&model, &[("qwen2.attention.causal", Set::Bool(true))]).expect("a causal model");
    for (model, knows) in [(&model, true), (&causal, false)] {
        let [a, b] =
            [[5, 6, 7], [5, 6, 8]].map(|t| states(&mut session(model, &cpu, 2), &t).expect("states"));
        assert_eq!(a[..64] != b[..64], knows);
    }
    let mut session = session(&model, &cpu, 2);
    states(&mut session, &[5, 6, 7]).expect("states");
    let error = states(&mut session, &[8]).expect_err("after others").to_string();
    assert!(error.starts_with("1 tokens after 3: in this model every token sees all others"), "{error}");
    // One step takes all of a prompt. What gives its memory back has nothing to go on from.
    assert_eq!(session.prompt_step(&[5, 6, 7, 8], 1, &Cancel::new()).expect("a step"), 0);
    session.release_pages();
    assert!(session.tokens().is_empty() && session.kv_bytes() == 0);
    let all = states(&mut session, &[5, 6, 7]).expect("states");
    assert_eq!(all, states(&mut self::session(&model, &cpu, 2), &[5, 6, 7]).expect("states"));
    let error = model.allows(Task::Generate).expect_err("no answers").to_string();
    let want = "metadata key 'qwen2.attention.causal' is false: a model whose tokens see those behind them, which cannot answer";
    assert_eq!(error, want);
}

/// Scores of the documents of the fixture.
fn scores(reranker: &mut Reranker) -> Vec<f64> {
    let texts = lines(&folder(RERANKER).join("documents.txt"));
    let (query, documents) = texts.split_first().expect("a query");
    let score = |document: &String| reranker.score(query, document, &Cancel::new()).expect("a score").score;
    documents.iter().map(score).collect()
}

fn reranker(model: &Arc<Model>, cpu: &Cpu, batch: usize) -> Reranker {
    Reranker::new(session(model, cpu, batch), tokenizer(model), None).expect("a reranker")
}

#[test]
fn scores_agree_with_transformers_and_are_the_same_everywhere() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let want = read_npy(&folder(RERANKER).join("scores.npy"));
    let model = load(dir.path(), RERANKER, "f32");
    let mut first: Option<Vec<f64>> = None;
    for kernels in Kernels::available() {
        for (threads, batch) in [(1, 512), (3, 512), (2, 7)] {
            let cpu = qwip::cpu_with(kernels, threads).expect("a CPU");
            let mut all = reranker(&model, &cpu, batch);
            let found = scores(&mut all);
            let first = first.get_or_insert_with(|| found.clone());
            assert!(found == *first, "{kernels:?} {threads} {batch}: {found:?}, not {first:?}");
            // In another order, with what the prompts share still there.
            assert!(scores(&mut all) == *first);
        }
    }
    let first = first.expect("scores");
    assert_eq!(first.len(), want.len());
    let worst = first.iter().zip(&want).map(|(a, b)| (a / f64::from(*b) - 1.0).abs()).fold(0.0, f64::max);
    println!("{RERANKER}: {worst:.2e} relative");
    assert!(worst <= 2e-4, "{first:?}, not {want:?}");
}

#[test]
fn a_reranker_with_all_of_its_output_matrix_or_with_other_labels() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(1).expect("a CPU");
    let model = load(dir.path(), RERANKER, "f32");
    let want = scores(&mut reranker(&model, &cpu, 512));

    // Without its card it is a model for answers.
    let plain = dir.path().join("plain");
    std::fs::create_dir(&plain).expect("a folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder(RERANKER).join(file), plain.join(file)).expect("a copy");
    }
    let out = dir.path().join("plain.gguf");
    convert(&plain, &out, &Options::new(file_type("f32").expect("a type")), &mut ()).expect("a model");
    let file = Arc::new(ModelFile::open(&out, Default::default()).expect("a file"));
    let whole = Arc::new(Model::load(file).expect("a model"));
    assert!(whole.pooling().is_none() && whole.judge().is_none());
    assert!(scores(&mut reranker(&whole, &cpu, 512)) == want);

    let labels = |labels: &[&str]| with(&model, &[("qwen3.classifier.output_labels", Set::from(labels))]);
    let turned = scores(&mut reranker(&labels(&["no", "yes"]).expect("a model"), &cpu, 512));
    assert!(turned.iter().zip(&want).all(|(a, b)| (a + b - 1.0).abs() < 1e-12), "{turned:?}");
    for wrong in [&["yes"][..], &["yes", "maybe"], &["yes", "no", "no"]] {
        let error = labels(wrong).expect_err("wrong labels").to_string();
        let part = "key 'qwen3.classifier.output_labels' is";
        assert!(error.contains(part) && error.contains("[\"yes\", \"no\"] in either order"), "{error}");
    }
}

#[test]
fn what_documents_say_is_text_and_a_task_is_part_of_the_prompt() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(1).expect("a CPU");
    let model = load(dir.path(), RERANKER, "f32");
    let mut all = reranker(&model, &cpu, 512);
    let mut tokens =
        |query: &str, document: &str| all.score(query, document, &Cancel::new()).expect("a score").tokens;
    // One token where it is a control token; here it is spelt out.
    assert!(tokens("a", "<|im_end|>") > tokens("a", "x") + 2);
    // A place holder in a text stays what it is.
    assert!(tokens("{document}", "x") > tokens("a", "x") + 2);
    let with_task = |task| {
        let mut all = Reranker::new(session(&model, &cpu, 512), tokenizer(&model), task).expect("a reranker");
        scores(&mut all)
    };
    let usual = "Given a web search query, retrieve relevant passages that answer the query";
    assert!(with_task(Some(usual)) == with_task(None));
    assert!(with_task(Some("Find rivers")) != with_task(None));

    let template = |text: &str| {
        let key = "tokenizer.chat_template.rerank";
        let model = with(&model, &[(key, Set::Str(text.into()))]).expect("a model");
        Reranker::new(session(&model, &cpu, 512), tokenizer(&model), None).map(|_| ())
    };
    template("{query} {document}").expect("a template");
    for (text, part) in [("{query}", "{document}"), ("{document} {query}", "{document}"), ("x", "{query}")] {
        let error = template(text).expect_err(text).to_string();
        assert!(error.contains(&format!("chat_template.rerank' is a template without {part}")), "{error}");
    }
}

#[test]
fn models_do_only_what_they_are_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cpu = qwip::cpu(1).expect("a CPU");
    let load = |name| load(dir.path(), name, "f16");
    let (judge, embed) = (load(RERANKER), load("qwen3-embedding-last"));
    let mut asked = session(&judge, &cpu, 512);
    asked.extend(&[1, 2], &Cancel::new(), &mut |_| {}).expect("it computes");
    let error = qwip::generate(
        &mut asked,
        &tokenizer(&judge),
        &mut Sampler::new(Default::default()),
        &GenerateOptions::default(),
        &Cancel::new(),
        &mut |_| std::ops::ControlFlow::Continue(()),
    );
    let message =
        "metadata key 'qwen3.pooling_type' is 4 (rank): a reranker (for qwip rerank), which cannot answer";
    assert_eq!(error.expect_err("a reranker").to_string(), message);
    let error = Embedder::new(session(&judge, &cpu, 512), &EmbedOptions::default()).expect_err("a reranker");
    assert!(error.to_string().ends_with("a reranker (for qwip rerank), which cannot embed"), "{error}");
    let error =
        Reranker::new(session(&embed, &cpu, 512), tokenizer(&embed), None).err().expect("no reranker");
    let message = "metadata key 'qwen3.pooling_type' is 3 (last): an embedding model (for qwip embed), which cannot judge documents";
    assert_eq!(error.to_string(), message);
    let error =
        with(&embed, &[("qwen3.pooling_type", Set::U32(7))]).expect_err("no such pooling").to_string();
    let known = "one of 0 (none), 1 (mean), 2 (cls), 3 (last), 4 (rank)";
    assert_eq!(error, format!("metadata key 'qwen3.pooling_type' is 7, expected {known}"));
    // A vocabulary without the two words.
    let other = load("qwen3-kquant");
    let error = Reranker::new(session(&other, &cpu, 512), tokenizer(&other), None).err().expect("no words");
    assert!(error.to_string().contains("'tokenizer.ggml.tokens' is without 'yes'"), "{error}");
}
