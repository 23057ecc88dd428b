//! `qwip rm`: removes models from the caches of the hubs.

use std::io::BufRead;
use std::path::Path;

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::catalog::hubs::{self, Held};
use crate::catalog::{self, remove};
use crate::hub::layout::Cached;
use crate::hub::unfinished::{self, Unfinished};
use crate::hub::{Name, quant_of};
use crate::input;
use crate::output::{self, bytes, line, note};
use crate::running::{self, Process};

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Names as `list` shows them: OWNER/REPO:QUANT, modelscope/OWNER/REPO:QUANT, or a short name
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<String>,
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(short = 'y', long, env = "QWIP_YES", value_parser = FalseyValueParser::new())]
    pub(crate) yes: bool,
}

/// What can be removed.
enum Thing {
    Model(Held),
    Rest(Unfinished),
}

impl Thing {
    fn name(&self) -> String {
        match self {
            Thing::Model(model) => model.name.clone(),
            Thing::Rest(rest) => hubs::rest_name(rest),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Thing::Model(model) => model.used.iter().map(|file| file.size).sum(),
            Thing::Rest(rest) => rest.have,
        }
    }

    /// Fails if a process needs it.
    fn check_unused(&self, processes: &[Process], rests: &[Unfinished]) -> anyhow::Result<()> {
        let name = self.name();
        match self {
            Thing::Rest(rest) if rest.is_busy() => bail!("{name}: a process is downloading it"),
            Thing::Rest(_) => Ok(()),
            Thing::Model(model) => {
                // Before anything is removed, also of the others.
                remove::check_inside(model)?;
                // Which file of the repository that is, the cache does not say: it may be a part of this model.
                let is_here = |rest: &&Unfinished| {
                    let of = |file: &Cached| {
                        (file.hub, &file.owner, &file.repo) == (rest.hub, &rest.owner, &rest.repo)
                    };
                    model.all.first().is_some_and(of) && rest.is_busy()
                };
                if rests.iter().any(|rest| is_here(&rest)) {
                    bail!("{name}: a process is downloading from the same repository; wait for it or end it");
                }
                let used = |process: &&Process| model.all.iter().any(|file| process.uses(&file.path));
                match processes.iter().find(used) {
                    Some(Process { pid, command, .. }) => {
                        bail!("{name}: process {pid} ({command}) works with it: `qwip stop {pid}` ends that")
                    }
                    None => Ok(()),
                }
            }
        }
    }

    fn remove(&self) -> anyhow::Result<u64> {
        match self {
            Thing::Model(model) => remove::remove(model),
            Thing::Rest(rest) => remove::remove_rest(rest),
        }
    }

    fn is_meant(&self, name: &Name) -> bool {
        let (hub, owner, repo) = match self {
            Thing::Rest(rest) => (rest.hub, &rest.owner, &rest.repo),
            Thing::Model(model) => match model.all.first() {
                Some(file) => (file.hub, &file.owner, &file.repo),
                None => return false,
            },
        };
        name.hub.is_none_or(|named| named == hub)
            && owner.eq_ignore_ascii_case(&name.owner)
            && repo.eq_ignore_ascii_case(&name.repo)
            && name.quant.as_ref().is_none_or(|quant| self.is_of(quant))
    }

    /// Whether this is the quantization, or the rest, that is called so.
    fn is_of(&self, quant: &str) -> bool {
        let mut labels = vec![self.name().rsplit_once(':').unwrap_or_default().1.to_string()];
        if let Thing::Model(model) = self {
            labels.extend(model.all.first().map(|file| quant_of(file.file.trim_end_matches(".gguf"))));
        }
        labels.iter().any(|label| label.eq_ignore_ascii_case(quant))
    }
}

pub(crate) fn run(args: &RmArgs) -> anyhow::Result<()> {
    let rests = unfinished::unfinished();
    let models = hubs::held().into_iter().map(Thing::Model);
    let mut things: Vec<Thing> = models.chain(rests.iter().cloned().map(Thing::Rest)).collect();
    let mut meant: Vec<Thing> = Vec::new();
    for text in &args.models {
        // Given twice, it is removed once.
        if meant.iter().any(|thing| thing.name() == *text) {
            continue;
        }
        let at = find(&things, text)?;
        meant.push(things.swap_remove(at));
    }
    let processes = running::processes();
    meant.iter().try_for_each(|thing| thing.check_unused(&processes, &rests))?;
    if !args.yes && !input::from_terminal() {
        return Err(output::usage("rm: there is no terminal to ask at: -y removes without asking"));
    }
    if !args.yes && !agreed(&meant)? {
        return line("Nothing was removed.");
    }
    let mut freed = 0;
    for thing in &meant {
        freed += thing.remove()?;
        line(format_args!("removed {}", thing.name()))?;
    }
    line(format_args!("{} are free now", bytes(freed)))
}

/// Which of the things a text means.
fn find(things: &[Thing], text: &str) -> anyhow::Result<usize> {
    if let Some(at) = things.iter().position(|thing| thing.name() == text) {
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
    let found: Vec<usize> = (0..things.len()).filter(|&at| things[at].is_meant(&name)).collect();
    match found[..] {
        [at] => Ok(at),
        [] => bail!("{text}: it is not in the cache (`qwip list` shows what there is)"),
        _ => {
            let names: Vec<String> = found.iter().map(|&at| things[at].name()).collect();
            bail!("{text}: there are several, say which: {}", names.join(", "))
        }
    }
}

/// Asks at the terminal, also where the output goes elsewhere.
fn agreed(things: &[Thing]) -> anyhow::Result<bool> {
    for thing in things {
        note(format_args!("{} ({})", thing.name(), bytes(thing.bytes())));
    }
    output::print_err("Remove? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
