//! `hpips completion`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Arguments;
use crate::exit::{Exit, Stop};

/// Print what a shell needs to complete commands, or write man pages.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Completion {
    /// For bash: hpips completion bash > /etc/bash_completion.d/hpips
    Bash,
    /// For zsh: hpips completion zsh > ~/.zfunc/_hpips
    Zsh,
    /// For fish: hpips completion fish > ~/.config/fish/completions/hpips.fish
    Fish,
    /// Write a man page for each command.
    Man {
        /// The folder; it is made when it is not there.
        dir: PathBuf,
    },
}

impl Completion {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let shell = match self {
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
            Self::Man { dir } => {
                return write_pages(&dir).map(|()| Exit::Done).map_err(|error| {
                    Stop::new(Exit::Failed, format!("cannot write man pages to {}: {error}", dir.display()))
                        .into()
                });
            }
        };
        // Into memory first: the generator panics when what it writes to is gone.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "hpips", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(Exit::Done)
    }
}

/// Writes a page for every command.
pub(crate) fn write_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    write_page(&command, dir)
}

fn write_page(command: &clap::Command, dir: &Path) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or("hpips").replace(' ', "-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    fs::write(dir.join(format!("{name}.1")), page)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_page(command, dir))
}
