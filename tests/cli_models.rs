//! What models are called and where they lie: names, `list`, `rm`, `ps`, `stop`, the model used last, damaged downloads.

mod cli_common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cli_common::{Outcome, arg, model, outcome, program};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const TINY: &str = "qwen3-wide-heads";
const REPO: &str = "Qwen/Tiny-GGUF";

/// A computer of its own: a home, caches, and the folders of other programs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.env_remove("QWIP_MODEL");
        for (name, below) in [
            ("HOME", "home"),
            ("USERPROFILE", "home"),
            ("QWIP_CACHE_DIR", "cache"),
            ("QWIP_DATA_DIR", "data"),
            ("HF_HUB_CACHE", "hf"),
            ("MODELSCOPE_CACHE", "ms"),
            ("OLLAMA_MODELS", "ollama"),
            ("LLAMA_CACHE", "llama.cpp"),
        ] {
            command.env(name, self.at(below));
        }
        command.args(args);
        command
    }

    fn qwip(&self, args: &[&str]) -> Outcome {
        outcome(&mut self.command(args), b"")
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.qwip(args).ok()).unwrap()
    }

    fn write(&self, below: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Puts a file into the cache of Hugging Face, as a link to a blob where there are links.
    fn hugging_face(&self, revision: &str, file: &str, bytes: &[u8]) -> PathBuf {
        let repo = format!("hf/models--{}", REPO.replace('/', "--"));
        self.write(&format!("{repo}/refs/main"), revision.as_bytes());
        let path = self.at(&format!("{repo}/snapshots/{revision}/{file}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[cfg(unix)]
        {
            let blob = self.write(&format!("{repo}/blobs/{}", sha256(bytes)), bytes);
            let up = "../".repeat(2 + file.matches('/').count());
            let name = blob.file_name().unwrap().to_str().unwrap();
            std::os::unix::fs::symlink(format!("{up}blobs/{name}"), &path).unwrap();
        }
        #[cfg(not(unix))]
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let list = self.json(&["list", "--json"]);
        list.as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap().to_string()).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model that answers, and another.
fn models() -> &'static (Vec<u8>, Vec<u8>) {
    static MODELS: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    MODELS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let of = |ty| fs::read(model(dir.path(), TINY, ty)).unwrap();
        (of("f16"), of("q8_0"))
    })
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn every_listed_name_is_a_model() {
    let place = Place::new();
    let (f16, q8) = models();
    place.hugging_face("c1", "tiny-F16.gguf", f16);
    place.hugging_face("c1", "sub/tiny-Q8_0.gguf", q8);
    place.hugging_face("c1", "mmproj-tiny-F16.gguf", b"GGUF");
    place.write("ms/models/Qwen/Tiny-0___1/tiny-q8_0.gguf", q8);
    place.write("home/.lmstudio/models/Qwen/Tiny-GGUF/tiny-Q8_0.gguf", q8);
    place.write("home/.lmstudio/models/Qwen/Tiny-GGUF/mmproj.gguf", b"GGUF");
    place.write("llama.cpp/Qwen_Tiny-GGUF_tiny-F16.gguf", f16);
    place.write("llama.cpp/other.gguf", b"this is no model");
    let hash = sha256(q8);
    place.write(&format!("ollama/blobs/sha256-{hash}"), q8);
    let manifest = |hash: &str| {
        let layer = json!({
            "mediaType": "application/vnd.ollama.image.model", "digest": format!("sha256:{hash}"), "size": q8.len(),
        });
        json!({"layers": [layer]}).to_string()
    };
    let library = "ollama/manifests/registry.ollama.ai/library";
    place.write(&format!("{library}/tiny/latest"), manifest(&hash).as_bytes());
    place.write(&format!("{library}/tiny/lost"), manifest(&"0".repeat(64)).as_bytes());
    place.write(&format!("{library}/tiny/broken"), b"{\"layers\": [");
    #[cfg(unix)]
    std::os::unix::fs::symlink(place.at("home/.lmstudio/models"), place.at("home/.lmstudio/models/again"))
        .unwrap();

    let list = place.json(&["ls", "--json"]);
    let names = place.names();
    let expected = [
        "Qwen/Tiny-GGUF:F16",
        "Qwen/Tiny-GGUF:Q8_0",
        "modelscope/Qwen/Tiny-0.1:Q8_0",
        "ollama/tiny:latest",
        "lmstudio/Qwen/Tiny-GGUF/tiny-Q8_0",
        "llama.cpp/Qwen_Tiny-GGUF_tiny-F16",
    ];
    for name in expected {
        let entry = list.as_array().unwrap().iter().find(|e| e["name"] == name);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not among {names:?}"));
        assert_eq!((&entry["architecture"], &entry["runs"]), (&json!("qwen3"), &json!(true)), "{name}");
        let shown = place.json(&["show", name, "--json"]);
        assert_eq!((&shown["file"], &shown["architecture"]), (&json!(name), &json!("qwen3")), "{shown}");
        place.qwip(&["tokenize", "-m", name, "a"]).ok();
    }
    let others = ["ollama/tiny:lost", "llama.cpp/other"];
    assert!(others.iter().all(|name| names.contains(&name.to_string())), "{names:?}");
    assert_eq!(
        names.len() - expected.len() - others.len(),
        names.iter().filter(|n| n.contains("again")).count()
    );
    for (name, what) in [("ollama/tiny:lost", "0 of"), ("ollama/none", "Ollama has no such model here")] {
        contains(&place.qwip(&["show", name]).fails(1), &[name, what]);
    }

    // Other ways to say the same.
    for name in ["Qwen/Tiny-GGUF", "hf.co/Qwen/Tiny-GGUF:f16", "ollama/tiny", "Qwen/Tiny-0.1"] {
        place.json(&["show", name, "--json"]);
    }
    let text = place.qwip(&["list"]).ok();
    contains(&text, &["NAME", "F16", "Q8_0", "ollama/tiny:latest", "incomplete", "not a GGUF file"]);
    contains(
        &place.qwip(&["show", "Qwen/Tiny-GGUF:Q4_0"]).fails(1),
        &["Qwen/Tiny-GGUF:Q4_0", "`qwip pull Qwen/Tiny-GGUF:Q4_0`", "lmstudio/Qwen/Tiny-GGUF/tiny-Q8_0"],
    );
}

#[test]
fn a_list_of_many_files_is_there_at_once_and_nothing_to_list_is_said() {
    let place = Place::new();
    contains(&place.qwip(&["list"]).ok(), &["no models", "qwip pull"]);
    assert_eq!(place.json(&["list", "--json"]), json!([]));
    let (f16, _) = models();
    for i in 0..50 {
        place.write(&format!("home/.lmstudio/models/a/b/m{i}.gguf"), f16);
    }
    let started = Instant::now();
    assert_eq!(place.names().len(), 50);
    // A hundredth of that is usual; the machine may be busy.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_removed_model_takes_its_bytes_along_unless_another_needs_them() {
    let place = Place::new();
    let (f16, q8) = models();
    place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    place.hugging_face("c1", "copy-F16.gguf", q8);
    place.hugging_face("c2", "tiny-Q8_0.gguf", q8);
    place.hugging_face("c2", "tiny-F32.gguf", f16);
    let shared = place.write("hf/models--Qwen--Tiny-GGUF/blobs/unrelated", b"keep");

    // Without a terminal nobody can be asked.
    contains(&place.qwip(&["rm", "Qwen/Tiny-GGUF:F16"]).fails(2), &["terminal", "-y"]);
    let said = place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:F16"]).ok();
    if cfg!(unix) {
        contains(&said, &["removed Qwen/Tiny-GGUF:F16", "0 B are free now"]);
    }
    assert_eq!(place.names(), ["Qwen/Tiny-GGUF:F32", "Qwen/Tiny-GGUF:Q8_0"]);
    contains(&place.qwip(&["rm", REPO]).fails(1), &["several", "Qwen/Tiny-GGUF:F32, Qwen/Tiny-GGUF:Q8_0"]);
    let said = place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:q8_0"]).ok();
    let size = if cfg!(unix) { q8.len() } else { 2 * q8.len() };
    let digits = format!("{:.0}", size as f64 / 1e3);
    contains(&said, &["removed Qwen/Tiny-GGUF:Q8_0", &digits[..1]]);
    assert_eq!(place.names(), ["Qwen/Tiny-GGUF:F32"]);
    assert!(!place.at("hf/models--Qwen--Tiny-GGUF/snapshots/c1").exists());
    assert!(shared.exists());
    fs::remove_file(shared).unwrap();
    place.qwip(&["rm", "-y", REPO]).ok();
    assert_eq!(cli_common::names(&place.at("hf")), Vec::<String>::new());
    contains(&place.qwip(&["rm", REPO]).fails(1), &[REPO, "not in the cache"]);
}

#[test]
fn an_unfinished_download_is_listed_and_can_be_removed() {
    let place = Place::new();
    let (f16, q8) = models();
    let blobs = "hf/models--Qwen--Tiny-GGUF/blobs";
    let hash = sha256(f16);
    let mut holes = f16.clone();
    holes[100_000..].fill(0);
    place.write(&format!("{blobs}/{hash}.qwip.incomplete"), &holes);
    let parts = format!("qwip-parts 1 {}\n0 100000\n", f16.len());
    place.write(&format!("{blobs}/{hash}.qwip.parts"), parts.as_bytes());
    let name = format!("{REPO}:unfinished-{}", &hash[..8]);
    let list = place.json(&["list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let entry = &list[0];
    assert_eq!(
        (&entry["name"], &entry["complete"], &entry["runs"]),
        (&json!(name), &json!(false), &json!(false))
    );
    assert_eq!((&entry["downloaded_bytes"], &entry["total_bytes"]), (&json!(100_000), &json!(f16.len())));
    contains(&place.qwip(&["list"]).ok(), &[&name, "incomplete: 48 %"]);
    contains(&place.qwip(&["run", &name, "-p", "hi"]).fails(1), &[&name, "qwip pull"]);
    contains(&place.qwip(&["run", REPO, "-p", "hi"]).fails(1), &["`qwip pull Qwen/Tiny-GGUF`"]);
    // As long as it is being fetched, it stays.
    let lock = place.write(&format!("hf/.locks/models--Qwen--Tiny-GGUF/{hash}.lock"), b"");
    let held = fs::File::open(lock).unwrap();
    held.try_lock().unwrap();
    contains(&place.qwip(&["rm", "-y", &name]).fails(1), &["downloading"]);
    // So does what the same download has finished: it would be fetched again, or be missing in the end.
    let part = place.hugging_face("c1", "tiny-Q8_0-00001-of-00002.gguf", q8);
    contains(&place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:Q8_0"]).fails(1), &["downloading"]);
    drop(held);
    place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:Q8_0"]).ok();
    assert!(!part.exists());
    contains(&place.qwip(&["rm", "-y", REPO]).ok(), &["100 kB are free"]);
    assert!(place.names().is_empty() && !place.at("hf/models--Qwen--Tiny-GGUF").exists());
}

#[test]
fn what_else_lies_in_a_repository_neither_hangs_nor_stays() {
    let place = Place::new();
    let (_, q8) = models();
    place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    place.write("hf/models--Qwen--Tiny-GGUF/blobs/aa.qwip.parts", b"qwip-parts 1 100\n");
    place.write("ms/models/o/r/m-q8_0.gguf", q8);
    place.write("ms/models/o/r/readme.md", b"of the user");
    let index = place.write("ms/models/o/r/.msc", b"the index of another tool");
    #[cfg(unix)]
    {
        let main = place.at("hf/models--Qwen--Tiny-GGUF/refs/main");
        fs::remove_file(&main).unwrap();
        for pipe in [main, place.at("ms/models/o/r/.qwip-hashes.json")] {
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
    }
    assert_eq!(place.names(), ["Qwen/Tiny-GGUF:Q8_0", "modelscope/o/r:Q8_0"]);
    place.qwip(&["rm", "-y", REPO, "modelscope/o/r"]).ok();
    assert!(!place.at("hf/models--Qwen--Tiny-GGUF").exists());
    assert!(!index.exists() && place.at("ms/models/o/r/readme.md").exists());
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let place = Place::new();
    let (f16, _) = models();
    let theirs = place.write("home/.lmstudio/models/a/b/m.gguf", f16);
    let mine = place.write("m.gguf", f16);
    contains(&place.qwip(&["rm", "-y", "lmstudio/a/b/m"]).fails(1), &["LM Studio", "only reads"]);
    contains(&place.qwip(&["rm", "-y", arg(&mine)]).fails(1), &["m.gguf", "a file of yours"]);
    contains(&place.qwip(&["rm", "-y", "builtin"]).fails(1), &["no such model"]);
    contains(&place.qwip(&["rm"]).fails(2), &["MODEL"]);
    assert!(theirs.exists() && mine.exists());
}

#[test]
fn the_same_name_in_two_folders_means_two_models() {
    let place = Place::new();
    let (f16, q8) = models();
    let f16_file = place.hugging_face("c1", "F16/model.gguf", f16);
    let q8_file = place.hugging_face("c1", "Q8_0/model.gguf", q8);
    assert_eq!(place.names(), ["Qwen/Tiny-GGUF:F16", "Qwen/Tiny-GGUF:Q8_0"]);
    place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:F16"]).ok();
    assert!(!f16_file.exists() && q8_file.exists());
    place.qwip(&["rm", "-y", REPO]).ok();

    // Halves of two models are no whole one, nor is a part that should not be there.
    let first = place.hugging_face("c1", "BF16/m-00001-of-00002.gguf", f16);
    place.hugging_face("c1", "Q8/m-00001-of-00002.gguf", q8);
    place.write("home/.lmstudio/models/a/b/m-00001-of-00002.gguf", q8);
    place.write("home/.lmstudio/models/a/b/m-00003-of-00002.gguf", q8);
    let list = place.json(&["list", "--json"]);
    let half = |e: &&Value| e["complete"] == json!(false);
    assert_eq!(list.as_array().unwrap().iter().filter(half).count(), 3, "{list}");
    contains(&place.qwip(&["rm", "-y", REPO]).fails(1), &["several"]);
    place.qwip(&["rm", "-y", "Qwen/Tiny-GGUF:BF16"]).ok();
    assert!(!first.exists() && place.at("hf/models--Qwen--Tiny-GGUF/snapshots/c1/Q8").exists());
}

#[cfg(unix)]
#[test]
fn files_behind_a_link_to_a_folder_are_not_removed() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let (f16, q8) = models();
    let kept = place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    let mine = place.write("mine/tiny-Q8_0.gguf", f16);
    let snapshots = place.at("hf/models--Qwen--Tiny-GGUF/snapshots");
    symlink(place.at("mine"), snapshots.join("c2")).unwrap();
    contains(&place.qwip(&["rm", "-y", REPO]).fails(1), &["c2", "outside the cache", "mine"]);
    assert!(mine.exists() && kept.exists());
    fs::remove_file(snapshots.join("c2")).unwrap();

    fs::create_dir_all(place.at("ms/models/Qwen")).unwrap();
    symlink(place.at("mine"), place.at("ms/models/Qwen/Mine")).unwrap();
    contains(&place.qwip(&["rm", "-y", "modelscope/Qwen/Mine", REPO]).fails(1), &["outside the cache"]);
    assert!(mine.exists() && kept.exists());
    // The cache as a whole may lie on another disk.
    fs::rename(place.at("hf"), place.at("disk")).unwrap();
    symlink(place.at("disk"), place.at("hf")).unwrap();
    place.qwip(&["rm", "-y", REPO]).ok();
    assert_eq!(cli_common::names(&place.at("disk")), Vec::<String>::new());
}

#[test]
fn the_model_used_last_is_meant_when_none_is_named() {
    let place = Place::new();
    let (f16, q8) = models();
    let name = |place: &Place| place.json(&["show", "--json"])["file"].as_str().unwrap().to_string();
    assert_eq!(name(&place), "builtin");
    place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    // Looking at a model is not using it.
    place.qwip(&["show", REPO]).ok();
    place.qwip(&["run", "builtin", "-p", "hi", "-n", "1"]).ok();
    assert_eq!(name(&place), "builtin");
    place.qwip(&["run", REPO, "-p", "hi", "-n", "1"]).ok();
    assert_eq!(name(&place), REPO);
    let said = place.qwip(&["run", "-p", "hi", "-n", "1"]);
    assert!(!said.stderr.contains("demonstration"), "{said:?}");

    // One for vectors is not remembered.
    let vectors = model(&place.at(""), "qwen3-embedding-last", "q8_0");
    place.qwip(&["run", arg(&vectors), "-p", "hi", "-n", "1"]).ok();
    assert_eq!(name(&place), REPO);

    // A path means the same from everywhere.
    let path = place.write("m.gguf", f16);
    let mut command = place.command(&["run", "m.gguf", "-p", "hi", "-n", "1"]);
    outcome(command.current_dir(place.at("")), b"").ok();
    let shown = PathBuf::from(name(&place));
    assert_eq!(fs::canonicalize(shown).unwrap(), fs::canonicalize(&path).unwrap());
    fs::remove_file(path).unwrap();
    let said = place.qwip(&["show"]);
    contains(&said.stderr, &["m.gguf", "used last", "no longer there"]);
    contains(&said.ok(), &["builtin"]);
    // The environment counts for more, and what was remembered may be damaged.
    let mut command = place.command(&["show", "--json"]);
    contains(&outcome(command.env("QWIP_MODEL", REPO), b"").ok(), &[REPO]);
    place.write("data/last-model.json", b"{\"model\": [1]");
    assert_eq!(name(&place), "builtin");
}

/// A chat that waits for its next message.
fn chat(place: &Place, model: &str) -> Child {
    let mut command = place.command(&["chat", model, "-n", "2", "-c", "64"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"hi\n").unwrap();
    // The greeting comes once the model is loaded.
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    child
}

#[test]
fn processes_are_listed_stopped_and_keep_their_models() {
    let place = Place::new();
    let (f16, q8) = models();
    place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    let other = place.write("other.gguf", f16);
    contains(&place.qwip(&["ps"]).ok(), &["No qwip"]);
    contains(&place.qwip(&["stop"]).ok(), &["No qwip"]);
    contains(&place.qwip(&["stop", "77"]).fails(1), &["77", "none"]);

    let mut first = chat(&place, REPO);
    let mut second = chat(&place, arg(&other));
    // What a process that is gone has left.
    place.write("cache/running/999999-1.json", b"{\"pid\": 999999, \"model\": \"gone\"}");
    place.write("cache/running/999999-1.lock", b"");
    let list = place.json(&["ps", "--json"]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2, "{list:?}");
    assert!(!place.at("cache/running/999999-1.json").exists());
    let entry = list.iter().find(|e| e["pid"] == first.id()).unwrap();
    assert_eq!(
        (&entry["command"], &entry["model"], &entry["context"]),
        (&json!("chat"), &json!(REPO), &json!(64))
    );
    assert_eq!((&entry["weight_bytes"], &entry["device"]), (&json!(q8.len()), &json!("cpu")));
    assert_eq!(entry["memory_bytes"].as_u64().is_some(), cfg!(target_os = "linux"));
    contains(&place.qwip(&["ps"]).ok(), &["PID", REPO, "other.gguf", "chat", "ago"]);

    contains(&place.qwip(&["rm", "-y", REPO]).fails(1), &["Tiny-GGUF:Q8_0", "process", "qwip stop"]);
    contains(&place.qwip(&["stop"]).fails(2), &["several", "--all"]);
    // Another name of the same model.
    let said = place.qwip(&["stop", "Qwen/Tiny-GGUF:Q8_0"]).ok();
    contains(&said, &["stopped", &first.id().to_string()]);
    first.wait().unwrap();
    contains(&place.qwip(&["stop", &second.id().to_string()]).ok(), &["stopped"]);
    second.wait().unwrap();
    assert_eq!(place.json(&["ps", "--json"]), json!([]));
    assert_eq!(cli_common::names(&place.at("cache/running")), Vec::<String>::new());
    place.qwip(&["rm", "-y", REPO]).ok();
}

#[test]
fn a_file_that_changed_after_its_download_is_found() {
    let place = Place::new();
    let (_, q8) = models();
    let path = place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    let said = place.qwip(&["doctor", "--check", REPO]).ok();
    if cfg!(unix) {
        contains(&said, &["as the hub has them", "computation"]);
    }
    let blob = fs::canonicalize(path).unwrap();
    let mut bytes = q8.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    if cfg!(unix) {
        let said = place.qwip(&["doctor", "--check", REPO]).fails(1);
        contains(
            &said,
            &["damaged", &sha256(q8), &sha256(&bytes), "`qwip rm Qwen/Tiny-GGUF:Q8_0`", "`qwip pull`"],
        );
        place.qwip(&["doctor", "--check", arg(&blob)]).fails(1);
    }
    // Without links a record of ours says what the hub stated.
    let plain = place.at("hf/models--o--plain/snapshots/c1/m-Q8_0.gguf");
    place.write("hf/models--o--plain/snapshots/c1/m-Q8_0.gguf", &bytes);
    let record = json!({"c1/m-Q8_0.gguf": {"size": q8.len(), "sha256": sha256(q8)}});
    place.write("hf/models--o--plain/.qwip-hashes.json", record.to_string().as_bytes());
    contains(&place.qwip(&["doctor", "--check", "o/plain"]).fails(1), &["damaged", &sha256(q8)]);
    fs::write(&plain, q8).unwrap();
    contains(&place.qwip(&["doctor", "--check", "o/plain"]).ok(), &["as the hub has them"]);
    place.qwip(&["rm", "-y", "o/plain"]).ok();
    assert!(!place.at("hf/models--o--plain").exists());
    // ModelScope's cache holds no hashes.
    place.write("ms/models/Qwen/Other/tiny-q8_0.gguf", q8);
    contains(&place.qwip(&["doctor", "--check", "modelscope/Qwen/Other"]).ok(), &["no hash is on record"]);
    let said = place.qwip(&["doctor", "--check", "builtin"]).ok();
    assert!(!said.contains("download"), "{said}");
}

#[test]
fn an_existing_file_wins_over_every_other_meaning() {
    let place = Place::new();
    let (f16, q8) = models();
    place.hugging_face("c1", "tiny-Q8_0.gguf", q8);
    for name in [REPO, "builtin", "qwen3"] {
        place.write(&format!("here/{name}"), f16);
        let mut command = place.command(&["show", name, "--json"]);
        let shown: Value =
            serde_json::from_str(&outcome(command.current_dir(place.at("here")), b"").ok()).unwrap();
        assert_eq!(shown["bytes"], json!(f16.len()), "{name}: {shown}");
    }
    // A folder hides nothing.
    fs::create_dir_all(place.at("there").join(REPO)).unwrap();
    let mut command = place.command(&["show", REPO, "--json"]);
    outcome(command.current_dir(place.at("there")), b"").ok();
    let nowhere = Path::new("no").join("file.gguf");
    contains(&place.qwip(&["show", arg(&nowhere)]).fails(1), &["file.gguf"]);
}
