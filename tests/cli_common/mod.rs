//! Running the built program, and models to run it on.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this module")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use qwip::quant::TensorType;
use qwip::quant::gguf::{Gguf, Set, Writer};

/// What a run of the program came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Standard output of a call that must have worked.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The line that says what is wrong, without the program's name.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let aside = |line: &&str| {
            line.starts_with("qwip: note:") || (!line.starts_with("qwip:") && line.contains(" % "))
        };
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !aside(line)).collect();
        let [line] = lines.as_slice() else { panic!("not one line: {self:?}") };
        line.strip_prefix("qwip: ").unwrap_or_else(|| panic!("no name in front: {self:?}")).to_string()
    }
}

/// The program without settings from the environment and without the user's models and conversations, on the CPU:
/// whatever GPU is here is not to be measured first.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qwip"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QWIP_")) {
        command.env_remove(name);
    }
    let own = own_home();
    for (name, folder) in [("QWIP_CACHE_DIR", "cache"), ("QWIP_DATA_DIR", "data"), ("HF_HUB_CACHE", "hub")] {
        command.env(name, own.join(folder));
    }
    // Not the one that a test beside this one has used last.
    command.env("QWIP_MODEL", "builtin").env("QWIP_DEVICE", "cpu");
    command
}

/// A folder for this test program, in place of the user's.
pub fn own_home() -> &'static Path {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

/// Runs a command with `stdin`.
pub fn outcome(command: &mut Command, stdin: &[u8]) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that fails early closes its input: that is its right.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    let output = child.wait_with_output().expect("the program ends");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `qwip` with these arguments and empty standard input.
pub fn qwip(args: &[&str]) -> Outcome {
    outcome(program().args(args), b"")
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name)
}

/// The path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII letters")
}

/// Converts a fixture with the program itself.
pub fn model(dir: &Path, name: &str, ty: &str) -> PathBuf {
    let out = dir.join(format!("{name}-{ty}.gguf"));
    qwip(&["convert", arg(&fixture(name)), "-o", arg(&out), "--type", ty]).ok();
    out
}

/// Copies a GGUF file with other metadata: `edit` returns the value to write, or `None` to leave the key out.
/// `extra` keys are added.
pub fn with_metadata(
    from: &Path,
    to: &Path,
    edit: impl Fn(&str, Set) -> Option<Set>,
    extra: &[(&str, Set)],
) -> PathBuf {
    rewrite(from, to, edit, extra, |_, ty| ty)
}

/// As [`with_metadata`], and tensors may get another type of the same size.
pub fn rewrite(
    from: &Path,
    to: &Path,
    edit: impl Fn(&str, Set) -> Option<Set>,
    extra: &[(&str, Set)],
    retype: impl Fn(&str, TensorType) -> TensorType,
) -> PathBuf {
    let bytes = std::fs::read(from).expect("the model");
    let gguf = Gguf::parse(&bytes).expect("a model that parses");
    let mut writer = Writer::new();
    for (key, value) in &gguf.metadata {
        if let Some(value) = edit(key, Set::from_value(value, &bytes).expect("a value")) {
            writer.set(key, value);
        }
    }
    for (key, value) in extra {
        writer.set(key, value.clone());
    }
    for tensor in &gguf.tensors {
        writer.tensor(&tensor.name, &tensor.dims, retype(&tensor.name, tensor.ty)).expect("a tensor");
    }
    let mut out = writer.start(Vec::new()).expect("a header");
    for tensor in &gguf.tensors {
        out.write(gguf.tensor_bytes(tensor, &bytes)).expect("data");
    }
    std::fs::write(to, out.finish().expect("a file")).expect("written");
    to.to_path_buf()
}

/// Names in a folder.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
