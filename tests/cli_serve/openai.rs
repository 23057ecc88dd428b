//! Chats and texts: answers in one piece, streams, and that they say the same.

use serde_json::{Value, json};

use crate::serving::{Serving, chat};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_chat_is_answered_in_openais_form() {
    let server = Serving::builtin(&["-c", "512"]);
    let answer = server.chat(&json!({"user": "somebody", "store": false}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let object = answer.json();
    assert_eq!(
        keys(&object),
        ["id", "object", "created", "model", "system_fingerprint", "choices", "usage", "timings"]
    );
    assert!(object["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!((&object["object"], &object["model"]), (&json!("chat.completion"), &json!("builtin")));
    let choice = &object["choices"][0];
    assert_eq!(keys(choice), ["index", "message", "logprobs", "finish_reason"]);
    assert_eq!(choice["message"]["role"], "assistant");
    assert!(!choice["message"]["content"].as_str().unwrap().is_empty());
    assert_eq!(choice["logprobs"], Value::Null);
    let usage = &object["usage"];
    let number = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(number("total_tokens"), number("prompt_tokens") + number("completion_tokens"));
    assert!(number("prompt_tokens") > 5 && (1..=24).contains(&number("completion_tokens")));
    assert!(usage["prompt_tokens_details"]["cached_tokens"].is_u64());
    let timings = &object["timings"];
    let prompt = timings["prompt_n"].as_u64().unwrap() + timings["cache_n"].as_u64().unwrap();
    assert_eq!(prompt, number("prompt_tokens"));
    assert!(timings["predicted_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_stream_says_the_same_in_chunks() {
    let server = Serving::builtin(&["-c", "512"]);
    let whole = server.chat(&json!({"seed": 5, "temperature": 0.7})).json();
    let more =
        json!({"seed": 5, "temperature": 0.7, "stream": true, "stream_options": {"include_usage": true}});
    let answer = server.chat(&more);
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let chunks = answer.chunks();
    let id = &chunks[0]["id"];
    for chunk in &chunks {
        assert_eq!((&chunk["object"], &chunk["id"]), (&json!("chat.completion.chunk"), id));
    }
    let first = &chunks[0]["choices"][0];
    assert_eq!(keys(first), ["index", "delta", "logprobs", "finish_reason"]);
    assert_eq!(first["delta"], json!({"role": "assistant", "content": ""}));
    let [.., last, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert!(last["timings"]["predicted_n"].is_u64());
    assert_eq!((&usage["choices"], &last["usage"]), (&json!([]), &Value::Null));
    for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(usage["usage"][name], whole["usage"][name], "{name}");
    }
    let middle = &chunks[1..chunks.len() - 2];
    assert!(middle.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    let text: String = middle.iter().map(|c| c["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    // Not asked for, not there.
    let without = server.chat(&json!({"stream": true})).chunks();
    assert!(without.iter().all(|chunk| chunk.get("usage").is_none() && chunk["choices"] != json!([])));
}

#[test]
fn several_answers_differ_by_their_seeds_and_each_is_as_alone() {
    let server = Serving::builtin(&["-c", "512"]);
    let more = json!({"n": 3, "seed": 40, "temperature": 8, "top_p": 1, "top_k": 0, "max_tokens": 12});
    let object = server.chat(&more).json();
    let texts: Vec<&Value> =
        object["choices"].as_array().unwrap().iter().map(|c| &c["message"]["content"]).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "{texts:?}");
    for (i, text) in texts.iter().enumerate() {
        let alone = server
            .chat(&json!({"seed": 40 + i, "temperature": 8, "top_p": 1, "top_k": 0, "max_tokens": 12}))
            .json();
        assert_eq!(&alone["choices"][0]["message"]["content"], *text);
        assert_eq!(object["choices"][i]["index"], i);
    }
    let mut more = more;
    more["stream"] = json!(true);
    let chunks = server.chat(&more).chunks();
    for (i, text) in texts.iter().enumerate() {
        let mine = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == i);
        let said: String = mine.clone().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(said, text.as_str().unwrap());
        assert_eq!(mine.filter(|choice| choice["finish_reason"].is_string()).count(), 1);
    }
}

#[test]
fn limits_and_stop_texts_end_an_answer() {
    let server = Serving::builtin(&["-c", "512"]);
    let short = server.chat(&json!({"max_completion_tokens": 3, "max_tokens": 9})).json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 3);
    let whole = server.chat(&json!({})).json();
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let (before, stop) = text.split_at(text.char_indices().nth(4).unwrap().0);
    let stop: String = stop.chars().take(3).collect();
    let cut = server.chat(&json!({"stop": [stop, "\u{1}never"]})).json();
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    assert!(cut["choices"][0]["message"]["content"].as_str().unwrap().len() <= before.len());
}

#[test]
fn log_probabilities_come_with_bytes_and_alternatives() {
    let server = Serving::builtin(&["-c", "512"]);
    let more = json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 8});
    let object = server.chat(&more).json();
    let entries = object["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(entries.len() as u64, object["usage"]["completion_tokens"].as_u64().unwrap());
    for entry in &entries {
        assert_eq!(keys(entry), ["token", "logprob", "bytes", "top_logprobs"]);
        let top = entry["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the most probable one was taken.
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&entry["token"], &entry["logprob"]));
        assert!(top[1]["logprob"].as_f64() <= top[0]["logprob"].as_f64());
    }
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry["bytes"].as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8))
        .collect();
    let said = object["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&bytes).starts_with(said.trim_end()), "{said}");
    let mut more = more;
    more["stream"] = json!(true);
    let chunks = server.chat(&more).chunks();
    let streamed: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .collect();
    assert_eq!(streamed, entries.iter().collect::<Vec<_>>());
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}},
                       "required": ["city"], "additionalProperties": false}}})
}

