//! Many requests at the same time: each gets the text that it gets alone, whatever the others do, and whatever room there
//! is; and requests that cannot be answered are told why.

mod support;

use qwip::constrain::{Allowed, Constraint, Grammar, Thinking};
use qwip::sample::logprobs_of;
use qwip::{Cancel, Estimate, FinishReason, GenerateOptions, SamplingParams, SessionOptions};
use qwip_server::engine::{Ask, Event, FailureKind};
use qwip_server::library::Opened;
use qwip_server::models::{Lease, Models, Settings};
use support::{BUILTIN, HYBRID, Outcome, Shelf, Wanted, block_on, chat, eventually, ids, outcome, outcomes};

const SYSTEM: &str = "You are a helpful assistant that runs on the user's own device. You answer in short, plain \
                      sentences, you say so when you do not know something, and you never invent names or numbers.";

/// Eight requests: four share a long beginning, some have other settings, some are alike.
fn eight(opened: &Opened, tokens: usize) -> Vec<Wanted> {
    let asked = |user: &str| Wanted::new(chat(opened, SYSTEM, &[user]), tokens);
    let mut penalised = asked("What is qwip?");
    penalised.sampling =
        SamplingParams { repeat_penalty: 1.3, temperature: 0.7, seed: 9, ..Default::default() };
    let mut stopped = Wanted::new(chat(opened, "Be brief.", &["Count from 1 to 20."]), tokens);
    stopped.options.stop = vec!["1".into(), "e".into()];
    vec![
        asked("What is 2 plus 3?"),
        asked("What is 2 plus 3?").drawn(0.9, 1),
        asked("Hello! Who are you?").drawn(1.2, 2),
        penalised,
        stopped,
        Wanted::new(chat(opened, "Be brief.", &["你好", "你好!", "What is 7 times 8?"]), tokens)
            .drawn(0.5, 3),
        Wanted::new(ids(4, 100), tokens).drawn(1.0, 4),
        Wanted::new(vec![5], tokens),
    ]
}

async fn lease(models: &Models, name: &str) -> Lease {
    models.get(name).await.expect("the model")
}

fn check(outcomes: &[Outcome], wanted: &[Wanted], opened: &Opened) {
    for (i, (outcome, wanted)) in outcomes.iter().zip(wanted).enumerate() {
        assert!(outcome.end.is_ok(), "number {i}: {outcome:?}");
        assert_eq!(outcome.text, wanted.alone(opened), "number {i}");
        assert_eq!(outcome.summary().prompt_tokens, wanted.prompt.len());
    }
}

/// Bytes of so many pages of a model.
fn pages(opened: &Opened, count: u64) -> u64 {
    let estimate = Estimate::of_session(&opened.model, &opened.options, 2).expect("sizes");
    count * 64 * estimate.cache_per_token
}

#[test]
fn texts_are_those_that_they_get_alone() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    let opened = shelf.opened(BUILTIN);
    let wanted = eight(&opened, 40);
    for (parallel, kv_pages, pass) in [(1, 1000, 150), (3, 1000, 0), (8, 1000, 150), (8, 9, 1)] {
        block_on(async {
            let pass = std::time::Duration::from_millis(pass);
            let kv_memory = pages(&opened, kv_pages);
            let models =
                support::models(&shelf, Settings { parallel, kv_memory, pass, ..Settings::default() });
            let loaded = lease(&models, BUILTIN).await;
            let first = outcomes(&loaded, &wanted).await;
            check(&first, &wanted, &opened);
            assert!(models.kv_used() <= kv_memory);
            // Once more, with what has been kept of the first time.
            let again = outcomes(&loaded, &wanted).await;
            check(&again, &wanted, &opened);
            if kv_pages == 1000 {
                assert!(again.iter().take(7).all(|o| o.summary().cached_tokens > 0), "{again:?}");
            }
            loaded.forget();
            eventually("pages are given back", || models.kv_used() == 0).await;
            models.shutdown().await;
        });
    }
}

