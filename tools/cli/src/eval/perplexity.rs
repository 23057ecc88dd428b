//! `qwip eval perplexity`: how well a model predicts a text.

use anyhow::Context;
use qwip::CONTRACT_VERSION;
use qwip::eval::{Chunks, Perplexity, base_file_bytes, perplexity};
use qwip_convert::OutputFile;
use serde_json::json;

use super::args::PerplexityArgs;
use super::text::{self, Shown, Source};
use crate::interrupt;
use crate::model_arg::{self, Opened};
use crate::output::{bytes, line, note};

pub(super) fn run(args: &PerplexityArgs) -> anyhow::Result<()> {
    let source = Source::required(&args.text)?;
    let model = model_arg::choose(&args.model)?;
    if let Some(path) = &args.save_base {
        OutputFile::check_beside(path, &[&model])?;
        OutputFile::check_beside(path, &args.text.files())?;
    }
    let armed = interrupt::arm();
    let opened = Opened::new(&model, &args.compute)?;
    opened.check_answers()?;
    let chunks = text::chunks(source.tokens(&opened)?, &args.text, &args.compute, &opened)?;
    let mut evaluator = text::evaluator(&opened, chunks.length())?;
    let mut out = args.save_base.as_deref().map(OutputFile::create).transpose()?;
    if let Some(path) = &args.save_base {
        let size = u64::try_from(base_file_bytes(&chunks, &evaluator)).unwrap_or(u64::MAX);
        note(format_args!("qwip: note: {} becomes a file of {}", path.display(), bytes(size)));
    }
    let mut shown = Shown::new("perplexity", chunks.evaluated());
    let base = out.as_mut().map(|out| out as &mut dyn std::io::Write);
    let found = perplexity(&mut evaluator, &chunks, base, interrupt::flag(), &mut |at| shown.show(at))
        .with_context(|| match &args.save_base {
            Some(path) => format!("{} to {}", opened.name, path.display()),
            None => opened.name.clone(),
        })?;
    drop(shown);
    if let Some(out) = out {
        out.finish()?;
    }
    drop(armed);
    match args.json {
        true => line(json_of(&opened, &chunks, &found)),
        false => print(&chunks, &found),
    }
}

fn print(chunks: &Chunks, found: &Perplexity) -> anyhow::Result<()> {
    line(format_args!("perplexity  {}", text::figure(found.perplexity, 4)))?;
    line(format_args!("mean NLL    {} nats", text::figure(found.nll, 5)))?;
    line(format_args!(
        "scored      {} of {} tokens, in {} chunks of {}",
        found.scored,
        chunks.tokens().len(),
        chunks.count(),
        chunks.length()
    ))
}

fn json_of(opened: &Opened, chunks: &Chunks, found: &Perplexity) -> serde_json::Value {
    json!({
        "model": opened.name,
        "perplexity": text::json_of_perplexity(found),
        "scored": found.scored,
        "tokens": chunks.tokens().len(),
        "chunks": chunks.count(),
        "n_ctx": chunks.length(),
        "device": opened.device(),
        "contract": CONTRACT_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
    })
}
