//! `hpips get`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use hpips_api::{content, view};
use hpips_client::export::export;
use hpips_types::ByteCount;
use serde::Serialize;

use super::source::{Source, absolute, parse_path, reading};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// Save a file or folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// CID, or a path below one.
    path: String,
    /// Where to; by default the last part of the path, here. It must not exist yet.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Saved {
    output: PathBuf,
    files: u64,
    bytes: u64,
    milliseconds: u128,
}

impl Report for Saved {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Saving file(s) to {}", self.output.display())?;
        let seconds = self.milliseconds as f64 / 1000.0;
        writeln!(out, "{} in {seconds:.2} s, every block checked", ByteCount::new(self.bytes).to_short())
    }
}

impl Get {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = parse_path(&self.path)?;
        let output = self.output.unwrap_or_else(|| path.name().into());
        let started = Instant::now();
        let (files, bytes) = match Source::open(context)? {
            Source::Local(blocks) => {
                let cid = content::resolve(&path, &blocks).map_err(|error| reading(&path, error))?;
                let report = export(cid, &blocks, &output, &mut |_| {}).map_err(not_here)?;
                (report.files, report.bytes.get())
            }
            Source::Node(node) => {
                let request = view::GetRequest { path: path.to_string(), target: absolute(&output)? };
                let answer: view::GetAnswer = context
                    .block_on(async { Ok(node.post("/hpips/v0/get", &request, super::LONG).await?) })?;
                (answer.files, answer.bytes)
            }
        };
        emit(&Saved { output, files, bytes, milliseconds: started.elapsed().as_millis() }, context.json)
    }
}

fn not_here(error: hpips_client::ExportError) -> anyhow::Error {
    use hpips_client::{ExportError, GetBlockError};
    match error {
        ExportError::Get { source: GetBlockError::NotFound { .. }, .. } => crate::exit::Stop::new(
            Exit::NotFound,
            format!("{}; a running node could look further", hpips_api::chain_text(&error)),
        )
        .into(),
        error => error.into(),
    }
}
