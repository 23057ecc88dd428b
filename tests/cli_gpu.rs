//! `--device` and `-ngl` with the built program. What needs an adapter (a software one will do) says so where there is none.

mod cli_common;

use std::path::Path;
use std::process::Command;

use cli_common::{Outcome, arg, model, names, outcome, program, qwip};
use serde_json::Value;

const TINY: &str = "qwen3-wide-heads";

/// Whether there is an adapter; where there must be one, its absence fails.
fn adapter() -> bool {
    let there = qwip::backend::gpu::adapters().iter().any(|adapter| adapter.unusable.is_none());
    assert!(there || std::env::var_os("QWIP_REQUIRE_GPU").is_none(), "QWIP_REQUIRE_GPU is set: no adapter");
    if !there {
        eprintln!("SKIPPED: no adapter");
    }
    there
}

/// The program with its own cache folder and without anything that chooses a device.
fn call(dir: &Path, words: &[&str]) -> Command {
    let mut command = program();
    command.env_remove("QWIP_DEVICE").env("QWIP_CACHE_DIR", dir.join("cache"));
    // Without it a library that Mesa's driver uses prints a line.
    command.env("XDG_RUNTIME_DIR", dir);
    command.args(words);
    command
}

fn run(dir: &Path, words: &[&str]) -> Outcome {
    outcome(&mut call(dir, words), b"")
}

/// As on a computer whose only adapter is a real GPU.
fn auto(dir: &Path, words: &[&str]) -> Outcome {
    outcome(call(dir, words).env("QWIP_GPU_SOFTWARE", "1"), b"")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// 32 tokens from the built-in model and what else is said about them.
fn answer(dir: &Path, words: &[&str]) -> Value {
    let base = ["run", "builtin", "-p", "How do I quantize a model?", "-n", "32", "--temp", "0"];
    json(&run(dir, &[&base[..], &["--ignore-eos", "--json"], words].concat()).ok())
}

#[test]
fn the_built_in_model_answers_the_same_with_any_number_of_layers_on_the_gpu() {
    if !adapter() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let want = answer(dir.path(), &["--device", "cpu"]);
    assert_eq!((&want["device"], &want["gpu_layers"]), (&"cpu".into(), &0.into()));
    assert!(want["system_fingerprint"].as_str().expect("a word").ends_with("-cpu"), "{want}");
    assert_eq!(want["tokens"].as_array().expect("tokens").len(), 32);
    for (words, layers) in [(&[][..], 0..1000), (&["-ngl", "-1"], 2..1000), (&["-ngl", "1"], 1..2)] {
        let device = if words.is_empty() { "gpu" } else { "gpu:0" };
        let found = answer(dir.path(), &[&["--device", device], words].concat());
        assert_eq!(found["text"], want["text"], "{words:?}");
        assert_eq!(found["tokens"], want["tokens"], "{words:?}");
        let there = found["gpu_layers"].as_u64().expect("a number");
        assert!(layers.contains(&there) && there > 0, "{words:?}: {there}");
        assert_ne!(found["device"], want["device"]);
        assert_eq!(found["contract"], want["contract"]);
        assert_ne!(found["system_fingerprint"], want["system_fingerprint"]);
    }
    // No layers there: the CPU. The built-in model stays with it unless told otherwise.
    for words in [&["--device", "gpu", "-ngl", "0"][..], &[], &["-ngl", "1"]] {
        assert_eq!(answer(dir.path(), words)["system_fingerprint"], want["system_fingerprint"], "{words:?}");
    }
    assert!(answer(dir.path(), &["--device", "gpu", "-ngl", "1"])["device"].as_str() != Some("cpu"));
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_a_bad_word_a_wrong_call() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = run(dir.path(), &["run", "builtin", "-p", "x", "--device", "gpu:99"]).fails(1);
    assert!(text.contains("there is no GPU 99") || text.contains("no GPU adapter"), "{text}");
    let text = run(dir.path(), &["run", "builtin", "-p", "x", "--device", "cuda"]).fails(2);
    assert!(text.contains("cuda") && text.contains("auto, cpu, gpu or gpu:N"), "{text}");
    let bad = outcome(call(dir.path(), &["bench", "builtin"]).env("QWIP_DEVICE", "gpu:x"), b"").fails(2);
    assert!(bad.contains("gpu:x"), "{bad}");
    run(dir.path(), &["run", "builtin", "-p", "x", "-ngl", "many"]).fails(2);
}

#[test]
fn without_an_adapter_gpu_fails_and_auto_and_cpu_run() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tiny = model(dir.path(), TINY, "q8_0");
    let nothing = |device: &str| {
        let mut command = call(dir.path(), &["run", arg(&tiny), "-p", "x", "-n", "4", "--device", device]);
        command.env("VK_ICD_FILENAMES", "/nothing").env("VK_DRIVER_FILES", "/nothing");
        outcome(command.env("QWIP_GPU_SOFTWARE", "1"), b"")
    };
    let text = nothing("gpu").fails(1);
    assert!(text.starts_with("--device gpu: no GPU adapter was found"), "{text}");
    for device in ["auto", "cpu"] {
        let outcome = nothing(device);
        assert!(!outcome.stderr.contains("GPU") && !outcome.stderr.contains("computing on"), "{outcome:?}");
        outcome.ok();
    }
    assert!(!dir.path().join("cache/devices.json").exists());
}

