//! `hpips filestore`.

use serde::Deserialize;

use super::ls::printable;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;
use crate::rpc::Call;

/// Blocks that lie in the files they were added from, by `add --nocopy`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Filestore {
    /// List them.
    Ls {
        /// These CIDs only.
        cids: Vec<String>,
        /// In the order of the files.
        #[arg(long)]
        file_order: bool,
    },
    /// Check that the files still hold them.
    Verify {
        /// These CIDs only.
        cids: Vec<String>,
        /// In the order of the files.
        #[arg(long)]
        file_order: bool,
        /// Forget those whose file changed or is gone, pinned or not.
        #[arg(long)]
        remove_bad_blocks: bool,
    },
    /// List those that are in the store too.
    Dups,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Referenced {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    error_msg: String,
    key: Key,
    #[serde(default)]
    file_path: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    size: u64,
}

/// A CID as text, or as IPLD writes links.
#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Link(std::collections::BTreeMap<String, String>),
}

impl Key {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Link(link) => link.get("/").map_or("", String::as_str),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dup {
    #[serde(rename = "Ref", default)]
    reference: String,
    #[serde(default)]
    err: String,
}

/// Kubo's numbers for how a reference is, with its words.
fn status_word(status: i64) -> &'static str {
    match status {
        0 => "ok",
        10 => "error",
        11 => "no-file",
        12 => "changed",
        20 => "ERROR",
        30 => "missing",
        _ => "???",
    }
}

impl Filestore {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Ls { cids, file_order } => {
                let call = Call::new("filestore/ls").args(cids).flag("file-order", file_order);
                let mut missing = false;
                context.show(call, |it: Referenced, out| {
                    if it.status != 0 {
                        missing = true;
                        message(format_args!("{}", it.error_msg));
                        return Ok(());
                    }
                    Ok(writeln!(out, "{}", it.line())?)
                })?;
                done(!missing, "some references are not here")
            }
            Self::Verify { cids, file_order, remove_bad_blocks } => {
                let call = Call::new("filestore/verify")
                    .args(cids)
                    .flag("file-order", file_order)
                    .flag("remove-bad-blocks", remove_bad_blocks);
                let mut bad = false;
                context.show(call, |it: Referenced, out| {
                    bad |= it.status != 0;
                    if it.status == 20 {
                        message(format_args!("{}", it.error_msg));
                    }
                    // Kubo's numbers: the file is gone, or has other bytes.
                    let action = match (remove_bad_blocks, it.status) {
                        (false, _) => "",
                        (true, 11 | 12) => " remove",
                        (true, _) => " keep",
                    };
                    Ok(writeln!(out, "{:<7} {}{action}", status_word(it.status), it.line())?)
                })?;
                done(
                    !bad,
                    "files changed or are gone, and with them their blocks. Add them again: hpips add --nocopy FILE",
                )
            }
            Self::Dups => {
                let mut failed = false;
                context.show(Call::new("filestore/dups"), |dup: Dup, out| {
                    if dup.err.is_empty() {
                        return Ok(writeln!(out, "{}", dup.reference)?);
                    }
                    failed = true;
                    message(format_args!("hpips: {}", dup.err));
                    Ok(())
                })?;
                done(!failed, "the list is not complete")
            }
        }
    }
}

fn done(well: bool, otherwise: &str) -> anyhow::Result<Exit> {
    if well { Ok(Exit::Done) } else { Err(Stop::new(Exit::Failed, otherwise).into()) }
}

impl Referenced {
    fn line(&self) -> String {
        format!("{:<50} {:>6} {} {}", self.key.text(), self.size, printable(&self.file_path), self.offset)
    }
}
