//! Nothing that a user may get wrong, and no damaged file, makes the program panic, print pages of text, or leave
//! half a file: one line says what is wrong with what.

mod cli_common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use cli_common::{arg, fixture, model, names, outcome, program, qwip, rewrite, with_metadata};
use qwip::quant::TensorType;
use qwip::quant::gguf::Set;

const TINY: &str = "qwen3-wide-heads";

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn files_that_are_no_models() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.gguf");
    contains(&qwip(&["run", arg(&missing), "-p", "hi"]).fails(1), &["missing.gguf"]);
    contains(&qwip(&["show", arg(dir.path())]).fails(1), &["is not a file"]);
    contains(&qwip(&["run", arg(&fixture(TINY)), "-p", "hi"]).fails(1), &["is not a file", "qwip convert"]);
    let text = dir.path().join("text.gguf");
    fs::write(&text, "Once upon a time there was no model in this file.").unwrap();
    contains(&qwip(&["run", "-m", arg(&text), "-p", "hi"]).fails(1), &["text.gguf", "GGUF"]);
    let empty = dir.path().join("empty.gguf");
    fs::write(&empty, "").unwrap();
    contains(&qwip(&["show", arg(&empty)]).fails(1), &["empty.gguf"]);
    let repo = "Qwen/Qwen3-4B-GGUF:Q4_K_M";
    contains(&qwip(&["run", repo, "-p", "hi"]).fails(1), &[repo, "qwip pull Qwen/Qwen3-4B-GGUF:Q4_K_M"]);
    contains(&qwip(&["run", "qwen3:5b", "-p", "hi"]).fails(1), &["qwen3:5b", "qwen3:4b"]);
    contains(&qwip(&["run", "-hf", repo, "--offline", "-p", "hi"]).fails(1), &[repo]);
    contains(&qwip(&["run", "-hf", "no repository", "-p", "hi"]).fails(2), &["no repository", "OWNER/REPO"]);
    contains(&qwip(&["run", "tell me a story"]).fails(1), &["-p"]);
}

#[test]
fn rope_scaling_that_cannot_be() {
    let run = |more: &[&str]| qwip(&[&["run", "builtin", "-p", "hi", "-n", "1"], more].concat()).fails(2);
    contains(&run(&["--rope-scaling", "ntk"]), &["ntk", "none, linear, yarn"]);
    contains(&run(&["--rope-scale", "0"]), &["--rope-scale", "'0'", "0.001 to 1000000"]);
    contains(&run(&["--rope-scale", "nan"]), &["--rope-scale", "0.001 to 1000000"]);
    contains(&run(&["--rope-scale", "-4"]), &["--rope-scale", "'-4'"]);
    contains(&run(&["--rope-freq-base", "0.5"]), &["--rope-freq-base", "1 to"]);
    contains(&run(&["--yarn-orig-ctx", "99999999"]), &["--yarn-orig-ctx", "16777216"]);
    contains(
        &run(&["--rope-scaling", "none", "--rope-scale", "4"]),
        &["factor of rope scaling is 4", "no factor"],
    );
    contains(
        &run(&["--rope-scale", "4", "--yarn-orig-ctx", "512"]),
        &["original context of YaRN is 512", "none"],
    );
    let bench = ["bench", "builtin", "-p", "1", "-n", "1", "--yarn-orig-ctx", "512"];
    contains(&qwip(&bench).fails(2), &["original context of YaRN is 512"]);
    contains(
        &qwip(&["show", "builtin", "--yarn-orig-ctx", "512"]).fails(2),
        &["original context of YaRN is 512"],
    );
}

#[test]
fn a_file_cut_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(model(dir.path(), TINY, "f16")).unwrap();
    let cut = dir.path().join("cut.gguf");
    let mut lengths: Vec<usize> = vec![0, 1, 3, 4, 7, 8, 15, 16, 23, 24, 31, 32, 40, whole.len() - 1];
    lengths.extend((1..24).map(|i| whole.len() * i / 24));
    for length in lengths {
        fs::write(&cut, &whole[..length]).unwrap();
        let line = qwip(&["run", "-m", arg(&cut), "-p", "hi", "-n", "1"]).fails(1);
        assert!(line.contains("cut.gguf"), "{length} bytes: {line}");
        let line = qwip(&["show", arg(&cut), "--no-such-flag"]).fails(2);
        assert!(line.contains("--no-such-flag"), "{line}");
    }
    fs::write(&cut, &whole).unwrap();
    qwip(&["run", "-m", arg(&cut), "-p", "hi", "-n", "1"]).ok();
}