#[test]
fn a_required_call_comes_as_openai_streams_it() {
    let server = Serving::builtin(&["-c", "512"]);
    let more =
        json!({"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 80});
    let object = server.chat(&more).json();
    let choice = &object["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{choice}");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("weather")));
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].is_string());
    let mut more = more;
    more["stream"] = json!(true);
    let chunks = server.chat(&more).chunks();
    let pieces: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    assert!(pieces.iter().all(|piece| piece["index"] == 0), "{pieces:?}");
    assert!(pieces[0]["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!((&pieces[0]["type"], &pieces[0]["function"]["name"]), (&json!("function"), &json!("weather")));
    assert!(
        pieces[1..].iter().all(|piece| piece.get("id").is_none() && piece["function"].get("name").is_none())
    );
    let said: String = pieces.iter().map(|piece| piece["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), arguments);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    // The call and its result go back as OpenAI's clients send them.
    let messages = json!([{"role": "user", "content": "Weather?"}, choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]);
    assert_eq!(server.chat(&json!({"messages": messages, "tools": [tool()]})).status, 200);
}

#[test]
fn an_answer_is_held_to_a_schema() {
    let server = Serving::builtin(&["-c", "512"]);
    let schema = json!({"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}, "n": {"type": "integer",
        "minimum": 0, "maximum": 9}}, "required": ["answer", "n"], "additionalProperties": false});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    let object = server.chat(&json!({"response_format": format, "max_tokens": 60})).json();
    let said = object["choices"][0]["message"]["content"].as_str().unwrap();
    let value: Value = serde_json::from_str(said).unwrap_or_else(|_| panic!("{said}"));
    assert!(value["answer"] == "yes" || value["answer"] == "no");
    assert!(value["n"].as_u64().unwrap() <= 9);
}

#[test]
fn the_second_turn_does_not_read_the_first_again() {
    let server = Serving::builtin(&["-c", "512"]);
    let first = json!({"role": "user", "content": "Count from one to twenty, please, and name a few colours as well."});
    let answer = server.chat(&json!({"messages": [first]})).json();
    let messages = json!([first, answer["choices"][0]["message"], {"role": "user", "content": "Go on."}]);
    let second = server.chat(&json!({"messages": messages})).json();
    assert!(second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 0, "{second}");
}

fn complete(server: &Serving, body: Value) -> Value {
    server.post("/v1/completions", &body).json()
}

#[test]
fn texts_are_echoed_with_the_probabilities_of_their_tokens() {
    let server = Serving::builtin(&["-c", "512"]);
    let object = complete(
        &server,
        json!({"model": "builtin", "prompt": "Hello, how are you?", "echo": true, "logprobs": 1,
        "max_tokens": 1, "temperature": 0}),
    );
    assert_eq!(object["object"], "text_completion");
    let choice = &object["choices"][0];
    let text = choice["text"].as_str().unwrap();
    assert!(text.starts_with("Hello, how are you?") && text.len() > 19, "{text}");
    let logprobs = &choice["logprobs"];
    assert_eq!(keys(logprobs), ["tokens", "token_logprobs", "top_logprobs", "text_offset"]);
    let list = |name: &str| logprobs[name].as_array().unwrap();
    let count = list("tokens").len();
    assert_eq!(count as u64, object["usage"]["prompt_tokens"].as_u64().unwrap() + 1);
    assert!(["token_logprobs", "top_logprobs", "text_offset"].iter().all(|name| list(name).len() == count));
    assert_eq!((&list("token_logprobs")[0], &list("top_logprobs")[0]), (&Value::Null, &Value::Null));
    assert_eq!(list("tokens").iter().map(|token| token.as_str().unwrap()).collect::<String>(), text);
    for (i, logprob) in list("token_logprobs").iter().enumerate().skip(1) {
        let top = list("top_logprobs")[i].as_object().unwrap();
        let best = top.values().map(|x| x.as_f64().unwrap()).fold(f64::NEG_INFINITY, f64::max);
        assert!(logprob.as_f64().unwrap() <= best && best <= 0.0);
    }
    // Without new tokens the same is said about the prompt.
    let alone = complete(
        &server,
        json!({"prompt": "Hello, how are you?", "echo": true, "logprobs": 1, "max_tokens": 0}),
    );
    let alone = &alone["choices"][0];
    assert_eq!((&alone["text"], &alone["finish_reason"]), (&json!("Hello, how are you?"), &json!("length")));
    let until = count - 1;
    assert_eq!(alone["logprobs"]["token_logprobs"].as_array().unwrap()[..], list("token_logprobs")[..until]);
}

#[test]
fn a_text_that_is_measured_has_one_token_more_even_where_the_model_ends() {
    let server = Serving::builtin(&["-c", "512"]);
    // After a whole turn the model ends at once.
    let said = "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    let body = |prompt: &str, more: Value| {
        let mut body = json!({"prompt": prompt, "temperature": 0, "max_tokens": 64});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete(&server, body)
    };
    let answer = body(said, json!({}));
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let whole = format!("{said}{}", answer["choices"][0]["text"].as_str().unwrap());
    let ended = body(&whole, json!({"max_tokens": 1}));
    assert_eq!(ended["usage"]["completion_tokens"], 0, "it does not end here: {ended}");
    let measured = body(&whole, json!({"max_tokens": 1, "echo": true, "logprobs": 1}));
    let logprobs = &measured["choices"][0]["logprobs"];
    let count = measured["usage"]["prompt_tokens"].as_u64().unwrap() as usize + 1;
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[name].as_array().unwrap().len(), count, "{name}");
    }
    assert_eq!(logprobs["tokens"][count - 1], "<|im_end|>");
}

