//! `qwip eval kld`: how far a model is from the one that wrote a base file.

use anyhow::Context;
use qwip::CONTRACT_VERSION;
use qwip::eval::{BaseReader, Divergence, EvalError, kld};
use serde_json::{Value, json};

use super::args::KldArgs;
use super::text::{self, Shown, Source};
use crate::interrupt;
use crate::model_arg::{self, Opened};
use crate::output::line;

pub(super) fn run(args: &KldArgs) -> anyhow::Result<()> {
    let named = || args.base.display().to_string();
    let source = Source::read(&args.text)?;
    let armed = interrupt::arm();
    let mut base = BaseReader::open(&args.base).with_context(named)?;
    let opened = Opened::new(&model_arg::choose(&args.model)?, &args.compute)?;
    opened.check_answers()?;
    let length = base.chunks().length();
    if args.compute.ctx_size.is_some() {
        let asked = text::chunk_length(&args.compute, &opened);
        if asked != length {
            return Err(qwip::Error::from(EvalError::BaseChunkLength { base: length, asked }))
                .with_context(named);
        }
    }
    if let Some(source) = source {
        base.check_text(&source.tokens(&opened)?).with_context(named)?;
    }
    text::keep(&args.text, |most| base.keep(most))?;
    let mut evaluator = text::evaluator(&opened, length)?;
    let mut shown = Shown::new("divergence", base.chunks().evaluated());
    let found = kld(&mut evaluator, &mut base, interrupt::flag(), &mut |at| shown.show(at))
        .with_context(|| format!("{} and {}", opened.name, named()))?;
    drop(shown);
    drop(armed);
    match args.json {
        true => {
            let mut object = json_of(&found);
            object["model"] = json!(opened.name);
            object["base_file"] = json!(named());
            object["n_ctx"] = json!(length);
            object["chunks"] = json!(base.chunks().count());
            object["device"] = json!(opened.device());
            object["contract"] = json!(CONTRACT_VERSION);
            object["version"] = json!(env!("CARGO_PKG_VERSION"));
            line(object)
        }
        false => print(&found),
    }
}

const PERCENTILES: [&str; 4] = ["90", "95", "99", "99.9"];

fn print(found: &Divergence) -> anyhow::Result<()> {
    let row = |name: &str, figure: String| line(format_args!("{name:<18}  {figure}"));
    row("positions", found.model.scored.to_string())?;
    row("PPL", text::figure(found.model.perplexity, 4))?;
    row("PPL of the base", text::figure(found.base.perplexity, 4))?;
    row("ln(PPL / base PPL)", text::figure(found.log_ratio, 6))?;
    row("KLD mean", text::figure(found.mean, 6))?;
    row("KLD median", format!("{:.6}", found.median))?;
    for (name, value) in PERCENTILES.iter().zip(found.percentiles) {
        row(&format!("KLD {name} %"), format!("{value:.6}"))?;
    }
    row("KLD max", format!("{:.6}", found.max))?;
    row("same top token", text::percent(found.same_top, 3))?;
    row("delta p mean", text::percent(found.delta_p, 3))?;
    row("delta p RMS", text::percent(found.delta_p_rms, 3))
}

/// A divergence in JSON; the models are not in it.
pub(super) fn json_of(found: &Divergence) -> Value {
    let mut kld = text::json_of(found.mean);
    kld["median"] = json!(found.median);
    for (name, value) in PERCENTILES.iter().zip(found.percentiles) {
        kld[format!("p{name}")] = json!(value);
    }
    kld["max"] = json!(found.max);
    json!({
        "perplexity": text::json_of_perplexity(&found.model),
        "base_perplexity": text::json_of_perplexity(&found.base),
        "ln_ratio": text::json_of(found.log_ratio),
        "kld": kld,
        "same_top": text::json_of(found.same_top),
        "delta_p": text::json_of(found.delta_p),
        "delta_p_rms": text::json_of(found.delta_p_rms),
        "scored": found.model.scored,
    })
}
