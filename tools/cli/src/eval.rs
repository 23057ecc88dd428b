//! `qwip eval`: what a model computes, for comparison with other programs.

use anyhow::{Context, bail};
use qwip_convert::OutputFile;

use crate::args::{Eval, EvalArgs, LogitsArgs};
use crate::npy::NpyWriter;
use crate::{input, interrupt, model_arg, output};

pub(crate) fn run(args: EvalArgs) -> anyhow::Result<()> {
    match args.what {
        Eval::Logits(args) => logits(&args),
    }
}

fn logits(args: &LogitsArgs) -> anyhow::Result<()> {
    let source = args.tokens.display().to_string();
    let tokens = parse_tokens(&input::read(&args.tokens)?).with_context(|| source.clone())?;
    if tokens.is_empty() {
        bail!("{source}: there is no token id in it");
    }
    OutputFile::check(&args.out)?;
    let mut compute = args.compute.clone();
    compute.ctx_size = compute.ctx_size.or(Some(tokens.len()));
    let opened = model_arg::Opened::new(&model_arg::choose(&args.model)?, &compute)?;
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

/// Ids separated by commas or white space.
fn parse_tokens(text: &str) -> anyhow::Result<Vec<u32>> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|_| anyhow::anyhow!("'{word}' is not a token id")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas_or_space() {
        assert_eq!(parse_tokens("1,2, 3\n4\t5,\n").unwrap(), [1, 2, 3, 4, 5]);
        assert!(parse_tokens("").unwrap().is_empty());
        assert_eq!(parse_tokens("1 x").unwrap_err().to_string(), "'x' is not a token id");
        assert!(parse_tokens("-1").is_err());
    }
}