#[test]
fn hybrids_answer_together_as_alone() {
    let shelf = Shelf::new(&[HYBRID], 512);
    let opened = shelf.opened(HYBRID);
    let shared = ids(1, 150);
    let mut wanted: Vec<Wanted> = (0..4)
        .map(|i| {
            let prompt = [&shared[..], &ids(i + 2, 20 * i as usize + 3)].concat();
            Wanted::new(prompt, 30).drawn(0.8, u64::from(i))
        })
        .collect();
    wanted.push(Wanted::new(ids(9, 70), 30));
    wanted.push(wanted[0].clone());
    for (parallel, kv_memory) in [(6, 1 << 30), (2, 2_000_000)] {
        block_on(async {
            let models = support::models(&shelf, Settings { parallel, kv_memory, ..Settings::default() });
            let loaded = lease(&models, HYBRID).await;
            for _ in 0..2 {
                check(&outcomes(&loaded, &wanted).await, &wanted, &opened);
            }
            models.shutdown().await;
            assert_eq!(models.kv_used(), 0);
        });
    }
}

#[test]
fn requests_wait_for_pages_and_all_are_answered() {
    let shelf = Shelf::new(&[BUILTIN], 1024);
    let opened = shelf.opened(BUILTIN);
    // Each takes 4 pages in the end, and there are 6.
    let wanted: Vec<Wanted> = (0..6).map(|i| Wanted::new(ids(i, 90), 130).drawn(0.8, u64::from(i))).collect();
    block_on(async {
        let kv_memory = pages(&opened, 6);
        let models = support::models(&shelf, Settings { parallel: 6, kv_memory, ..Settings::default() });
        let loaded = lease(&models, BUILTIN).await;
        check(&outcomes(&loaded, &wanted).await, &wanted, &opened);

        // An answer that is alone ends where its pages do, and has begun as it would have with more.
        let long = Wanted::new(ids(7, 100), 900);
        let outcome = outcome(loaded.generate(long.ask()).expect("a place")).await;
        assert_eq!(outcome.summary().reason.as_str(), "length");
        let tokens = outcome.summary().answer_tokens;
        assert!((6 * 64 - 100..=6 * 64 - 98).contains(&tokens), "{tokens}");
        assert_eq!(outcome.text, Wanted::new(long.prompt.clone(), tokens).alone(&opened));

        // A prompt that never fits is refused at once, with both numbers.
        let failure = loaded.generate(Wanted::new(ids(8, 600), 1).ask()).expect_err("too long");
        assert_eq!(failure.kind, FailureKind::TooLong);
        let (needed, limit) = (pages(&opened, 10).to_string(), kv_memory.to_string());
        assert!(failure.message.contains(&needed) && failure.message.contains(&limit), "{failure}");
        models.shutdown().await;
    });
}

#[test]
fn the_next_turn_of_a_conversation_reads_only_what_is_new() {
    let shelf = Shelf::new(&[BUILTIN], 1024);
    let opened = shelf.opened(BUILTIN);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        let first = Wanted::new(chat(&opened, SYSTEM, &["Hello! Who are you?"]), 30);
        let told = outcome(loaded.generate(first.ask()).expect("a place")).await;
        assert_eq!((told.text.clone(), told.summary().cached_tokens), (first.alone(&opened), 0));
        let turns = ["Hello! Who are you?", &told.text, "What is 2 plus 2?"];
        let second = Wanted::new(chat(&opened, SYSTEM, &turns), 30);
        let told = outcome(loaded.generate(second.ask()).expect("a place")).await;
        assert_eq!(told.text, second.alone(&opened));
        let cached = told.summary().cached_tokens;
        assert!(cached > first.prompt.len() - 8 && cached < second.prompt.len(), "{cached}");
        // The same again, while the first is still being answered.
        let endless = loaded.generate(Wanted::new(second.prompt.clone(), 800).ask()).expect("a place");
        let told = outcome(loaded.generate(second.ask()).expect("a place")).await;
        assert_eq!(told.text, second.alone(&opened));
        assert!(told.summary().cached_tokens >= second.prompt.len() - 1);
        drop(endless);
        let counts = models.totals().counts();
        assert!(counts.cached_tokens >= (cached + second.prompt.len() - 1) as u64, "{counts:?}");
        models.shutdown().await;
    });
}

