//! `qwip pull`: a model from a hub into its cache.

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::catalog::{self, last};
use crate::hub::{self, FetchOptions, Hub};
use crate::output::{line, usage};

const AFTER_HELP: &str = "\
A stopped download goes on where it was when the same command is given again. Files go into the caches that the hubs'
own tools use, and what those have fetched is found.

HF_ENDPOINT and MODELSCOPE_ENDPOINT name mirrors; HF_TOKEN, HF_TOKEN_PATH or HF_HOME hold your token, which is shown to
huggingface.co alone; HF_HUB_CACHE, HF_HOME and MODELSCOPE_CACHE say where models are kept; HF_HUB_OFFLINE=1 is
--offline; HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are respected.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PullArgs {
    /// The model: a short name such as qwen3:4b, or OWNER/REPO, and which of its quantizations [default: Q4_K_M, else the first]
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
    let name = match catalog::wanted(&args.name) {
        Some(Ok(name)) => name,
        Some(Err(unknown)) => bail!(unknown),
        None => {
            return Err(usage(format!(
                "'{}' is not the name of a repository: OWNER/REPO[:QUANT] is expected",
                args.name
            )));
        }
    };
    let options = FetchOptions { source: args.source, offline: args.offline, fresh: true };
    let path = hub::fetch(&name, &options)?;
    if !args.offline {
        last::remember(&match args.source.or(name.hub) {
            Some(Hub::ModelScope) => format!("modelscope/{name}"),
            _ => name.to_string(),
        });
    }
    line(path.display())
}
