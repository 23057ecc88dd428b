//! `qwip eval compare`: several files of one model, and how far each is from the base.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use qwip::CONTRACT_VERSION;
use qwip::eval::{Comparison, EvalError, compare};
use qwip_convert::OutputFile;
use serde_json::{Value, json};

use super::args::CompareArgs;
use super::kld;
use super::svg::{self, Point};
use super::text::{self, Shown, Source};
use crate::interrupt;
use crate::model_arg::Opened;
use crate::output::{bytes, line, usage};

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let names: Vec<&PathBuf> = args.base_model.iter().chain(&args.models).collect();
    if names.len() < 2 {
        return Err(usage(
            "there is nothing to compare with: give two models or more, or --base-model MODEL",
        ));
    }
    let source = Source::required(&args.text)?;
    if let Some(path) = &args.svg {
        let inputs: Vec<&Path> = args.models.iter().chain(&args.base_model).map(PathBuf::as_path).collect();
        OutputFile::check_beside(path, &inputs)?;
        OutputFile::check_beside(path, &args.text.files())?;
    }
    let armed = interrupt::arm();
    let mut opened: Vec<Opened> = Vec::new();
    for name in names {
        let mut model = Opened::new(name, &args.compute)?;
        model.check_answers()?;
        if let Some(first) = opened.first() {
            // One pool of threads for all.
            model.cpu = first.cpu.clone();
        }
        opened.push(model);
    }
    let [base, others @ ..] = opened.as_slice() else { bail!("no model") };
    let tokens = source.tokens(base)?;
    for other in others {
        same_vocabulary(base, other)?;
        same_tokens(base, &tokens, other, &source.tokens(other)?)?;
    }
    let chunks = text::chunks(tokens, &args.text, &args.compute, base)?;
    let mut evaluator = text::evaluator(base, chunks.length())?;
    let mut evaluators = others
        .iter()
        .map(|other| text::evaluator(other, chunks.length()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut shown = Shown::new("comparison", chunks.evaluated() * opened.len());
    let progress = &mut |at| shown.show(at);
    let found = compare(&mut evaluator, &mut evaluators, &chunks, interrupt::flag(), progress)?;
    drop(shown);
    drop(armed);
    match args.json {
        true => {
            let mut object = json_of(&opened, &found);
            object["n_ctx"] = json!(chunks.length());
            object["chunks"] = json!(chunks.count());
            object["contract"] = json!(CONTRACT_VERSION);
            object["version"] = json!(env!("CARGO_PKG_VERSION"));
            line(object)?;
        }
        false => table(&opened, &found)?,
    }
    if let Some(path) = &args.svg {
        let points: Vec<Point> = others
            .iter()
            .zip(&found.models)
            .map(|(other, divergence)| Point {
                label: label(&other.name),
                bytes: other.model.file().len() as f64,
                kld: divergence.mean.value,
            })
            .collect();
        svg::write(path, &label(&base.name), &points)?;
    }
    Ok(())
}

fn same_vocabulary(base: &Opened, other: &Opened) -> anyhow::Result<()> {
    let size = |opened: &Opened| opened.model.config().vocab;
    if size(base) == size(other) {
        return Ok(());
    }
    let error = EvalError::Vocabulary { base: size(base), model: size(other) };
    Err(qwip::Error::from(error)).with_context(|| format!("{} and {}", base.name, other.name))
}

/// The figures mean something only where all models read the same tokens.
fn same_tokens(base: &Opened, want: &[u32], other: &Opened, found: &[u32]) -> anyhow::Result<()> {
    if found == want {
        return Ok(());
    }
    let place = found.iter().zip(want).take_while(|(a, b)| a == b).count();
    let named = |tokens: &[u32]| tokens.get(place).map_or("missing".to_string(), u32::to_string);
    bail!(
        "{} has another tokenizer than {}: token {place} of the text is {} instead of {}",
        other.name,
        base.name,
        named(found),
        named(want)
    )
}

/// The file's name without folder and ending.
fn label(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".gguf").unwrap_or(file).to_string()
}

/// Bits of tensor data for each weight.
fn bits(opened: &Opened) -> f64 {
    let (mut data, mut weights) = (0.0, 0.0);
    for tensor in opened.model.file().tensors() {
        data += 8.0 * tensor.info.len as f64;
        weights += tensor.info.dims.iter().map(|&d| d as f64).product::<f64>();
    }
    data / weights
}

fn table(opened: &[Opened], found: &Comparison) -> anyhow::Result<()> {
    line("| model | size | bits a weight | PPL | mean KLD | 99 % KLD | same top token |")?;
    line("|---|--:|--:|--:|--:|--:|--:|")?;
    let row = |opened: &Opened, ppl: String, rest: [String; 3]| {
        let (name, size) = (opened.name.replace('|', "\\|"), bytes(opened.model.file().len()));
        line(format_args!("| {name} | {size} | {:.2} | {ppl} | {} |", bits(opened), rest.join(" | ")))
    };
    row(&opened[0], text::figure(found.base.perplexity, 4), ["base".into(), String::new(), String::new()])?;
    for (opened, divergence) in opened[1..].iter().zip(&found.models) {
        let rest = [
            text::figure(divergence.mean, 6),
            format!("{:.6}", divergence.percentiles[2]),
            text::percent(divergence.same_top, 2),
        ];
        row(opened, text::figure(divergence.model.perplexity, 4), rest)?;
    }
    line("")?;
    line(format_args!("{} positions; KLD in nats, ± is the standard error.", found.base.scored))
}

fn json_of(opened: &[Opened], found: &Comparison) -> Value {
    let about = |opened: &Opened, object: &mut Value| {
        object["model"] = json!(opened.name);
        object["file_bytes"] = json!(opened.model.file().len());
        object["bits_per_weight"] = json!(bits(opened));
        object["device"] = json!(opened.device());
    };
    let mut base = json!({"perplexity": text::json_of_perplexity(&found.base), "scored": found.base.scored});
    about(&opened[0], &mut base);
    let models = opened[1..].iter().zip(&found.models).map(|(opened, divergence)| {
        let mut object = kld::json_of(divergence);
        about(opened, &mut object);
        object
    });
    json!({"models": models.collect::<Vec<_>>(), "base": base})
}
