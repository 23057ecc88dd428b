//! `qwip pull`: a model from a hub into its cache.

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::hub::{self, FetchOptions, Hub, Name};
use crate::output::{line, usage};

#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// The model: OWNER/REPO, and which of its quantizations [default: Q4_K_M, else the first]
    #[arg(value_name = "OWNER/REPO[:QUANT]")]
    pub(crate) name: String,
    /// Where to fetch it from [default: what the name says, else hf]
    #[arg(long, env = "QWIP_SOURCE", value_enum)]
    pub(crate) source: Option<Hub>,
    /// Fetch nothing, only say where it is
    #[arg(long, env = "QWIP_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(crate) offline: bool,
}

/// Prints the path of the model's first file.
pub(crate) fn run(args: &PullArgs) -> anyhow::Result<()> {
    let Some(name) = Name::parse(&args.name) else {
        return Err(usage(format!(
            "'{}' is not the name of a repository: OWNER/REPO[:QUANT] is expected",
            args.name
        )));
    };
    let options = FetchOptions { source: args.source, offline: args.offline, fresh: true };
    line(hub::fetch(&name, &options)?.display())
}
