//! What clients and web pages must not get through, and in which words they are told.

use serde_json::{Value, json};

use crate::serving::{Serving, chat};

fn message(error: &Value) -> &str {
    error["message"].as_str().expect("text")
}

#[test]
fn bodies_that_are_no_requests() {
    let server = Serving::builtin(&["-c", "128"]);
    let chats = "/v1/chat/completions";
    let post = |body: &[u8]| server.request("POST", chats, &[], body);
    for (body, words) in [
        (&b""[..], "empty"),
        (b"{\"model\": \"builtin\", ", "line 1 column"),
        (b"[1]", "a list, not an object"),
        (b"\"text\"", "text, not an object"),
        (b"\xff\xfe", "not JSON"),
        (b"{\"a\": \"\xff\"}", "not JSON"),
        (b"{} trailing", "trailing"),
    ] {
        let error = post(body).error(400);
        assert_eq!((&error["type"], &error["code"]), (&json!("invalid_request_error"), &Value::Null));
        assert!(message(&error).contains(words), "{error}");
    }
    let deep = format!("{{\"messages\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(message(&post(deep.as_bytes()).error(400)).contains("recursion"));
    // Whatever the header says, JSON is JSON.
    let body = chat(&json!({"max_tokens": 1})).to_string();
    for ty in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        assert_eq!(server.request("POST", chats, &[("content-type", ty)], body.as_bytes()).status, 200);
    }
}

#[test]
fn fields_that_are_wrong_are_named() {
    let server = Serving::builtin(&["-c", "128"]);
    for (more, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages"),
        (json!({"messages": [{"role": 5, "content": "a"}]}), "messages"),
        (json!({"temperature": "warm"}), "temperature"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"top_p": 7}), "top_p"),
        (json!({"n": 1000}), "n"),
        (json!({"max_tokens": "many"}), "max_tokens"),
        (json!({"stream": 1}), "stream"),
        (json!({"stop": {}}), "stop"),
        (json!({"top_logprobs": 50, "logprobs": true}), "top_logprobs"),
        (json!({"logit_bias": {"50": 10}}), "logit_bias"),
        (json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"response_format": {"type": "yaml"}}), "response_format.type"),
    ] {
        let error = server.chat(&more).error(400);
        assert_eq!(error["param"], param, "{more} {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let image = json!([{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]);
    let error = server.chat(&json!({"messages": [{"role": "user", "content": image}]})).error(400);
    assert!(message(&error).contains("image_url") && message(&error).contains("text only"));
    let error = server.post("/v1/completions", &json!({"prompt": "a", "suffix": "b"})).error(400);
    assert!(message(&error).contains("<|fim_prefix|>"), "{error}");
    assert_eq!(server.post("/v1/completions", &json!({"prompt": ""})).error(400)["param"], "prompt");
    assert_eq!(server.post("/v1/completions", &json!({"prompt": [4_000_000]})).error(400)["param"], "prompt");
}

#[test]
fn schemas_that_nothing_can_fulfil_are_refused() {
    let server = Serving::builtin(&["-c", "128"]);
    for schema in [
        json!({"type": "nonsense"}),
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/nowhere"}),
        json!({"$ref": "http://127.0.0.1:1/schema.json"}),
        json!({"type": "integer", "minimum": 5, "maximum": 1}),
        json!(false),
    ] {
        let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
        for stream in [false, true] {
            let error = server.chat(&json!({"response_format": format, "stream": stream})).error(400);
            assert_eq!(error["type"], "invalid_request_error", "{schema} {error}");
        }
    }
}

#[test]
fn prompts_that_are_too_long_are_refused_with_both_numbers() {
    let server = Serving::builtin(&["-c", "128"]);
    let long = "one two three ".repeat(200);
    for stream in [false, true] {
        let messages = json!([{"role": "user", "content": long}]);
        let error = server.chat(&json!({"messages": messages, "stream": stream})).error(400);
        assert_eq!(error["code"], "context_length_exceeded", "{error}");
        let numbers: Vec<u64> = message(&error)
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        assert!(numbers.contains(&128) && numbers.iter().any(|&n| n > 200), "{error}");
    }
    let error = server.post("/v1/completions", &json!({"prompt": long})).error(400);
    assert_eq!(error["code"], "context_length_exceeded", "{error}");
}

#[test]
fn models_routes_and_methods_that_there_are_not() {
    let server = Serving::builtin(&["-c", "128"]);
    for name in ["gpt-4o", "../../etc/passwd", "/etc/passwd", "C:\\x", "Qwen/Qwen3-4B", "builtin\u{0}"] {
        let error = server.chat(&json!({"model": name})).error(404);
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("not_found_error"), &json!("model_not_found")),
            "{name}"
        );
    }
    for name in ["", "default", "builtin:latest"] {
        assert_eq!(server.chat(&json!({"model": name, "max_tokens": 1})).json()["model"], "builtin");
    }
    assert!(message(&server.get("/v1/nothing").error(404)).contains("/v1/nothing"));
    let answer = server.get("/v1/chat/completions");
    assert_eq!(answer.header("allow"), Some("POST"));
    answer.error(405);
    let long = "x".repeat(100_000);
    let error = server.chat(&json!({"model": long})).error(404);
    assert_eq!(message(&error), "the model's name has 100000 bytes, at most 256 are possible");
    assert!(message(&server.get("/v1/models/%FF").error(400)).len() < 200);
    // Others say it in their way.
    let version = [("anthropic-version", "2023-06-01")];
    let theirs = server.request("GET", "/v1/models/gpt-9", &version, b"");
    let value: Value = serde_json::from_slice(&theirs.body).unwrap();
    assert_eq!((theirs.status, &value["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(value["type"], "error");
    for path in ["/api/show", "/api/generate"] {
        assert_eq!(server.post(path, &json!({"model": "gpt-9", "keep_alive": 0})).status, 404, "{path}");
    }
    assert_eq!(server.post("/api/show", &json!({"model": "builtin"})).json()["details"]["family"], "qwen3");
    let theirs = server.post("/v1/messages", &json!([]));
    let theirs: Value = serde_json::from_slice(&theirs.body).unwrap();
    assert_eq!(
        (&theirs["type"], &theirs["error"]["type"]),
        (&json!("error"), &json!("invalid_request_error"))
    );
    assert!(theirs["request_id"].as_str().unwrap().starts_with("req_"));
    let theirs = server.get("/api/nothing");
    assert_eq!(theirs.status, 404);
    assert!(serde_json::from_slice::<Value>(&theirs.body).unwrap()["error"].is_string());
}

#[test]
fn bodies_and_heads_that_are_too_large() {
    let server = Serving::builtin(&["-c", "128"]);
    let huge = vec![b' '; (16 << 20) + 1];
    let error = server.request("POST", "/v1/chat/completions", &[], &huge).error(413);
    let words = message(&error);
    assert!(words.contains("16777217") && words.contains("16777216"), "{words}");
    // Far too much is not even read.
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {}\r\ncontent-length: 99999999999\r\n\r\n",
        server.address
    );
    assert_eq!(server.raw(head.as_bytes()).status, 413);
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert_eq!(server.raw(many.as_bytes()).status, 431);
    let long = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    assert_eq!(server.raw(long.as_bytes()).status, 431);
    // Small, but a hundred times as large in memory.
    let many = format!("{{\"messages\": [{}]}}", vec!["{}"; 2_000_000].join(","));
    let error = server.request("POST", "/v1/chat/completions", &[], many.as_bytes()).error(413);
    assert!(message(&error).contains("268435456"), "{error}");
    assert_eq!(server.raw(b"this is not HTTP\r\n\r\n").status, 400);
    assert_eq!(server.raw(b"GET /health HTTP/1.1\r\n\r\n").status, 400);
}

#[test]
fn web_pages_of_others_get_nothing() {
    let server = Serving::builtin(&["-c", "128"]);
    let status =
        |headers: &[(&str, &str)]| server.request("POST", "/v1/chat/completions", headers, b"{}").status;
    let own = format!("http://{}", server.address);
    assert_eq!(status(&[("origin", &own)]), 400);
    assert_eq!(status(&[("host", "evil.example"), ("origin", "http://evil.example")]), 403);
    let error = server.request("GET", "/health", &[("host", "evil.example:8080")], b"").error(403);
    assert!(message(&error).contains("evil.example") && error["type"] == "permission_error");
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let answer = server.request("POST", "/v1/chat/completions", &[("origin", origin)], b"{}");
        assert!(answer.header("access-control-allow-origin").is_none());
        answer.error(403);
    }
    assert_eq!(status(&[("origin", &own), ("content-type", "text/plain")]), 415);
    let asked = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    assert_eq!(server.request("OPTIONS", "/v1/chat/completions", &asked, b"").status, 403);
}

