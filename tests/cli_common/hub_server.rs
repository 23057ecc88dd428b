//! A hub on this computer, for tests: Hugging Face, ModelScope and a content network in one small HTTP server that can
//! be told to stall, cut, lie, change its files and redirect.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "a part of the tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use qwip::quant::TensorType;
use qwip::quant::gguf::Writer;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cli_common::{Outcome, outcome, program};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CHUNK: usize = 64 << 10;

/// A file of the repository; its bytes are computed as they are sent.
#[derive(Clone, Debug)]
pub struct HubFile {
    pub path: String,
    pub head: Vec<u8>,
    pub size: u64,
    pub seed: u64,
    /// What the hub states.
    pub sha256: String,
    pub listed_size: u64,
    /// What the server calls it.
    pub etag: String,
}

impl HubFile {
    /// A model of about `size` bytes that runs as far as its header says.
    pub fn model(path: &str, size: u64, seed: u64) -> HubFile {
        HubFile::of_architecture(path, "qwen2", size, seed)
    }

    pub fn of_architecture(path: &str, architecture: &str, size: u64, seed: u64) -> HubFile {
        let mut writer = Writer::new();
        writer.set("general.architecture", architecture);
        writer.tensor("t", &[size / 4], TensorType::F32).expect("a tensor");
        let size = writer.file_len().expect("a size");
        let mut head = Vec::new();
        drop(writer.start(&mut head).expect("a header"));
        HubFile::new(path, head, size, seed)
    }

    pub fn text(path: &str, text: &str) -> HubFile {
        HubFile::new(path, text.as_bytes().to_vec(), text.len() as u64, 0)
    }

    fn new(path: &str, head: Vec<u8>, size: u64, seed: u64) -> HubFile {
        let mut file = HubFile {
            path: path.into(),
            head,
            size,
            seed,
            sha256: String::new(),
            listed_size: size,
            etag: String::new(),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let n = (size - at).min(buffer.len() as u64) as usize;
            file.fill(at, &mut buffer[..n]);
            hash.update(&buffer[..n]);
            at += n as u64;
        }
        file.sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        file.etag = format!("\"{}\"", file.sha256);
        file
    }

    /// The bytes from `at`.
    pub fn fill(&self, at: u64, out: &mut [u8]) {
        let mut i = 0;
        while i < out.len() {
            let pos = at + i as u64;
            if let Some(byte) = usize::try_from(pos).ok().and_then(|pos| self.head.get(pos)) {
                out[i] = *byte;
                i += 1;
                continue;
            }
            let word = mix(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(pos / 8)).to_le_bytes();
            let from = (pos % 8) as usize;
            let n = (8 - from).min(out.len() - i);
            out[i..i + n].copy_from_slice(&word[from..from + n]);
            i += n;
        }
    }

    /// The SHA-256 of a file on the disk.
    pub fn hash(path: &std::path::Path) -> String {
        let mut file = std::fs::File::open(path).expect("the file");
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match std::io::Read::read(&mut file, &mut buffer).expect("bytes") {
                0 => return hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        self.fill(0, &mut bytes);
        bytes
    }
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub target: String,
    pub host: String,
    pub range: Option<(u64, u64)>,
    pub authorization: Option<String>,
    pub is_tunnel: bool,
}

impl Request {
    /// Whether it asks for the bytes of a file, directly or of the content network.
    pub fn is_data(&self) -> bool {
        self.target.contains("/resolve/") || self.target.starts_with("/cdn/")
    }
}

/// What happens to a request instead of a good answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing more is sent after so many bytes, and the connection stays open.
    Stall(u64),
    /// The connection ends after so many bytes.
    Cut(u64),
    /// This status and these headers.
    Status(u16, &'static str),
    /// The whole file, whatever was asked for.
    NoRanges,
    /// The file is said to have so many bytes.
    SaysSize(u64),
    /// To this address; the path of the file is put behind it.
    Redirect(String),
}

type Rule = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
pub struct Plan {
    pub files: Vec<HubFile>,
    pub rule: Option<Rule>,
    /// Bytes a second of one connection.
    pub throttle: Option<u64>,
    /// Files on one page of a list.
    pub page: Option<usize>,
    pub requests: Vec<Request>,
}

pub struct Server {
    pub port: u16,
    plan: Arc<Mutex<Plan>>,
    served: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Server {
    pub fn new(files: Vec<HubFile>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let plan = Arc::new(Mutex::new(Plan { files, ..Plan::default() }));
        let served = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let (shared, count, opened) = (plan.clone(), served.clone(), connections.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (plan, served) = (shared.clone(), count.clone());
                opened.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    // A client that goes away is what half of the tests are about.
                    let _ = serve(stream, &plan, &served);
                });
            }
        });
        Server { port, plan, served, connections }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same place by another name.
    pub fn other_url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.plan.lock().expect("no test thread panics with it"))
    }

    pub fn rule(&self, rule: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.plan(|plan| plan.rule = Some(Box::new(rule)));
    }

    /// Bytes of files that were sent.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Connections that were opened.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests for bytes of files.
    pub fn data_requests(&self) -> Vec<Request> {
        self.plan(|plan| plan.requests.iter().filter(|request| request.is_data()).cloned().collect())
    }
}