#[test]
fn metadata_and_tensors_that_contradict() {
    let dir = tempfile::tempdir().unwrap();
    let good = model(dir.path(), TINY, "f16");
    let bad = dir.path().join("bad.gguf");
    let run = |path: &Path| qwip(&["run", "-m", arg(path), "-p", "hi", "-n", "1"]);
    let set = |key: &'static str, value: Set| {
        with_metadata(&good, &bad, move |k, v| Some(if k == key { value.clone() } else { v }), &[])
    };

    let line = run(&set("qwen3.block_count", Set::Str("two".into()))).fails(1);
    contains(&line, &["bad.gguf", "qwen3.block_count", "str"]);
    let line = run(&set("qwen3.embedding_length", Set::U32(96))).fails(1);
    contains(&line, &["shape", "64", "96"]);
    let line = run(&set("qwen3.feed_forward_length", Set::U32(u32::MAX))).fails(1);
    contains(&line, &["feed_forward_length", "4294967295"]);
    let line = run(&set("general.architecture", Set::Str("llama".into()))).fails(1);
    contains(&line, &["llama", "qwen2", "qwen3"]);
    let line = run(&set("tokenizer.chat_template", Set::Str("{% if %}x".into()))).fails(1);
    contains(&line, &["bad.gguf", "template", "line 1"]);

    let retyped = rewrite(
        &good,
        &bad,
        |_, v| Some(v),
        &[],
        |name, ty| match name {
            "blk.0.attn_q.weight" => TensorType::I16,
            _ => ty,
        },
    );
    contains(&run(&retyped).fails(1), &["blk.0.attn_q.weight", "I16"]);

    // What is wrong does not keep `show` from showing the rest.
    let file = set("general.architecture", Set::Str("llama".into()));
    contains(&qwip(&["show", arg(&file)]).ok(), &["does not run", "llama", "F16"]);
}

#[test]
fn experts_that_contradict_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let good = model(dir.path(), "qwen2moe-shared", "f16");
    let bad = dir.path().join("bad.gguf");
    let check = |key: &str, value: u32, parts: &[&str]| {
        let key = format!("qwen2moe.{key}");
        let edit = |k: &str, v: Set| Some(if k == key { Set::U32(value) } else { v });
        let line =
            qwip(&["run", "-m", arg(&with_metadata(&good, &bad, edit, &[])), "-p", "hi", "-n", "1"]).fails(1);
        contains(&line, &[&key]);
        contains(&line, parts);
    };
    check("expert_count", 0, &["is 0, expected 1 to 4096"]);
    check("expert_count", 4, &["'blk.0.ffn_gate_inp.weight' has 5 experts", "says 4"]);
    check("expert_count", 6, &["'blk.0.ffn_gate_inp.weight' has 5 experts", "says 6"]);
    check("expert_used_count", 0, &["is 0"]);
    check("expert_used_count", 6, &["is 6, expected 1 to expert_count = 5"]);
    check(
        "expert_feed_forward_length",
        48,
        &["'blk.0.ffn_gate_exps.weight' has 32 hidden values", "says 48"],
    );
    check(
        "expert_shared_feed_forward_length",
        32,
        &["'blk.0.ffn_gate_shexp.weight' has 48 hidden values", "says 32"],
    );
    // A key that is missing has a number all the same: that of the other width, where there was but one.
    let edit = |k: &str, v: Set| (k != "qwen2moe.expert_shared_feed_forward_length").then_some(v);
    qwip(&["run", "-m", arg(&with_metadata(&good, &bad, edit, &[])), "-p", "hi", "-n", "1"]).ok();
    let line = qwip(&[
        "run",
        "-m",
        arg(&rewrite(
            &good,
            &bad,
            |_, v| Some(v),
            &[],
            |name, ty| {
                // As many bytes, of four numbers in place of one.
                if name == "blk.0.ffn_gate_inp.weight" { TensorType::I32 } else { ty }
            },
        )),
        "-p",
        "hi",
        "-n",
        "1",
    ]);
    contains(&line.fails(1), &["blk.0.ffn_gate_inp.weight", "I32"]);
}

#[test]
fn a_file_without_a_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let good = model(dir.path(), TINY, "q8_0");
    let edit = |key: &str, value: Set| (!key.starts_with("tokenizer.")).then_some(value);
    let bare = with_metadata(&good, &dir.path().join("bare.gguf"), edit, &[]);
    contains(&qwip(&["run", "-m", arg(&bare), "-p", "hi"]).fails(1), &["bare.gguf", "tokenizer"]);
    contains(&qwip(&["tokenize", arg(&bare), "hi"]).fails(1), &["bare.gguf", "tokenizer"]);
    contains(&qwip(&["show", arg(&bare)]).ok(), &["tokenizer", "none"]);
    contains(&qwip(&["doctor", "--check", arg(&bare), "-t", "1"]).fails(1), &["bare.gguf", "tokenizer"]);
    let template = |key: &str, value: Set| {
        Some(if key == "tokenizer.chat_template" { Set::Str("{% if %}x".into()) } else { value })
    };
    let broken = with_metadata(&good, &dir.path().join("broken.gguf"), template, &[]);
    contains(&qwip(&["doctor", "--check", arg(&broken), "-t", "1"]).fails(1), &["broken.gguf", "template"]);
    qwip(&["bench", arg(&bare), "-p", "4", "-n", "2", "-r", "1", "-t", "1", "-o", "csv"]).ok();
}

