//! Many clients of the worst kind: they go away, send nonsense, read slowly. The server must neither leak nor stumble.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serving::{Serving, chat};

/// Seeded numbers.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n1 = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n2 = (n1 ^ (n1 >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n2 ^ (n2 >> 31)) % n
    }
}

fn body(rng: &mut Rng) -> (&'static str, Value) {
    let tokens = 1 + rng.below(30);
    let words = "some words of a prompt ".repeat(1 + rng.below(8) as usize);
    let text = format!("{} {words}", rng.below(5));
    let messages = json!([{"role": "user", "content": text}]);
    let stream = rng.below(2) == 0;
    match rng.below(6) {
        0 => (
            "/v1/completions",
            json!({"prompt": [text, words], "max_tokens": tokens, "echo": true, "logprobs": 2}),
        ),
        1 => (
            "/v1/messages",
            json!({"model": "builtin", "max_tokens": tokens, "messages": messages, "stream": stream}),
        ),
        2 => (
            "/api/chat",
            json!({"model": "builtin", "messages": messages, "stream": stream, "options": {"num_predict": tokens}}),
        ),
        3 => (
            "/v1/responses",
            json!({"model": "builtin", "input": text, "max_output_tokens": tokens, "stream": stream}),
        ),
        4 => {
            let format = json!({"type": "json_object"});
            (
                "/v1/chat/completions",
                chat(
                    &json!({"messages": messages, "response_format": format, "max_tokens": tokens, "stream": stream}),
                ),
            )
        }
        _ => (
            "/v1/chat/completions",
            chat(
                &json!({"messages": messages, "max_tokens": tokens, "stream": stream, "n": 1 + rng.below(3)}),
            ),
        ),
    }
}

/// One client; whatever it does, the server must have an answer or the client has given up.
fn client(server: &Serving, rng: &mut Rng) -> std::io::Result<()> {
    let (path, value) = body(rng);
    let mut body = value.to_string().into_bytes();
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(100)))?;
    let mut answer = Vec::new();
    match rng.below(10) {
        // In the middle of the body.
        0 => {
            let request = server.bytes("POST", path, &[], &body);
            let part = rng.below(request.len() as u64) as usize;
            stream.write_all(&request[..part])?;
            return Ok(());
        }
        // Before or in the middle of the answer.
        1..=3 => {
            // Most of them ask for what is still being computed then.
            let long = chat(&json!({"max_tokens": 400, "ignore_eos": true, "stream": rng.below(2) == 0}));
            let (path, body) = match rng.below(4) {
                0 => (path, body),
                _ => ("/v1/chat/completions", long.to_string().into_bytes()),
            };
            stream.write_all(&server.bytes("POST", path, &[], &body))?;
            std::thread::sleep(Duration::from_millis(rng.below(60)));
            stream.set_nonblocking(true)?;
            let _ = stream.read(&mut vec![0; 1 + rng.below(400) as usize]);
            return Ok(());
        }
        // Broken JSON.
        4 | 5 => {
            let at = rng.below(body.len() as u64) as usize;
            match rng.below(3) {
                0 => body.truncate(at),
                1 => body[at] = rng.below(256) as u8,
                _ => body.insert(at, b'}'),
            }
            stream.write_all(&server.bytes("POST", path, &[], &body))?;
            stream.read_to_end(&mut answer)?;
        }
        // No HTTP.
        6 => {
            let noise: Vec<u8> = (0..rng.below(300)).map(|_| rng.below(256) as u8).collect();
            stream.write_all(&noise)?;
            return Ok(());
        }
        // A slow reader.
        7 => {
            stream.write_all(&server.bytes("POST", path, &[], &body))?;
            let mut some = [0; 64];
            while stream.read(&mut some)? > 0 && answer.len() < 2000 {
                answer.extend_from_slice(&some);
                std::thread::sleep(Duration::from_millis(rng.below(8)));
            }
        }
        _ => {
            stream.write_all(&server.bytes("POST", path, &[], &body))?;
            stream.read_to_end(&mut answer)?;
        }
    }
    let head = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    let status: u16 =
        head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.parse().ok()).unwrap_or_else(|| panic!("{head}"));
    assert!(
        [200, 400, 404, 503, 529].contains(&status),
        "{status} {path} {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Two that read nothing for a while of an answer that no buffers of sockets hold: one then reads it all, one goes.
fn stalled(server: &Serving) {
    let prompts = vec!["some words of a long prompt ".repeat(60); 40];
    let body = json!({"prompt": prompts, "max_tokens": 1, "echo": true, "logprobs": 20, "stream": true});
    let request = server.bytes("POST", "/v1/completions", &[], body.to_string().as_bytes());
    let ask = || {
        let mut stream = server.connect();
        stream.write_all(&request).expect("a request");
        stream
    };
    let (patient, mut late) = (ask(), ask());
    let started = Instant::now();
    // Both are under way.
    while server.metric("answers_total") < 8.0 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is answered");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(3));
    let mut answer = Vec::new();
    late.read_to_end(&mut answer).expect("an answer");
    assert!(answer.len() > 5_000_000, "{} bytes are none that must wait", answer.len());
    assert!(String::from_utf8_lossy(&answer).contains("data: [DONE]"), "the answer is cut");
    drop(patient);
    settled(server);
}

/// Until nothing is running any more.
fn settled(server: &Serving) {
    let started = Instant::now();
    while server.metric("sequences") + server.metric("waiting") > 0.0 {
        assert!(started.elapsed() < Duration::from_secs(60), "answers go on that nobody waits for");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn storm(requests: u64) {
    let server =
        Serving::builtin(&["-c", "512", "--keep-alive", "2s", "--kv-memory", "32MB", "--queue", "16"]);
    stalled(&server);
    let wave = |from: u64, to: u64| {
        let next = AtomicU64::new(from);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= to {
                            break;
                        }
                        // A connection that breaks is a part of it; a wrong answer is not.
                        let _ = client(&server, &mut Rng(number));
                    }
                });
            }
        });
        settled(&server);
        server.metric("process_anonymous_bytes")
    };
    let middle = wave(0, requests / 2);
    let end = wave(requests / 2, requests);
    assert!(end < middle + 16e6, "memory grows from {middle} to {end} bytes");
    // It was one.
    assert!(server.metric("requests_total") > requests as f64 / 2.0);
    assert!(server.metric("answers_total") > requests as f64 / 4.0);
    assert!(server.metric("requests_aborted_total") > requests as f64 / 20.0);
    assert!(server.metric("kv_used_bytes") <= 32e6);
    // What was kept for next turns goes with the model, and nothing else holds a page.
    let started = Instant::now();
    while server.metric("models_loaded") > 0.0 {
        assert!(started.elapsed() < Duration::from_secs(30), "the model stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.metric("kv_used_bytes"), 0.0);
    let said: Vec<String> = server.log.lock().unwrap().try_iter().collect();
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(server.chat(&json!({"max_tokens": 3})).status, 200);
}

#[test]
fn a_thousand_requests_leave_nothing_behind() {
    storm(1000);
}
