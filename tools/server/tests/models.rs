//! Models come when they are asked for, and go when nobody uses them or their memory is wanted; several work side by side.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use qwip::tokenizer::Special;
use qwip::{Cancel, EmbedOptions, Embedder, Reranker, Tokenizer};
use qwip_server::chat::KeepAlive;
use qwip_server::engine::FailureKind;
use qwip_server::models::Settings;
use support::{BUILTIN, EMBEDDER, HYBRID, RERANKER, Shelf, Wanted, block_on, eventually, ids, outcome};

#[test]
fn a_model_is_loaded_once_for_all_who_ask() {
    let shelf = Shelf::new(&[BUILTIN, HYBRID], 512);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        assert!(models.running().is_empty());
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let models = models.clone();
                tokio::spawn(async move { models.get(BUILTIN).await.map(|lease| lease.name().to_owned()) })
            })
            .collect();
        for name in asked {
            assert_eq!(name.await.expect("no panic").expect("the model"), BUILTIN);
        }
        assert_eq!(shelf.opens.load(Ordering::Relaxed), 1);
        // The default, and another name of the same.
        assert_eq!(models.get("").await.expect("the default").name(), BUILTIN);
        for _ in 0..3 {
            assert_eq!(models.get("builtin:latest").await.expect("the same").name(), BUILTIN);
        }
        assert_eq!(shelf.opens.load(Ordering::Relaxed), 2);
        let list = models.list().await;
        let loaded: Vec<_> = list.iter().map(|e| (e.listed.name.as_str(), e.running.is_some())).collect();
        assert_eq!(loaded, [(BUILTIN, true), (HYBRID, false)]);
        let lease = models.get(BUILTIN).await.expect("the model");
        assert_eq!((lease.context(), lease.device()), (512, "cpu"));
        assert!(lease.system_fingerprint().starts_with("qwip-c"), "{}", lease.system_fingerprint());
        models.shutdown().await;
    });
}

#[test]
fn unknown_and_broken_models_are_named() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let failure = models.get("gpt-9").await.map(drop).expect_err("unknown");
        assert_eq!((failure.kind, failure.param.as_deref()), (FailureKind::UnknownModel, Some("model")));
        assert!(failure.message.contains("gpt-9"), "{failure}");
        let failure = models.get("broken").await.map(drop).expect_err("broken");
        assert_eq!(failure.kind, FailureKind::Internal);
        assert!(failure.message.contains("broken.gguf"), "{failure}");
        // A context that is out of range shows when the model is loaded.
        let settings = Settings { context: Some(usize::MAX), ..Settings::default() };
        let failure = support::models(&shelf, settings).get(BUILTIN).await.map(drop).expect_err("no context");
        assert!(failure.kind == FailureKind::Invalid && failure.message.contains("context"), "{failure}");
        // None is served.
        let none = support::models(&Shelf::new(&[], 512), Settings::default());
        let failure = none.get("").await.map(drop).expect_err("no default");
        assert_eq!(failure.kind, FailureKind::UnknownModel, "{failure}");
    });
}

#[test]
fn settings_of_the_server_come_before_those_of_the_library() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    block_on(async {
        let settings = Settings { context: Some(100), parallel: 0, ..Settings::default() };
        let models = support::models(&shelf, settings);
        let lease = models.get(BUILTIN).await.expect("the model");
        assert_eq!((lease.context(), models.settings().parallel), (100, 1));
        let told = outcome(lease.generate(Wanted::new(ids(1, 90), 400).ask()).expect("a place")).await;
        assert_eq!(told.summary().answer_tokens, 11);
        models.shutdown().await;
    });
}

