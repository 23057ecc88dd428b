//! `qwip embed`: texts to vectors.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;
use qwip::quant::pooling::Pooling;
use qwip::tokenizer::Special;
use qwip::{EmbedOptions, Embedder};
use qwip_convert::OutputFile;
use serde_json::json;

use crate::args::{ComputeArgs, ModelArgs};
use crate::model_arg::{self, Opened};
use crate::npy::NpyWriter;
use crate::output::{line, note, usage};
use crate::{input, interrupt};

#[derive(Args, Debug)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A text (may be given several times)
    #[arg(short = 'p', long, env = "QWIP_PROMPT", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Vec<String>,
    /// Take the texts from a file, one from each line (`-`: standard input)
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,
    /// How the states of a text's tokens become one vector: none, mean, cls or last [default: as the file says]
    #[arg(long, env = "QWIP_POOLING", value_name = "KIND", value_parser = parse_pooling)]
    pub(crate) pooling: Option<Pooling>,
    /// Keep only the first N elements, for models that were trained for it
    #[arg(long, env = "QWIP_DIMENSIONS", value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// Write the vectors to a NumPy file: float32 [texts, dimensions]
    #[arg(short = 'o', long, env = "QWIP_OUT", value_name = "OUT.npy")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object: model, pooling, dimensions, data
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new(), conflicts_with = "out")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

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

fn parse_pooling(text: &str) -> Result<Pooling, String> {
    let found = Pooling::from_name(text).filter(|pooling| *pooling != Pooling::Rank);
    found.ok_or_else(|| "expected none, mean, cls or last".to_string())
}
