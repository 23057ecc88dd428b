//! docs/openapi.json against the server: the same routes and methods, examples that the server understands, errors of the
//! shapes that it names.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use qwip_server::http::{HttpSettings, run};
use qwip_server::library::{Library, Listed, OpenError, Opened};
use qwip_server::models::{Models, Settings};
use serde_json::Value;

/// There are no models: a request that was understood fails with 404 for its model.
struct Empty;

impl Library for Empty {
    fn list(&self) -> Vec<Listed> {
        Vec::new()
    }

    fn open(&self, name: &str) -> Result<Opened, OpenError> {
        Err(OpenError::Unknown(format!("there is no model '{name}'")))
    }

    fn default_name(&self) -> Option<String> {
        None
    }
}

fn described() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// All methods and paths of the file, and what it says about them.
fn operations(file: &Value) -> Vec<(String, String, &Value)> {
    let paths = file["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (method.clone(), path.clone(), operation))
        })
        .collect()
}

/// The routes that the sources name: `.route("/path", get(..).post(..))`. Those of the page's files have no literal.
fn routes_of_sources(folder: &Path, routes: &mut BTreeSet<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes_of_sources(&path, routes);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split(".route(").skip(1) {
                let Some((route, rest)) =
                    call.trim_start().strip_prefix('"').and_then(|call| call.split_once('"'))
                else {
                    continue;
                };
                let mut depth = 1;
                let inside = rest.split_inclusive(['(', ')']).take_while(|piece| {
                    depth += if piece.ends_with('(') { 1 } else { -1 };
                    depth > 0
                });
                for piece in inside.filter(|piece| piece.ends_with('(')) {
                    let method = piece.trim_end_matches('(').rsplit([',', '.', ' ', ':']).next().unwrap();
                    let known = ["get", "post", "put", "patch", "delete", "any"];
                    assert!(known.contains(&method), "{}: {route}: {method}", path.display());
                    routes.insert((method.to_owned(), route.replace("{*", "{")));
                }
            }
        }
    }
}

#[test]
fn routes_and_file_name_the_same() {
    let file = described();
    let told: BTreeSet<(String, String)> =
        operations(&file).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut routes = BTreeSet::new();
    routes_of_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut routes);
    assert!(routes.len() > 20, "{routes:?}");
    assert_eq!(told, routes);
}

/// A server without models, for as long as `work` runs.
fn with_server(work: impl FnOnce(SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (said, ready) = mpsc::channel();
    let stop = over.clone();
    let server = std::thread::spawn(move || {
        let models = || Models::new(Arc::new(Empty), Settings::default());
        let ready = move |address| said.send(address).unwrap();
        run(listener, models, HttpSettings::default(), || stop.load(Ordering::Relaxed), ready).unwrap();
    });
    work(ready.recv().unwrap());
    over.store(true, Ordering::Relaxed);
    server.join().unwrap();
}

/// Status and body of an answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(address).unwrap();
    let method = method.to_uppercase();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Whether a value has the shape of a schema, by the words that schemas of errors use.
fn fits(file: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(file, file.pointer(name.trim_start_matches('#')).unwrap(), value);
    }
    let required = schema["required"].as_array().into_iter().flatten();
    let kind = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "string" => value.is_string(),
        "null" => value.is_null(),
        other => panic!("a schema of an error has the type {other}"),
    };
    let kinds = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(kind),
        one => kind(one),
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    kinds
        && required.map(|name| name.as_str().unwrap()).all(|name| value.get(name).is_some())
        && (schema["const"].is_null() || schema["const"] == *value)
        && schema["enum"].as_array().is_none_or(|words| words.contains(value))
        && properties
            .into_iter()
            .all(|(name, schema)| value.get(name).is_none_or(|value| fits(file, schema, value)))
}

#[test]
fn examples_are_understood_and_errors_have_the_named_shapes() {
    let file = described();
    with_server(|address| {
        for (method, path, operation) in operations(&file) {
            let what = format!("{method} {path}");
            let known = path.replace("{digest}", "sha256:0").replace("{id}", "owner/name:Q4_K_M");
            let request = &operation["requestBody"]["content"]["application/json"];
            let example = Some(&request["example"]).filter(|example| !example.is_null());
            assert_eq!(example.is_some(), !operation["requestBody"].is_null(), "{what} has no example");
            let (status, body) = ask(address, &method, &known, example);
            let told = &operation["responses"][status.to_string()];
            assert!(!told.is_null(), "{what} answers with {status}, which the file does not tell: {body}");
            let names_model = path.contains("{id}") || request["schema"]["$ref"].is_string();
            assert_eq!(status == 404, names_model, "{what}: {status} {body}");
            if status >= 400 {
                let body: Value = serde_json::from_str(&body).unwrap();
                let schema = &told["content"]["application/json"]["schema"];
                assert!(fits(&file, schema, &body), "{what}: {body} is no {schema}");
            }
            if example.is_some() {
                let wrong = serde_json::json!({"model": 1});
                let (status, body) = ask(address, &method, &known, Some(&wrong));
                assert_eq!(status, 400, "{what}: {body}");
                let body: Value = serde_json::from_str(&body).unwrap();
                assert!(fits(
                    &file,
                    &operation["responses"]["400"]["content"]["application/json"]["schema"],
                    &body
                ));
            }
        }
    });
}