#[test]
fn texts_are_embedded_and_judged_while_another_model_answers() {
    let shelf = Shelf::new(&[BUILTIN, EMBEDDER, RERANKER], 512);
    let chat = shelf.opened(BUILTIN);
    let wanted: Vec<Wanted> = (0..3).map(|i| Wanted::new(ids(i, 60), 200).drawn(0.9, u64::from(i))).collect();
    let embed = shelf.opened(EMBEDDER);
    let texts: Vec<Vec<u32>> = ["The river was low.", "雨水 河水", "x"]
        .map(|text| embed.voice.tokenizer().encode_sequence(text, Special::Text))
        .to_vec();
    let rerank = shelf.opened(RERANKER);
    let documents = ["The stones in it were white.".to_owned(), "for (int i = 0;".to_owned()];
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let answering = models.get(BUILTIN).await.expect("the chat model");
        let events: Vec<_> =
            wanted.iter().map(|wanted| answering.generate(wanted.ask()).expect("a place")).collect();
        let embedding = models.get(EMBEDDER).await.expect("the embedding model");
        for dimensions in [None, Some(8)] {
            let session = (embed.session)(&embed.options).expect("a session");
            let options = EmbedOptions { dimensions, ..EmbedOptions::default() };
            let mut alone = Embedder::new(session, &options).expect("an embedder");
            let expected: Vec<Vec<f32>> =
                texts.iter().map(|text| alone.embed(text, &Cancel::new()).expect("a vector")).collect();
            assert_eq!(embedding.embed(texts.clone(), dimensions).await.expect("vectors"), expected);
        }
        let judging = models.get(RERANKER).await.expect("the reranker");
        let file = rerank.model.file();
        let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone()).expect("one");
        let session = (rerank.session)(&rerank.options).expect("a session");
        let mut alone = Reranker::new(session, tokenizer, None).expect("a reranker");
        let query = "What is white?";
        let expected: Vec<_> = documents
            .iter()
            .map(|document| alone.score(query, document, &Cancel::new()).expect("a score"))
            .collect();
        let scores = judging.rerank(query.into(), documents.to_vec()).await.expect("scores");
        assert_eq!(scores, expected);
        for (events, wanted) in events.into_iter().zip(&wanted) {
            assert_eq!(outcome(events).await.text, wanted.alone(&chat));
        }
        assert_eq!(models.running().len(), 3);
        let counts = models.totals().counts();
        assert!(counts.texts == 8 && counts.text_tokens > 8, "{counts:?}");

        // What a model is not for, and what it cannot.
        let failure = embedding.embed(texts.clone(), Some(100_000)).await.expect_err("too many dimensions");
        assert!(failure.kind == FailureKind::Invalid && failure.message.contains("100000"), "{failure}");
        let failure = embedding.embed(vec![ids(1, 513)], None).await.expect_err("too long");
        assert_eq!(failure.message, "the prompt has 513 tokens, but the context holds 512");
        let failure = judging.generate(wanted[0].ask()).map(drop).expect_err("it does not answer");
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
        let long = "white ".repeat(600);
        let failure = judging.rerank(query.into(), vec![long]).await.expect_err("too long");
        assert_eq!(failure.kind, FailureKind::TooLong, "{failure}");
        // Who does not wait for vectors leaves nothing behind; pages of texts go when they are done.
        drop(tokio::time::timeout(Duration::ZERO, embedding.embed(vec![ids(1, 500); 100], None)).await);
        let idle = || models.running().iter().all(|running| running.waiting + running.sequences == 0);
        eventually("nothing waits", idle).await;
        answering.forget();
        eventually("pages are given back", || models.kv_used() == 0).await;
        models.shutdown().await;
    });
}