#[test]
fn several_answers_to_one_prompt_read_it_once() {
    let shelf = Shelf::new(&[BUILTIN], 1024);
    let opened = shelf.opened(BUILTIN);
    block_on(async {
        let models = support::models(&shelf, Settings { parallel: 3, ..Settings::default() });
        let loaded = lease(&models, BUILTIN).await;
        let prompt = chat(&opened, SYSTEM, &["Tell me something about yourself."]);
        let wanted: Vec<Wanted> =
            (0..5).map(|seed| Wanted::new(prompt.clone(), 25).drawn(1.0, seed)).collect();
        let told = outcomes(&loaded, &wanted).await;
        check(&told, &wanted, &opened);
        let cached: Vec<usize> = told.iter().map(|outcome| outcome.summary().cached_tokens).collect();
        assert_eq!(cached[0], 0);
        assert!(
            cached[1..].iter().all(|&cached| cached == prompt.len() - 1),
            "{cached:?} of {}",
            prompt.len()
        );
        models.shutdown().await;
    });
}

#[test]
fn who_goes_frees_the_place_and_the_pages() {
    let shelf = Shelf::new(&[BUILTIN], 4096);
    block_on(async {
        let models = support::models(&shelf, Settings { parallel: 2, queue: 3, ..Settings::default() });
        let loaded = lease(&models, BUILTIN).await;
        let long = || Wanted::new(ids(1, 40), 4000).drawn(1.0, 1);
        let mut events: Vec<_> = (0..5).map(|_| loaded.generate(long().ask()).expect("a place")).collect();
        let failure = loaded.generate(long().ask()).expect_err("no place");
        assert_eq!(failure.kind, FailureKind::Busy);
        assert!(failure.message.contains("5 requests running and waiting, of at most 5"), "{failure}");
        // Both of those that run say something; those behind them wait.
        for events in &mut events[..2] {
            while !matches!(events.recv().await, Some(Event::Piece { .. })) {}
        }
        let running = &models.running()[0];
        assert_eq!((running.sequences, running.waiting, running.parallel), (2, 3, 2));
        assert!(running.kv_used > 0 && running.memory > running.kv_used && running.expires.is_some());
        // One that waits and both that run go: the other two that waited have their turn.
        events.remove(3);
        events.drain(..2);
        for events in &mut events {
            while !matches!(events.recv().await, Some(Event::Piece { .. })) {}
        }
        drop(events);
        eventually("all have gone", || models.running()[0].sequences + models.running()[0].waiting == 0)
            .await;
        let counts = models.totals().counts();
        assert_eq!((counts.cancelled, counts.failed), (5, 0), "{counts:?}");
        loaded.forget();
        eventually("pages are given back", || models.kv_used() == 0).await;
        models.shutdown().await;
    });
}

#[test]
fn a_short_question_to_a_hybrid_does_not_wait_for_a_long_prompt_that_begins_alike() {
    let shelf = Shelf::new(&[HYBRID], 8192);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, HYBRID).await;
        let common = ids(1, 60);
        let long = Wanted::new([&common[..], &ids(2, 8000)].concat(), 1);
        let short = Wanted::new([&common[..], &ids(3, 10)].concat(), 2);
        let mut long = loaded.generate(long.ask()).expect("a place");
        outcome(loaded.generate(short.ask()).expect("a place")).await;
        assert!(long.try_recv().is_err(), "the long prompt has been read");
        assert!(matches!(long.recv().await, Some(Event::Prompt { .. })));
        models.shutdown().await;
    });
}

#[test]
fn a_long_prompt_is_broken_off_in_the_middle_of_a_slice() {
    let options = SessionOptions { context: 512, batch: 512, ..SessionOptions::default() };
    // Slow enough on any machine.
    let scalar = qwip::Kernels::named("scalar").expect("kernels");
    let shelf = Shelf::with(&[BUILTIN], options, qwip::cpu_with(scalar, 1).expect("a thread"));
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        let (wanted, short) = (Wanted::new(ids(1, 256), 1), Wanted::new(vec![1], 1));
        for goes in [true, false] {
            let events = loaded.generate(wanted.ask()).expect("a place");
            if goes {
                // All of it is one slice, and what has been broken off leaves no sequence to be kept.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                drop(events);
            } else {
                assert_eq!(outcome(events).await.summary().cached_tokens, 0);
            }
            // Once this has been answered, how things were before has been said.
            outcome(loaded.generate(short.ask()).expect("a place")).await;
            assert_eq!(models.running()[0].kept, if goes { 0 } else { 1 });
        }
        assert_eq!(models.totals().counts().cancelled, 1);
        models.shutdown().await;
    });
}

