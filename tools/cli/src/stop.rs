//! `qwip stop`: ends processes of qwip that have a model loaded.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::output::{line, usage};
use crate::running::{self, Process};
use crate::{catalog, interrupt, output};

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// The model or the number of the process (as `ps` shows them); may be left out where only one runs
    #[arg(value_name = "MODEL|PID")]
    pub(crate) what: Option<String>,
    /// Stop all of them
    #[arg(long, env = "QWIP_ALL", value_parser = FalseyValueParser::new(), conflicts_with = "what")]
    pub(crate) all: bool,
}

/// So long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(30);

pub(crate) fn run(args: &StopArgs) -> anyhow::Result<()> {
    let mut processes = running::processes();
    match &args.what {
        Some(what) => {
            let all: Vec<String> = processes.iter().map(title).collect();
            processes.retain(|process| is_meant(process, what));
            if processes.is_empty() {
                let there = if all.is_empty() { "none".into() } else { all.join(", ") };
                bail!("{what}: no qwip with this model or number is running (running: {there})");
            }
        }
        None if processes.is_empty() => return line("No qwip has a model loaded."),
        None if !args.all && processes.iter().any(|other| other.pid != processes[0].pid) => {
            let all: Vec<String> = processes.iter().map(title).collect();
            return Err(usage(format!("several are running, {}: say which, or --all", all.join(", "))));
        }
        None => {}
    }
    // A server has a line for each of its models.
    let mut seen = HashSet::new();
    processes.retain(|process| seen.insert(process.pid));
    for process in &processes {
        process.end()?;
    }
    let _armed = interrupt::arm();
    let started = Instant::now();
    for process in &processes {
        while process.lives() {
            if interrupt::flag().is_cancelled() {
                return Err(output::Ending::Interrupted.into());
            }
            if started.elapsed() > PATIENCE {
                bail!("{} has not ended after {} s", title(process), PATIENCE.as_secs());
            }
            std::thread::sleep(GLANCE);
        }
        line(format_args!("stopped {}", title(process)))?;
    }
    Ok(())
}

fn title(process: &Process) -> String {
    format!("{} ({} {})", process.pid, process.command, process.model)
}

/// Whether `what` is the process's number, what its model was called, or another name of the same file.
fn is_meant(process: &Process, what: &str) -> bool {
    process.pid.to_string() == what
        || process.model == what
        || catalog::resolve(Path::new(what)).is_ok_and(|file| process.uses(&file))
}
