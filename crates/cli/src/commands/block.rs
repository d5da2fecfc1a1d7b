//! `hpips block`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;
use crate::rpc::{Call, Upload};

/// Single blocks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Block {
    /// Print the bytes of a block.
    Get {
        /// CID of the block.
        cid: String,
    },
    /// Store files as blocks; print their CIDs.
    Put(Put),
    /// Print a block's CID and size.
    Stat {
        /// CID of the block.
        cid: String,
    },
    /// Remove blocks that nothing pins.
    Rm(Rm),
}

/// Store files as blocks; print their CIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// Files; standard input when there are none.
    data: Vec<PathBuf>,
    /// Codec of the CID; raw by default.
    #[arg(long, value_name = "CODEC")]
    cid_codec: Option<String>,
    /// Hash function; sha2-256 by default.
    #[arg(long, value_name = "HASH")]
    mhtype: Option<String>,
    /// Length of the hash; -1 is the function's own.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    mhlen: Option<i64>,
    /// Pin the blocks recursively.
    #[arg(long)]
    pin: bool,
    /// Allow blocks of more than 2 MiB, which bitswap cannot carry.
    #[arg(long)]
    allow_big_block: bool,
    /// Format of the CID as older versions named it: v0, protobuf, cbor, raw.
    #[arg(short, long, hide = true)]
    format: Option<String>,
}

/// Remove blocks that nothing pins.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// CIDs of the blocks.
    #[arg(required = true)]
    cids: Vec<String>,
    /// Blocks that are not here are fine.
    #[arg(short, long)]
    force: bool,
    /// Print what could not be removed only.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    key: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    #[serde(default)]
    hash: String,
    #[serde(default)]
    error: String,
}

impl Block {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Get { cid } => context.rpc()?.pour(Call::new("block/get").arg(cid)),
            Self::Put(put) => put.run(context),
            Self::Stat { cid } => context.show(Call::new("block/stat").arg(cid), |stat: Stat, out| {
                Ok(writeln!(out, "Key: {}\nSize: {}", stat.key, stat.size)?)
            }),
            Self::Rm(rm) => rm.run(context),
        }
    }
}

impl Put {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("block/put")
            .maybe("cid-codec", &self.cid_codec)
            .maybe("mhtype", &self.mhtype)
            .maybe("mhlen", &self.mhlen)
            .maybe("format", &self.format)
            .flag("pin", self.pin)
            .flag("allow-big-block", self.allow_big_block)
            .upload(Upload::all(&self.data));
        context.show(call, |stat: Stat, out| Ok(writeln!(out, "{}", stat.key)?))
    }
}

impl Rm {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("block/rm").args(self.cids).flag("force", self.force);
        let mut kept = 0u64;
        let mut all = 0u64;
        let quiet = self.quiet;
        context.show(call, |removed: Removed, out| {
            all += 1;
            if !removed.error.is_empty() {
                kept += 1;
                message(format_args!("cannot remove {}: {}", removed.hash, removed.error));
            } else if !quiet {
                writeln!(out, "removed {}", removed.hash)?;
            }
            Ok(())
        })?;
        match kept {
            0 => Ok(Exit::Done),
            _ if kept < all => Err(Stop::new(Exit::Partly, "some blocks not removed").into()),
            _ => Err(Stop::new(Exit::Failed, "some blocks not removed").into()),
        }
    }
}