fn serve(stream: TcpStream, plan: &Mutex<Plan>, served: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = read(&mut input)? {
        // As a proxy, it is itself wherever one wants to go.
        if request.is_tunnel {
            write!(out, "HTTP/1.1 200 OK\r\n\r\n")?;
            continue;
        }
        let (fault, throttle) = {
            let mut plan = plan.lock().expect("no test thread panics with it");
            plan.requests.push(request.clone());
            (plan.rule.as_mut().and_then(|rule| rule(&request)), plan.throttle)
        };
        if let Some(Fault::Status(code, headers)) = fault {
            write!(out, "HTTP/1.1 {code} No\r\n{headers}Content-Length: 2\r\n\r\nno")?;
            continue;
        }
        if request.is_data() {
            let file = {
                let plan = plan.lock().expect("no test thread panics with it");
                plan.files.iter().find(|file| request.target.ends_with(&file.path)).cloned()
            };
            match file {
                Some(file) => {
                    if !data(&mut out, &request, &file, fault, throttle, served)? {
                        return Ok(());
                    }
                }
                None => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            }
            continue;
        }
        let (status, headers, text) = api(&request, &plan.lock().expect("no test thread panics with it"));
        write!(out, "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{text}", text.len())?;
    }
    Ok(())
}

fn read(input: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_string();
    let is_tunnel = line.starts_with("CONNECT ");
    let mut request = Request { target, host: String::new(), range: None, authorization: None, is_tunnel };
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim().to_string();
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = value,
            "authorization" => request.authorization = Some(value),
            "range" => {
                let range = value.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
                let bounds =
                    range.map(|(from, to)| (from.parse().unwrap_or(0), to.parse().unwrap_or(u64::MAX)));
                request.range = bounds;
            }
            _ => {}
        }
    }
}

/// What the APIs of the hubs say about any repository but `o/none`.
fn api(request: &Request, plan: &Plan) -> (u16, String, String) {
    let target = request.target.as_str();
    if target.contains("/o/none/") {
        return (404, "X-Error-Code: RepoNotFound\r\n".into(), "{}".into());
    }
    if target.contains("/revision/main") {
        return (200, String::new(), format!("{{\"sha\": \"{COMMIT}\"}}"));
    }
    if target.contains("/repo/files") {
        let files: Vec<serde_json::Value> = plan.files.iter().map(|file| {
            serde_json::json!({"Path": file.path, "Size": file.listed_size, "Sha256": file.sha256, "Type": "blob"})
        }).collect();
        let answer = serde_json::json!({"Code": 200, "Success": true, "Data": {"Files": files}});
        return (200, String::new(), answer.to_string());
    }
    let from: usize = target.split_once("cursor=").and_then(|(_, at)| at.parse().ok()).unwrap_or(0);
    let page = plan.page.unwrap_or(usize::MAX);
    let files: Vec<serde_json::Value> = plan
        .files
        .iter()
        .skip(from)
        .take(page)
        .map(|file| {
            let size = file.listed_size;
            serde_json::json!({"type": "file", "path": file.path, "size": size, "oid": "ab12",
                           "lfs": {"oid": file.sha256, "size": size, "pointerSize": 134}})
        })
        .collect();
    let next = from.saturating_add(page);
    let path = target.split('?').next().unwrap_or_default();
    let link = match next < plan.files.len() {
        true => format!("Link: <{path}?recursive=true&cursor={next}>; rel=\"next\"\r\n"),
        false => String::new(),
    };
    (200, link, serde_json::Value::Array(files).to_string())
}

