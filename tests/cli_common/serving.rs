//! `qwip serve` as a process of its own, and a client that knows just enough HTTP.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this module")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli_common::program;

pub struct Serving {
    pub child: Child,
    /// As `127.0.0.1:1234`.
    pub address: String,
    /// What it writes to standard error after it is ready.
    pub log: Mutex<mpsc::Receiver<String>>,
}

impl Serving {
    /// Serves the built-in model.
    pub fn builtin(args: &[&str]) -> Serving {
        Serving::start(&[&["builtin", "--log", "off"], args].concat())
    }

    /// Starts with these arguments, on a free port, and waits until it is ready.
    pub fn start(args: &[&str]) -> Serving {
        let mut command = program();
        command.args(["serve", "--port", "0", "-t", "2"]).args(args);
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut before = Vec::new();
        let address = loop {
            let line =
                lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("it has ended: {before:?}"));
            match line.strip_prefix("qwip: serving on http://") {
                Some(rest) => break rest.split(' ').next().expect("an address").to_owned(),
                None => before.push(line),
            }
        };
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Serving { child, address, log: Mutex::new(log) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
        stream
    }

    /// Sends bytes as they are, and what comes until the end of the connection.
    pub fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses early may have closed already.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes)
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&self.bytes(method, path, headers, body))
    }

    /// A request; `Host` is ours unless the headers have one.
    pub fn bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// The answer of a chat with one message.
    pub fn chat(&self, more: &Value) -> Answer {
        self.post("/v1/chat/completions", &chat(more))
    }

    /// A value of `/metrics`, over all labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("qwip_")?.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        lines.sum()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request with one message, greedy and short, and further fields.
pub fn chat(more: &Value) -> Value {
    let mut body = json!({"model": "builtin", "temperature": 0, "max_tokens": 24, "reasoning_effort": "none",
        "messages": [{"role": "user", "content": "What is qwip?"}]});
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

/// What a server has answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
        match answer.header("transfer-encoding") {
            Some("chunked") => Answer { body: dechunked(&answer.body), ..answer },
            _ => answer,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// The object of an answer that must have worked.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The error of an answer in OpenAI's form: all four fields, and a header that names the request.
    #[track_caller]
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{self:?}");
        let value: Value = serde_json::from_slice(&self.body).expect("JSON");
        let error = &value["error"];
        let keys: Vec<&String> = error.as_object().expect("an error").keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"]);
        assert!(error["message"].is_string() && !error["message"].as_str().expect("text").contains('\n'));
        error.clone()
    }

    /// The chunks of a stream that ended as it should.
    #[track_caller]
    pub fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(self.header("cache-control"), Some("no-cache"));
        let text = self.text();
        let text = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {text}"));
        let events = text.split_terminator("\n\n").filter(|event| !event.starts_with(':'));
        events
            .map(|event| {
                let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {event}"));
                serde_json::from_str(data).expect("JSON")
            })
            .collect()
    }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|&size| size > 0 && rest.len() >= end + 2 + size) else { break };
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
    body
}
