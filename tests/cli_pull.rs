//! `qwip pull` against a hub on this computer, in every scene that a network can make.
#![allow(missing_docs, reason = "tests")]

mod cli_common;
#[path = "cli_common/hub_server.rs"]
mod hub_server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cli_common::{Outcome, arg, names, outcome};
use hub_server::{COMMIT, Fault, HubFile, Request, Scene, Server};

const MIB: u64 = 1 << 20;

/// The path that was printed, whose file is `file`.
#[track_caller]
fn check(outcome: Outcome, file: &HubFile) -> PathBuf {
    let path = PathBuf::from(outcome.ok().trim_end());
    assert!(std::fs::read(&path).unwrap() == file.bytes(), "{} has other bytes", path.display());
    path
}

#[test]
fn what_hf_names_is_fetched_once_and_a_pulled_model_is_the_one_that_is_meant() {
    let scene = Scene::with(300_000);
    let show = |args: &[&str]| outcome(&mut scene.any(&[&["show", "--json"], args].concat()), b"");
    assert!(show(&["-hf", "o/r", "--offline"]).fails(1).contains("not in the cache"));
    // Only -hf says that it may be fetched.
    assert!(show(&["o/r"]).fails(1).contains("`qwip pull o/r`"));
    assert!(!scene.repo().exists());
    assert!(show(&["-hf", "o/r"]).ok().contains("\"file\":\"o/r\""));
    scene.hub.plan(|plan| plan.files.clear());
    show(&["-hf", "o/r:q4_k_m", "--offline"]).ok();
    show(&["-hf", "o/r"]).ok();
    // Looking at it was not using it.
    assert!(show(&[]).ok().contains("\"file\":\"builtin\""));

    let scene = Scene::with(300_000);
    scene.pull(&["o/r"]).ok();
    assert!(outcome(&mut scene.any(&["show", "--json"]), b"").ok().contains("\"file\":\"o/r\""));
}

/// A rule that strikes the first `n` requests for bytes.
fn first(n: usize, fault: Fault) -> impl FnMut(&Request) -> Option<Fault> + Send + 'static {
    let mut left = n;
    move |request| {
        let struck = request.is_data() && left > 0;
        left -= usize::from(struck);
        struck.then(|| fault.clone())
    }
}

#[test]
fn a_model_goes_where_other_tools_look_and_is_fetched_once() {
    let scene = Scene::with(MIB);
    scene.hub.plan(|plan| plan.page = Some(1));
    let file = scene.file(1);
    let path = check(scene.pull(&["o/r"]), &file);
    let repo = scene.repo();
    assert_eq!(path, repo.join("snapshots").join(COMMIT).join("m-Q4_K_M.gguf"));
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    {
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(&file.sha256));
        // Nothing unfinished is left.
        assert_eq!(names(&repo.join("blobs")), [file.sha256.as_str()]);
    }
    assert_eq!(scene.hub.served(), file.size);
    let requests = scene.hub.data_requests().len();
    assert!(requests > 8, "{requests}");
    // The connections serve one part after the other.
    assert!(scene.hub.connections() <= 8, "{}", scene.hub.connections());
    check(scene.pull(&["https://huggingface.co/o/r:q4_k_m"]), &file);
    check(scene.pull(&["o/r", "--offline"]), &file);
    assert_eq!(scene.hub.data_requests().len(), requests);
}

#[test]
#[cfg(unix)]
fn what_another_tool_has_fetched_is_found_and_a_missing_link_is_made() {
    let scene = Scene::with(MIB);
    let file = scene.file(1);
    let blobs = scene.repo().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(&file.sha256), file.bytes()).unwrap();
    let path = check(scene.pull(&["o/r"]), &file);
    assert!(path.is_symlink());
    // As that tool does where there are no links.
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(blobs.join(&file.sha256), &path).unwrap();
    check(scene.pull(&["o/r"]), &file);
    assert_eq!(scene.hub.data_requests().len(), 0);
}

