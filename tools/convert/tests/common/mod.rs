//! What the test files share: the fixtures, copies of them to damage, and a progress that counts.
#![allow(dead_code, reason = "each test file uses its part")]

use qwip_convert::{ConvertError, FileType, Options, Progress, Summary, convert};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Name and architecture of every fixture that transformers has made, but for those that embed or judge.
pub(crate) const FIXTURES: [(&str, &str); 16] = [
    ("qwen2-gqa", "qwen2"),
    ("qwen2-outliers", "qwen2"),
    ("qwen3-wide-heads", "qwen3"),
    ("qwen3-kquant", "qwen3"),
    ("qwen2-sharded", "qwen2"),
    ("qwen2-yarn", "qwen2"),
    ("qwen2moe-shared", "qwen2moe"),
    ("qwen3moe-norm", "qwen3moe"),
    ("qwen3moe-plain", "qwen3moe"),
    ("qwen35-tiled", "qwen35"),
    ("qwen35-untiled", "qwen35"),
    ("qwen35moe-packed", "qwen35moe"),
    ("qwen3next-grouped", "qwen3next"),
    ("qwen2vl-text", "qwen2vl"),
    ("qwen3vl-text", "qwen3vl"),
    ("qwen3vlmoe-transposed", "qwen3vlmoe"),
];

/// Whether most layers of an architecture are delta nets.
pub(crate) fn is_hybrid(arch: &str) -> bool {
    ["qwen35", "qwen35moe", "qwen3next"].contains(&arch)
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name)
}

/// Tensors of a checkpoint as f32, with their shapes, read by the safetensors library.
pub(crate) fn source_tensors(dir: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let bytes = fs::read(&path).unwrap();
            for (name, t) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let halves = |f: fn([u8; 2]) -> f32| t.data().chunks(2).map(|b| f([b[0], b[1]])).collect();
                let values = match t.dtype() {
                    Dtype::F32 => {
                        t.data().chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
                    }
                    Dtype::F16 => halves(|b| half::f16::from_le_bytes(b).to_f32()),
                    Dtype::BF16 => halves(|b| half::bf16::from_le_bytes(b).to_f32()),
                    other => panic!("{other:?}"),
                };
                assert!(all.insert(name.to_string(), (t.shape().to_vec(), values)).is_none());
            }
        }
    }
    all
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A mix by its name.
pub(crate) fn named(name: &str) -> FileType {
    qwip_convert::file_type(name).unwrap()
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) notes: Vec<String>,
    /// Answers "cancelled" from this call on.
    pub(crate) cancel_at: Option<u32>,
    pub(crate) asked: Cell<u32>,
}

impl Progress for Log {
    fn start(&mut self, total_bytes: u64) {
        self.total = total_bytes;
    }

    fn advance(&mut self, bytes: u64, tensor: &str) {
        assert!(!tensor.is_empty());
        self.done += bytes;
    }

    fn note(&mut self, text: &str) {
        assert!(!text.contains('\n'), "{text}");
        self.notes.push(text.to_string());
    }

    fn cancelled(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.cancel_at.is_some_and(|at| self.asked.get() > at)
    }
}

pub(crate) fn run(dir: &Path, out: &Path, ty: FileType) -> Result<(Summary, Log), ConvertError> {
    let mut log = Log::default();
    let options = Options { reference: true, threads: Some(2), ..Options::new(ty) };
    let summary = convert(dir, out, &options, &mut log)?;
    Ok((summary, log))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of a fixture that a test may damage.
pub(crate) struct Copy {
    root: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Copy {
        let copy = Copy { root: tempfile::tempdir().unwrap() };
        copy_folder(&fixture(name), &copy.dir());
        copy
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("model")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root.path().join("out.gguf")
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let mut value = serde_json::from_str(&self.read(file)).unwrap();
        change(&mut value);
        self.write(file, value.to_string());
    }

    /// Changes the tensors of model.safetensors.
    pub(crate) fn edit_tensors(&self, change: impl FnOnce(&mut Tensors)) {
        let bytes = fs::read(self.path("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let own = |t: TensorView| (t.dtype(), t.shape().to_vec(), t.data().to_vec());
        let mut all = tensors.iter().map(|(name, t)| (name.to_string(), own(t))).collect();
        change(&mut all);
        let views = all.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
        self.write("model.safetensors", safetensors::serialize(views, None).unwrap());
    }

    pub(crate) fn convert(&self, ty: FileType) -> Result<(Summary, Log), ConvertError> {
        run(&self.dir(), &self.out(), ty)
    }

    /// Converts, expects an error, and checks what holds for every error: one line, nothing left behind.
    pub(crate) fn error(&self) -> String {
        let message = self.convert(named("Q8_0")).err().expect("the conversion should fail").to_string();
        assert!(!message.contains('\n') && message.len() < 500, "{message:?}");
        assert_eq!(self.left_behind(), Vec::<String>::new(), "after: {message}");
        message
    }

    /// Everything beside the checkpoint.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n != "model").collect()
    }
}
