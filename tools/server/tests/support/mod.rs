//! What the tests of the server need: a library of small models, and what each text is alone.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of this module")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use qwip::chat::{Message, RenderOptions, Voice};
use qwip::model::Task;
use qwip::{
    Cancel, Cpu, GenerateOptions, Model, ModelFile, SamplingParams, Session, SessionOptions, Tokenizer,
};
use qwip_convert::{Options, convert, file_type};
use qwip_server::engine::{Ask, Event, Failure, Summary};
use qwip_server::library::{Library, Listed, OpenError, Opened};
use qwip_server::models::{Loaded, Models, Settings};
use tokio::sync::mpsc::UnboundedReceiver;

/// The checkpoints of the tests, and the model inside the program.
pub const BUILTIN: &str = "builtin";
pub const HYBRID: &str = "qwen35-tiled";
pub const EMBEDDER: &str = "qwen3-embedding-last";
pub const RERANKER: &str = "qwen3-reranker";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The file of a model; fixtures are converted once.
pub fn file_of(name: &str) -> PathBuf {
    static CONVERTED: OnceLock<tempfile::TempDir> = OnceLock::new();
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    if name == BUILTIN {
        return root().join("tools/builtin/builtin.gguf");
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = CONVERTED.get_or_init(|| tempfile::tempdir().expect("a folder"));
    let out = dir.path().join(format!("{name}.gguf"));
    if !out.exists() {
        let options = Options { reference: true, ..Options::new(file_type("f32").expect("a type")) };
        let from = root().join("tests/fixtures/models").join(name);
        convert(&from, &out, &Options { threads: Some(1), ..options }, &mut ())
            .expect("the fixture converts");
    }
    out
}

/// A library of some of these models.
pub struct Shelf {
    pub names: Vec<&'static str>,
    pub cpu: Cpu,
    pub options: SessionOptions,
    /// How many times a model was opened.
    pub opens: AtomicUsize,
}

impl Shelf {
    pub fn new(names: &[&'static str], context: usize) -> Arc<Shelf> {
        let options = SessionOptions { context, ..SessionOptions::default() };
        Shelf::with(names, options, qwip::cpu(2).expect("threads"))
    }

    pub fn with(names: &[&'static str], options: SessionOptions, cpu: Cpu) -> Arc<Shelf> {
        Arc::new(Shelf { names: names.to_vec(), cpu, options, opens: AtomicUsize::new(0) })
    }

    pub fn opened(&self, name: &str) -> Opened {
        let file = ModelFile::open(&file_of(name), Default::default()).expect("the file opens");
        let file = Arc::new(file);
        let bytes = file.parts()[0].bytes.clone();
        let tokenizer = Tokenizer::from_gguf(file.header(), bytes).expect("a tokenizer");
        let voice = Voice::new(&file, tokenizer).expect("a template");
        let model = Arc::new(Model::load(file).expect("a model"));
        let (of, cpu) = (model.clone(), self.cpu.clone());
        Opened {
            name: name.into(),
            model,
            voice,
            cpu: self.cpu.clone(),
            options: self.options,
            session: Box::new(move |options| Session::new(of.clone(), cpu.clone(), options)),
            device: "cpu".into(),
        }
    }
}

impl Library for Shelf {
    fn list(&self) -> Vec<Listed> {
        let listed = |name: &&'static str| Listed {
            name: (*name).into(),
            bytes: std::fs::metadata(file_of(name)).map_or(0, |meta| meta.len()),
            modified: None,
            architecture: "qwen3".into(),
            parameters: None,
            file_type: None,
            context: None,
            task: Task::Generate,
            digest: (*name).into(),
        };
        self.names.iter().map(listed).collect()
    }

    fn open(&self, name: &str) -> Result<Opened, OpenError> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        let short = name.strip_suffix(":latest").unwrap_or(name);
        match short {
            "broken" => Err(OpenError::Failed("broken.gguf: it is broken".into())),
            short if self.names.contains(&short) => Ok(self.opened(short)),
            _ => Err(OpenError::Unknown(format!("there is no model '{name}'"))),
        }
    }

    fn default_name(&self) -> Option<String> {
        self.names.first().map(|name| (*name).to_owned())
    }
}

/// Runs a test in a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime").block_on(future)
}

