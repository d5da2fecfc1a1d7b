//! `hpips repo`.

use std::io::{self, IsTerminal};

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Redrawn, message};
use crate::rpc::Call;
use crate::table::{self, write_table};

/// The folder that holds it all.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Repo {
    /// Show how large it is.
    Stat {
        /// Sizes only.
        #[arg(short, long)]
        size_only: bool,
        /// Sizes in words.
        #[arg(short = 'H', long)]
        human: bool,
    },
    /// Remove blocks that nothing keeps.
    Gc {
        /// Go on after errors and print them.
        #[arg(long)]
        stream_errors: bool,
        /// Print CIDs only.
        #[arg(short, long)]
        quiet: bool,
        /// Print nothing.
        #[arg(long)]
        silent: bool,
    },
    /// Read every block and check it.
    Verify {
        /// Remove damaged blocks.
        #[arg(long)]
        drop: bool,
        /// Remove damaged blocks and fetch them again from the network.
        #[arg(long)]
        heal: bool,
        /// How long to look for one of them.
        #[arg(long, value_name = "TIME")]
        heal_timeout: Option<String>,
    },
    /// Show the version of its format.
    Version {
        /// The version only.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Bring it to the format of this program.
    Migrate {
        /// Version to reach; the newest by default.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        /// Go back, too.
        #[arg(long)]
        allow_downgrade: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    repo_size: u64,
    storage_max: u64,
    #[serde(default)]
    num_objects: u64,
    #[serde(default)]
    repo_path: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Collected {
    key: Option<Link>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checked {
    #[serde(default)]
    msg: String,
    #[serde(default)]
    progress: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

impl Repo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Stat { size_only, human } => {
                let call = Call::new("repo/stat").flag("size-only", size_only).flag("human", human);
                context.show(call, |stat: Stat, out| {
                    let size = |bytes: u64| if human { table::size(bytes) } else { bytes.to_string() };
                    let row = |name: &str, value: String| vec![name.to_owned(), value];
                    let mut rows = Vec::new();
                    if !size_only {
                        rows.push(row("NumObjects:", stat.num_objects.to_string()));
                    }
                    rows.push(row("RepoSize:", size(stat.repo_size)));
                    // The RPC has a number for none, as Kubo.
                    let is_limited = stat.storage_max != u64::MAX;
                    let max = if is_limited { size(stat.storage_max) } else { "no limit".to_owned() };
                    rows.push(row("StorageMax:", max));
                    if !size_only {
                        rows.push(row("RepoPath:", stat.repo_path));
                        rows.push(row("Version:", stat.version));
                    }
                    Ok(write_table(out, &rows)?)
                })
            }
            Self::Gc { stream_errors, quiet, silent } => {
                let call = Call::new("repo/gc")
                    .flag("stream-errors", stream_errors)
                    .flag("quiet", quiet)
                    .flag("silent", silent);
                let mut failed = false;
                context.show(call, |collected: Collected, out| {
                    if !collected.error.is_empty() {
                        failed = true;
                        message(format_args!("hpips: {}", collected.error));
                    }
                    match collected.key {
                        Some(key) if quiet => writeln!(out, "{}", key.cid)?,
                        Some(key) if !silent => writeln!(out, "removed {}", key.cid)?,
                        _ => {}
                    }
                    Ok(())
                })?;
                match failed {
                    true => Err(Stop::new(Exit::Partly, "encountered errors during gc run").into()),
                    false => Ok(Exit::Done),
                }
            }
            Self::Verify { drop, heal, heal_timeout } => {
                let call = Call::new("repo/verify")
                    .flag("drop", drop)
                    .flag("heal", heal)
                    .maybe("heal-timeout", &heal_timeout);
                let shown = io::stderr().is_terminal();
                let mut line = Redrawn::default();
                context.show(call, |checked: Checked, out| {
                    if checked.msg.is_empty() {
                        if shown {
                            line.draw(format_args!("{} blocks processed", checked.progress));
                        }
                        return Ok(());
                    }
                    line.clear();
                    Ok(writeln!(out, "{}", checked.msg)?)
                })
            }
            Self::Version { quiet } => context.show(Call::new("repo/version"), |version: Version, out| {
                let version = version.version;
                let version = if version.contains('@') { version } else { format!("hpips-repo@{version}") };
                let words = if quiet { "" } else { "hpips repo version " };
                Ok(writeln!(out, "{words}{version}")?)
            }),
            Self::Migrate { to, allow_downgrade } => {
                // An older store cannot be opened before.
                if !context.has_api() && context.running_node()?.is_none() {
                    hpips_node::migrate(&context.repo()?)?;
                }
                let call =
                    Call::new("repo/migrate").maybe("to", &to).flag("allow-downgrade", allow_downgrade);
                context.show(call, |checked: Checked, out| Ok(writeln!(out, "{}", checked.msg)?))
            }
        }
    }
}