#[test]
fn a_text_waits_for_the_pages_of_another_models_answer() {
    let shelf = Shelf::new(&[BUILTIN, EMBEDDER], 4096);
    let (chat, embed) = (shelf.opened(BUILTIN), shelf.opened(EMBEDDER));
    let per_token = |opened: &qwip_server::library::Opened| {
        qwip::Estimate::of_session(&opened.model, &opened.options, 2).expect("sizes").cache_per_token
    };
    block_on(async {
        // All of it is for the text, and the answer's prompt takes half.
        let kv_memory = per_token(&embed) * 3200;
        let prompt = (kv_memory / 2 / per_token(&chat)) as usize;
        assert!((64..3800).contains(&prompt), "{prompt}");
        let models = support::models(&shelf, Settings { kv_memory, ..Settings::default() });
        let (a, b) = (models.get(BUILTIN).await.expect("one"), models.get(EMBEDDER).await.expect("two"));
        let wanted = Wanted::new(ids(1, prompt), 30);
        let mut events = a.generate(wanted.ask()).expect("a place");
        assert!(events.recv().await.is_some());
        let text = ids(2, 3200);
        let vectors = b.embed(vec![text.clone()], None).await.expect("a vector");
        let session = (embed.session)(&embed.options).expect("a session");
        let mut alone = Embedder::new(session, &EmbedOptions::default()).expect("an embedder");
        assert_eq!(vectors[0], alone.embed(&text, &Cancel::new()).expect("a vector"));
        assert_eq!(outcome(events).await.text, wanted.alone(&chat));
        assert!(b.embed(Vec::new(), None).await.expect("none").is_empty());
        models.shutdown().await;
    });
}

#[test]
fn texts_of_two_requests_take_turns() {
    let shelf = Shelf::new(&[EMBEDDER], 512);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let embedding = models.get(EMBEDDER).await.expect("the embedding model");
        let mut many = std::pin::pin!(embedding.embed(vec![ids(1, 200); 2000], None));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut many).await.is_err(), "so many at once");
        // Other dimensions, too: the same session serves both.
        let few = embedding.embed(vec![ids(2, 200); 2], Some(8)).await.expect("vectors");
        assert!(few.len() == 2 && few[0] == few[1] && few[0].len() == 8, "{few:?}");
        let done = models.totals().counts().texts;
        assert!(done < 1000, "{done} texts before those two");
        models.shutdown().await;
        assert!(many.await.is_err(), "broken off");
    });
}

#[test]
fn one_models_pages_make_room_for_anothers() {
    let shelf = Shelf::new(&[BUILTIN, HYBRID], 512);
    let (first, second) = (shelf.opened(BUILTIN), shelf.opened(HYBRID));
    block_on(async {
        // Enough for what either needs, not for what both would keep.
        let page =
            64 * qwip::Estimate::of_session(&first.model, &first.options, 2).expect("sizes").cache_per_token;
        let models = support::models(&shelf, Settings { kv_memory: 5 * page, ..Settings::default() });
        let (a, b) = (models.get(BUILTIN).await.expect("one"), models.get(HYBRID).await.expect("two"));
        for round in 0..3 {
            let wanted = Wanted::new(ids(round, 200), 50);
            assert_eq!(outcome(a.generate(wanted.ask()).expect("a place")).await.text, wanted.alone(&first));
            let wanted = Wanted::new(ids(round, 300), 50);
            assert_eq!(outcome(b.generate(wanted.ask()).expect("a place")).await.text, wanted.alone(&second));
        }
        // Both at once, several of each.
        let wanted: Vec<Wanted> = (0..3).map(|i| Wanted::new(ids(i + 5, 150), 60)).collect();
        let of_a: Vec<_> = wanted.iter().map(|w| a.generate(w.ask()).expect("a place")).collect();
        let of_b: Vec<_> = wanted.iter().map(|w| b.generate(w.ask()).expect("a place")).collect();
        for ((a, b), wanted) in of_a.into_iter().zip(of_b).zip(&wanted) {
            assert_eq!(outcome(a).await.text, wanted.alone(&first));
            assert_eq!(outcome(b).await.text, wanted.alone(&second));
        }
        models.shutdown().await;
        assert_eq!(models.kv_used(), 0);
    });
}