#[test]
fn a_thousand_that_come_and_go_leave_nothing_behind() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    let opened = shelf.opened(BUILTIN);
    block_on(async {
        let kv_memory = pages(&opened, 12);
        let settings = Settings { parallel: 4, queue: 2000, kv_memory, ..Settings::default() };
        let models = support::models(&shelf, settings);
        let loaded = lease(&models, BUILTIN).await;
        for round in 0..10 {
            let tasks = (0..100u32).map(|i| {
                let wanted = Wanted::new(ids(i % 7, 3 + (i as usize * 13) % 120), 1 + i as usize % 9);
                let mut events = loaded.generate(wanted.ask()).expect("a place");
                tokio::spawn(async move {
                    // Some wait for the end, some for a few events, some for nothing.
                    for _ in 0..[0, 1, 3, 1000][(i as usize + round) % 4] {
                        if events.recv().await.is_none() {
                            break;
                        }
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("no panic");
            }
        }
        eventually("all have gone", || models.running()[0].sequences + models.running()[0].waiting == 0)
            .await;
        let counts = models.totals().counts();
        assert_eq!(counts.stopped + counts.full + counts.repeated + counts.cancelled, 1000, "{counts:?}");
        assert!(counts.failed == 0 && counts.cancelled >= 250 && counts.full >= 250, "{counts:?}");
        loaded.forget();
        eventually("pages are given back", || models.kv_used() == 0).await;
        models.shutdown().await;
    });
}

#[test]
fn what_cannot_be_answered_is_refused_with_both_numbers() {
    let shelf = Shelf::new(&[BUILTIN], 64);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        let refused = |ask: Ask| loaded.generate(ask).map(drop).expect_err("refused");
        let failure = refused(Wanted::new(ids(1, 65), 1).ask());
        assert_eq!(failure.kind, FailureKind::TooLong);
        assert_eq!(failure.message, "the prompt has 65 tokens, but the context holds 64");
        for (ask, words) in [
            (Wanted::new(Vec::new(), 1).ask(), "the prompt is empty"),
            (Wanted::new(vec![1_000_000], 1).ask(), "1000000"),
            (Wanted::new(vec![1], 1).drawn(-1.0, 0).ask(), "temperature"),
            (Ask { prompt_logprobs: Some(65), ..Wanted::new(vec![1], 1).ask() }, "65"),
        ] {
            let failure = refused(ask);
            assert!(failure.kind == FailureKind::Invalid && failure.message.contains(words), "{failure}");
        }
        // More tokens than there is room for are no fault.
        let told = outcome(loaded.generate(Wanted::new(ids(1, 60), 500).ask()).expect("a place")).await;
        assert_eq!((told.summary().reason, told.summary().answer_tokens), (FinishReason::ContextFull, 5));
        let none = outcome(loaded.generate(Wanted::new(ids(1, 60), 0).ask()).expect("a place")).await;
        assert_eq!((none.text.as_str(), none.summary().reason), ("", FinishReason::Length));
        let failure = loaded.embed(vec![vec![1]], None).await.expect_err("it does not embed");
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
        models.shutdown().await;
    });
}

#[test]
fn log_probabilities_of_prompt_and_answer_are_the_models() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    let opened = shelf.opened(BUILTIN);
    let prompt = ids(3, 150);
    let mut session = (opened.session)(&opened.options).expect("a session");
    let mut expected = Vec::new();
    let mut next = 1;
    let sink = &mut |logits: &[f32]| {
        prompt.get(next).into_iter().for_each(|&token| expected.push(logprobs_of(logits, token, 3)));
        next += 1;
    };
    session.extend_with_logits(&prompt, &Cancel::new(), sink).expect("logits");
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        // Another answer runs, and the prompt has been read before: neither matters.
        let other = loaded.generate(Wanted::new(prompt.clone(), 300).ask()).expect("a place");
        let mut wanted = Wanted::new(prompt.clone(), 5);
        wanted.options.logprobs = Some(2);
        let mut events = loaded.generate(Ask { prompt_logprobs: Some(3), ..wanted.ask() }).expect("a place");
        let Some(Event::Prompt { cached: 0, logprobs }) = events.recv().await else {
            panic!("the prompt comes first")
        };
        assert_eq!(logprobs, expected);
        let mut text = String::new();
        for _ in 0..5 {
            let Some(Event::Piece { text: more, token: Some(token) }) = events.recv().await else {
                panic!("a token")
            };
            assert_eq!((token.top.len(), token.token, token.logprob), (2, token.top[0].0, token.top[0].1));
            text.push_str(&more);
        }
        while let Some(Event::Piece { text: more, .. }) = events.recv().await {
            text.push_str(&more);
        }
        assert_eq!(text, wanted.alone(&opened));
        drop(other);
        models.shutdown().await;
    });
}

