//! The command line of `qwip eval`.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};

use crate::args::{ComputeArgs, ModelArgs};

#[derive(Args, Debug)]
pub(crate) struct EvalArgs {
    #[command(subcommand)]
    pub(crate) what: Eval,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Eval {
    /// Perplexity of a text, in chunks of -c tokens [default: 512] as llama.cpp cuts it
    Perplexity(PerplexityArgs),
    /// How far a model is from the one that wrote a base file (perplexity --save-base)
    Kld(KldArgs),
    /// A table of models and how far each is from the first, in chunks of -c tokens [default: 512]
    Compare(CompareArgs),
    /// Write the logits after every token of a list: float32 [n_tokens, n_vocab]
    Logits(LogitsArgs),
}

/// What a model is to read.
#[derive(Args, Debug, Clone)]
pub(crate) struct TextArgs {
    /// The text (`-`: standard input)
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "FILE", conflicts_with = "tokens")]
    pub(crate) file: Option<PathBuf>,
    /// Token ids instead, separated by commas or white space (`-`: standard input)
    #[arg(long, env = "QWIP_TOKENS", value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// Read no more than so many chunks
    #[arg(long, env = "QWIP_CHUNKS", value_name = "N")]
    pub(crate) chunks: Option<usize>,
}

impl TextArgs {
    /// The files that are read.
    pub(crate) fn files(&self) -> Vec<&Path> {
        self.file.iter().chain(&self.tokens).map(PathBuf::as_path).collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) text: TextArgs,
    /// Keep the log-probabilities for `eval kld`, in the layout of llama.cpp's --kl-divergence-base
    #[arg(long, env = "QWIP_SAVE_BASE", value_name = "OUT")]
    pub(crate) save_base: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct KldArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The base file; the tokens are in it, too
    #[arg(long, env = "QWIP_BASE", value_name = "FILE")]
    pub(crate) base: PathBuf,
    /// With -f or --tokens: check that the base file was made of this text
    #[command(flatten)]
    pub(crate) text: TextArgs,
    /// Print one JSON object
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// GGUF files of one model
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// What all are compared with [default: the first]
    #[arg(long, env = "QWIP_BASE_MODEL", value_name = "MODEL")]
    pub(crate) base_model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextArgs,
    /// Draw the divergences over the sizes
    #[arg(long, env = "QWIP_SVG", value_name = "OUT.svg")]
    pub(crate) svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LogitsArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Token ids, separated by commas or white space (`-`: standard input)
    #[arg(long, env = "QWIP_TOKENS", value_name = "FILE")]
    pub(crate) tokens: PathBuf,
    /// The NumPy file to write
    #[arg(short = 'o', long, env = "QWIP_OUT", value_name = "OUT.npy")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
