//! `hpips pin`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::Redrawn;
use crate::rpc::Call;
use crate::table;

/// What is kept from garbage collection.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Pin {
    /// Pin DAGs, fetching what is not here.
    Add {
        /// CIDs or paths.
        #[arg(required = true)]
        paths: Vec<String>,
        /// With all they link to; so by default.
        #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        recursive: Option<bool>,
        /// A name for the pins.
        #[arg(short, long)]
        name: Option<String>,
        /// Show how far it is.
        #[arg(long)]
        progress: bool,
    },
    /// List pins.
    Ls(Ls),
    /// Remove pins.
    Rm {
        /// CIDs or paths.
        #[arg(required = true)]
        paths: Vec<String>,
        /// Pins with all they link to; so by default.
        #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        recursive: Option<bool>,
    },
    /// Move a pin to a newer DAG, reading what differs only.
    Update {
        /// CID or path of the pin.
        from: String,
        /// CID or path of the newer DAG.
        to: String,
        /// Remove the old pin; so by default.
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        unpin: Option<bool>,
    },
    /// Check that every block of the recursive pins is here.
    Verify {
        /// Print sound pins too.
        #[arg(long)]
        verbose: bool,
        /// Print the CIDs of broken pins only.
        #[arg(short, long)]
        quiet: bool,
    },
}

/// List pins.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// These only; an error when one is not pinned.
    paths: Vec<String>,
    /// direct, indirect, recursive or all.
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Print CIDs only.
    #[arg(short, long)]
    quiet: bool,
    /// Those whose name contains this.
    #[arg(short, long)]
    name: Option<String>,
    /// Print pins as they are found.
    #[arg(short, long)]
    stream: bool,
    /// With names.
    #[arg(long)]
    names: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    pins: Option<Vec<String>>,
    progress: Option<u64>,
    #[serde(default)]
    bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    pins: Vec<String>,
}

/// A pin of a stream, or all of them at once.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    keys: Option<BTreeMap<String, Kind>>,
    cid: Option<String>,
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kind {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Verified {
    #[serde(default)]
    cid: String,
    #[serde(default)]
    err: String,
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    bad_nodes: Vec<BadNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BadNode {
    cid: String,
    #[serde(default)]
    err: String,
}

impl Pin {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Add { paths, recursive, name, progress } => {
                let how = if recursive == Some(false) { "directly" } else { "recursively" };
                let call = Call::new("pin/add")
                    .args(paths)
                    .maybe("recursive", &recursive)
                    .maybe("name", &name)
                    .flag("progress", progress);
                let mut line = Redrawn::default();
                context.show(call, |added: Added, out| {
                    if let Some(nodes) = added.progress {
                        line.draw(format_args!(
                            "Fetched/Processed {nodes} nodes ({})",
                            table::size(added.bytes)
                        ));
                    }
                    for cid in added.pins.unwrap_or_default() {
                        line.clear();
                        writeln!(out, "pinned {cid} {how}")?;
                    }
                    Ok(())
                })
            }
            Self::Ls(ls) => ls.run(context),
            Self::Rm { paths, recursive } => {
                let call = Call::new("pin/rm").args(paths).maybe("recursive", &recursive);
                context.show(call, |changed: Changed, out| {
                    Ok(changed.pins.iter().try_for_each(|cid| writeln!(out, "unpinned {cid}"))?)
                })
            }
            Self::Update { from, to, unpin } => {
                let call = Call::new("pin/update").arg(from).arg(to).maybe("unpin", &unpin);
                context.show(call, |changed: Changed, out| {
                    if let [from, to] = changed.pins.as_slice() {
                        writeln!(out, "updated {from} to {to}")?;
                    }
                    Ok(())
                })
            }
            Self::Verify { verbose, quiet } => verify(context, verbose, quiet),
        }
    }
}

impl Ls {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let names = self.names || self.name.is_some();
        let call = Call::new("pin/ls")
            .args(self.paths)
            .maybe("type", &self.kind)
            .maybe("name", &self.name)
            .flag("quiet", self.quiet)
            .flag("names", names)
            // People get pins as they are found. Programs get the answer that they asked for.
            .flag("stream", self.stream || !context.json);
        let quiet = self.quiet;
        context.show(call, |listed: Listed, out| {
            let mut write = |cid: &str, kind: &str, name: &str| match (quiet, name) {
                (true, _) => writeln!(out, "{cid}"),
                (false, "") => writeln!(out, "{cid} {kind}"),
                (false, name) => writeln!(out, "{cid} {kind} {name}"),
            };
            if let Some(cid) = &listed.cid {
                write(cid, &listed.kind, &listed.name)?;
            }
            for (cid, pin) in listed.keys.unwrap_or_default() {
                write(&cid, &pin.kind, &pin.name)?;
            }
            Ok(())
        })
    }
}

fn verify(context: &Context, verbose: bool, quiet: bool) -> anyhow::Result<Exit> {
    let call = Call::new("pin/verify").flag("verbose", verbose).flag("quiet", quiet);
    let mut broken = 0u64;
    context.show(call, |pin: Verified, out| {
        if pin.cid.is_empty() && !pin.err.is_empty() {
            return Err(Stop::new(Exit::Failed, pin.err).into());
        }
        if pin.ok {
            if verbose && !quiet {
                writeln!(out, "{} ok", pin.cid)?;
            }
            return Ok(());
        }
        broken += 1;
        if quiet {
            return Ok(writeln!(out, "{}", pin.cid)?);
        }
        writeln!(out, "{} broken", pin.cid)?;
        for node in &pin.bad_nodes {
            writeln!(out, "  {}: {}", node.cid, node.err)?;
        }
        Ok(())
    })?;
    if broken > 0 {
        return Err(Stop::new(
            Exit::Failed,
            format!("{broken} pins lack blocks. Nothing else was lost. Fetch them again with hpips pin add CID while a node runs"),
        )
        .into());
    }
    Ok(Exit::Done)
}
