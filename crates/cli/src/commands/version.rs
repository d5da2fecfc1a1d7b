//! `hpips version`.

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// Show the program's version.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionCommand {
    /// The number only.
    #[arg(short, long)]
    number: bool,
    /// With the commit, where it is known.
    #[arg(long)]
    commit: bool,
    /// The version of the repo's format.
    #[arg(long)]
    repo: bool,
    /// All of it.
    #[arg(long)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    repo: String,
    #[serde(default)]
    system: String,
}

impl VersionCommand {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        context.repoless()?.show(context.json, Call::new("version"), |it: Version, out| {
            if self.all {
                writeln!(out, "HPIPS version: {}\nRepo version: {}", it.version, it.repo)?;
                return Ok(writeln!(out, "System version: {}", it.system)?);
            }
            if self.repo {
                return Ok(writeln!(out, "{}", it.repo)?);
            }
            let dash = if self.commit && !it.commit.is_empty() { "-" } else { "" };
            let commit = if self.commit { it.commit.as_str() } else { "" };
            let words = if self.number { "" } else { "hpips version " };
            Ok(writeln!(out, "{words}{}{dash}{commit}", it.version)?)
        })
    }
}
