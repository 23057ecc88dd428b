//! `qwip imatrix`: which columns of a model's matrices matter for a text.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::FalseyValueParser;
use qwip::eval::Chunks;
use qwip::quant::imatrix::{Entry, Imatrix};
use qwip::tokenizer::Special;
use qwip::{Model, Session};
use qwip_convert::OutputFile;

use crate::args::{ComputeArgs, ModelArgs};
use crate::output::{self, Ending, usage};
use crate::progress::{Meter, Unit};
use crate::{input, interrupt, model_arg};

/// Tokens of a chunk unless the caller chooses.
const CHUNK: usize = 512;

#[derive(Args, Debug)]
pub(crate) struct ImatrixArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to read; it should be of the kind that the model will meet
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "TEXT")]
    pub(crate) file: PathBuf,
    /// The importance matrix to write
    #[arg(short = 'o', long, env = "QWIP_OUT", value_name = "OUT.gguf")]
    pub(crate) out: PathBuf,
    /// Chunks of the text to read [default: all]
    #[arg(long, env = "QWIP_CHUNKS", value_name = "N")]
    pub(crate) chunks: Option<usize>,
    /// Go on where a stopped run has left off
    #[arg(long, env = "QWIP_RESUME", value_parser = FalseyValueParser::new())]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &ImatrixArgs) -> anyhow::Result<()> {
    let model = model_arg::choose(&args.model)?;
    OutputFile::check_beside(&args.out, &[&model, &args.file])?;
    let mut compute = args.compute.clone();
    let size = *compute.ctx_size.get_or_insert(CHUNK);
    let opened = model_arg::Opened::new(&model, &compute)?;
    let tokenizer = opened.tokenizer()?;
    let tokens = tokenizer.encode(&input::read(&args.file)?, Special::Parse);
    let source = args.file.display().to_string();
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let mut text = Chunks::new(tokens, size).with_context(|| source.clone())?;
    match args.chunks {
        Some(0) => return Err(usage("--chunks 0 leaves nothing to read")),
        Some(most) => text.keep(most),
        None => {}
    }
    let chunks = text.count();
    let mut found = match args.resume {
        true => resumed(&args.out, size, &source, &opened.model)?,
        false => Imatrix { datasets: vec![source.clone()], chunk_size: size as u32, ..Imatrix::default() },
    };
    let done = found.chunks as usize;
    if done >= chunks {
        return output::line(format_args!(
            "{}: {done} chunks, as many as there are to read",
            args.out.display()
        ));
    }
    let mut session = opened.session(Some(size))?;
    session.observe_importance();
    let armed = interrupt::arm();
    let mut meter = Meter::new("reading", (chunks * size) as u64, Unit::Tokens);
    meter.advance((done * size) as u64, "");
    let mut stopped = false;
    for chunk in text.tokens().chunks_exact(size).skip(done) {
        let mut chunk = chunk.to_vec();
        if let Some(bos) = bos {
            chunk[0] = bos;
        }
        session.truncate(0);
        let before = session.importance().cloned();
        match session.extend(&chunk, interrupt::flag(), &mut |_| {}) {
            Ok(()) => {}
            Err(qwip::Error::Cancelled) => {
                // What the chunk added before it was stopped does not count.
                stopped = true;
                add(&mut found, before.as_ref());
                break;
            }
            Err(e) => return Err(e.into()),
        }
        found.chunks += 1;
        meter.advance(size as u64, &format!("chunk {} of {chunks}", found.chunks));
    }
    drop(meter);
    drop(armed);
    if !stopped {
        add(&mut found, session.importance());
    }
    if found.chunks as usize == done {
        return Err(Ending::Interrupted.into());
    }
    let written =
        found.write(OutputFile::create(&args.out)?).map_err(|e| anyhow!("{}: {e}", args.out.display()))?;
    written.finish()?;
    report(&found, &session, args)?;
    if stopped {
        output::note(format_args!(
            "qwip: stopped after {} of {chunks} chunks; --resume goes on",
            found.chunks
        ));
        return Err(Ending::Interrupted.into());
    }
    Ok(())
}

/// What an earlier run has left.
fn resumed(path: &Path, size: usize, source: &str, model: &Model) -> anyhow::Result<Imatrix> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let found = Imatrix::parse(&bytes).map_err(|e| anyhow!("{shown}: {e}"))?;
    if found.chunk_size as usize != size {
        return Err(usage(format!(
            "{shown} has chunks of {} tokens, not of {size}: give -c",
            found.chunk_size
        )));
    }
    if found.datasets != [source] {
        return Err(usage(format!(
            "{shown} comes from {:?}, not from {source:?}",
            found.datasets.join(", ")
        )));
    }
    for (name, entry) in &found.entries {
        let tensor = model.file().tensors().find(|tensor| tensor.info.name == *name);
        let cols = tensor.map_or(0, |tensor| tensor.info.cols() as usize);
        if cols == 0 || entry.sums.len() != cols * entry.counts.len() {
            let found = entry.sums.len() / entry.counts.len().max(1);
            return Err(usage(format!(
                "{shown} is of another model: {name} has {found} columns there and {cols} in this one"
            )));
        }
    }
    Ok(found)
}

fn add(to: &mut Imatrix, seen: Option<&qwip::Importance>) {
    for (name, sums, rows) in seen.into_iter().flat_map(|seen| seen.iter()) {
        let entry = to
            .entries
            .entry(name.to_string())
            .or_insert_with(|| Entry { sums: vec![0.0; sums.len()], counts: vec![0.0; rows.len()] });
        entry.sums.iter_mut().zip(sums).for_each(|(to, more)| *to = (f64::from(*to) + more) as f32);
        entry.counts.iter_mut().zip(rows).for_each(|(to, more)| *to += *more as f32);
    }
}

/// What the matrix covers.
fn report(found: &Imatrix, session: &Session, args: &ImatrixArgs) -> anyhow::Result<()> {
    let columns: usize = found.entries.values().map(|entry| entry.sums.len()).sum();
    let idle = found.entries.values().flat_map(|entry| &entry.sums).filter(|sum| **sum == 0.0).count();
    let experts = found.entries.values().flat_map(|entry| &entry.counts);
    let unused = experts.filter(|count| **count == 0.0).count();
    if unused > 0 {
        output::note(format_args!(
            "qwip: note: {unused} matrices of experts met no token: a longer text helps"
        ));
    }
    output::line(format_args!(
        "{}: {} chunks of {} tokens, {} matrices in {} layers, {columns} columns, {idle} of them never met anything",
        args.out.display(),
        found.chunks,
        found.chunk_size,
        found.entries.len(),
        session.model().config().layers
    ))
}
