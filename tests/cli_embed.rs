//! `qwip embed` and `qwip rerank`, with the built program.

mod cli_common;

use std::fs;

use cli_common::{arg, fixture, model, outcome, program, qwip, with_metadata};
use qwip::quant::gguf::Set;
use serde_json::Value;

const EMBEDDING: &str = "qwen3-embedding-last";
const RERANKER: &str = "qwen3-reranker";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn floats(row: &Value) -> Vec<f64> {
    row.as_array().expect("a row").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn npy(path: &std::path::Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn texts_become_vectors_in_every_form_of_input_and_output() {
    let dir = tempfile::tempdir().unwrap();
    let file = model(dir.path(), EMBEDDING, "f32");
    let texts = fixture(EMBEDDING).join("texts.txt");
    let object =
        json(&qwip(&["embed", arg(&file), "-f", arg(&texts), "--json", "-ctk", "f32", "-ctv", "f32"]).ok());
    assert_eq!((object["pooling"].as_str(), object["dimensions"].as_u64()), (Some("last"), Some(64)));
    let rows: Vec<Vec<f64>> =
        object["data"].as_array().unwrap().iter().map(|d| floats(&d["embedding"])).collect();
    let want = npy(&fixture(EMBEDDING).join("embeddings.npy"));
    assert_eq!(rows.len() * 64, want.len());
    for (found, want) in rows.iter().flatten().zip(&want) {
        assert!((found - f64::from(*want)).abs() < 1e-5, "{found} {want}");
    }
    // The end token counts.
    assert_eq!(object["data"][3]["tokens"], 2);

    let out = dir.path().join("out.npy");
    let found =
        qwip(&["embed", arg(&file), "-f", arg(&texts), "-o", arg(&out), "-ctk", "f32", "-ctv", "f32"]);
    assert!(found.stderr.contains("float32 [5, 64]"), "{found:?}");
    assert!(found.ok().is_empty());
    let written = npy(&out);
    assert!(written.iter().zip(rows.iter().flatten()).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7));

    let lines: Vec<String> = fs::read_to_string(&texts).unwrap().lines().map(str::to_string).collect();
    let mut given = vec!["embed", arg(&file)];
    lines.iter().for_each(|text| given.extend(["-p", text.as_str()]));
    let printed = qwip(&given).ok();
    assert_eq!(printed.lines().count(), 5);
    let piped = outcome(program().args(["embed", arg(&file)]), &fs::read(&texts).unwrap()).ok();
    assert_eq!(piped, printed);
    let first: Vec<f32> = printed.lines().next().unwrap().split(' ').map(|x| x.parse().unwrap()).collect();
    assert_eq!(first.len(), 64);

    let short = qwip(&["embed", arg(&file), "-p", "x", "--dimensions", "7", "--pooling", "none"]).ok();
    assert_eq!(short.lines().count(), 2);
    assert!(short.lines().all(|line| line.split(' ').count() == 7));
}

#[test]
fn documents_come_in_the_order_of_their_scores() {
    let dir = tempfile::tempdir().unwrap();
    let file = model(dir.path(), RERANKER, "f32");
    let text = fs::read_to_string(fixture(RERANKER).join("documents.txt")).unwrap();
    let (query, documents) = text.split_once('\n').unwrap();
    let list = dir.path().join("documents.txt");
    fs::write(&list, documents).unwrap();
    let object = json(&qwip(&["rerank", arg(&file), "-q", query, "-f", arg(&list), "--json"]).ok());
    let want = npy(&fixture(RERANKER).join("scores.npy"));
    let results = object["results"].as_array().unwrap();
    assert_eq!(results.len(), want.len());
    let mut before = f64::INFINITY;
    for result in results {
        let (index, score) = (result["index"].as_u64().unwrap(), result["relevance_score"].as_f64().unwrap());
        assert!((score - f64::from(want[index as usize])).abs() < 1e-3 && score <= before, "{object}");
        before = score;
    }
    let printed = qwip(&["rerank", arg(&file), "-q", query, "-f", arg(&list)]).ok();
    let best = documents.lines().nth(results[0]["index"].as_u64().unwrap() as usize).unwrap();
    assert!(
        printed.lines().count() == 5 && printed.lines().next().unwrap().ends_with(&format!("  {best}")),
        "{printed}"
    );
    let task = qwip(&["rerank", arg(&file), "-q", query, "-p", best, "--task", "Find rivers"]).ok();
    assert_ne!(task.split(' ').next(), printed.split(' ').next());
}

#[test]
fn what_a_model_is_not_for_is_said_on_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (judge, embed) = (model(dir.path(), RERANKER, "q8_0"), model(dir.path(), EMBEDDING, "q8_0"));
    for call in [
        &["run", arg(&judge), "-p", "hi"][..],
        &["run", arg(&judge), "-p", "hi", "--raw"],
        &["chat", arg(&judge)],
    ] {
        let line = qwip(call).fails(1);
        assert!(
            line.contains("'qwen3.pooling_type' is 4 (rank): a reranker") && line.contains("cannot answer"),
            "{line}"
        );
    }
    let line = qwip(&["embed", arg(&judge), "-p", "hi"]).fails(1);
    assert!(line.contains("is 4 (rank): a reranker (for qwip rerank), which cannot embed"), "{line}");
    let line = qwip(&["rerank", arg(&embed), "-q", "a", "-p", "b"]).fails(1);
    assert!(line.contains("is 3 (last): an embedding model (for qwip embed), which cannot judge"), "{line}");
    let found = qwip(&["run", arg(&embed), "-p", "hi", "-n", "2"]);
    assert!(found.stderr.contains("is an embedding model"), "{found:?}");
    found.ok();
    let line = qwip(&["embed", "-p", "hi"]).fails(1);
    assert!(line.contains("'qwen3.pooling_type' is missing") && line.contains("--pooling"), "{line}");
    assert_eq!(qwip(&["embed", "-p", "hi", "--pooling", "mean"]).ok().lines().count(), 1);

    let bad = dir.path().join("bad.gguf");
    let set = |key: &'static str, value: Set| {
        with_metadata(&embed, &bad, move |k, v| Some(if k == key { value.clone() } else { v }), &[])
    };
    let line = qwip(&["embed", arg(&set("qwen3.pooling_type", Set::U32(9))), "-p", "hi"]).fails(1);
    assert!(line.contains("'qwen3.pooling_type' is 9, expected one of 0 (none), 1 (mean)"), "{line}");
    let file = set("tokenizer.ggml.add_eos_token", Set::Bool(false));
    let found = qwip(&["embed", arg(&file), "-p", "hi"]);
    assert!(found.stderr.contains("tokenizer.ggml.add_eos_token"), "{found:?}");
    found.ok();
    let file = with_metadata(&embed, &bad, |k, v| (k != "tokenizer.ggml.eos_token_id").then_some(v), &[]);
    let line = qwip(&["embed", arg(&file), "-p", "hi"]).fails(1);
    assert!(line.contains("add_eos_token is true, but there is no tokenizer.ggml.eos_token_id"), "{line}");
}

