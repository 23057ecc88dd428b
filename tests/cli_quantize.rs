//! `qwip quantize`, `edit` and `imatrix` with the built program: one after the other, and what users may get wrong.

mod cli_common;

use std::fs;
use std::path::Path;

use cli_common::{Outcome, arg, names, qwip};

const BUILTIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../builtin/builtin.gguf");

/// What went wrong is one line that has `part` in it, and nothing half written was left behind.
#[track_caller]
fn refused(dir: &Path, outcome: Outcome, code: i32, part: &str) {
    let message = outcome.fails(code);
    assert!(message.contains(part), "{part}: {message}");
    assert!(!names(dir).iter().any(|name| name.ends_with(".part")), "{:?}", names(dir));
}

#[test]
fn an_importance_matrix_a_smaller_model_and_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (text, matrix, small, named) =
        (path("text.txt"), path("matrix.gguf"), path("7b-q4.gguf"), path("named.gguf"));
    fs::write(&text, "How do I quantize a model? 2 + 3 = 5. 你好! ".repeat(40)).unwrap();

    let read = |more: &[&str]| {
        let args = ["imatrix", BUILTIN, "-f", arg(&text), "-o", arg(&matrix), "-c", "64"];
        qwip(&[&args[..], more].concat())
    };
    let first = read(&["--chunks", "2"]);
    assert!(first.stdout.contains(": 2 chunks of 64 tokens, 28 matrices in 4 layers"), "{}", first.stderr);
    let second = read(&["--chunks", "5", "--resume"]);
    assert!(second.stdout.contains(": 5 chunks of 64 tokens"), "{}", second.stderr);
    let resumed = fs::read(&matrix).unwrap();
    read(&["--chunks", "5"]);
    // Sums are kept as f32, so going on rounds once more than going through.
    assert_eq!(resumed.len(), fs::read(&matrix).unwrap().len());
    refused(dir.path(), read(&["--chunks", "0"]), 2, "--chunks 0");

    let quantize = |more: &[&str]| qwip(&[&["quantize", BUILTIN, arg(&small)], more].concat());
    let twice = quantize(&["q4_k_m"]);
    refused(dir.path(), twice, 1, "token_embd.weight is Q8_0 already");
    let dry = quantize(&["q4_k_m", "--allow-requantize", "--dry-run"]);
    assert!(dry.stdout.contains("blk.0.attn_q.weight") && dry.stdout.contains("nothing was written"));
    assert!(!small.exists());
    let made = quantize(&["q4_k_m", "--allow-requantize", "--imatrix", arg(&matrix), "--verify", "2"]);
    assert!(made.stdout.contains("46 tensors") && made.stdout.contains(", checked"), "{}", made.stderr);
    let answer = qwip(&["run", arg(&small), "-p", "Hello", "-n", "8"]);
    assert!(!answer.ok().trim().is_empty());

    let edited = qwip(&["edit", arg(&small), arg(&named), "--set", "general.name=Another"]);
    assert!(edited.stdout.contains("1 key changed, 46 tensors as they were"), "{}", edited.stderr);
    let shown = qwip(&["show", arg(&named)]);
    assert!(shown.stdout.lines().any(|line| line.starts_with("name") && line.ends_with("Another")));
    assert!(qwip(&["show", arg(&named), "--all"]).stdout.contains("quantize.imatrix.chunks_count"));
}

#[test]
fn wrong_calls_and_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    let junk = dir.path().join("junk.gguf");
    fs::write(&junk, "no model").unwrap();
    for (args, status, part) in [
        (vec!["quantize", BUILTIN, arg(&out), "q4_z"], 2, "unknown output type \"q4_z\""),
        (vec!["quantize", BUILTIN, BUILTIN, "q8_0"], 1, "is the input"),
        (vec!["quantize", arg(&junk), arg(&out), "q8_0"], 1, "junk.gguf: not a GGUF file"),
        (vec!["quantize", BUILTIN, arg(&out), "f16", "--tensor-type", "attn"], 2, "there is no = in it"),
        (
            vec!["quantize", BUILTIN, arg(&out), "f16", "--output-tensor-type", "q9"],
            2,
            "--output-tensor-type",
        ),
        (
            vec!["quantize", BUILTIN, arg(&out), "f16", "--imatrix", BUILTIN],
            1,
            "is a \"model\", not an imatrix",
        ),
        (vec!["edit", BUILTIN, arg(&out)], 2, "nothing to change"),
        (vec!["edit", BUILTIN, arg(&out), "--remove", "no.key"], 1, "the file has no key \"no.key\""),
        (vec!["imatrix", BUILTIN, "-f", arg(&junk), "-o", arg(&out)], 1, "junk.gguf"),
    ] {
        refused(dir.path(), qwip(&args), status, part);
        assert!(!out.exists(), "{args:?}");
    }
}
