//! `qwip eval logits`: the logits themselves, for comparison with other programs.

use anyhow::{Context, bail};
use qwip_convert::OutputFile;

use super::args::LogitsArgs;
use super::text;
use crate::npy::NpyWriter;
use crate::{interrupt, model_arg, output};

pub(super) fn run(args: &LogitsArgs) -> anyhow::Result<()> {
    let source = args.tokens.display().to_string();
    let tokens = text::ids(&args.tokens)?;
    if tokens.is_empty() {
        bail!("{source}: there is no token id in it");
    }
    let model = model_arg::choose(&args.model)?;
    OutputFile::check_beside(&args.out, &[&model, &args.tokens])?;
    let mut compute = args.compute.clone();
    compute.ctx_size = compute.ctx_size.or(Some(tokens.len()));
    let opened = model_arg::Opened::new(&model, &compute)?;
    opened.check_answers()?;
    let mut session = opened.session(None)?;
    let vocab = opened.model.config().vocab;
    let armed = interrupt::arm();
    let out = args.out.display().to_string();
    let mut npy =
        NpyWriter::create(&args.out, tokens.len(), vocab).with_context(|| format!("writing {out}"))?;
    let mut written = Ok(());
    session
        .extend_with_logits(&tokens, interrupt::flag(), &mut |row| {
            if written.is_ok() {
                written = npy.row(row);
                if written.is_err() {
                    interrupt::flag().cancel();
                }
            }
        })
        .or_else(|error| if written.is_err() { Ok(()) } else { Err(error) })?;
    drop(armed);
    written.and_then(|()| npy.finish()).with_context(|| format!("writing {out}"))?;
    output::note(format_args!("{out}: float32 [{}, {vocab}]", tokens.len()));
    Ok(())
}
