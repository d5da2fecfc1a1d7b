//! Results on stdout, everything else on stderr.

use std::io::{self, Write};

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