#[test]
fn answers_are_held_to_their_forms_beside_others() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    let opened = shelf.opened(BUILTIN);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        let free = Wanted::new(chat(&opened, SYSTEM, &["Hello!"]), 60);
        let beside = loaded.generate(free.ask()).expect("a place");
        let mut held = Wanted::new(chat(&opened, SYSTEM, &["How are you?"]), 60).drawn(1.0, 3);
        held.options.ignore_eos = false;
        let grammar = Grammar::regex("(red|green) [0-9]{3}");
        let constraint = Some(loaded.form(&grammar).expect("a form").constraint(Thinking::None));
        let told = outcome(loaded.generate(Ask { constraint, ..held.ask() }).expect("a place")).await;
        let digits = told.text.strip_prefix("red ").or_else(|| told.text.strip_prefix("green "));
        assert!(digits.is_some_and(|d| d.len() == 3 && d.parse::<u32>().is_ok()), "{told:?}");
        assert_eq!(told.summary().reason, FinishReason::Stop);
        assert_eq!(outcome(beside).await.text, free.alone(&opened));
        let failure = loaded.form(&Grammar::regex("(")).err().expect("no regex");
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
        models.shutdown().await;
    });
}

/// A form that breaks the rules of the house.
struct Panics;

impl Constraint for Panics {
    fn allowed(&mut self) -> qwip::Result<Allowed<'_>> {
        panic!("a constraint has lost its head");
    }

    fn accept(&mut self, _: u32) -> qwip::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_fails_what_runs_and_the_model_is_loaded_again() {
    let shelf = Shelf::new(&[BUILTIN], 512);
    let opened = shelf.opened(BUILTIN);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let loaded = lease(&models, BUILTIN).await;
        let other = loaded.generate(Wanted::new(ids(1, 20), 400).ask()).expect("a place");
        let ask = Ask { constraint: Some(Box::new(Panics)), ..Wanted::new(ids(2, 20), 9).ask() };
        for events in [loaded.generate(ask).expect("a place"), other] {
            let failure = outcome(events).await.end.expect_err("it failed");
            assert_eq!(failure.kind, FailureKind::Internal);
            assert!(failure.message.contains("a constraint has lost its head"), "{failure}");
        }
        drop(loaded);
        let again = lease(&models, BUILTIN).await;
        let wanted = Wanted::new(ids(3, 20), 9);
        let told = outcome(again.generate(wanted.ask()).expect("a place")).await;
        assert_eq!(told.text, wanted.alone(&opened));
        assert_eq!(models.totals().counts().loads, 2);
        models.shutdown().await;
        assert_eq!(models.kv_used(), 0);
    });
}

#[test]
fn the_end_of_the_server_ends_what_runs() {
    let shelf = Shelf::new(&[BUILTIN], 4096);
    block_on(async {
        let models = support::models(&shelf, Settings { parallel: 1, ..Settings::default() });
        let loaded = lease(&models, BUILTIN).await;
        let options = GenerateOptions { ignore_eos: true, ..GenerateOptions::default() };
        let wanted = Wanted { prompt: ids(1, 20), options, ..Wanted::default() };
        let running = loaded.generate(wanted.ask()).expect("a place");
        let waiting = loaded.generate(wanted.ask()).expect("a place");
        models.shutdown().await;
        for events in [running, waiting] {
            let failure = outcome(events).await.end.expect_err("it was broken off");
            assert_eq!(failure.kind, FailureKind::Busy, "{failure}");
        }
        assert!(loaded.generate(wanted.ask()).is_err());
        assert_eq!(models.get(BUILTIN).await.map(drop).expect_err("closed").kind, FailureKind::Busy);
    });
}
