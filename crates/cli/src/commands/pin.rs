//! `hpips pin`.

use std::io::{self, Write};

use hpips_api::view::PinView;
use serde::Serialize;

use super::source::Source;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// What is kept from garbage collection.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Pin {
    /// List the pinned roots.
    Ls,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Pins(Vec<PinView>);

impl Report for Pins {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|pin| {
            let space = if pin.name.is_empty() { "" } else { " " };
            writeln!(out, "{} {}{space}{}", pin.cid, pin.kind, pin.name)
        })
    }
}

impl Pin {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::Ls = self;
        let pins = match Source::open(context)? {
            Source::Local(blocks) => blocks.0.pins().iter().map(PinView::from).collect(),
            Source::Node(node) => context.block_on(async { Ok(node.get("/hpips/v0/pins").await?) })?,
        };
        emit(&Pins(pins), context.json)
    }
}
