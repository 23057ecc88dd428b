//! What it costs to hold an answer to a JSON schema: `cargo bench -p qwip --features constrain --bench masking`, with the
//! vocabulary of Qwen2.5 beside the repository, in `shared/vocab`. Each figure is of one token of a document of 500 and more,
//! the best of 5 times, each time with a new constraint: so it is not a busy machine that is measured.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qwip::constrain::{Allowed, Grammar, Thinking, Vocabulary};
use qwip::sample::logprobs_of;
use qwip::tokenizer::Special;
use qwip::{Sampler, SamplingParams, Tokenizer};
use qwip_quant::gguf::Gguf;
use serde_json::{Value, json};

/// Texts, lists, numbers and choices, as people ask for them.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "orders": {"type": "array", "minItems": 1, "maxItems": 50, "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "customer": {"type": "string", "maxLength": 80},
                    "status": {"enum": ["open", "paid", "shipped"]},
                    "prices": {"type": "array", "items": {"type": "number"}},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["id", "customer", "status", "prices", "note"],
                "additionalProperties": false
            }}
        },
        "required": ["title", "orders"],
        "additionalProperties": false
    })
}

fn document() -> String {
    let notes = [
        "Please leave the parcel with the neighbours; they are at home after five o'clock.",
        "请在下午五点以后送货，谢谢。",
        "Gift wrapping: \"blue\", no card.\nCall before delivery.",
    ];
    let orders: Vec<String> = (0..12)
        .map(|i| {
            let note = match i % 4 {
                3 => "null".to_owned(),
                kind => serde_json::to_string(notes[kind]).expect("a text"),
            };
            format!(
                "{{\"id\": {}, \"customer\": \"Customer number {i} of Müller & Söhne\", \"status\": \"{}\", \"prices\": \
                 [{}.99, {}, 3.5e2], \"note\": {note}}}",
                1000 + 37 * i,
                ["open", "paid", "shipped"][i % 3],
                10 + i,
                7 * i
            )
        })
        .collect();
    format!("{{\"title\": \"Orders of the week\",\n  \"orders\": [{}]}}", orders.join(",\n    "))
}

/// Resident memory in MiB, where the system says it.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!(
        "{what:<44} mean {:8.1} us   p50 {:8.1} us   p99 {:8.1} us   most {:8.1} us",
        micros(mean),
        micros(p50),
        micros(p99),
        micros(times[times.len() - 1])
    );
}

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vocab/qwen2.gguf");
    if !path.exists() {
        println!("SKIPPED: no {}", path.display());
        return;
    }
    let file = Arc::new(std::fs::read(&path).expect("a file"));
    let gguf = Gguf::parse(&file).expect("a GGUF file");
    let tokenizer = Tokenizer::from_gguf(&gguf, file).expect("a tokenizer");
    let vocab = 151_936;
    let before = resident();
    let started = Instant::now();
    let vocabulary = Vocabulary::new(&tokenizer, vocab).expect("a vocabulary");
    let built = started.elapsed();
    let memory = before.zip(resident()).map_or(f64::NAN, |(before, after)| after - before);
    println!("vocabulary of {vocab} tokens: built in {:.0} ms, {memory:.0} MiB", built.as_secs_f64() * 1e3);

    let grammar = Grammar::json_schema(&schema());
    let make = || vocabulary.constraint(&grammar, Thinking::None).expect("a constraint");
    report("a constraint of the schema", (0..50).map(|_| time(|| drop(make()))).collect());

    let tokens = tokenizer.encode(&document(), Special::Text);
    assert!(tokens.len() >= 500, "{} tokens", tokens.len());
    // Logits as they may be: most far below the best, the next token the best.
    let mut state = 1u32;
    let mut logits: Vec<f32> = (0..vocab)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 * 20.0 - 10.0
        })
        .collect();
    let params = SamplingParams { temperature: 0.7, top_k: 20, top_p: 0.8, ..SamplingParams::default() };
    let (mut greedy, mut drawing) = (Sampler::new(SamplingParams::default()), Sampler::new(params));
    let mut times: [Vec<Duration>; 6] = std::array::from_fn(|_| vec![Duration::MAX; tokens.len()]);
    for _ in 0..5 {
        let mut constraint = make();
        for (at, &token) in tokens.iter().enumerate() {
            let mut mask = Vec::new();
            let asked = time(|| match constraint.allowed().expect("it goes on") {
                Allowed::Some(allowed) => mask.extend_from_slice(allowed),
                other => panic!("{other:?} before the end"),
            });
            assert!(mask[token as usize / 32] >> (token % 32) & 1 == 1, "{token} may come");
            let accepted = time(|| constraint.accept(token).expect("it may come"));
            let mut found = [asked + accepted; 6];
            let usual = std::mem::replace(&mut logits[token as usize], 11.0);
            let sampleable = |id| tokenizer.is_sampleable(id);
            for (i, sampler) in [&mut greedy, &mut drawing].into_iter().enumerate() {
                let mut picked = None;
                found[1 + 2 * i] = time(|| picked = sampler.pick(&logits, &[], sampleable));
                assert!(picked.is_some() && (i == 1 || picked == Some(token)));
                found[2 + 2 * i] =
                    time(|| picked = sampler.pick_masked(&logits, &[], Some(&mask), sampleable));
                assert!(picked.is_some());
            }
            found[5] = time(|| assert_eq!(logprobs_of(&logits, token, 5).top.len(), 5));
            logits[token as usize] = usual;
            for (times, found) in times.iter_mut().zip(found) {
                times[at] = times[at].min(found);
            }
        }
    }
    println!("{} tokens of a document", tokens.len());
    let names = [
        "allowed() and accept()",
        "pick, the most probable",
        "pick with a mask, the most probable",
        "pick, top-k 20 and top-p 0.8",
        "pick with a mask, top-k 20 and top-p 0.8",
        "log probabilities of 5",
    ];
    for (name, times) in names.into_iter().zip(times) {
        report(name, times);
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}