#[test]
fn auto_decides_once_and_remembers() {
    if !adapter() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tiny = model(dir.path(), TINY, "q8_0");
    let words = ["run", arg(&tiny), "-p", "x", "-n", "4", "--temp", "0", "--json"];
    let decisions = dir.path().join("cache/devices.json");
    let said =
        |outcome: &Outcome| outcome.stderr.lines().filter(|line| line.contains("computing on")).count();

    let first = auto(dir.path(), &words);
    assert_eq!(said(&first), 1, "{first:?}");
    assert!(first.stderr.contains("logits"), "{first:?}");
    let text = std::fs::read_to_string(&decisions).expect("a file");
    let decision = &json(&text)["decisions"][0];
    let device = decision["device"].as_str().expect("a device");
    assert_eq!(json(&first.ok())["device"] == "cpu", device == "cpu");
    let left: Vec<String> = names(&dir.path().join("cache"));
    assert!(left.iter().all(|name| !name.contains("part")), "{left:?}");

    // The same is not measured again; what the file says counts.
    for (chosen, cpu) in [("cpu", true), ("gpu", false)] {
        let changed =
            text.replace(&format!("\"device\": \"{device}\""), &format!("\"device\": \"{chosen}\""));
        std::fs::write(&decisions, changed).expect("written");
        let again = auto(dir.path(), &words);
        assert_eq!(said(&again), 0, "{again:?}");
        assert_eq!(json(&again.ok())["device"] == "cpu", cpu);
    }
    // Other layers are another question, and a broken file is none.
    assert_eq!(said(&auto(dir.path(), &[&words[..], &["-ngl", "1"]].concat())), 1);
    assert_eq!(json(&std::fs::read_to_string(&decisions).expect("a file"))["decisions"][1]["layers"], 1);
    std::fs::write(&decisions, "{\"decisions\": [").expect("written");
    assert_eq!(said(&auto(dir.path(), &words)), 1);
    assert_eq!(json(&std::fs::read_to_string(&decisions).expect("a file"))["decisions"][0]["device"], device);

    let shown = run(dir.path(), &["doctor"]).ok();
    assert!(shown.lines().any(|line| line.starts_with("auto ") && line.contains(arg(&tiny))), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("GPU 0 ")), "{shown}");
    assert!(shown.contains("bindings up to") && shown.contains("read and written"), "{shown}");
}

