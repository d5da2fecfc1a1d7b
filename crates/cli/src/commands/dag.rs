//! `hpips dag`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Redrawn, message};
use crate::rpc::{Call, Upload};
use crate::table;

/// Nodes of DAGs, and whole DAGs as CAR files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Dag {
    /// Print a node.
    Get {
        /// CID, or a path below one.
        path: String,
        /// Codec to print in.
        #[arg(long, value_name = "CODEC")]
        output_codec: Option<String>,
    },
    /// Store files as nodes; print their CIDs.
    Put(Put),
    /// Print the CID that a path leads to.
    Resolve {
        /// The path.
        path: String,
    },
    /// Count the blocks of DAGs.
    Stat {
        /// CIDs or paths of the roots.
        #[arg(required = true)]
        roots: Vec<String>,
        /// Show how far it is; by default on a terminal.
        #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        progress: Option<bool>,
    },
    /// Write a DAG to standard output as a CAR file.
    Export {
        /// CID of the root.
        root: String,
        /// Show how far it is; by default on a terminal.
        #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        progress: Option<bool>,
        /// Leave out what is not on this machine.
        #[arg(long)]
        local_only: bool,
    },
    /// Store the blocks of CAR files.
    Import(Import),
}

/// Store files as nodes; print their CIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// Files; standard input when there are none.
    data: Vec<PathBuf>,
    /// Codec to store in; dag-cbor by default.
    #[arg(long, value_name = "CODEC")]
    store_codec: Option<String>,
    /// Codec of the input; dag-json by default.
    #[arg(long, value_name = "CODEC")]
    input_codec: Option<String>,
    /// Pin the node.
    #[arg(long)]
    pin: bool,
    /// Hash function; sha2-256 by default.
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    /// Allow blocks of more than 2 MiB, which bitswap cannot carry.
    #[arg(long)]
    allow_big_block: bool,
}