#[test]
fn texts_may_be_many_and_come_as_tokens() {
    let server = Serving::builtin(&["-c", "512"]);
    let tokens = server.post("/tokenize", &json!({"content": "The sky is"})).json()["tokens"].clone();
    let text = server.post("/detokenize", &json!({"tokens": tokens})).json();
    assert_eq!(text["content"], "The sky is");
    let body = |prompt: Value| json!({"prompt": prompt, "temperature": 0, "max_tokens": 6});
    let one = complete(&server, body(json!("The sky is")));
    let same = complete(&server, body(tokens.clone()));
    assert_eq!(one["choices"][0]["text"], same["choices"][0]["text"]);
    let many = complete(&server, body(json!([tokens, "One and one is"])));
    assert_eq!(many["choices"][0]["text"], one["choices"][0]["text"]);
    assert_eq!(many["choices"][1]["index"], 1);
    let mut batch = body(json!(["The sky is", "One and one is"]));
    (batch["n"], batch["stream"]) = (json!(2), json!(true));
    let chunks = server.post("/v1/completions", &batch).chunks();
    for index in 0..4 {
        let mine = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
        let said: String = mine.filter_map(|choice| choice["text"].as_str()).collect();
        assert_eq!(many["choices"][index / 2]["text"], said, "{index}");
    }
}

#[test]
fn nothing_is_changed_by_neighbours() {
    let server = Serving::builtin(&["-c", "512"]);
    let body = |i: u64| chat(&json!({"seed": i, "temperature": 1.0, "max_tokens": 20}));
    let text = |value: &Value| value["choices"][0]["message"]["content"].clone();
    let alone: Vec<Value> =
        (0..6).map(|i| text(&server.post("/v1/chat/completions", &body(i)).json())).collect();
    let server = &server;
    std::thread::scope(|scope| {
        let ask = |i| scope.spawn(move || server.post("/v1/chat/completions", &body(i)).json());
        let together: Vec<_> = (0..6).map(ask).collect();
        for (i, thread) in together.into_iter().enumerate() {
            assert_eq!(text(&thread.join().unwrap()), alone[i], "{i}");
        }
    });
}

#[test]
fn models_are_listed_with_what_is_known_of_them() {
    let server = Serving::builtin(&["-c", "512"]);
    server.chat(&json!({"max_tokens": 1})).json();
    let list = server.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    let model = &list["data"][0];
    assert_eq!(
        (&model["id"], &model["object"], &model["owned_by"]),
        (&json!("builtin"), &json!("model"), &json!("qwip"))
    );
    let meta = &model["meta"];
    assert_eq!(
        (&meta["task"], &meta["loaded"], &meta["context"]),
        (&json!("chat"), &json!(true), &json!(512))
    );
    assert!(meta["parameters"].is_u64() && meta["memory_bytes"].as_u64() >= meta["bytes"].as_u64());
    assert!(meta["thinks"].is_boolean());
    assert_eq!(server.get("/v1/models/builtin").json()["id"], "builtin");
    let theirs = server.request("GET", "/v1/models", &[("anthropic-version", "2023-06-01")], b"").json();
    assert_eq!(theirs["data"][0]["type"], "model");
    assert_eq!(server.get("/v1/models/no/such:one").error(404)["code"], "model_not_found");
}