#[test]
fn prompts_that_are_none_or_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), TINY, "f16");
    let m = arg(&path);
    contains(&qwip(&["run", "-m", m]).fails(2), &["-p"]);
    contains(&qwip(&["run", "-m", m, "-p", " \n"]).fails(2), &["-p"]);
    contains(&qwip(&["run", "-m", m, "-p", "a long prompt", "-c", "8"]).fails(1), &["8", "-c"]);
    contains(&qwip(&["run", "-m", m, "-f", "no-such-file"]).fails(1), &["no-such-file"]);
    contains(&qwip(&["run", "-m", m, "-f", arg(dir.path())]).fails(1), &["directory"]);
    let binary = dir.path().join("binary.txt");
    fs::write(&binary, b"ab\xff").unwrap();
    contains(&qwip(&["run", "-m", m, "-f", arg(&binary)]).fails(1), &["binary.txt", "UTF-8", "byte 2"]);
    contains(&qwip(&["tokenize", m, "-f", arg(&binary)]).fails(1), &["UTF-8"]);
}

#[test]
fn wrong_calls_exit_with_2() {
    let usage: [&[&str]; 18] = [
        &["frobnicate"],
        &["run", "--no-such-flag"],
        &["run", "-n", "many"],
        &["run", "-ctk", "q9", "-p", "hi"],
        &["run", "-p", "hi", "--temp", "-1"],
        &["run", "-p", "hi", "--top-p", "7"],
        &["run", "builtin", "-m", "builtin", "-p", "hi"],
        &["convert", ".", "--type", "q9_9"],
        &["bench", "--synthetic", "qwen9:q4_0"],
        &["bench", "--synthetic", "qwen3-0.6b:q99"],
        &["bench", "-p", "0", "-n", "0"],
        &["bench", "-d", "18446744073709551615"],
        &["bench", "-d", "16777216"],
        &["bench", "-d", "100", "-c", "200"],
        &["run", "-p", "hi", "-b", "0", "-m", "no-such.gguf"],
        &["run", "-p", "hi", "-b", "5000", "-m", "no-such.gguf"],
        &["run", "-p", "hi", "-c", "16777217", "-m", "no-such.gguf"],
        &["eval", "logits", "builtin"],
    ];
    for call in usage {
        let line = qwip(call).fails(2);
        assert!(!line.is_empty(), "{call:?}");
    }
    let help = qwip(&[]);
    assert_eq!(help.code, Some(2));
    contains(&help.stderr, &["Usage", "chat", "convert", "bench"]);
    contains(&qwip(&["--help"]).ok(), &["Usage", "QWIP_"]);
    contains(&qwip(&["--version"]).ok(), &["qwip"]);
    contains(&qwip(&["run", "-p", "hi", "--device", "gpu:99"]).fails(1), &["--device gpu"]);
    contains(&qwip(&["run", "-p", "hi", "--device", "vga"]).fails(2), &["vga", "gpu:N"]);
    let isa = outcome(program().args(["run", "-p", "hi"]).env("QWIP_ISA", "mmx"), b"").fails(1);
    contains(&isa, &["mmx", "scalar"]);
    contains(&qwip(&["run", "-p", "hi", "-b", "0"]).fails(2), &["--batch-size", "1 to 4096"]);
}

#[test]
fn token_lists_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(dir.path(), TINY, "f16");
    let tokens = dir.path().join("tokens.txt");
    let out = dir.path().join("out.npy");
    let eval = || qwip(&["eval", "logits", arg(&path), "--tokens", arg(&tokens), "-o", arg(&out)]);
    for (text, what) in [("1 2 x", "'x'"), ("", "no token id"), ("1 999999", "999999")] {
        fs::write(&tokens, text).unwrap();
        contains(&eval().fails(1), &[what]);
        assert!(names(dir.path()).iter().all(|name| !name.contains("out.npy")), "{text}");
    }
}

