//! `qwip eval` with the built program: perplexity, base files, divergences, and what users may get wrong about them.

mod cli_common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cli_common::{Outcome, arg, fixture, model, names, outcome, program, qwip, with_metadata};
use qwip::quant::gguf::Set;
use serde_json::Value;

const TINY: &str = "qwen3-wide-heads";
const VOCAB: usize = 320;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn eval(what: &str, args: &[&str]) -> Outcome {
    qwip(&[&["eval", what], args].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A text of some hundred tokens.
fn text(dir: &Path) -> PathBuf {
    let path = dir.join("text.txt");
    let sentence = "How do I quantize a model? Convert the checkpoint and choose a type: 2 + 3 = 5. 你好! ";
    fs::write(&path, sentence.repeat(12)).unwrap();
    path
}

/// `n` token ids of the tiny models, all of them different from their neighbours.
fn ids(dir: &Path, n: usize) -> PathBuf {
    let path = dir.join(format!("{n}.ids"));
    let ids: Vec<String> = (0..n).map(|i| ((i * i + 7 * i) % 300).to_string()).collect();
    fs::write(&path, ids.join(" ")).unwrap();
    path
}

/// Perplexity of one chunk by the definition, from the logits after every token.
fn by_definition(logits: &[u8], tokens: &[usize], vocab: usize) -> f64 {
    let values: Vec<f64> = logits[128..]
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    let rows: Vec<&[f64]> = values.chunks_exact(vocab).collect();
    let n = tokens.len();
    assert_eq!(rows.len(), n);
    let nll: Vec<f64> = (n / 2..n - 1)
        .map(|i| libm::log(rows[i].iter().map(|x| libm::exp(x - rows[i][tokens[i + 1]])).sum()))
        .collect();
    libm::exp(nll.iter().sum::<f64>() / nll.len() as f64)
}

#[test]
fn perplexity_is_what_the_logits_say() {
    let dir = tempfile::tempdir().unwrap();
    let text = text(dir.path());
    let all: Vec<String> = qwip(&["tokenize", "builtin", "-f", arg(&text), "--ids"])
        .ok()
        .split_whitespace()
        .map(String::from)
        .collect();
    assert!(all.len() > 3 * 48, "{}", all.len());
    let found = json(&eval("perplexity", &["-f", arg(&text), "-c", "48", "--json"]).ok());
    let chunks = all.len() / 48;
    // Positions 24 to 46 of each chunk.
    assert_eq!((&found["chunks"], &found["scored"]), (&chunks.into(), &(23 * chunks).into()));
    assert_eq!(
        (&found["model"], &found["n_ctx"], &found["tokens"]),
        (&"builtin".into(), &48.into(), &(48 * chunks).into())
    );
    assert!(number(&found["perplexity"]["error"]) > 0.0);

    let one = json(&eval("perplexity", &["-f", arg(&text), "-c", "48", "--chunks", "1", "--json"]).ok());
    let first = dir.path().join("first.ids");
    fs::write(&first, all[..48].join(",")).unwrap();
    let npy = dir.path().join("logits.npy");
    qwip(&["eval", "logits", "--tokens", arg(&first), "-o", arg(&npy)]).ok();
    let tokens: Vec<usize> = all[..48].iter().map(|id| id.parse().unwrap()).collect();
    let bytes = fs::read(npy).unwrap();
    let want = by_definition(&bytes, &tokens, (bytes.len() - 128) / 4 / 48);
    let got = number(&one["perplexity"]["value"]);
    assert!((got / want - 1.0).abs() < 1e-9, "{got} is not {want}");

    // A chunk knows nothing of the one before it.
    let second = dir.path().join("second.ids");
    fs::write(&second, all[48..96].join(" ")).unwrap();
    let alone = json(&eval("perplexity", &["--tokens", arg(&second), "-c", "48", "--json"]).ok());
    let two = json(&eval("perplexity", &["-f", arg(&text), "-c", "48", "--chunks", "2", "--json"]).ok());
    let nll = |object: &Value| number(&object["perplexity"]["nll"]);
    assert!((nll(&two) - (nll(&one) + nll(&alone)) / 2.0).abs() < 1e-12);
}

#[test]
fn one_answer_for_every_slice_thread_count_and_instruction_set() {
    let dir = tempfile::tempdir().unwrap();
    let text = text(dir.path());
    let call = |more: &[&str], isa: &str| {
        let args = ["eval", "perplexity", "-f", arg(&text), "-c", "40", "--chunks", "3"];
        outcome(program().args(args).args(more).env("QWIP_ISA", isa), b"").ok()
    };
    let lines = call(&[], "");
    for part in ["perplexity  ", " ± ", "mean NLL", "scored      57 of 120 tokens, in 3 chunks of 40"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let object = call(&["--json"], "");
    assert_eq!(call(&["--json", "-b", "7", "-t", "1"], ""), object);
    assert_eq!(call(&["--json", "-t", "3"], "scalar"), object);
    let on_stdin = ["eval", "perplexity", "-f", "-", "-c", "40", "--chunks", "3"];
    assert_eq!(outcome(program().args(on_stdin), &fs::read(&text).unwrap()).ok(), lines);
}

#[test]
fn divergences_from_a_file_are_those_of_compare() {
    let dir = tempfile::tempdir().unwrap();
    let (f16, q4) = (model(dir.path(), TINY, "f16"), model(dir.path(), TINY, "q4_0"));
    let (tokens, base) = (ids(dir.path(), 200), dir.path().join("base.bin"));
    let save = ["-m", arg(&f16), "--tokens", arg(&tokens), "-c", "36", "--save-base", arg(&base), "--json"];
    let written = json(&eval("perplexity", &save).ok());
    // 5 chunks of 36 tokens, 17 scored positions of 320 tokens each.
    assert_eq!(fs::metadata(&base).unwrap().len(), 20 + 4 * 180 + 5 * 17 * (8 + 2 * VOCAB as u64));
    assert_eq!(&fs::read(&base).unwrap()[..20], b"_logits_\x24\0\0\0\x40\x01\0\0\x05\0\0\0");

    let kld = |path: &Path, more: &[&str]| {
        json(&eval("kld", &[&["-m", arg(path), "--base", arg(&base), "--json"], more].concat()).ok())
    };
    let same = kld(&f16, &["--tokens", arg(&tokens), "-c", "36"]);
    assert!(number(&same["kld"]["value"]).abs() < 1e-6 && same["same_top"]["value"] == 1.0, "{same}");
    assert_eq!(same["perplexity"], written["perplexity"]);
    // In 16 bits nothing is less probable than 16 nats below the best.
    let nll = |perplexity: &Value| number(&perplexity["nll"]);
    assert!(nll(&same["base_perplexity"]) <= nll(&written["perplexity"]) + 1e-3, "{same}");
    let other = kld(&q4, &[]);
    assert_eq!(kld(&q4, &["-b", "5", "-t", "1"]), other);
    assert!(number(&other["kld"]["value"]) > 1e-4 && number(&other["kld"]["error"]) > 0.0, "{other}");
    let order = ["median", "p90", "p95", "p99", "p99.9", "max"].map(|key| number(&other["kld"][key]));
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(kld(&q4, &["--chunks", "2"])["scored"], 34);
    let lines = eval("kld", &[arg(&q4), "--base", arg(&base)]).ok();
    for part in ["PPL of the base", "KLD mean", "KLD 99.9 %", "same top token", "delta p RMS"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }

    let svg = dir.path().join("out.svg");
    let compare = [arg(&f16), arg(&q4), "--tokens", arg(&tokens), "-c", "36", "--svg", arg(&svg)];
    let object = json(&eval("compare", &[&compare[..], &["--json"]].concat()).ok());
    for key in
        ["perplexity", "base_perplexity", "ln_ratio", "kld", "same_top", "delta_p", "delta_p_rms", "scored"]
    {
        assert_eq!(object["models"][0][key], other[key], "{key}");
    }
    assert_eq!(object["base"]["perplexity"], written["perplexity"]);
    assert_eq!(object["base"]["file_bytes"], fs::metadata(&f16).unwrap().len());
    assert!(number(&object["models"][0]["bits_per_weight"]) < number(&object["base"]["bits_per_weight"]));
    let named = eval(
        "compare",
        &["--base-model", arg(&f16), arg(&q4), "--tokens", arg(&tokens), "-c", "36", "--json"],
    );
    assert_eq!(json(&named.ok()), object);
    let table = eval("compare", &compare).ok();
    assert!(table.contains("| base |") && table.lines().count() == 6, "{table}");
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("qwen3-wide-heads-q4_0 ("), "{picture}");
}

#[test]
fn a_beginning_of_sequence_token_takes_the_first_place_of_each_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let plain = model(dir.path(), TINY, "f16");
    let bos = |id: u32| {
        let edit = |key: &str, value: Set| (!key.contains("bos_token")).then_some(value);
        let extra = [
            ("tokenizer.ggml.add_bos_token", Set::Bool(true)),
            ("tokenizer.ggml.bos_token_id", Set::U32(id)),
        ];
        with_metadata(&plain, &dir.path().join(format!("bos{id}.gguf")), edit, &extra)
    };
    let perplexity = |model: &Path, tokens: &Path, more: &[&str]| {
        let args = [arg(model), "--tokens", arg(tokens), "-c", "20", "--json"];
        json(&eval("perplexity", &[&args, more].concat()).ok())["perplexity"].clone()
    };
    let (tokens, base) = (ids(dir.path(), 60), dir.path().join("base.bin"));
    let replaced = dir.path().join("replaced.ids");
    let mut words: Vec<String> = fs::read_to_string(&tokens).unwrap().split(' ').map(String::from).collect();
    (0..60).step_by(20).for_each(|i| words[i] = "304".into());
    fs::write(&replaced, words.join(" ")).unwrap();
    let want = perplexity(&plain, &replaced, &[]);
    assert_ne!(want, perplexity(&plain, &tokens, &[]));
    assert_eq!(want, perplexity(&bos(304), &tokens, &["--save-base", arg(&base)]));
    // The file keeps the text as it was.
    eval("kld", &[arg(&bos(304)), "--base", arg(&base), "--tokens", arg(&tokens)]).ok();
    let line = eval("perplexity", &[arg(&bos(320)), "--tokens", arg(&tokens), "-c", "20"]).fails(1);
    assert!(line.contains("bos_token_id' is 320") && line.contains("0 to 319"), "{line}");
}

#[test]
fn base_files_that_are_damaged_or_of_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), TINY, "q8_0");
    let (tokens, base) = (ids(dir.path(), 64), dir.path().join("base.bin"));
    eval("perplexity", &[arg(&path), "--tokens", arg(&tokens), "-c", "32", "--save-base", arg(&base)]).ok();
    let whole = fs::read(&base).unwrap();
    let bad = dir.path().join("bad.bin");
    let kld = |bytes: &[u8], more: &[&str]| {
        fs::write(&bad, bytes).unwrap();
        let line = eval("kld", &[&[arg(&path), "--base", arg(&bad)], more].concat()).fails(1);
        assert!(line.contains("bad.bin"), "{line}");
        line
    };
    let with = |at: usize, value: [u8; 4]| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value);
        bytes
    };
    let contains =
        |line: String, parts: &[&str]| parts.iter().for_each(|p| assert!(line.contains(p), "{p}: {line}"));
    for length in [0, 7, 8, 19, 20, 100, 276, whole.len() - 1] {
        let want = if length < 8 { "begins with" } else { "bytes, but its header asks for" };
        contains(kld(&whole[..length], &[]), &[want]);
    }
    contains(kld(b"GGUF\x03\0\0\0", &[]), &["GGUF\\x03", "_logits_"]);
    contains(kld(&with(8, [0xff; 4]), &[]), &["4294967295", "16777216"]);
    contains(kld(&with(12, [0xff, 0xff, 0xff, 0x7f]), &[]), &["2147483647", "2097151"]);
    contains(kld(&with(16, [0xff, 0xff, 0xff, 0x7f]), &[]), &["2147483647", "2097152"]);
    contains(kld(&with(20, [0xff; 4]), &[]), &["4294967295", "320"]);
    let first_row = 20 + 4 * 64;
    contains(kld(&with(first_row, f32::NAN.to_le_bytes()), &[]), &["scored position 0", "NaN"]);
    contains(kld(&with(first_row + 4, 1e30f32.to_le_bytes()), &[]), &["scored position 0", "320 tokens"]);
    // 2 chunks of 32 tokens over 321 ids are longer.
    contains(kld(&with(12, 322i32.to_le_bytes()), &[]), &["header asks for"]);
    contains(kld(&whole, &["-c", "64"]), &["chunks of 32", "64"]);
    contains(kld(&whole, &["--tokens", arg(&ids(dir.path(), 63))]), &["64", "63"]);
    let other = dir.path().join("other.ids");
    fs::write(&other, "1 ".repeat(64)).unwrap();
    contains(kld(&whole, &["--tokens", arg(&other)]), &["another text", "token 0 is 0 there and 1 here"]);
    let line = eval("kld", &["builtin", "--base", arg(&base)]).fails(1);
    contains(line, &["base.bin", "320", "builtin"]);
    contains(eval("kld", &[arg(&path), "--base", arg(dir.path())]).fails(1), &["is not a file"]);
    contains(eval("kld", &[arg(&path), "--base", "no-such.bin"]).fails(1), &["no-such.bin"]);
    let line = eval("compare", &[arg(&path), "builtin", "--tokens", arg(&tokens), "-c", "32"]).fails(1);
    contains(line, &["vocabulary of 320", "builtin"]);
    let bos =
        [("tokenizer.ggml.add_bos_token", Set::Bool(true)), ("tokenizer.ggml.bos_token_id", Set::U32(304))];
    let edit = |key: &str, value: Set| (!key.contains("bos_token")).then_some(value);
    let bos = with_metadata(&path, &dir.path().join("bos.gguf"), edit, &bos);
    let line = eval("compare", &[arg(&path), arg(&bos), "-f", arg(&text(dir.path())), "-c", "32"]).fails(1);
    contains(line, &["bos.gguf has another tokenizer", "token 0 of the text is 304 instead of"]);
}

