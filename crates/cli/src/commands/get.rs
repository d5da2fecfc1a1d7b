//! `hpips get`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use hpips_api::{CallError, content, view};
use hpips_client::export::export;
use hpips_types::ByteCount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    /// Show how far it is; by default on a terminal.
    #[arg(short, long, num_args = 0..=1, require_equals = true, value_name = "BOOL")]
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
                let offline = context.is_offline();
                let request =
                    view::GetRequest { path: path.to_string(), target: absolute(&output)?, offline };
                let bar = Bar::new(self.wants_bar(context));
                let answer =
                    context.ask(node.post_lines("/hpips/v0/get-lines", &request, |line| match line {
                        view::GetLine::Progress(progress) => {
                            bar.show(progress);
                            ControlFlow::Continue(())
                        }
                        view::GetLine::Done(answer) => ControlFlow::Break(Ok(answer)),
                        view::GetLine::Failed(error) => ControlFlow::Break(Err(CallError::from(error))),
                    }));
                drop(bar);
                let answer = answer??;
                (answer.files, answer.bytes)
            }
        };
        emit(&Saved { output, files, bytes, milliseconds: started.elapsed().as_millis() }, context.json)
    }

    fn wants_bar(&self, context: &Context) -> bool {
        let asked = self.progress.unwrap_or_else(|| Some(io::stderr().is_terminal())).unwrap_or(true);
        asked && !context.json
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

/// How far a node is with a file or folder; takes itself away.
struct Bar(ProgressBar);

impl Bar {
    fn new(is_wanted: bool) -> Self {
        if !is_wanted {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style("{msg}"));
        Self(bar)
    }

    fn show(&self, progress: view::GetProgress) {
        let view::GetProgress { bytes, all, fetched_bytes, holders } = progress;
        if all == 0 {
            self.0.set_message("looking for it");
            self.0.tick();
            return;
        }
        if self.0.length() != Some(all) {
            self.0.set_length(all);
            self.0.reset_eta();
            self.0.set_style(style(
                "{bar:32.[=> ]} {decimal_bytes} / {decimal_total_bytes}  {decimal_bytes_per_sec}{msg}  ETA {eta}",
            ));
        }
        self.0.set_message(match (fetched_bytes, holders) {
            (0, _) => String::new(),
            (_, 0) => "  from peers".to_owned(),
            (_, holders) => format!("  from {holders} holders"),
        });
        // A folder's root counts the blocks between the files too.
        self.0.set_position(bytes.min(all));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template of known keys").progress_chars("=> ")
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