/// Store the blocks of CAR files.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Files; standard input when there are none.
    paths: Vec<PathBuf>,
    /// Pin the roots that the files name; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pin_roots: Option<bool>,
    /// The files hold DAGs in part; implies --pin-roots=false.
    #[arg(long)]
    local_only: bool,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    /// Print how many blocks came.
    #[arg(long)]
    stats: bool,
    /// Allow blocks of more than 2 MiB, which bitswap cannot carry.
    #[arg(long)]
    allow_big_block: bool,
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    cid: Link,
    #[serde(default)]
    rem_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    cid: Link,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    unique_blocks: Option<u64>,
    total_size: u64,
    #[serde(default)]
    shared_size: u64,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    dag_stats: Vec<OneStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneStat {
    cid: String,
    size: u64,
    num_blocks: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Imported {
    root: Option<Root>,
    stats: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Root {
    cid: Link,
    #[serde(default)]
    pin_error_msg: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Counts {
    block_count: u64,
    block_bytes_count: u64,
}

impl Dag {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Get { path, output_codec } => {
                context.rpc()?.pour(Call::new("dag/get").arg(path).maybe("output-codec", &output_codec))
            }
            Self::Put(put) => {
                let call = Call::new("dag/put")
                    .maybe("store-codec", &put.store_codec)
                    .maybe("input-codec", &put.input_codec)
                    .maybe("hash", &put.hash)
                    .flag("pin", put.pin)
                    .flag("allow-big-block", put.allow_big_block)
                    .upload(Upload::all(&put.data));
                context.show(call, |stored: Stored, out| Ok(writeln!(out, "{}", stored.cid.cid)?))
            }
            Self::Resolve { path } => {
                context.show(Call::new("dag/resolve").arg(path), |resolved: Resolved, out| {
                    // No line end, as Kubo.
                    let slash = if resolved.rem_path.is_empty() { "" } else { "/" };
                    Ok(write!(out, "{}{slash}{}", resolved.cid.cid, resolved.rem_path)?)
                })
            }
            Self::Stat { roots, progress } => stat(context, roots, progress),
            Self::Export { root, progress, local_only } => export(context, root, progress, local_only),
            Self::Import(import) => import.run(context),
        }
    }
}

fn stat(context: &Context, roots: Vec<String>, progress: Option<bool>) -> anyhow::Result<Exit> {
    let progress = progress.unwrap_or_else(|| io::stderr().is_terminal()) && !context.json;
    let call = Call::new("dag/stat").args(roots).option("progress", progress.to_string());
    let mut line = Redrawn::default();
    context.show(call, |stat: Stat, out| {
        let Some(unique) = stat.unique_blocks else {
            let blocks: u64 = stat.dag_stats.iter().map(|one| one.num_blocks).sum();
            line.draw(format_args!(
                "Fetched/Processed {blocks} blocks, {} bytes ({})",
                stat.total_size,
                table::size(stat.total_size)
            ));
            return Ok(());
        };
        line.clear();
        let width = stat.dag_stats.iter().map(|one| one.cid.len()).max().unwrap_or(0);
        writeln!(out, "\n{:<width$}\t{:<15}\tSize", "CID", "Blocks")?;
        for one in &stat.dag_stats {
            writeln!(out, "{:<width$}\t{:<15}\t{}", one.cid, one.num_blocks, one.size)?;
        }
        writeln!(out, "\nSummary\nTotal Size: {} ({})", stat.total_size, table::size(stat.total_size))?;
        writeln!(out, "Unique Blocks: {unique}")?;
        writeln!(out, "Shared Size: {} ({})", stat.shared_size, table::size(stat.shared_size))?;
        Ok(writeln!(out, "Ratio: {:.6}\n\n", stat.ratio)?)
    })
}

fn export(context: &Context, root: String, progress: Option<bool>, local_only: bool) -> anyhow::Result<Exit> {
    if io::stdout().is_terminal() {
        return Err(Stop::usage(
            "a CAR file is no text for a terminal; nothing was written. Write hpips dag export CID > FILE.car",
        )
        .into());
    }
    let progress = progress.unwrap_or_else(|| io::stderr().is_terminal());
    let call = Call::new("dag/export").arg(root).flag("local-only", local_only);
    let mut out = io::stdout().lock();
    let mut line = Redrawn::default();
    let mut written = 0u64;
    context.rpc()?.bytes(call, |part| {
        io::Write::write_all(&mut out, part)?;
        written += part.len() as u64;
        if progress {
            line.draw(format_args!("{} exported", table::size(written)));
        }
        Ok(())
    })?;
    line.clear();
    io::Write::flush(&mut out)?;
    Ok(Exit::Done)
}

impl Import {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("dag/import")
            .maybe("pin-roots", &self.pin_roots)
            .flag("local-only", self.local_only)
            .flag("silent", self.silent)
            .flag("stats", self.stats)
            .flag("allow-big-block", self.allow_big_block)
            .upload(Upload::all(&self.paths));
        let mut failed = 0u64;
        context.show(call, |imported: Imported, out| {
            if let Some(root) = imported.root {
                if root.pin_error_msg.is_empty() {
                    writeln!(out, "Pinned root\t{}\tsuccess", root.cid.cid)?;
                } else {
                    failed += 1;
                    writeln!(out, "Pinned root\t{}\tFAILED: {}", root.cid.cid, root.pin_error_msg)?;
                }
            }
            if let Some(stats) = imported.stats {
                writeln!(out, "Imported {} blocks ({} bytes)", stats.block_count, stats.block_bytes_count)?;
            }
            Ok(())
        })?;
        if failed > 0 {
            message(format_args!(
                "hpips: {failed} roots not pinned: the files lack blocks. The blocks they have are stored, until the next repo gc"
            ));
            return Ok(Exit::Partly);
        }
        Ok(Exit::Done)
    }
}