#[test]
fn calls_that_cannot_work_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, out) = (ids(dir.path(), 20), dir.path().join("out"));
    let before = names(dir.path());
    let t = ["--tokens", arg(&tokens)];
    let usage: [&[&str]; 6] = [
        &["perplexity"],
        &["perplexity", t[0], t[1], "-f", "x"],
        &["perplexity", t[0], t[1], "--chunks", "0", "-c", "8"],
        &["kld", t[0], t[1]],
        &["compare", "builtin", t[0], t[1]],
        &["compare", "--base-model", "builtin", t[0], t[1]],
    ];
    for args in usage {
        eval(args[0], &args[1..]).fails(2);
    }
    let save = |more: &[&str]| eval("perplexity", &[&t, more, &["--save-base", arg(&out)]].concat()).fails(1);
    for (args, part) in [
        (&[][..], "there are 20 tokens, but a chunk takes 512"),
        (&["-c", "2"], "chunks of 2 tokens"),
        (&["-c", "21"], "a chunk takes 21"),
        (&["-m", "no-such.gguf"], "no-such.gguf"),
    ] {
        let line = save(args);
        assert!(line.contains(part), "{line}");
    }
    fs::write(&tokens, "1 2 3 4 5 6 7 999999").unwrap();
    let line = save(&["-c", "8"]);
    assert!(line.contains("token 999999 is outside"), "{line}");
    assert_eq!(names(dir.path()), before);
    let line =
        eval("perplexity", &["--tokens", arg(&tokens), "-c", "4", "--save-base", arg(dir.path())]).fails(1);
    assert!(line.contains("is a folder"), "{line}");
    assert!(
        !eval("perplexity", &["-f", arg(&fixture(TINY).join("model.safetensors")), "-c", "8"])
            .fails(1)
            .is_empty()
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_without_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, out) = (ids(dir.path(), 400_000), dir.path().join("out"));
    let before = names(dir.path());
    let mut child = program()
        .args(["eval", "perplexity", "--tokens", arg(&tokens), "-t", "1", "--save-base", arg(&out)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first words say that the file is begun.
    let mut stderr = child.stderr.take().unwrap();
    std::io::Read::read_exact(&mut stderr, &mut [0]).unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    std::thread::sleep(Duration::from_millis(300));
    let sent = Instant::now();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
    reader.join().unwrap().unwrap();
    assert_eq!(names(dir.path()), before);
}
