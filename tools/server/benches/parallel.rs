//! Several answers at the same time against one: tokens/s of the engine, without HTTP.
//!
//!     cargo bench -p qwip-server --bench parallel -- MODEL.gguf [THREADS] [TOKENS]
//!
//! Printed for 1, 2, 4 and 8 answers of so many tokens (64): tokens/s of all together and the ratio to one answer of a
//! session alone, which is measured in turn with them; medians of 5 rounds. Then what choosing a token takes, drawn among the
//! top 40 of the whole vocabulary, as a share of a token's time.
#![allow(missing_docs, reason = "a program, not a library")]

use std::sync::Arc;
use std::time::Instant;

use qwip::chat::Voice;
use qwip::{Cancel, GenerateOptions, Model, ModelFile, SamplingParams, Session, SessionOptions, Tokenizer};
use qwip_server::engine::{Ask, Event};
use qwip_server::library::{Library, Listed, OpenError, Opened};
use qwip_server::models::{Models, Settings};

struct One {
    path: std::path::PathBuf,
    threads: usize,
}

impl Library for One {
    fn list(&self) -> Vec<Listed> {
        Vec::new()
    }

    fn open(&self, name: &str) -> Result<Opened, OpenError> {
        let failed = |error: qwip::Error| OpenError::Failed(error.to_string());
        let file = Arc::new(ModelFile::open(&self.path, Default::default()).map_err(failed)?);
        let tokenizer = Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone());
        let voice = Voice::new(&file, tokenizer.map_err(|error| failed(error.into()))?).map_err(failed)?;
        let model = Arc::new(Model::load(file).map_err(failed)?);
        let cpu = qwip::cpu(self.threads).map_err(failed)?;
        let (of, with) = (model.clone(), cpu.clone());
        let options = SessionOptions { context: 2048, ..SessionOptions::default() };
        let session = move |options: &SessionOptions| Session::new(of.clone(), with.clone(), options);
        let (name, session, device) = (name.into(), Box::new(session), "cpu".into());
        Ok(Opened { name, model, voice, cpu, options, session, device })
    }

    fn default_name(&self) -> Option<String> {
        Some("model".into())
    }
}

fn sampling(seed: u64) -> SamplingParams {
    SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, seed, ..SamplingParams::default() }
}

fn options(tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(tokens), ignore_eos: true, ..GenerateOptions::default() }
}

/// Seconds that `n` answers take together, from the first request to the last token.
async fn together(models: &Models, n: usize, tokens: usize) -> f64 {
    let lease = models.get("").await.expect("the model");
    let ask = |i: usize| Ask {
        prompt: (0..16).map(|t| (t * 7 + i as u32 * 31) % 256).collect(),
        sampling: sampling(i as u64),
        options: options(tokens),
        constraint: None,
        prompt_logprobs: None,
    };
    let began = Instant::now();
    let receivers: Vec<_> = (0..n).map(|i| lease.generate(ask(i)).expect("a place")).collect();
    for mut events in receivers {
        while let Some(event) = events.recv().await {
            if let Event::Failed(failure) = event {
                panic!("{failure}");
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    lease.forget();
    seconds
}

/// Seconds of one answer in a session alone, of which so many were for choosing.
fn alone(opened: &Opened, tokens: usize) -> (f64, f64) {
    let mut session = (opened.session)(&opened.options).expect("a session");
    let (cancel, prompt) = (Cancel::new(), (0..16).collect::<Vec<u32>>());
    let mut sampler = qwip::Sampler::new(sampling(1));
    let began = Instant::now();
    session.prompt(&prompt, &cancel, &mut |_| {}).expect("a prompt");
    let mut choosing = 0.0;
    for _ in 0..tokens {
        let chooses = Instant::now();
        let token = sampler.pick(session.logits(), session.tokens(), |_| true).expect("a token");
        choosing += chooses.elapsed().as_secs_f64();
        session.extend(&[token], &cancel, &mut |_| {}).expect("logits");
    }
    (began.elapsed().as_secs_f64(), choosing)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let Some(path) = args.next() else {
        return eprintln!("no model given: cargo bench -p qwip-server --bench parallel -- MODEL.gguf");
    };
    let mut number = |or: usize| args.next().map_or(or, |arg| arg.parse().expect("a number"));
    let (threads, tokens) = (number(0), number(64));
    let library = Arc::new(One { path: path.into(), threads });
    let opened = library.open("alone").expect("the model");
    let models = Models::new(library, Settings { parallel: 8, ..Settings::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime");
    const COUNTS: [usize; 4] = [1, 2, 4, 8];
    let (mut one, mut choosing, mut many) = (Vec::new(), Vec::new(), vec![Vec::new(); COUNTS.len()]);
    for _ in 0..5 {
        let (seconds, chose) = alone(&opened, tokens);
        one.push(seconds);
        choosing.push(chose / seconds);
        for (seconds, n) in many.iter_mut().zip(COUNTS) {
            seconds.push(runtime.block_on(together(&models, n, tokens)));
        }
    }
    let base = tokens as f64 / median(one);
    println!(
        "a session alone: {base:.1} tokens/s, {:.1} % of the time for choosing",
        100.0 * median(choosing)
    );
    for (seconds, n) in many.into_iter().zip(COUNTS) {
        let speed = (n * tokens) as f64 / median(seconds);
        println!("{n} answers: {speed:.1} tokens/s, {:.2} of that", speed / base);
    }
    runtime.block_on(models.shutdown());
}
