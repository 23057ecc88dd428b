//! Embeddings and reranking beside a chat model, in one server.

use serde_json::{Value, json};

use crate::cli_common::{arg, model};
use crate::serving::Serving;

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a vector").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

fn unpacked(text: &str) -> Vec<f32> {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for sign in text.bytes().filter(|&sign| sign != b'=') {
        bits = bits << 6 | SIGNS.iter().position(|&known| known == sign).expect("base64") as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect()
}

#[test]
fn a_chat_an_embedding_and_a_reranking_model_serve_together() {
    let dir = tempfile::tempdir().unwrap();
    let (embeds, judges) =
        (model(dir.path(), "qwen3-embedding-last", "q8_0"), model(dir.path(), "qwen3-reranker", "q8_0"));
    let server = Serving::start(&[
        "builtin",
        arg(&embeds),
        arg(&judges),
        "--log",
        "off",
        "--memory",
        "1GB",
        "--kv-memory",
        "200MB",
    ]);
    let list = server.get("/v1/models").json();
    let tasks: Vec<&Value> =
        list["data"].as_array().unwrap().iter().map(|model| &model["meta"]["task"]).collect();
    assert_eq!(tasks, ["chat", "embedding", "rerank"]);
    let [embeds, judges] = [1, 2].map(|i| list["data"][i]["id"].as_str().unwrap().to_owned());

    // Without a name it is the first model that is made for the task.
    assert_eq!(server.post("/v1/embeddings", &json!({"input": "a"})).json()["model"], json!(embeds));
    let wrong = json!({"model": "builtin", "query": "a", "documents": ["b"]});
    assert_eq!(server.post("/v1/rerank", &wrong).error(400)["param"], "model");

    let embed = |more: Value| {
        let mut body = json!({"model": embeds, "input": ["one text", "another"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/embeddings", &body)
    };
    let object = embed(json!({})).json();
    assert_eq!((&object["object"], &object["model"]), (&json!("list"), &json!(embeds)));
    assert!(object["usage"]["prompt_tokens"].as_u64().unwrap() > 1);
    let vectors: Vec<Vec<f32>> =
        object["data"].as_array().unwrap().iter().map(|entry| floats(&entry["embedding"])).collect();
    for (i, vector) in vectors.iter().enumerate() {
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
        assert_eq!(
            (&object["data"][i]["index"], &object["data"][i]["object"]),
            (&json!(i), &json!("embedding"))
        );
    }
    let packed = embed(json!({"encoding_format": "base64"})).json();
    let packed: Vec<Vec<f32>> = packed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| unpacked(entry["embedding"].as_str().unwrap()))
        .collect();
    assert_eq!(packed, vectors);
    let short = embed(json!({"dimensions": 8})).json();
    assert_eq!(floats(&short["data"][0]["embedding"]).len(), 8);
    assert!(embed(json!({"dimensions": 100_000})).error(400)["message"].as_str().unwrap().contains("100000"));
    assert_eq!(embed(json!({"input": [[1, 2, 3]]})).status, 200);
    assert_eq!(embed(json!({"input": [[1, 99_999_999]]})).error(400)["param"], "input");

    let body = json!({"model": judges, "query": "What is the capital of China?", "return_documents": true,
        "documents": ["Gravity pulls.", {"text": "The capital of China is Beijing."}, "Three."]});
    let object = server.post("/v1/rerank", &body).json();
    let results = object["results"].as_array().unwrap();
    let scores: Vec<f64> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let mut indices: Vec<u64> = results.iter().map(|result| result["index"].as_u64().unwrap()).collect();
    let best = indices[0] as usize;
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
    let text =
        body["documents"][best].as_str().unwrap_or_else(|| body["documents"][best]["text"].as_str().unwrap());
    assert_eq!(results[0]["document"]["text"], text);
    let mut one = body.clone();
    one["top_n"] = json!(1);
    one["return_documents"] = json!(false);
    let first = server.post("/rerank", &one).json();
    assert_eq!(first["results"], json!([{"index": best, "relevance_score": scores[0]}]));

    // Each is told what the others are for.
    let says = |path: &str, body: Value, words: &str| {
        let error = server.post(path, &body).error(400);
        assert_eq!(error["param"], "model");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    };
    let messages = json!([{"role": "user", "content": "Hi"}]);
    says("/v1/embeddings", json!({"model": "builtin", "input": "a"}), "needs an embedding model");
    says("/v1/embeddings", json!({"model": judges, "input": "a"}), "a reranker");
    says("/v1/chat/completions", json!({"model": embeds, "messages": messages}), "/v1/embeddings");
    says("/v1/chat/completions", json!({"model": judges, "messages": messages}), "a reranker");
    says("/v1/completions", json!({"model": embeds, "prompt": "a"}), "/v1/embeddings");
    says("/v1/rerank", json!({"model": embeds, "query": "a", "documents": ["b"]}), "needs a reranker");
    assert_eq!(server.metric("models_loaded"), 3.0);
    assert!(server.metric("texts_total") >= 8.0);
}
