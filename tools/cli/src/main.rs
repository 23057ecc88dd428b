//! The qwip command line: what the user typed, which command it is, and how the process ends.

mod args;
mod bench;
mod builtin;
mod catalog;
mod chat;
mod convert;
mod device;
mod doctor;
mod edit;
mod embed;
mod eval;
mod fit;
mod hub;
mod imatrix;
mod input;
mod interrupt;
mod kept;
mod list;
mod machine;
mod manual;
mod model_arg;
mod npy;
mod output;
mod places;
mod progress;
mod ps;
mod pull;
mod quantize;
mod rerank;
mod rm;
mod rope;
mod run;
mod running;
mod screen;
mod serve;
mod show;
mod split;
mod stop;
mod synthetic;
mod table;
mod tokenize;
mod voice;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use qwip_convert::ConvertError;

use args::{Cli, Command};
use output::{Ending, OutputClosed};

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::rewrite(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return wrong_call(&error),
    };
    let result = interrupt::install().and_then(|()| dispatch(cli)).and_then(|code| {
        output::flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        Err(error) => ended(&error),
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Some(Command::Chat(args)) => chat::run(args)?,
        Some(Command::Run(args)) => run::run(args)?,
        Some(Command::Embed(args)) => embed::run(&args)?,
        Some(Command::Rerank(args)) => rerank::run(&args)?,
        Some(Command::Serve(args)) => serve::run(args)?,
        Some(Command::Convert(args)) => convert::run(&args)?,
        Some(Command::Quantize(args)) => quantize::run(&args)?,
        Some(Command::Imatrix(args)) => imatrix::run(&args)?,
        Some(Command::Edit(args)) => edit::run(&args)?,
        Some(Command::Pull(args)) => pull::run(&args)?,
        Some(Command::Show(args)) => show::run(&args)?,
        Some(Command::Tokenize(args)) => tokenize::run(&args)?,
        Some(Command::Eval(args)) => eval::run(args)?,
        Some(Command::Bench(args)) => bench::run(&args)?,
        Some(Command::List(args)) => list::run(&args)?,
        Some(Command::Rm(args)) => rm::run(&args)?,
        Some(Command::Ps(args)) => ps::run(&args)?,
        Some(Command::Stop(args)) => stop::run(&args)?,
        Some(Command::Doctor(args)) => doctor::run(&args)?,
        Some(Command::Completions(args)) => manual::completions(&args)?,
        Some(Command::Man(args)) => manual::man(&args)?,
        None if input::from_terminal() && output::to_terminal() => {
            chat::run(chat::ChatArgs::from_environment()?)?;
        }
        None => {
            output::print_err(Cli::command().render_help());
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Help and version go to standard output; a wrong call is explained on one line.
fn wrong_call(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has seen enough of the help is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::print_err(text);
            ExitCode::from(2)
        }
        _ => {
            output::note(format_args!("qwip: {}", args::explained(error)));
            ExitCode::from(2)
        }
    }
}

/// Says what went wrong, if anything is to be said, and gives the exit status.
fn ended(error: &anyhow::Error) -> ExitCode {
    let interrupted = error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(Ending::Interrupted))
            || matches!(cause.downcast_ref(), Some(qwip::Error::Cancelled))
            || matches!(cause.downcast_ref(), Some(ConvertError::Cancelled))
    });
    if interrupted {
        return ExitCode::from(interrupt::STATUS);
    }
    if error.chain().any(|cause| cause.is::<OutputClosed>()) {
        return ExitCode::SUCCESS;
    }
    let too_long = |cause: &qwip::Error| matches!(cause, qwip::Error::PromptTooLong { .. });
    let hint = match error.chain().any(|cause| cause.downcast_ref().is_some_and(too_long)) {
        true => " (raise it with -c)",
        false => "",
    };
    output::note(format_args!("qwip: {}{hint}", output::one_line(error)));
    let usage = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Ending::Usage(_))));
    ExitCode::from(if usage { 2 } else { 1 })
}
