//! `qwip embed`: texts to vectors.

use std::path::{Path, PathBuf};

use anyhow::Context;
use qwip::quant::pooling::Pooling;
use qwip::tokenizer::Special;
use qwip::{EmbedOptions, Embedder};
use qwip_convert::OutputFile;
use serde_json::json;

use crate::args::EmbedArgs;
use crate::model_arg::{self, Opened};
use crate::npy::NpyWriter;
use crate::output::{line, note, usage};
use crate::{input, interrupt};

pub(crate) fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let texts = texts(&args.prompt, args.file.as_deref(), "text")?;
    let name = model_arg::choose(&args.model)?;
    if let Some(out) = &args.out {
        let inputs: Vec<&Path> = args.file.iter().chain([&name]).map(PathBuf::as_path).collect();
        OutputFile::check_beside(out, &inputs)?;
    }
    let opened = Opened::new(&name, &args.compute)?;
    let tokenizer = opened.tokenizer()?;
    let options = EmbedOptions { pooling: args.pooling, dimensions: args.dimensions };
    let mut embedder = match Embedder::new(opened.session(None)?, &options) {
        Err(error @ qwip::Error::MissingKey { .. }) => Err(error).context(format!(
            "{}: the file does not say how a text becomes one vector; choose with --pooling last, mean, cls or none",
            opened.name
        )),
        result => result.with_context(|| opened.name.clone()),
    }?;
    if embedder.pooling() == Pooling::Last && !tokenizer.add_eos() {
        note(
            "qwip: note: the file does not ask for a token behind each text (tokenizer.ggml.add_eos_token), but models that \
             pool the last one were trained with it",
        );
    }
    let armed = interrupt::arm();
    let mut vectors = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let tokens = tokenizer.encode_sequence(text, Special::Text);
        let vector = embedder.embed(&tokens, interrupt::flag()).with_context(|| format!("text {}", i + 1))?;
        vectors.push((tokens.len(), vector));
    }
    drop(armed);
    let dimensions = embedder.dimensions();
    if let Some(out) = &args.out {
        return write(out, dimensions, &vectors).with_context(|| format!("writing {}", out.display()));
    }
    if args.json {
        let rows = |vector: &[f32]| match embedder.pooling() {
            Pooling::None => json!(vector.chunks(dimensions).collect::<Vec<_>>()),
            _ => json!(vector),
        };
        let data = vectors.iter().enumerate().map(
            |(index, (tokens, vector))| json!({"index": index, "tokens": tokens, "embedding": rows(vector)}),
        );
        let data: Vec<_> = data.collect();
        let pooling = embedder.pooling().name();
        return line(
            json!({"model": opened.name, "pooling": pooling, "dimensions": dimensions, "data": data}),
        );
    }
    for row in vectors.iter().flat_map(|(_, vector)| vector.chunks(dimensions)) {
        line(row.iter().map(f32::to_string).collect::<Vec<_>>().join(" "))?;
    }
    Ok(())
}

/// Texts of the command line, or the lines of a file or of standard input.
pub(crate) fn texts(given: &[String], file: Option<&Path>, what: &str) -> anyhow::Result<Vec<String>> {
    let lines = match file {
        None if !given.is_empty() => return Ok(given.to_vec()),
        Some(path) => input::read(path)?,
        None if input::from_terminal() => String::new(),
        None => input::read_stdin()?,
    };
    let lines: Vec<String> = lines.lines().map(str::to_string).collect();
    match lines.is_empty() {
        false => Ok(lines),
        true => Err(usage(format!(
            "there is no {what}: give one with -p TEXT, or one a line with -f FILE or on standard input"
        ))),
    }
}

fn write(out: &Path, dimensions: usize, vectors: &[(usize, Vec<f32>)]) -> anyhow::Result<()> {
    let rows = vectors.iter().map(|(_, vector)| vector.len() / dimensions).sum();
    let mut npy = NpyWriter::create(out, rows, dimensions)?;
    for row in vectors.iter().flat_map(|(_, vector)| vector.chunks(dimensions)) {
        npy.row(row)?;
    }
    npy.finish()?;
    note(format_args!("{}: float32 [{rows}, {dimensions}]", out.display()));
    Ok(())
}
