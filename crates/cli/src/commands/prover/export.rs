//! `hpips prover export`.

use std::io::{self, Write};

use hpips_provider::PostedProof;
use serde::Serialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// Print a window's proof that this node posted as JSON, with all that other programs need to check it.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Which window; by default the last. A node remembers the last it posted since it started.
    window: Option<u64>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(PostedProof);

impl Report for Shown {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &self.0)?;
        writeln!(out)
    }
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let node = context.node()?;
        let query = self.window.map_or(String::new(), |window| format!("?window={window}"));
        emit(&Shown(context.ask(node.get(&format!("/hpips/v0/proof{query}")))?), context.json)
    }
}
