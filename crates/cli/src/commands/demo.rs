//! `hpips demo`.

use std::io::{self, Write};
use std::path::PathBuf;

use hpips_testnet::demo::{DemoError, DemoOptions, Facts, PlaceError, Teller, demo};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Report, emit};

/// Show it all on this machine: pledge, add, prove, lose two machines, read, repair, pay.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// File or folder to store; by default the docs folder here.
    path: Option<PathBuf>,
    /// Leave the network running afterwards.
    #[arg(long)]
    keep: bool,
    /// Folder to work in; by default one of its own under the user's cache.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Told(Facts);

impl Report for Told {
    fn human(&self, _out: &mut dyn Write) -> io::Result<()> {
        // Every line was printed when it happened.
        Ok(())
    }
}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let options = DemoOptions {
            path: self.path,
            dir: self.dir,
            keep: self.keep,
            program: std::env::current_exe()?,
        };
        // With --json the lines are messages, the measurements the result.
        let mut out: Box<dyn Write + Send> =
            if context.json { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        let told = context.block_on(async { Ok(demo(&options, &mut Teller::new(&mut *out)).await) })?;
        match told {
            Ok(facts) => emit(&Told(facts), context.json),
            Err(DemoError::Interrupted) => {
                Err(Stop::new(Exit::Interrupted, DemoError::Interrupted.to_string()).into())
            }
            Err(DemoError::Place(
                error @ (PlaceError::NoDefault | PlaceError::Empty(_) | PlaceError::Path(_)),
            )) => Err(Stop::usage(hpips_api::chain_text(&error)).into()),
            Err(error) => Err(error.into()),
        }
    }
}
