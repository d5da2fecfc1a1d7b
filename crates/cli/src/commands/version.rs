//! `hpips version`.

use std::io::{self, Write};

use hpips_api::view::Version;
use serde::Serialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// Show the program's version.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionCommand {}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Version);

impl Report for Shown {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "hpips version {}", self.0.version)
    }
}

impl VersionCommand {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        emit(&Shown(Version::default()), context.json)
    }
}