#[test]
fn modelscope_has_a_cache_of_its_own() {
    let scene = Scene::with(MIB);
    let file = scene.file(1);
    let path = check(scene.pull(&["o/r-1.5", "--source", "modelscope"]), &file);
    let dir = scene.home.path().join("ms/models/o/r-1___5");
    assert_eq!(path, dir.join("m-Q4_K_M.gguf"));
    let requests = scene.hub.data_requests().len();
    check(scene.pull(&["modelscope/o/r-1.5"]), &file);
    // As its own tool leaves it: without a record of the hash.
    std::fs::remove_file(dir.join(".qwip-hashes.json")).unwrap();
    check(scene.pull(&["modelscope/o/r-1.5"]), &file);
    assert!(dir.join(".qwip-hashes.json").exists());
    assert_eq!(scene.hub.data_requests().len(), requests);
    // Another state of the file has the same size and replaces it.
    let next = HubFile::model("m-Q4_K_M.gguf", MIB, 2);
    scene.hub.plan(|plan| plan.files[1] = next.clone());
    check(scene.pull(&["modelscope/o/r-1.5"]), &next);
    assert!(!scene.cache().exists());
    assert!(scene.pull(&["modelscope/o/r", "--source", "hf"]).fails(2).contains("--source"));
}

#[test]
fn what_modelscopes_own_tool_fetched_is_found() {
    let scene = Scene::with(MIB);
    let file = scene.file(1);
    let dir = scene.home.path().join("ms/models/o--r-1.5/snapshots/master");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("m-Q4_K_M.gguf"), file.bytes()).unwrap();
    for args in [&["modelscope/o/r-1.5"][..], &["o/r-1.5", "--offline"]] {
        assert_eq!(check(scene.pull(args), &file), dir.join("m-Q4_K_M.gguf"));
    }
    assert_eq!(scene.hub.data_requests().len(), 0);
    let error = scene.pull(&["o/other", "--offline", "--source", "modelscope"]).fails(1);
    assert!(error.contains("not in the cache"), "{error}");
}

#[test]
fn the_quantization_is_chosen_the_vision_part_left_aside_and_a_split_model_whole() {
    let mut files = vec![
        HubFile::model("mmproj-Q8_0.gguf", 1 << 12, 1),
        HubFile::model("m-Q4_K_S.gguf", 1 << 12, 2),
        HubFile::text("model.safetensors", "x"),
    ];
    for part in 1..=3 {
        files.push(HubFile::model(&format!("big/m-Q8_0-0000{part}-of-00003.gguf"), 100_000, part));
    }
    let scene = Scene::new(files);
    check(scene.pull(&["o/r"]), &scene.file(1));
    let path = check(scene.pull(&["o/r:Q8_0"]), &scene.file(3));
    assert_eq!(names(path.parent().unwrap()).len(), 3);
    assert!(!path.parent().unwrap().parent().unwrap().join("mmproj-Q8_0.gguf").exists());
    let error = scene.pull(&["o/r:Q4_K_M"]).fails(1);
    assert!(error.contains("has no Q4_K_M; it has Q8_0, Q4_K_S"), "{error}");
    scene.hub.plan(|plan| plan.files.retain(|file| !file.path.ends_with(".gguf")));
    let error = scene.pull(&["o/r2"]).fails(1);
    assert!(error.contains("safetensors") && error.contains("convert"), "{error}");
}

#[test]
fn what_does_not_run_is_refused_after_its_header() {
    let scene = Scene::new(vec![HubFile::of_architecture("m-Q4_K_M.gguf", "llama", 40 * MIB, 1)]);
    let error = scene.pull(&["o/r"]).fails(1);
    assert!(error.contains("'llama'") && error.contains("qwen3") && error.contains("not fetched"), "{error}");
    assert!(scene.hub.served() <= MIB, "{}", scene.hub.served());
    assert_eq!(names(&scene.repo().join("blobs")), [""; 0]);
    // A page instead of a model.
    scene.hub.plan(|plan| plan.files = vec![HubFile::text("m.gguf", "<html>please log in</html>")]);
    let error = scene.pull(&["o/r"]).fails(1);
    assert!(error.contains("no GGUF file"), "{error}");
}

#[test]
fn stalls_cuts_and_busy_servers_are_tried_again() {
    for fault in [
        Fault::Cut(10_000),
        Fault::Cut(0),
        Fault::Stall(30_000),
        Fault::Status(503, ""),
        Fault::Status(429, "Retry-After: 1\r\n"),
        // A page that wants a login, and no HTTP.
        Fault::Status(200, ""),
        Fault::Status(200, "Content-Length: x\r\n"),
    ] {
        let scene = Scene::with(MIB);
        scene.hub.rule(first(3, fault.clone()));
        let started = Instant::now();
        check(scene.pull(&["o/r"]), &scene.file(1));
        if matches!(fault, Fault::Status(429, _)) {
            assert!(started.elapsed() >= Duration::from_secs(1));
        }
    }
}

