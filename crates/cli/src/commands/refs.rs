//! `hpips refs`.

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;
use crate::rpc::Call;

/// List the CIDs that blocks link to.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Refs {
    #[command(subcommand)]
    which: Option<Which>,
    /// CIDs or paths.
    #[arg(required = true)]
    paths: Vec<String>,
    /// How to print a link: <src>, <dst> and <linkname> stand for its parts.
    #[arg(long)]
    format: Option<String>,
    /// Print `from -> to`.
    #[arg(short, long)]
    edges: bool,
    /// Print each CID once.
    #[arg(short, long)]
    unique: bool,
    /// Follow the links.
    #[arg(short, long)]
    recursive: bool,
    /// Follow them this deep only; -1 is all the way.
    #[arg(long, value_name = "DEPTH", allow_negative_numbers = true)]
    max_depth: Option<i64>,
}

#[derive(Debug, clap::Subcommand)]
enum Which {
    /// List every block on this machine.
    Local,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ref {
    #[serde(rename = "Ref", default)]
    reference: String,
    #[serde(default)]
    err: String,
}

impl Refs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = match self.which {
            Some(Which::Local) => Call::new("refs/local"),
            None => Call::new("refs")
                .args(self.paths)
                .maybe("format", &self.format)
                .flag("edges", self.edges)
                .flag("unique", self.unique)
                .flag("recursive", self.recursive)
                .maybe("max-depth", &self.max_depth),
        };
        let mut failed = None;
        context.show(call, |found: Ref, out| {
            if found.err.is_empty() {
                writeln!(out, "{}", found.reference)?;
            } else {
                message(format_args!("hpips: {}", found.err));
                failed = Some(found.err);
            }
            Ok(())
        })?;
        match failed {
            Some(_) => Err(Stop::new(Exit::Partly, "the list lacks what could not be read").into()),
            None => Ok(Exit::Done),
        }
    }
}
