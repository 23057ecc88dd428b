//! The process: how it starts, ends and is seen.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli_common::{outcome, program, qwip};
use crate::serving::{Serving, chat};

#[test]
fn wrong_calls_are_told_before_anything_is_served() {
    let line = qwip(&["serve", "builtin", "--host", "0.0.0.0"]).fails(2);
    assert!(line.contains("--api-key") && line.contains("--no-auth"), "{line}");
    qwip(&["serve", "builtin", "--api-key", "a b"]).fails(2);
    qwip(&["serve", "builtin", "--parallel", "0"]).fails(2);
    qwip(&["serve", "builtin", "--kv-memory", "lots"]).fails(2);
    qwip(&["serve", "builtin", "--keep-alive", "soon"]).fails(2);
    qwip(&["serve", "builtin", "builtin", "--port", "0"]).fails(2);
    assert!(qwip(&["serve", "no-such-model.gguf"]).fails(1).contains("no-such-model.gguf"));
    let both = outcome(program().args(["serve", "--no-auth"]).env("QWIP_API_KEY", "k"), b"").fails(2);
    assert!(both.contains("QWIP_API_KEY"), "{both}");
}

#[test]
fn a_port_that_is_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let line = qwip(&["serve", "builtin", "--port", &port]).fails(1);
    assert!(line.contains(&format!("port {port} is in use")), "{line}");
}

#[test]
fn requests_are_logged_without_their_text() {
    let server = Serving::start(&["builtin", "--log", "json"]);
    let messages = json!([{"role": "user", "content": "a secret of mine"}]);
    let answer = server.chat(&json!({"messages": messages, "max_tokens": 2}));
    let id = answer.header("x-request-id").expect("a name").to_owned();
    let unload = json!({"model": "a third secret", "keep_alive": 0});
    assert_eq!(server.post("/api/generate", &unload).status, 404);
    server.chat(&json!({"model": "another secret", "messages": messages})).error(404);
    let mut lines = Vec::new();
    let found = loop {
        let line = server.log.lock().unwrap().recv_timeout(Duration::from_secs(20)).expect("a line");
        assert!(!line.contains("secret"), "{line}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        lines.push(value);
        if let Some(found) = lines.iter().find(|line| line["fields"]["status"] == 404) {
            assert_eq!(found["fields"]["failure"], "UnknownModel");
            break lines.iter().find(|line| line["fields"]["id"] == *id).expect("the first request").clone();
        }
    };
    let fields = &found["fields"];
    assert_eq!((&fields["route"], &fields["status"]), (&json!("/v1/chat/completions"), &json!(200)));
    assert_eq!((&fields["model"], &fields["answer_tokens"]), (&json!("builtin"), &json!(2)));
    assert!(fields["ms"].is_u64() && fields["prompt_tokens"].as_u64().is_some_and(|n| n > 3));
}

#[test]
fn a_model_goes_when_its_time_is_over_and_comes_back() {
    let server = Serving::builtin(&["--keep-alive", "300ms"]);
    assert_eq!(server.metric("models_loaded"), 0.0);
    server.chat(&json!({"max_tokens": 2})).json();
    assert_eq!(server.metric("model_loads_total"), 1.0);
    let started = Instant::now();
    while server.metric("models_loaded") > 0.0 {
        assert!(started.elapsed() < Duration::from_secs(20), "it stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.metric("kv_used_bytes"), 0.0);
    server.chat(&json!({"max_tokens": 2})).json();
    assert_eq!(server.metric("model_loads_total"), 2.0);
}

#[test]
fn ps_shows_a_server_and_stop_ends_it() {
    let mut server = Serving::builtin(&[]);
    let pid = server.child.id();
    let mine = || -> Vec<Value> {
        let all: Value = serde_json::from_str(&qwip(&["ps", "--json"]).ok()).unwrap();
        all.as_array().unwrap().iter().filter(|process| process["pid"] == pid).cloned().collect()
    };
    let rows = mine();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["command"], &rows[0]["model"]),
        (&json!("serve"), &json!(format!("http://{}", server.address)))
    );
    server.chat(&json!({"max_tokens": 2})).json();
    let rows = mine();
    assert_eq!((rows.len(), &rows[0]["model"]), (1, &json!("builtin")));
    qwip(&["stop", &pid.to_string()]).ok();
    assert!(server.child.wait().is_ok());
    assert!(mine().is_empty());
}

#[test]
fn a_client_that_goes_ends_its_answer() {
    let server = Serving::builtin(&["-c", "4096"]);
    for stream in [true, false] {
        let before = server.metric("answers_total");
        let body = chat(&json!({"max_tokens": 4000, "ignore_eos": true, "stream": stream})).to_string();
        let mut connection = server.connect();
        connection.write_all(&server.bytes("POST", "/v1/chat/completions", &[], body.as_bytes())).unwrap();
        let started = Instant::now();
        while server.metric("sequences") < 1.0 {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not begin");
        }
        if stream {
            connection.read_exact(&mut [0; 300]).unwrap();
        }
        drop(connection);
        while server.metric("sequences") > 0.0 || server.metric("answers_total") == before {
            assert!(started.elapsed() < Duration::from_secs(30), "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(server.metric("requests_aborted_total") >= 2.0);
}

/// Ctrl-C is `-INT`, and what supervisors send `-TERM`.
#[cfg(unix)]
fn send(signal: &str, server: &Serving) {
    let sent = std::process::Command::new("kill").args([signal, &server.child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

#[cfg(unix)]
#[test]
fn signals_let_answers_end_and_the_server_exits_well() {
    for signal in ["-INT", "-TERM"] {
        let mut server = Serving::builtin(&[]);
        let body = chat(&json!({"max_tokens": 60, "ignore_eos": true, "stream": true})).to_string();
        let mut connection = server.connect();
        connection.write_all(&server.bytes("POST", "/v1/chat/completions", &[], body.as_bytes())).unwrap();
        let mut text = vec![0; 200];
        connection.read_exact(&mut text).unwrap();
        send(signal, &server);
        connection.read_to_end(&mut text).unwrap();
        assert!(String::from_utf8_lossy(&text).contains("data: [DONE]"), "{signal}");
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
    // One that would never end is broken off.
    let mut server = Serving::builtin(&["-c", "32768"]);
    let body = chat(&json!({"max_tokens": 32000, "ignore_eos": true, "stream": true})).to_string();
    let mut connection = server.connect();
    connection.write_all(&server.bytes("POST", "/v1/chat/completions", &[], body.as_bytes())).unwrap();
    connection.read_exact(&mut [0; 200]).unwrap();
    let started = Instant::now();
    send("-INT", &server);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}
