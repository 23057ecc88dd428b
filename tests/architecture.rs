//! The map in ARCHITECTURE.md holds: which crate may use which, and rules that a reader would otherwise
//! have to believe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every arrow that DESIGN allows, user -> used. Crates that do not exist yet are left out.
const ARROWS: &[(&str, &str)] = &[
    ("qwip-cpu", "qwip-quant"),
    ("qwip-gpu", "qwip-quant"),
    ("qwip", "qwip-quant"),
    ("qwip", "qwip-cpu"),
    ("qwip", "qwip-gpu"),
    ("qwip-convert", "qwip-quant"),
    ("qwip-cli", "qwip"),
    ("qwip-cli", "qwip-convert"),
    ("qwip-cli", "qwip-server"),
    ("qwip-server", "qwip"),
    ("qwip-ffi", "qwip"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

#[test]
fn crates_use_each_other_only_along_the_arrows() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut found = BTreeSet::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"].as_str().expect("a name");
            if dependency["kind"].is_null() && ours.contains(used) {
                found.insert((package["name"].as_str().expect("a name"), used));
            }
        }
    }
    assert_eq!(found, ARROWS.iter().copied().collect(), "a new arrow needs a reason in ARCHITECTURE.md");
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8 source");
                files.push((path, text));
            }
        }
    }
    assert!(!files.is_empty(), "{folder} has sources");
    files
}

#[test]
fn models_have_no_unsafe_code_no_threads_and_no_instruction_sets() {
    for (path, text) in sources("src/model") {
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        for word in ["unsafe", "std::thread", "target_arch", "target_feature", "is_x86_feature"] {
            assert!(!code.contains(word), "{} contains '{word}'", path.display());
        }
    }
}

#[test]
fn the_library_does_not_print_exit_or_listen() {
    for folder in
        ["src", "quant/src", "kernels/cpu/src", "kernels/gpu/src", "tools/convert/src", "tools/ffi/src"]
    {
        for (path, text) in sources(folder) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in ["println!", "print!(", "eprint", "process::exit", "TcpListener", "tokio"] {
                let used = code.lines().any(|l| l.contains(word) && !l.trim_start().starts_with("//"));
                assert!(!used || path.ends_with("tests.rs"), "{} contains '{word}'", path.display());
            }
        }
    }
}

#[test]
fn quant_forbids_unsafe_code() {
    let lib = std::fs::read_to_string(root().join("quant/src/lib.rs")).expect("quant/src/lib.rs");
    assert!(lib.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn files_stay_readable() {
    for folder in [
        "src",
        "quant/src",
        "kernels/cpu/src",
        "kernels/gpu/src",
        "tools/cli/src",
        "tools/convert/src",
        "tools/ffi/src",
        "tools/server/src",
        "tests",
        "benches",
    ] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            // Tables are data: nobody reads them line by line.
            let table = path.file_name().is_some_and(|n| n == "unicode_ranges.rs");
            assert!(lines <= 600 || table, "{} has {lines} lines, more than 600", path.display());
        }
    }
}

#[test]
fn nothing_is_built_for_the_machine_of_the_builder() {
    for file in ["Cargo.toml", ".cargo/config.toml", ".ci/run"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(!text.contains(concat!("target-cpu=", "native")), "{file} builds for one CPU only");
    }
}
