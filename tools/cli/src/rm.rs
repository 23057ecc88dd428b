//! `qwip rm`: removes models from the caches of the hubs.

use std::io::BufRead;
use std::path::Path;

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::catalog::hubs::{self, Held};
use crate::catalog::{self, remove};
use crate::hub::{Name, quant_of};
use crate::output::{self, bytes, line};
use crate::{input, running};

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Names as `list` shows them: OWNER/REPO:QUANT, modelscope/OWNER/REPO:QUANT, or a short name
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<String>,
    /// Do not ask
    #[arg(short = 'y', long, env = "QWIP_YES", value_parser = FalseyValueParser::new())]
    pub(crate) yes: bool,
}

pub(crate) fn run(args: &RmArgs) -> anyhow::Result<()> {
    let mut held = hubs::held();
    let mut meant: Vec<Held> = Vec::new();
    for text in &args.models {
        // Given twice, it is removed once.
        if meant.iter().any(|model| model.name == *text) {
            continue;
        }
        let at = find(&held, text)?;
        meant.push(held.swap_remove(at));
    }
    for process in running::processes() {
        let used = |model: &&Held| model.all.iter().any(|file| process.uses(&file.path));
        if let Some(model) = meant.iter().find(used) {
            bail!(
                "{}: process {} ({}) works with it: `qwip stop {}` ends that",
                model.name,
                process.pid,
                process.command,
                process.pid
            );
        }
    }
    if !args.yes && input::from_terminal() && output::to_terminal() && !agreed(&meant)? {
        return line("Nothing was removed.");
    }
    let mut freed = 0;
    for model in &meant {
        freed += remove::remove(model)?;
        line(format_args!("removed {}", model.name))?;
    }
    line(format_args!("{} are free now", bytes(freed)))
}

/// Which of the models a text means.
fn find(held: &[Held], text: &str) -> anyhow::Result<usize> {
    if let Some(at) = held.iter().position(|model| model.name == text) {
        return Ok(at);
    }
    if let Some(title) = catalog::owner(text) {
        bail!("{text}: this lies in the folder of {title}, which qwip only reads: remove it with {title}");
    }
    if Path::new(text).exists() {
        bail!("{text}: this is a file of yours: rm removes only what is in the caches of the hubs");
    }
    let name = match catalog::wanted(text) {
        Some(name) => name.map_err(anyhow::Error::msg)?,
        None => bail!("{text}: there is no such model (`qwip list` shows what there is)"),
    };
    let found: Vec<usize> = (0..held.len()).filter(|&at| is_meant(&held[at], &name)).collect();
    match found[..] {
        [at] => Ok(at),
        [] => bail!("{text}: it is not in the cache (`qwip list` shows what there is)"),
        _ => {
            let names: Vec<&str> = found.iter().map(|&at| held[at].name.as_str()).collect();
            bail!("{text}: there are several, say which: {}", names.join(", "))
        }
    }
}

fn is_meant(model: &Held, name: &Name) -> bool {
    let Some(file) = model.all.first() else { return false };
    let here = name.hub.is_none_or(|hub| hub == file.hub);
    let label = || {
        let stem = file.file.strip_suffix(".gguf").unwrap_or(&file.file);
        let (_, shown) = model.name.rsplit_once(':').unwrap_or_default();
        [quant_of(stem), shown.to_string()]
    };
    let quant = name.quant.as_ref();
    here && file.owner.eq_ignore_ascii_case(&name.owner)
        && file.repo.eq_ignore_ascii_case(&name.repo)
        && quant.is_none_or(|quant| label().iter().any(|label| label.eq_ignore_ascii_case(quant)))
}

/// Asks at the terminal.
fn agreed(models: &[Held]) -> anyhow::Result<bool> {
    for model in models {
        let size: u64 = model.used.iter().map(|file| file.size).sum();
        line(format_args!("{} ({})", model.name, bytes(size)))?;
    }
    output::print("Remove? [y/N] ")?;
    output::flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