#[test]
fn auto_leaves_software_alone_unless_it_is_told_to() {
    let software = |adapter: &qwip::backend::gpu::AdapterReport| adapter.software;
    if !adapter() || !qwip::backend::gpu::adapters().iter().all(software) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tiny = model(dir.path(), TINY, "q8_0");
    let outcome = run(dir.path(), &["run", arg(&tiny), "-p", "x", "-n", "4"]);
    assert!(!outcome.stderr.contains("computing on"), "{outcome:?}");
    outcome.ok();
    assert!(!dir.path().join("cache/devices.json").exists());
}

#[test]
fn a_cache_of_codes_is_possible_on_the_gpu() {
    if !adapter() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tiny = model(dir.path(), TINY, "q8_0");
    let words =
        ["run", arg(&tiny), "-p", "x", "-n", "4", "-ctk", "q8_0", "-ctv", "q8_0", "--device", "gpu:0"];
    run(dir.path(), &words).ok();
}

#[test]
fn eval_and_bench_run_on_the_gpu() {
    if !adapter() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tiny = model(dir.path(), TINY, "q8_0");
    let ids = dir.path().join("ids");
    std::fs::write(&ids, (0..40).map(|i| ((i * i + 7 * i) % 300).to_string()).collect::<Vec<_>>().join(" "))
        .expect("written");
    let logits = |device: &str| {
        let out = dir.path().join(format!("{}.npy", device.replace(':', "")));
        let words =
            ["eval", "logits", arg(&tiny), "--tokens", arg(&ids), "-o", arg(&out), "--device", device];
        run(dir.path(), &words).ok();
        let bytes = std::fs::read(out).expect("logits");
        let numbers = bytes[128..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        numbers.collect::<Vec<f32>>()
    };
    let (want, found) = (logits("cpu"), logits("gpu"));
    assert_eq!(want.len(), found.len());
    let range = want.iter().fold(f32::MIN, |a, &b| a.max(b)) - want.iter().fold(f32::MAX, |a, &b| a.min(b));
    let largest = want.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= 1e-2 * range, "{largest} of {range}");

    let perplexity = |device: &str| {
        let words = ["eval", "perplexity", arg(&tiny), "--tokens", arg(&ids), "-c", "16", "--json"];
        json(&run(dir.path(), &[&words[..], &["--device", device]].concat()).ok())
    };
    let (want, found) = (perplexity("cpu"), perplexity("gpu"));
    assert_eq!(want["device"], "cpu");
    assert_ne!(found["device"], "cpu");
    let nll = |found: &Value| found["perplexity"]["nll"].as_f64().expect("a number");
    assert!((nll(&want) - nll(&found)).abs() < 0.2, "{want} {found}");

    let bench = |words: &[&str]| {
        let base = ["bench", arg(&tiny), "-p", "8", "-n", "4", "-r", "1"];
        run(dir.path(), &[&base[..], words].concat())
    };
    let all = json(&bench(&["-o", "json", "--device", "gpu"]).ok());
    assert!(all["device"].as_str().is_some_and(|name| name != "cpu"), "{all}");
    assert!(all["memory_gb_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{all}");
    assert!(all["integer_percent"].is_null(), "{all}");
    // No one limit is that of both devices.
    let split = json(&bench(&["-o", "json", "--device", "gpu", "-ngl", "1"]).ok());
    assert!(split["memory_gb_per_s"].is_null() && split["memory_percent"].is_null(), "{split}");
    assert_eq!(split["gpu_layers"], 1);
    let table = bench(&["--device", "gpu"]).ok();
    assert!(table.contains("Computed on"), "{table}");
    assert!(bench(&["--device", "gpu", "--verbs"]).fails(2).contains("--device cpu"));
    let cpu = json(&bench(&["-o", "json", "--device", "cpu"]).ok());
    assert_eq!((&cpu["device"], &cpu["gpu_layers"]), (&"cpu".into(), &0.into()));
    assert!(cpu["memory_percent"].is_number(), "{cpu}");
}

#[test]
fn programs_under_test_compute_on_the_cpu() {
    let shown = qwip(&["run", "builtin", "-p", "Hello", "-n", "2", "--json"]).ok();
    assert_eq!(json(&shown)["device"], "cpu");
}