/// Sends bytes of a file; whether the connection can be used again.
fn data(
    out: &mut TcpStream,
    request: &Request,
    file: &HubFile,
    fault: Option<Fault>,
    throttle: Option<u64>,
    served: &AtomicU64,
) -> std::io::Result<bool> {
    let linked = match request.target.starts_with("/cdn/") {
        true => String::new(),
        false => format!(
            "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n",
            file.sha256, file.listed_size
        ),
    };
    if let Some(Fault::Redirect(to)) = &fault {
        write!(
            out,
            "HTTP/1.1 302 Found\r\n{linked}Location: {to}{}\r\nContent-Length: 0\r\n\r\n",
            file.path
        )?;
        return Ok(true);
    }
    let range = request.range.filter(|_| !matches!(fault, Some(Fault::NoRanges)));
    let said = if let Some(Fault::SaysSize(said)) = fault { said } else { file.size };
    let (from, to) = range.map_or((0, file.size), |(from, to)| (from, to.saturating_add(1).min(file.size)));
    if from >= file.size {
        write!(out, "HTTP/1.1 416 No\r\nContent-Range: bytes */{said}\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    }
    let etag = &file.etag;
    match range {
        Some(_) => write!(
            out,
            "HTTP/1.1 206 Partial\r\n{linked}ETag: {etag}\r\nContent-Range: bytes {from}-{}/{said}\r\nContent-Length: {}\r\n\r\n",
            to - 1,
            to - from
        )?,
        None => {
            write!(out, "HTTP/1.1 200 OK\r\n{linked}ETag: {etag}\r\nContent-Length: {}\r\n\r\n", said - from)?
        }
    }
    let (mut at, mut buffer) = (from, vec![0; CHUNK]);
    let started = Instant::now();
    while at < to {
        let mut n = (to - at).min(CHUNK as u64);
        match fault {
            Some(Fault::Cut(after)) if at - from + n > after => n = after.saturating_sub(at - from),
            Some(Fault::Stall(after)) if at - from + n > after => n = after.saturating_sub(at - from),
            _ => {}
        }
        file.fill(at, &mut buffer[..n as usize]);
        out.write_all(&buffer[..n as usize])?;
        served.fetch_add(n, Ordering::Relaxed);
        at += n;
        match fault {
            Some(Fault::Cut(after)) if at - from >= after => return Ok(false),
            Some(Fault::Stall(after)) if at - from >= after => {
                thread::sleep(Duration::from_secs(30));
                return Ok(false);
            }
            _ => {}
        }
        if let Some(rate) = throttle {
            let due = Duration::from_secs_f64((at - from) as f64 / rate as f64);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    Ok(true)
}

/// A hub, and a user whose caches are empty.
pub struct Scene {
    pub hub: Server,
    pub home: TempDir,
    pub tuning: String,
}

impl Scene {
    pub fn new(files: Vec<HubFile>) -> Scene {
        let tuning = "stall=1500 backoff=20 outage=200 part=65536".into();
        Scene { hub: Server::new(files), home: tempfile::tempdir().expect("a temporary folder"), tuning }
    }

    /// With one model of so many bytes.
    pub fn with(size: u64) -> Scene {
        Scene::new(vec![HubFile::text("README.md", "hello"), HubFile::model("m-Q4_K_M.gguf", size, 1)])
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.any(&["pull"]);
        command.args(args);
        command
    }

    /// Also another command than `pull`.
    pub fn any(&self, args: &[&str]) -> Command {
        let mut command = program();
        for name in [
            "QWIP_MODEL",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "HUGGINGFACE_HUB_CACHE",
            "MODELSCOPE_DOMAIN",
        ] {
            command.env_remove(name);
        }
        for name in
            ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "NO_PROXY"]
        {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", self.hub.url()).env("HF_HUB_CACHE", self.cache());
        command
            .env("MODELSCOPE_ENDPOINT", self.hub.url())
            .env("MODELSCOPE_CACHE", self.home.path().join("ms"));
        command.env("HF_HOME", self.home.path().join("hf")).env("QWIP_HUB_TUNING", &self.tuning);
        command.env("QWIP_DATA_DIR", self.home.path().join("data"));
        command.args(args);
        command
    }

    pub fn pull(&self, args: &[&str]) -> Outcome {
        outcome(&mut self.command(args), b"")
    }

    pub fn cache(&self) -> PathBuf {
        self.home.path().join("hub")
    }

    pub fn repo(&self) -> PathBuf {
        self.cache().join("models--o--r")
    }

    pub fn file(&self, at: usize) -> HubFile {
        self.hub.plan(|plan| plan.files[at].clone())
    }
}