#[test]
fn keys_hosts_and_origins_that_are_named_are_let_in() {
    let args = [
        "--api-key",
        "one",
        "--api-key",
        "two",
        "--allow-host",
        "qwip.lan",
        "--allow-origin",
        "https://chat.example",
    ];
    let server = Serving::builtin(&args);
    let list = |headers: &[(&str, &str)]| server.request("GET", "/v1/models", headers, b"");
    let error = list(&[]).error(401);
    assert_eq!((&error["type"], &error["code"]), (&json!("authentication_error"), &json!("invalid_api_key")));
    list(&[("authorization", "Bearer three")]).error(401);
    assert_eq!(list(&[("authorization", "Bearer two")]).status, 200);
    assert_eq!(list(&[("x-api-key", "one"), ("host", "qwip.lan:80")]).status, 200);
    // Health and the page need none; what is counted does.
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
    let page = server.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.get("/app.js").header("content-type"), Some("text/javascript; charset=utf-8"));
    server.get("/metrics").error(401);
    server.get("/../Cargo.toml").error(401);
    let origin = ("origin", "https://chat.example");
    let asked = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = server.request("OPTIONS", "/v1/chat/completions", &asked, b"");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://chat.example"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    // The page can read errors, too.
    let refused = list(&[origin]);
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("https://chat.example"))
    );
}

#[test]
fn when_pages_or_the_queue_are_full_clients_are_told_to_come_again() {
    let server = Serving::builtin(&["--parallel", "1", "--queue", "1", "-c", "512"]);
    let busy = std::thread::scope(|scope| {
        let ask = |i: u64| {
            let more = json!({"max_tokens": 200, "ignore_eos": true, "seed": i});
            let server = &server;
            scope.spawn(move || server.chat(&more))
        };
        let all: Vec<_> = (0..8).map(ask).collect();
        let all: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().any(|answer| answer.status == 200));
        all.into_iter().find(|answer| answer.status != 200).expect("one that was refused")
    });
    assert_eq!(busy.header("retry-after"), Some("1"));
    let error = busy.error(503);
    assert_eq!(error["type"], "unavailable_error");
    assert!(message(&error).chars().any(|c| c.is_ascii_digit()), "{error}");
}

#[test]
fn of_too_many_connections_the_last_is_told() {
    let server = Serving::builtin(&[]);
    let held: Vec<std::net::TcpStream> = (0..256).map(|_| server.connect()).collect();
    let refused = server.raw(b"");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(error["error"]["type"], "unavailable_error");
    drop(held);
    let started = std::time::Instant::now();
    while server.get("/health").status != 200 {
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "no room comes back");
    }
}
