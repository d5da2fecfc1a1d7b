//! `hpips ls`.

use std::io::{self, Write};

use hpips_api::content::{self, EntryKind, Listing};
use hpips_api::escape;
use serde::Serialize;

use super::source::{Source, parse_path, reading};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// List a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// CID, or a path below one.
    path: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Listing);

impl Report for Listed {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        for entry in &self.0.entries {
            match entry.kind {
                EntryKind::Directory => writeln!(out, "{} - {}/", entry.cid, entry.name)?,
                _ => writeln!(out, "{} {} {}", entry.cid, entry.bytes, entry.name)?,
            }
        }
        Ok(())
    }
}

impl Ls {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = parse_path(&self.path)?;
        let listing = match Source::open(context)? {
            Source::Local(blocks) => content::list(&path, &blocks).map_err(|error| reading(&path, error))?,
            Source::Node(node) => {
                let url = format!("/hpips/v0/ls?path={}", escape(&path.to_string()));
                context.block_on(async { Ok(node.get_within(&url, super::LONG).await?) })?
            }
        };
        emit(&Listed(listing), context.json)
    }
}
