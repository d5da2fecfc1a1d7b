//! The lines that `add` prints, and its bar.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::Add;
use crate::commands::ls::printable;

/// One thing that was added, with Kubo's names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) hash: String,
    pub(super) size: String,
}

/// Prints lines as they come, or only the last one, above a bar.
pub(super) struct Lines<'a> {
    add: &'a Add,
    is_json: bool,
    bar: ProgressBar,
    last: Option<Line>,
    roots: Vec<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(add: &'a Add, is_json: bool) -> Self {
        Self { add, is_json, bar: ProgressBar::hidden(), last: None, roots: Vec::new() }
    }

    /// Whether a bar is to be drawn.
    pub(super) fn wants_bar(&self) -> bool {
        let asked = self.add.progress.unwrap_or_else(|| io::stderr().is_terminal());
        asked && !self.is_json && !self.add.quiet && !self.add.quieter && !self.add.silent
    }

    /// Begins the bar. `bytes`: how many are to be read, where it is known.
    pub(super) fn begin(&mut self, bytes: Option<u64>) {
        let (length, template) = match bytes {
            Some(bytes) => (
                bytes,
                "{bar:32.[=> ]} {decimal_bytes} / {decimal_total_bytes}  {percent} %  {decimal_bytes_per_sec}  ETA {eta}",
            ),
            None => (0, "{decimal_bytes}  {decimal_bytes_per_sec}"),
        };
        let style = ProgressStyle::with_template(template).expect("a template of known keys");
        let style = style.progress_chars("=> ");
        self.bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(10));
        self.bar.set_style(style);
    }

    /// Moves the bar to this many bytes.
    pub(super) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    pub(super) fn print(&mut self, line: Line) -> io::Result<()> {
        if !self.add.quieter && !self.add.silent {
            self.bar.suspend(|| self.write(&line))?;
        }
        // Entries have a path; what was named has a name. The folder around all comes last and holds the rest.
        if self.add.wrap_with_directory {
            self.roots = vec![line.hash.clone()];
        } else if !line.name.contains('/') && !self.roots.contains(&line.hash) {
            self.roots.push(line.hash.clone());
        }
        self.last = Some(line);
        Ok(())
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_json {
            serde_json::to_writer(&mut out, line)?;
            writeln!(out)
        } else if self.add.quiet || self.add.quieter {
            writeln!(out, "{}", line.hash)
        } else {
            writeln!(out, "added {} {}", line.hash, printable(&line.name))
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        match self.last.take() {
            Some(line) if self.add.quieter && !self.add.silent => self.write(&line),
            _ => Ok(()),
        }
    }

    /// The CIDs of what was named, or of the folder around it.
    pub(super) fn roots(&self) -> &[String] {
        &self.roots
    }
}
