//! `qwip ps`: which processes of qwip have a model loaded.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use crate::output::{bytes, line};
use crate::running::{self, Process};
use crate::table;

#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Print a JSON list
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &PsArgs) -> anyhow::Result<()> {
    let processes = running::processes();
    if args.json {
        return line(serde_json::Value::from(processes.iter().map(object).collect::<Vec<_>>()));
    }
    if processes.is_empty() {
        return line("No qwip has a model loaded.");
    }
    let row = |process: &Process| {
        let memory = process.memory().map_or("-".into(), bytes);
        [
            process.pid.to_string(),
            process.command.clone(),
            process.model.clone(),
            bytes(process.weights),
            memory,
            process.context.to_string(),
            process.device.clone(),
            table::ago(UNIX_EPOCH.checked_add(Duration::from_secs(process.since))),
        ]
    };
    let head = ["PID", "COMMAND", "MODEL", "WEIGHTS", "MEMORY", "CONTEXT", "DEVICE", "SINCE"];
    table::print(head, &processes.iter().map(row).collect::<Vec<_>>())
}

fn object(process: &Process) -> serde_json::Value {
    json!({
        "pid": process.pid,
        "command": process.command,
        "model": process.model,
        "path": process.path.as_deref().map(|path| path.to_string_lossy()),
        "weight_bytes": process.weights,
        "memory_bytes": process.memory(),
        "context": process.context,
        "device": process.device,
        "since": process.since,
    })
}