#[test]
fn unused_models_go_after_their_time() {
    let shelf = Shelf::new(&[BUILTIN, HYBRID], 512);
    block_on(async {
        let keep_alive = KeepAlive::For(Duration::from_millis(100));
        let models = support::models(&shelf, Settings { keep_alive, ..Settings::default() });
        let mut lease = models.get(BUILTIN).await.expect("the model");
        outcome(lease.generate(Wanted::new(ids(1, 80), 5).ask()).expect("a place")).await;
        drop(models.get(HYBRID).await.expect("another"));
        // In use it stays, whatever the time.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let names: Vec<String> = models.running().into_iter().map(|running| running.name).collect();
        assert_eq!(names, [BUILTIN]);
        assert!(models.kv_used() > 0);
        lease.set_keep_alive(KeepAlive::Forever);
        drop(lease);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(models.running()[0].expires, None);
        let mut lease = models.get(BUILTIN).await.expect("still there");
        assert_eq!(models.totals().counts().loads, 2);
        lease.set_keep_alive(KeepAlive::For(Duration::ZERO));
        drop(lease);
        eventually("it goes at once", || models.running().is_empty()).await;
        eventually("with its pages", || models.kv_used() == 0).await;
        // By hand.
        drop(models.get(BUILTIN).await.expect("again"));
        models.release(BUILTIN).await.expect("a model of the library");
        assert!(models.running().is_empty());
        models.release(BUILTIN).await.expect("it is no fault that it is not loaded");
        let error = models.release("nobody").await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (FailureKind::UnknownModel, "there is no model 'nobody'")
        );
        // Who uses it keeps it until then.
        let lease = models.get(BUILTIN).await.expect("again");
        let answer = lease.generate(Wanted::new(ids(1, 80), 5).ask()).expect("a place");
        models.release(BUILTIN).await.expect("a loaded model");
        assert!(outcome(answer).await.summary().answer_tokens > 0);
        assert_eq!(models.running().len(), 1);
        drop(lease);
        eventually("it goes", || models.running().is_empty()).await;
    });
}

#[test]
fn the_model_used_longest_ago_makes_room() {
    let shelf = Shelf::new(&[BUILTIN, HYBRID, EMBEDDER], 512);
    let size = |name: &str| shelf.opened(name).model.file().len();
    let (kv_memory, sizes) = (1 << 20, [size(BUILTIN), size(HYBRID), size(EMBEDDER)]);
    block_on(async {
        // The two small ones fit beside each other, or the large one alone; the large one is the built-in model.
        assert!(sizes[0] > sizes[1] + sizes[2], "{sizes:?}");
        let memory = Some(sizes[0] + kv_memory);
        let settings = Settings { kv_memory, memory, ..Settings::default() };
        let models = support::models(&shelf, settings);
        let names = || models.running().into_iter().map(|running| running.name).collect::<Vec<_>>();
        drop(models.get(HYBRID).await.expect("one"));
        drop(models.get(EMBEDDER).await.expect("another"));
        assert_eq!(names(), [EMBEDDER, HYBRID]);
        let large = models.get(BUILTIN).await.expect("the large one");
        assert_eq!(names(), [BUILTIN]);
        // It is in use.
        let failure = models.get(HYBRID).await.map(drop).expect_err("no room");
        assert_eq!(failure.kind, FailureKind::Busy);
        let numbers = [sizes[1].to_string(), (sizes[0] + kv_memory).to_string()];
        assert!(numbers.iter().all(|number| failure.message.contains(number)), "{failure}");
        drop(large);
        drop(models.get(HYBRID).await.expect("now"));
        assert_eq!(names(), [HYBRID]);
        models.shutdown().await;

        let memory = Some(sizes[0] + kv_memory - 1);
        let models = support::models(&shelf, Settings { kv_memory, memory, ..Settings::default() });
        let failure = models.get(BUILTIN).await.map(drop).expect_err("too large");
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.contains(&(sizes[0] + kv_memory - 1).to_string()), "{failure}");
    });
}