#[test]
fn a_server_that_never_gets_further_is_given_up_and_what_came_is_kept() {
    let scene = Scene::with(MIB);
    scene.hub.rule(|request| request.range.is_some_and(|(from, _)| from >= MIB / 2).then_some(Fault::Cut(0)));
    let error = scene.pull(&["o/r"]).fails(1);
    assert!(error.contains("5 tries") && error.contains("goes on from there"), "{error}");
    scene.hub.plan(|plan| plan.rule = None);
    let before = scene.hub.served();
    assert!(before >= MIB / 4, "{before}");
    check(scene.pull(&["o/r"]), &scene.file(1));
    assert!(scene.hub.served() <= scene.file(1).size + 65536, "{}", scene.hub.served());
}

#[test]
fn a_length_that_is_a_lie_is_told_with_both_numbers() {
    for lie in [MIB + 1000, MIB / 2] {
        let scene = Scene::with(MIB);
        let size = scene.file(1).size;
        scene.hub.rule(move |request| request.is_data().then_some(Fault::SaysSize(lie)));
        let error = scene.pull(&["o/r"]).fails(1);
        assert!(error.contains(&format!("lists {size} bytes, but the server has {lie}")), "{error}");
    }
    for listed in [MIB + 1000, MIB / 2] {
        let scene = Scene::with(MIB);
        let size = scene.file(1).size;
        scene.hub.plan(|plan| plan.files[1].listed_size = listed);
        let error = scene.pull(&["o/r"]).fails(1);
        assert!(error.contains(&format!("lists {listed} bytes, but the server has {size}")), "{error}");
    }
}