#[test]
fn checkpoints_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    let convert = |from: &Path| qwip(&["convert", arg(from), "-o", arg(&out)]).fails(1);
    contains(&convert(&dir.path().join("nowhere")), &["nowhere"]);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    contains(&convert(&copy), &["config.json"]);
    for name in names(&fixture(TINY)) {
        fs::copy(fixture(TINY).join(&name), copy.join(&name)).unwrap();
    }
    let weights = fs::read(copy.join("model.safetensors")).unwrap();
    fs::write(copy.join("model.safetensors"), &weights[..weights.len() - 7]).unwrap();
    contains(&convert(&copy), &["model.safetensors"]);
    fs::write(copy.join("config.json"), "{").unwrap();
    contains(&convert(&copy), &["config.json"]);
    assert_eq!(names(dir.path()), ["copy"]);
    let nowhere = dir.path().join("no/such/folder/out.gguf");
    contains(&qwip(&["convert", arg(&fixture(TINY)), "-o", arg(&nowhere)]).fails(1), &["out.gguf"]);
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    // No file may grow beyond 16 blocks; the signal for that is ignored, so that the write itself fails.
    let limited = |args: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
        outcome(shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_qwip")).args(args), b"")
    };
    let line = limited(&["convert", arg(&fixture(TINY)), "-o", arg(&out), "--type", "f32"]).fails(1);
    contains(&line, &["out.gguf"]);
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));

    let path = model(dir.path(), TINY, "f16");
    let tokens = fixture(TINY).join("tokens.txt");
    let npy = dir.path().join("out.npy");
    let line = limited(&["eval", "logits", arg(&path), "--tokens", arg(&tokens), "-o", arg(&npy)]).fails(1);
    contains(&line, &["out.npy"]);
    assert_eq!(names(dir.path()), [format!("{TINY}-f16.gguf")]);
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_takes_nothing() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = program()
        .args(["show", "builtin", "--all", "--tensors"])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    contains(&text, &["qwip: standard output"]);
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_a_clean_end() {
    let calls: [&[&str]; 3] = [
        &["show", "builtin", "--all", "--tensors"],
        &["run", "builtin", "-p", "Hello", "-n", "64", "--ignore-eos"],
        &["--help"],
    ];
    for call in calls {
        let mut child = program()
            .args(call)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{call:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn outputs_that_are_no_files_are_refused_first() {
    let checkpoint = fixture(TINY);
    let tokens = checkpoint.join("tokens.txt");
    let calls: [&[&str]; 3] = [
        &["convert", arg(&checkpoint), "-o", "/dev/null"],
        &["eval", "logits", "no-such.gguf", "--tokens", arg(&tokens), "-o", "/dev/null"],
        &["bench", "--synthetic", "qwen2.5-0.5b:q4_0", "--save", "/dev/null"],
    ];
    for call in calls {
        contains(&qwip(call).fails(1), &["/dev/null", "not a file"]);
    }
}

#[test]
fn names_in_a_file_do_not_steer_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let good = model(dir.path(), TINY, "f16");
    let set = |name: &str, key: &'static str| {
        let edit = move |k: &str, v: Set| (k != key).then_some(v);
        with_metadata(
            &good,
            &dir.path().join(name),
            edit,
            &[(key, Set::Str("evil\u{1b}[2J\nqwip: fine".into()))],
        )
    };
    let named = set("named.gguf", "general.name");
    for more in [&[][..], &["--all"], &["--json", "--all"]] {
        let shown = qwip(&[&["show", arg(&named)], more].concat()).ok();
        assert!(shown.contains("evil") && !shown.contains('\u{1b}'), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("qwip: fine")), "{shown}");
    }
    let chat = qwip(&["chat", arg(&named)]);
    assert!(chat.stderr.contains("evil\\u001b[2J") && !chat.stderr.contains('\u{1b}'), "{chat:?}");
    let unknown =
        qwip(&["run", "-p", "hi", "-m", arg(&set("unknown.gguf", "general.architecture"))]).fails(1);
    assert!(unknown.contains("evil\\u001b[2J"), "{unknown:?}");
}

#[test]
fn sampling_settings_of_a_file_are_named_when_they_count() {
    let dir = tempfile::tempdir().unwrap();
    let good = model(dir.path(), TINY, "f16");
    let edit = |k: &str, v: Set| (k != "general.sampling.temp").then_some(v);
    let cold = with_metadata(
        &good,
        &dir.path().join("cold.gguf"),
        edit,
        &[("general.sampling.temp", Set::F32(-1.0))],
    );
    let run = |more: &[&str]| qwip(&[&["run", "-m", arg(&cold), "-p", "hi", "-n", "1"], more].concat());
    contains(&run(&[]).fails(1), &["cold.gguf", "general.sampling.temp", "-1"]);
    run(&["--temp", "0"]).ok();
    contains(&run(&["--temp", "-2"]).fails(2), &["temperature", "-2"]);
}
