//! `qwip quantize`, `edit` and `imatrix` with the built program: one after the other, and what users may get wrong.

mod cli_common;

use std::fs;
use std::path::Path;

use cli_common::{Outcome, arg, fixture, names, qwip};
use qwip::ModelFile;
use qwip::file::TensorRef;

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

/// Names, types and bytes of all tensors, as the runtime finds them.
fn tensors(path: &Path) -> Vec<(String, String, Vec<u8>)> {
    let file = ModelFile::open(path, Default::default()).expect("a model");
    let tensor = |t: TensorRef| {
        (t.info.name.clone(), format!("{} {:?}", t.info.ty, t.info.dims), file.tensor_bytes(t).to_vec())
    };
    file.tensors().map(tensor).collect()
}

#[test]
fn an_output_in_several_files_is_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (whole, out, checkpoint) = (path("whole.gguf"), path("out.gguf"), fixture("qwen3-kquant"));
    qwip(&["convert", arg(&checkpoint), "-o", arg(&whole), "--type", "f32"]).ok();
    let size = ["--split-max-size", "200K"];
    let convert = ["convert", arg(&checkpoint), "-o", arg(&out), "--type", "f32"];
    let line = qwip(&[&convert[..], &size].concat()).ok();
    assert!(!out.exists());
    let made = names(dir.path());
    let count = made.len() - 1;
    let first = path(&format!("out-00001-of-{count:05}.gguf"));
    assert!(count > 2 && first.exists(), "{made:?}");
    assert!(line.starts_with(&format!("{}, the first of {count} files: ", first.display())), "{line}");
    assert!(tensors(&whole) == tensors(&first));
    let answer =
        |model: &Path| qwip(&["run", arg(model), "-p", "Hi", "-n", "4", "--temp", "0", "--raw"]).ok();
    assert_eq!(answer(&whole), answer(&first));

    let quantize = |more: &[&str]| {
        let (small, first) = (path("small.gguf"), first.clone());
        qwip(&[&["quantize", arg(&first), arg(&small), "q8_0"], more].concat())
    };
    let dry = quantize(&["--split-max-tensors", "5", "--dry-run"]).ok();
    assert!(dry.contains("small-00001-of-00003.gguf: 5 tensors, "), "{dry}");
    assert!(
        dry.contains("small-00003-of-00003.gguf: 4 tensors, ") && dry.contains("nothing was written"),
        "{dry}"
    );
    assert_eq!(names(dir.path()), made);
    let line = quantize(&["--split-max-tensors", "5", "--verify"]).ok();
    assert!(
        line.contains("small-00001-of-00003.gguf, the first of 3 files: ") && line.contains(", checked"),
        "{line}"
    );
    let (small, one) = (path("small-00001-of-00003.gguf"), path("one.gguf"));
    qwip(&["quantize", arg(&whole), arg(&one), "q8_0", "--split-max-size", "2G"]).ok();
    assert!(tensors(&small) == tensors(&one));

    for (option, value) in [
        ("--split-max-size", "0"),
        ("--split-max-size", "2X"),
        ("--split-max-size", "18446744073709551615G"),
        ("--split-max-tensors", "0"),
        ("--split-max-tensors", "some"),
    ] {
        refused(dir.path(), quantize(&[option, value]), 2, option);
        refused(dir.path(), qwip(&[&convert[..], &[option, value]].concat()), 2, option);
    }
    refused(dir.path(), quantize(&["--keep-split", "--split-max-size", "2G"]), 2, "--split-max-size");
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
