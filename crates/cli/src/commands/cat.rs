//! `hpips cat`.

use std::io::{self, Write};

use hpips_api::{content, escape};

use super::source::{Source, parse_path, reading};
use crate::context::Context;
use crate::exit::Exit;

/// Print a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// CID, or a path below one.
    #[arg(required = true)]
    paths: Vec<String>,
}

impl Cat {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let paths = self.paths.iter().map(|text| parse_path(text)).collect::<Result<Vec<_>, _>>()?;
        let source = Source::open(context)?;
        let mut out = io::stdout().lock();
        for path in paths {
            match &source {
                Source::Local(blocks) => content::cat(&path, blocks, &mut |part| out.write_all(&part))
                    .map_err(|error| reading(&path, error))?,
                Source::Node(node) => {
                    let url = format!("/hpips/v0/cat?path={}", escape(&path.to_string()));
                    context
                        .block_on(async { Ok(node.stream(&url, |part| out.write_all(part)).await?) })??;
                }
            }
        }
        out.flush()?;
        Ok(Exit::Done)
    }
}