#[test]
fn wrong_calls() {
    let dir = tempfile::tempdir().unwrap();
    let file = model(dir.path(), EMBEDDING, "f16");
    let embed = |more: &[&str]| qwip(&[&["embed", arg(&file)], more].concat());
    assert!(embed(&[]).fails(2).contains("there is no text"));
    assert!(embed(&["-p", "x", "--pooling", "rank"]).fails(2).contains("expected none, mean, cls or last"));
    assert!(
        embed(&["-p", "x", "--dimensions", "65"]).fails(1).contains("dimensions is 65, expected 1 to 64")
    );
    assert!(embed(&["-p", "x", "--json", "-o", "x.npy"]).fails(2).contains("cannot be used with"));
    assert!(embed(&["-p", "x", "-o", arg(&file)]).fails(1).contains("is the input"));
    let long = "a".repeat(100);
    assert!(embed(&["-p", "x", "-p", &long, "-c", "16"]).fails(1).contains("text 2: the prompt needs"));
    assert!(qwip(&["rerank", arg(&file), "-p", "x"]).fails(2).contains("--query"));
    assert!(qwip(&["rerank", arg(&file), "-q", "x"]).fails(2).contains("there is no document"));
}

#[test]
fn a_model_that_sees_all_of_a_text_is_measured_by_its_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let file = model(dir.path(), "qwen2-embedding-mean", "f32");
    let found = qwip(&["bench", arg(&file), "-p", "16", "-n", "4", "-r", "1", "-o", "json"]);
    assert!(found.stderr.contains("only prompts are measured"), "{found:?}");
    let measured = json(&found.ok());
    assert!(measured["pp"].as_f64().is_some_and(|rate| rate > 0.0) && measured["tg"].is_null(), "{measured}");
}