pub fn models(shelf: &Arc<Shelf>, settings: Settings) -> Models {
    Models::new(shelf.clone(), settings)
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub text: String,
    pub end: Result<Summary, Failure>,
}

impl Outcome {
    pub fn summary(&self) -> &Summary {
        self.end.as_ref().expect("an answer")
    }
}

pub async fn outcome(mut events: UnboundedReceiver<Event>) -> Outcome {
    let mut text = String::new();
    loop {
        match events.recv().await.expect("an end of the answer") {
            Event::Prompt { .. } => {}
            Event::Piece { text: more, .. } => text.push_str(&more),
            Event::Done(summary) => return Outcome { text, end: Ok(summary) },
            Event::Failed(failure) => return Outcome { text, end: Err(failure) },
        }
    }
}

/// What all of these requests come to, asked for at once.
pub async fn outcomes(loaded: &Loaded, wanted: &[Wanted]) -> Vec<Outcome> {
    let receivers: Vec<_> =
        wanted.iter().map(|wanted| loaded.generate(wanted.ask()).expect("a place")).collect();
    let mut outcomes = Vec::new();
    for events in receivers {
        outcomes.push(outcome(events).await);
    }
    outcomes
}

/// A request that can be made again.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub prompt: Vec<u32>,
    pub sampling: SamplingParams,
    pub options: GenerateOptions,
}

impl Wanted {
    /// Greedy, at most so many tokens, whatever the model says.
    pub fn new(prompt: Vec<u32>, tokens: usize) -> Wanted {
        let options =
            GenerateOptions { max_tokens: Some(tokens), ignore_eos: true, ..GenerateOptions::default() };
        Wanted { prompt, options, sampling: SamplingParams::default() }
    }

    /// Drawn with this temperature and seed.
    pub fn drawn(mut self, temperature: f32, seed: u64) -> Wanted {
        self.sampling =
            SamplingParams { temperature, top_k: 40, top_p: 0.95, seed, ..SamplingParams::default() };
        self
    }

    pub fn ask(&self) -> Ask {
        Ask {
            prompt: self.prompt.clone(),
            sampling: self.sampling.clone(),
            options: self.options.clone(),
            constraint: None,
            prompt_logprobs: None,
        }
    }

    /// The text alone, in a session of its own.
    pub fn alone(&self, opened: &Opened) -> String {
        let mut session = (opened.session)(&opened.options).expect("a session");
        let cancel = Cancel::new();
        session.prompt(&self.prompt, &cancel, &mut |_| {}).expect("a prompt");
        let mut sampler = qwip::Sampler::new(self.sampling.clone());
        let mut text = String::new();
        let sink = &mut |piece: &str| {
            text.push_str(piece);
            std::ops::ControlFlow::Continue(())
        };
        let tokenizer = opened.voice.tokenizer();
        qwip::generate(&mut session, tokenizer, &mut sampler, &self.options, &cancel, sink)
            .expect("an answer");
        text
    }
}

/// The prompt of a conversation with the built-in model: a system message, then user and assistant in turn.
pub fn chat(opened: &Opened, system: &str, turns: &[&str]) -> Vec<u32> {
    let mut messages = vec![Message::system(system)];
    for (i, turn) in turns.iter().enumerate() {
        messages.push(if i % 2 == 0 { Message::user(turn) } else { Message::assistant(turn) });
    }
    opened.voice.prompt(&messages, &[], &RenderOptions::default()).expect("a prompt").tokens
}

/// Some ids of a vocabulary of 320 entries: bytes, no special tokens.
pub fn ids(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + seed * 101 + i * i * 3) % 256).collect()
}

/// Waits until something holds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
