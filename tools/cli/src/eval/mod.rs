//! `qwip eval`: what a model computes, against a text, against another model, or as it is.

mod args;
mod compare;
mod kld;
mod logits;
mod perplexity;
mod svg;
mod text;

use args::Eval;
pub(crate) use args::EvalArgs;

pub(crate) fn run(args: EvalArgs) -> anyhow::Result<()> {
    match args.what {
        Eval::Perplexity(args) => perplexity::run(&args),
        Eval::Kld(args) => kld::run(&args),
        Eval::Compare(args) => compare::run(&args),
        Eval::Logits(args) => logits::run(&args),
    }
}
