//! One table for all benches: a figure, the limit beside it, their ratio and the ratio to reach.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// A figure and what it is held against.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured, as `module::operation/key=value`.
    pub(crate) what: String,
    /// The figure, with its unit.
    pub(crate) figure: String,
    /// The limit measured in the same run, with its unit; empty where the figure stands alone.
    pub(crate) limit: String,
    /// Figure over limit; more than 1 is better than the limit.
    pub(crate) ratio: Option<f64>,
    /// The ratio or figure to reach, in words.
    pub(crate) reach: String,
}

/// The result of a bench.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Facts of the run: sizes, cores, what was absent.
    pub(crate) notes: Vec<String>,
    /// Figures in reading order.
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Adds a speed in bytes a second beside its limit in the same unit.
    pub(crate) fn speed(&mut self, what: &str, bytes_per_s: f64, limit: Option<(&str, f64)>, reach: &str) {
        self.rows.push(Row {
            what: what.to_owned(),
            figure: format!("{:.0} MB/s", bytes_per_s / 1e6),
            limit: limit.map_or(String::new(), |(name, limit)| format!("{:.0} MB/s {name}", limit / 1e6)),
            ratio: limit.map(|(_, limit)| bytes_per_s / limit),
            reach: reach.to_owned(),
        });
    }

    /// Adds a time beside the time of its limit.
    pub(crate) fn time(&mut self, what: &str, took: Duration, limit: Option<(&str, Duration)>, reach: &str) {
        self.rows.push(Row {
            what: what.to_owned(),
            figure: format!("{:.6} s", took.as_secs_f64()),
            limit: limit
                .map_or(String::new(), |(name, limit)| format!("{:.6} s {name}", limit.as_secs_f64())),
            ratio: limit.map(|(_, limit)| limit.as_secs_f64() / took.as_secs_f64()),
            reach: reach.to_owned(),
        });
    }

    /// Adds a fact of the run.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// Wall time of a piece of work.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// Reads `4GiB`, `256MiB` and plain numbers.
pub(crate) fn bytes_of(text: &str) -> Option<u64> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = found.unwrap_or((text, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Bytes a second.
pub(crate) fn a_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}

/// Bytes that no two parts share and nothing compresses.
pub(crate) fn fill(part: &mut [u8], number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in part.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// Prints a table as Markdown, ready for `docs/bench`.
pub(crate) fn print(table: &Table) {
    let mut text = String::new();
    for note in &table.notes {
        writeln!(text, "- {note}").expect("a string takes everything");
    }
    text.push_str("\n| what | figure | limit | ratio | reach |\n|---|---|---|---|---|\n");
    for row in &table.rows {
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        writeln!(text, "| {} | {} | {} | {ratio} | {} |", row.what, row.figure, row.limit, row.reach)
            .expect("a string takes everything");
    }
    say(text.trim_end());
}

/// Writes a line to standard output; a closed pipe is nobody's fault.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