#[test]
fn a_file_that_changes_between_parts_is_fetched_anew() {
    let scene = Scene::with(MIB);
    let (old, new) = (scene.file(1), HubFile::model("m-Q4_K_M.gguf", MIB, 9));
    // Slow enough that the change comes between parts.
    scene.hub.plan(|plan| plan.throttle = Some(400 << 10));
    let child = scene.command(&["o/r"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(|| scene.hub.served() > MIB / 3);
    scene.hub.plan(|plan| (plan.files[1], plan.throttle) = (new.clone(), None));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("changed on the hub"), "{stderr}");
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    assert!(std::fs::read(&path).unwrap() == new.bytes());
    assert!(!scene.repo().join("blobs").join(&old.sha256).exists());
    // One that changes all the time, without saying so in its list.
    let scene = Scene::with(MIB);
    let count = Arc::new(AtomicU64::new(0));
    let hub = Arc::new(scene);
    let (changing, n) = (Arc::downgrade(&hub), count.clone());
    std::thread::spawn(move || {
        while let Some(scene) = changing.upgrade() {
            let etag = format!("\"{}\"", n.fetch_add(1, Ordering::Relaxed));
            scene.hub.plan(|plan| plan.files[1].etag = etag);
            drop(scene);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    hub.hub.plan(|plan| plan.throttle = Some(2 << 20));
    let error = hub.pull(&["o/r"]).fails(1);
    assert!(error.contains("changed on the hub while it was fetched"), "{error}");
}

#[track_caller]
fn wait(mut until: impl FnMut() -> bool) {
    let started = Instant::now();
    while !until() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_wrong_hash_is_told_and_nothing_of_it_kept() {
    let scene = Scene::with(MIB);
    let real = scene.file(1).sha256;
    let stated = "5a".repeat(32);
    scene.hub.plan(|plan| plan.files[1].sha256 = stated.clone());
    let error = scene.pull(&["o/r"]).fails(1);
    assert!(error.contains(&real) && error.contains(&stated) && error.contains("thrown away"), "{error}");
    assert_eq!(names(&scene.repo().join("blobs")), [""; 0]);
}

#[test]
fn a_hub_that_states_no_hash_is_noted() {
    let scene = Scene::with(MIB);
    scene.hub.plan(|plan| plan.files[1].sha256.clear());
    let outcome = scene.pull(&["o/r"]);
    assert!(outcome.stderr.contains("states no SHA-256 for m-Q4_K_M.gguf"), "{outcome:?}");
    check(outcome, &scene.file(1));
}

#[test]
fn a_server_without_ranges_gives_the_whole_file() {
    let scene = Scene::with(MIB);
    scene.hub.rule(|request| request.is_data().then_some(Fault::NoRanges));
    check(scene.pull(&["o/r"]), &scene.file(1));
    // One that gave them until the first run was stopped.
    let scene = Scene::with(MIB);
    scene.hub.rule(|request| request.range.is_some_and(|(from, _)| from >= MIB / 2).then_some(Fault::Cut(0)));
    scene.pull(&["o/r"]).fails(1);
    scene.hub.rule(|request| request.is_data().then_some(Fault::NoRanges));
    check(scene.pull(&["o/r"]), &scene.file(1));
}

#[test]
fn a_silent_connection_does_not_disturb_what_comes_after_it() {
    let scene = Scene::with(MIB);
    let mut silent = false;
    scene.hub.rule(move |request| match request.range {
        Some((from, _)) if from < MIB / 2 => None,
        Some(_) if !std::mem::replace(&mut silent, true) => Some(Fault::Stall(0)),
        range => range.map(|_| Fault::NoRanges),
    });
    // The whole file takes longer than the silence.
    scene.hub.plan(|plan| plan.throttle = Some(MIB / 3));
    check(scene.pull(&["o/r"]), &scene.file(1));
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let scene = Scene::with(MIB);
    let cdn = Server::new(vec![scene.file(1)]);
    let to = format!("{}/cdn/", cdn.other_url());
    scene.hub.rule(move |request| request.is_data().then(|| Fault::Redirect(to.clone())));
    let run = |set: &dyn Fn(&mut Command)| {
        let mut command = scene.command(&["o/r"]);
        set(&mut command);
        let outcome = outcome(&mut command, b"");
        std::fs::remove_dir_all(scene.cache()).unwrap();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        (outcome.stderr, scene.hub.plan(|plan| std::mem::take(&mut plan.requests)))
    };
    let (_, requests) = run(&|command| {
        command.env("HF_TOKEN", "hf_secret");
    });
    assert!(requests.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")));
    let there = cdn.plan(|plan| plan.requests.clone());
    assert!(scene.hub.connections() <= 8 && cdn.connections() <= 8);
    assert!(there.len() > 8 && there.iter().all(|request| request.host.starts_with("localhost:")));
    assert!(there.iter().all(|request| request.authorization.is_none()));
    // From the file where the hub's own tool puts it.
    std::fs::create_dir_all(scene.home.path().join("hf")).unwrap();
    std::fs::write(scene.home.path().join("hf/token"), "hf_file\n").unwrap();
    let (_, requests) = run(&|_| {});
    assert!(requests.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_file")));
    let error = outcome(scene.command(&["o/r"]).env("HF_TOKEN", "a\nb"), b"").fails(1);
    assert!(error.contains("HF_TOKEN") && !error.contains("hf_"), "{error}");
}

#[test]
fn a_proxy_is_used_and_a_mirror_never_gets_the_token() {
    // The hub is the proxy, too: no server of names knows this mirror.
    let mirror = |scene: &Scene| {
        let mut command = scene.command(&["o/r"]);
        command.env("HF_ENDPOINT", "http://mirror.example").env("HF_TOKEN", "hf_secret");
        command
    };
    for name in ["HTTP_PROXY", "ALL_PROXY", "http_proxy"] {
        let scene = Scene::with(MIB);
        let outcome = outcome(mirror(&scene).env(name, scene.hub.url()), b"");
        assert!(outcome.stderr.contains("is not sent to http://mirror.example"), "{outcome:?}");
        assert!(!outcome.stderr.contains("hf_secret"));
        check(outcome, &scene.file(1));
        let requests = scene.hub.plan(|plan| plan.requests.clone());
        assert!(requests.iter().any(|request| request.host.starts_with("mirror.example")), "{requests:?}");
        assert!(requests.iter().all(|request| request.authorization.is_none()));
    }
    let scene = Scene::with(MIB);
    let mut command = mirror(&scene);
    command.env("HTTP_PROXY", scene.hub.url()).env("NO_PROXY", "a.b, mirror.example");
    let error = outcome(&mut command, b"").fails(1);
    assert!(error.contains("cannot be reached:"), "{error}");
    let error = outcome(mirror(&scene).env("HTTP_PROXY", "http://127.0.0.1:9"), b"").fails(1);
    assert!(error.contains("over the proxy 127.0.0.1:9"), "{error}");
    check(outcome(scene.command(&["o/r"]).env("HTTP_PROXY", "http://127.0.0.1:9"), b""), &scene.file(1));
    let error = outcome(mirror(&scene).env("ALL_PROXY", "gopher://x"), b"").fails(1);
    assert!(error.contains("ALL_PROXY"), "{error}");
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let scene = Scene::with(MIB);
    let error = scene.pull(&["o/none"]).fails(1);
    assert!(
        error.contains("no repository o/none on Hugging Face") && error.contains("--source modelscope"),
        "{error}"
    );
    let error = scene.pull(&["o/none", "--source", "modelscope"]).fails(1);
    assert!(error.contains("on ModelScope") && error.contains("--source hf"), "{error}");
    for (code, token) in [(401, None), (403, None), (403, Some("hf_x"))] {
        scene.hub.rule(move |request| {
            request.is_data().then_some(Fault::Status(code, "X-Error-Code: GatedRepo\r\n"))
        });
        let mut command = scene.command(&["o/r"]);
        token.map(|token| command.env("HF_TOKEN", token));
        let error = outcome(&mut command, b"").fails(1);
        assert!(
            error.contains("gated") && error.contains("HF_TOKEN") && error.contains(&code.to_string()),
            "{error}"
        );
    }
    assert!(scene.pull(&["just-a-word"]).fails(2).contains("OWNER/REPO"));
    assert!(scene.pull(&["../x"]).fails(2).contains("OWNER/REPO"));
}

#[test]
fn a_path_that_would_leave_the_cache_is_refused() {
    let scene = Scene::new(vec![HubFile::model("../../../../evil.gguf", 1 << 12, 1)]);
    let error = scene.pull(&["o/r"]).fails(1);
    assert!(error.contains("no place in a cache"), "{error}");
    assert_eq!(scene.hub.data_requests().len(), 0);
}

#[test]
fn offline_nothing_is_asked() {
    let scene = Scene::with(MIB);
    let error = scene.pull(&["o/r", "--offline"]).fails(1);
    assert!(error.contains("o/r is not in the cache") && error.contains("offline"), "{error}");
    let error = outcome(scene.command(&["o/r"]).env("HF_HUB_OFFLINE", "1"), b"").fails(1);
    assert!(error.contains("not in the cache"), "{error}");
    assert!(scene.hub.plan(|plan| plan.requests.is_empty()));
    scene.pull(&["o/r"]).ok();
    let error = scene.pull(&["o/r:Q8_0", "--offline"]).fails(1);
    assert!(error.contains("of it there is Q4_K_M"), "{error}");
}

#[test]
fn an_unreachable_hub_fails_soon_and_names_what_helps() {
    let scene = Scene::with(MIB);
    let refuses = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    // Connections come about and nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for endpoint in [refuses, silent, "http://no-such-host.invalid".to_string()] {
        let started = Instant::now();
        let error = outcome(scene.command(&["o/r"]).env("HF_ENDPOINT", &endpoint), b"").fails(1);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}: {error}", started.elapsed());
        assert!(error.contains(&endpoint) && error.contains("cannot be reached"), "{error}");
        assert!(error.contains("--source modelscope") && error.contains("HF_ENDPOINT"), "{error}");
    }
    let error = outcome(scene.command(&["o/r"]).env("HF_ENDPOINT", "nonsense"), b"").fails(1);
    assert!(error.contains("HF_ENDPOINT") && error.contains("nonsense"), "{error}");
    drop(listener);
    // Something that speaks, but not so that nobody else can listen.
    let endpoint = scene.hub.url().replace("http:", "https:");
    let error = outcome(scene.command(&["o/r"]).env("HF_ENDPOINT", &endpoint), b"").fails(1);
    assert!(error.contains(&endpoint), "{error}");
    scene.pull(&["o/r"]).ok();
    let error = outcome(scene.command(&["o/r"]).env("HF_ENDPOINT", "http://127.0.0.1:9"), b"").fails(1);
    assert!(error.contains("--offline"), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let scene = Scene::with(MIB);
    let file = scene.home.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let error = outcome(scene.command(&["o/r"]).env("HF_HUB_CACHE", file.join("hub")), b"").fails(1);
    assert!(error.contains(arg(&file)) && error.contains("HF_HUB_CACHE"), "{error}");
}

#[test]
fn two_processes_fetch_a_file_once() {
    let scene = Scene::with(4 * MIB);
    scene.hub.plan(|plan| plan.throttle = Some(MIB));
    let start = || scene.command(&["o/r"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children = [start(), start()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scene.hub.served(), scene.file(1).size);
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_says_that_the_same_command_goes_on() {
    let scene = Scene::with(4 * MIB);
    scene.hub.plan(|plan| plan.throttle = Some(MIB / 2));
    let child = scene.command(&["o/r"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Long enough for a line that says how fast it is.
    wait(|| scene.hub.served() > 3 * MIB);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the same command goes on"), "{stderr}");
    assert!(stderr.contains(" % m-Q4_K_M.gguf, ") && stderr.contains("/s, 0:0"), "{stderr}");
    scene.hub.plan(|plan| plan.throttle = None);
    check(scene.pull(&["o/r"]), &scene.file(1));
    assert!(scene.hub.served() <= scene.file(1).size + MIB, "{}", scene.hub.served());
}

/// A file system of so many bytes, which the test may have to do without.
#[cfg(target_os = "linux")]
struct Tmpfs(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Tmpfs {
    fn new(size: u64) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "qwip-test", arg(dir.path())])
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs(dir));
        }
        eprintln!("NOT TESTED: a full disk (mounting a small file system is not allowed here)");
        None
    }
}

#[cfg(target_os = "linux")]
impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_seen_before_and_in_the_middle() {
    let Some(disk) = Tmpfs::new(12 * MIB) else { return };
    let dir = disk.0.path();
    let scene = Scene::with(16 * MIB);
    let error = outcome(scene.command(&["o/r"]).env("HF_HUB_CACHE", dir), b"").fails(1);
    assert!(error.contains(&scene.file(1).size.to_string()) && error.contains("left"), "{error}");
    assert_eq!(scene.hub.data_requests().len(), 0);
    let scene = Scene::with(8 * MIB);
    scene.hub.plan(|plan| plan.throttle = Some(MIB));
    let mut command = scene.command(&["o/r"]);
    command.env("HF_HUB_CACHE", dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait(|| scene.hub.served() > 2 * MIB);
    let filler = dir.join("filler");
    // As much as there is room for.
    assert!(std::fs::write(&filler, vec![0; 12 * MIB as usize]).is_err());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("is full at"), "{stderr}");
    std::fs::remove_file(&filler).unwrap();
    scene.hub.plan(|plan| plan.throttle = None);
    check(outcome(scene.command(&["o/r"]).env("HF_HUB_CACHE", dir), b""), &scene.file(1));
    assert!(scene.hub.served() <= scene.file(1).size + MIB, "{}", scene.hub.served());
}

/// Kills the program `kills` times at random points and lets it finish: at most one part is fetched twice each time.
fn killed(size: u64, kills: u64, part: u64, tuning: &str, rate: u64) {
    let mut scene = Scene::with(size);
    scene.tuning = tuning.into();
    scene.hub.plan(|plan| plan.throttle = Some(rate));
    let file = scene.file(1);
    let mut random = u64::from(std::process::id()) | 1;
    let (mut most, mut all) = (0, 0);
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Somewhere in its share of the file.
        let share = size / (kills + 1);
        let target = share * kill + (random >> 33) % share;
        let begun = scene.hub.served();
        let mut child = scene.command(&["o/r"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait(|| scene.hub.served() >= begun.max(target + all) || child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it was done before it was killed");
        // What was on its way counts as fetched.
        std::thread::sleep(Duration::from_millis(20));
        let there = recorded(&scene.repo().join("blobs"));
        let twice = (scene.hub.served() - all).saturating_sub(there);
        assert!(twice <= part, "kill {kill}: {twice} bytes are not on record, and a part has {part}");
        (most, all) = (most.max(twice), all + twice);
    }
    let outcome = scene.pull(&["o/r"]);
    let path = PathBuf::from(outcome.ok().trim_end());
    assert_eq!(HubFile::hash(&path), file.sha256);
    let twice = scene.hub.served() - file.size;
    println!("{kills} kills: {twice} bytes twice, at most {most} at once; one part has {part}");
    assert!(twice <= kills * part, "{twice}");
}

/// Bytes that the journal says are there.
fn recorded(blobs: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(blobs) else { return 0 };
    let journal = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension() == Some("parts".as_ref()));
    let text = journal.map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(' '));
    lines.map(|(from, to)| to.parse::<u64>().unwrap_or(0).saturating_sub(from.parse().unwrap_or(0))).sum()
}

#[test]
fn killed_again_and_again_it_fetches_little_twice() {
    killed(48 * MIB, 6, 4 * MIB, "stall=5000 backoff=20 part=4194304", 4 * MIB);
}

#[test]
#[ignore = "a gigabyte"]
fn a_gigabyte_killed_twenty_times() {
    killed(1 << 30, 20, 16 * MIB, "stall=20000", 30 * MIB);
}
