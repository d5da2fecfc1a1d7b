//! `hpips get`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use hpips_api::{content, view};
use hpips_client::export::export;
use hpips_types::ByteCount;
use serde::Serialize;

use super::source::{Source, absolute, parse_path, reading};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Report, emit};
use crate::rpc::Call;

/// Save a file or folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// CID, or a path below one.
    path: String,
    /// Where to; by default the last part of the path, here.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Save it as a TAR archive.
    #[arg(short, long)]
    archive: bool,
    /// Compress it with gzip.
    #[arg(short = 'C', long)]
    compress: bool,
    /// How hard to compress, 1 to 9.
    #[arg(short = 'l', long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=9))]
    compression_level: Option<u8>,
    /// Accepted because Kubo has it.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true)]
    progress: Option<Option<bool>>,
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
        let output = self.output.clone().unwrap_or_else(|| path.name().into());
        if self.archive || self.compress || self.compression_level.is_some() {
            return self.save_archive(context, output);
        }
        if context.has_api() {
            let text = "from another API only archives are saved: hpips get -a. Nothing was written";
            return Err(Stop::usage(text).into());
        }
        let started = Instant::now();
        let (files, bytes) = match Source::open(context)? {
            Source::Local(blocks) => {
                let cid = content::resolve(&path, &blocks).map_err(|error| reading(&path, error))?;
                let report = export(cid, &blocks, &output, &mut |_| {}).map_err(not_here)?;
                (report.files, report.bytes.get())
            }
            Source::Node(node) => {
                let request = view::GetRequest { path: path.to_string(), target: absolute(&output)? };
                let answer: view::GetAnswer =
                    context.ask(node.post("/hpips/v0/get", &request, super::LONG))?;
                (answer.files, answer.bytes)
            }
        };
        emit(&Saved { output, files, bytes, milliseconds: started.elapsed().as_millis() }, context.json)
    }

    /// Writes the archive beside its final name and renames it when it is whole.
    fn save_archive(&self, context: &Context, output: PathBuf) -> anyhow::Result<Exit> {
        let compress = self.compress || self.compression_level.is_some();
        let mut output = output;
        for (wanted, ending) in [(self.archive, "tar"), (compress, "gz")] {
            if wanted && output.extension().is_none_or(|found| found != ending) {
                let mut name = OsString::from(output);
                name.push(format!(".{ending}"));
                output = name.into();
            }
        }
        let mut call =
            Call::new("get").arg(self.path.clone()).flag("archive", self.archive).flag("compress", compress);
        call = call.maybe("compression-level", &self.compression_level);
        let mut part_name = OsString::from(&output);
        part_name.push(".part");
        let part_path = PathBuf::from(part_name);
        let refused = |error: io::Error| {
            Stop::new(Exit::Failed, format!("cannot write {}: {error}", part_path.display()))
        };
        let mut out = BufWriter::new(File::create(&part_path).map_err(refused)?);
        let saved = context.rpc().and_then(|rpc| {
            rpc.bytes(call, |part| Ok(out.write_all(part).map_err(refused)?))?;
            out.flush().map_err(refused)?;
            Ok(std::fs::rename(&part_path, &output).map_err(refused)?)
        });
        if let Err(error) = saved {
            // What is left of it is of no use; that it cannot be removed is not the news.
            let _ = std::fs::remove_file(&part_path);
            return Err(error);
        }
        if !context.json {
            writeln!(io::stdout(), "Saving archive to {}", output.display())?;
        }
        Ok(Exit::Done)
    }
}

fn not_here(error: hpips_client::ExportError) -> anyhow::Error {
    use hpips_client::{ExportError, GetBlockError};
    match error {
        ExportError::Get { source: GetBlockError::NotFound { .. }, .. } => Stop::new(
            Exit::NotFound,
            format!("{}; a running node could look further", hpips_api::chain_text(&error)),
        )
        .into(),
        error => error.into(),
    }
}
