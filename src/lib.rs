//! qwip runs Qwen models from GGUF files on the device: the runtime library.
//!
//! | module | what it holds |
//! |---|---|
//! | [`file`](mod@file) | a model file in memory: mapped, read, embedded or lent by the host |
//! | [`model`] | hyper-parameters, weights, one straight-line forward pass per architecture |
//! | [`backend`] | the verbs that forward passes are written in, and their CPU implementation |
//! | [`kv`] | pages of keys and values, and a limit on them |
//! | [`session`] | one sequence on one model: prompt, continue, roll back, fork, cancel, save and restore; several in one pass |
//! | [`estimate`] | what a session takes of memory, before it is taken |
//! | [`constrain`] | answers held to a form |
//! | [`sample`] | choosing the next token |
//! | [`generate`](mod@generate) | from logits to streamed text |
//! | [`tokenizer`] | text to token ids and back |
//! | [`embed`](mod@embed) | texts to vectors |
//! | [`rerank`] | how well documents answer a query |
//! | [`eval`] | perplexity, and how far a model is from a base model |
//! | [`chat`] | prompts from a model's own template; thinking, text and calls of tools told apart |
//!
//! The library never prints, never opens a socket, never exits the process.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path, sync::Arc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = Arc::new(qwip::ModelFile::open(Path::new("model.gguf"), Default::default())?);
//! let tokenizer = qwip::Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone())?;
//! let model = Arc::new(qwip::Model::load(file)?);
//! let mut session = qwip::Session::new(model, qwip::cpu(0)?, &Default::default())?;
//! let cancel = qwip::Cancel::new();
//! let prompt = tokenizer.encode("The sky is", qwip::tokenizer::Special::Text);
//! session.prompt(&prompt, &cancel, &mut |_| {})?;
//! let mut sampler = qwip::Sampler::new(Default::default());
//! let options = qwip::GenerateOptions { max_tokens: Some(32), ..Default::default() };
//! qwip::generate(&mut session, &tokenizer, &mut sampler, &options, &cancel, &mut |text| {
//!     print!("{text}");
//!     ControlFlow::Continue(())
//! })?;
//! # Ok(())
//! # }
//! ```

pub mod backend;
pub mod chat;
pub mod constrain;
pub mod embed;
mod error;
pub mod estimate;
pub mod eval;
pub mod file;
pub mod generate;
pub mod kv;
pub mod model;
pub mod rerank;
pub mod sample;
pub mod session;
pub mod tokenizer;

pub use backend::{Importance, VerbTimes};
pub use embed::{EmbedOptions, Embedder};
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use file::{ModelFile, OpenOptions};
pub use generate::{CLOSING_WORDS, FinishReason, GenerateOptions, Generated, Generation, Next, generate};
pub use kv::{CacheTypes, Charge, KvBudget, KvType};
pub use model::Model;
pub use qwip_cpu::fpenv::IeeeDefaults;
pub use qwip_cpu::ops::Cpu;
pub use qwip_cpu::pool::{pin_this_thread, usable_cores};
pub use qwip_cpu::{CONTRACT_VERSION, Isa, Kernels, self_test::self_test};
pub use qwip_quant as quant;
pub use rerank::{Reranker, Score};
pub use sample::{Sampler, SamplingParams};
pub use session::{Cancel, Session, SessionOptions, Together, Turn};
pub use tokenizer::Tokenizer;

/// The CPU with its best kernels (or those that `QWIP_ISA` names) and a pool of `threads` threads; 0 takes
/// as many as the process may use cores.
///
/// # Errors
/// [`Error::Isa`] if `QWIP_ISA` names a kernel set that does not exist or cannot run here;
/// [`Error::Threads`] if the system refuses to start the threads.
pub fn cpu(threads: usize) -> Result<Cpu> {
    cpu_with(Kernels::detect()?, threads)
}

/// The CPU with the given kernels and a pool of `threads` threads; 0 takes as many as the process may use cores.
///
/// # Errors
/// [`Error::Threads`] if the system refuses to start them.
pub fn cpu_with(kernels: &'static Kernels, threads: usize) -> Result<Cpu> {
    let pool = qwip_cpu::Pool::new(threads).map_err(|source| Error::Threads { threads, source })?;
    Ok(Cpu { kernels, pool: std::sync::Arc::new(pool) })
}

/// As [`cpu`], with threads that run on the given logical processors only, each on all of them; 0 threads are as many as
/// there are of them. The thread that computes is one of the threads and the host's own: it runs where it did
/// ([`pin_this_thread`] changes that). No bit depends on it.
///
/// # Errors
/// As [`cpu`]; [`Error::Threads`] also if `cores` is empty, names a logical processor that does not exist or that the
/// process may not use, and elsewhere than on Linux and Android.
pub fn cpu_pinned(threads: usize, cores: &[usize]) -> Result<Cpu> {
    let kernels = Kernels::detect()?;
    let pool = qwip_cpu::Pool::pinned(threads, cores).map_err(|source| Error::Threads { threads, source })?;
    Ok(Cpu { kernels, pool: std::sync::Arc::new(pool) })
}
