//! `qwip completions` and `qwip man`: what shells and manual readers want to know of the command line.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::output;

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell, for instance: `qwip completions bash > ~/.local/share/bash-completion/completions/qwip`
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write qwip.1 and a page for each command into this folder; without it, qwip.1 is printed
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qwip", &mut script);
    output::print(String::from_utf8_lossy(&script))
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = &args.dir else {
        return output::print(String::from_utf8_lossy(&page(&command, "qwip")?));
    };
    let place = || dir.display().to_string();
    std::fs::create_dir_all(dir).with_context(place)?;
    write(dir, "qwip", &page(&command, "qwip")?)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let name = format!("qwip-{}", sub.get_name());
        write(dir, &name, &page(sub, &name)?)?;
        for below in sub.get_subcommands().filter(|below| below.get_name() != "help") {
            let name = format!("{name}-{}", below.get_name());
            write(dir, &name, &page(below, &name)?)?;
        }
    }
    Ok(())
}

/// The manual page of a command.
fn page(command: &clap::Command, name: &str) -> anyhow::Result<Vec<u8>> {
    let command = command.clone().name(name.to_string()).display_name(name.to_string());
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

fn write(dir: &Path, name: &str, page: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.1"));
    let place = || path.display().to_string();
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(place)?;
    file.write_all(page).with_context(place)?;
    file.persist(&path).with_context(place)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(&ManArgs { dir: Some(dir.path().into()) }).unwrap();
        for name in ["qwip", "qwip-chat", "qwip-quantize", "qwip-eval-kld"] {
            let text = std::fs::read_to_string(dir.path().join(format!("{name}.1"))).expect(name);
            assert!(text.contains(".SH NAME") && text.contains(&name.replace('-', "\\-")), "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("qwip-run.1")).unwrap();
        assert!(text.contains("QWIP_CTX_SIZE"), "variables of the environment are named");
    }
}
