//! Results on stdout, everything else on stderr.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::exit::Exit;

/// The result of a command: one value, seen by people or, with `--json`, by programs.
pub(crate) trait Report: Serialize {
    /// Writes what a person reads.
    fn human(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Prints a result.
pub(crate) fn emit(report: &impl Report, json: bool) -> anyhow::Result<Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    } else {
        report.human(&mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Prints a message for people. When even stderr is gone nobody can be told.
pub(crate) fn message(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether an error only says that the reader went away, as `head` does.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// An error and its causes in one line, each cause once.
pub(crate) fn chain_text(error: &anyhow::Error) -> String {
    hpips_api::chain_text(error.as_ref())
}

/// How often a line is redrawn at most.
const REDRAW: Duration = Duration::from_millis(100);

/// A line of progress on standard error that is drawn over again. Whoever uses it checks that there is a
/// terminal or that progress was asked for.
#[derive(Debug, Default)]
pub(crate) struct Redrawn {
    drawn: Option<Instant>,
}

impl Redrawn {
    /// Draws the line, unless it was drawn just now.
    pub(crate) fn draw(&mut self, text: impl std::fmt::Display) {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(Instant::now());
        // To the start of the line, and away with what stands there.
        let _ = write!(io::stderr().lock(), "\r\x1b[2K{text}");
    }

    /// Takes the line away, if there is one.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

impl Drop for Redrawn {
    fn drop(&mut self) {
        self.clear();
    }
}
