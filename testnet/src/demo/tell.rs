//! How the story is printed.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

/// Prints lines with the time since the start.
pub struct Teller<'a> {
    out: &'a mut (dyn Write + Send),
    started: Instant,
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("started", &self.started).finish_non_exhaustive()
    }
}

impl<'a> Teller<'a> {
    /// Prints to `out`; the time counts from here.
    pub fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, started: Instant::now() }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A line without time.
    pub(super) fn plain(&mut self, text: impl Display) -> std::io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A step.
    pub(super) fn step(&mut self, name: &str, text: impl Display) -> std::io::Result<()> {
        let seconds = self.started.elapsed().as_secs();
        writeln!(self.out, "{}:{:02}  {name:<8} {text}", seconds / 60, seconds % 60)?;
        self.out.flush()
    }

    /// What belongs to the step before.
    pub(super) fn more(&mut self, text: impl Display) -> std::io::Result<()> {
        writeln!(self.out, "{:15}{text}", "")?;
        self.out.flush()
    }
}

/// `1, 2 and 3`.
pub(super) fn list(numbers: &[usize]) -> String {
    match numbers {
        [] => "none".into(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

/// `nodes 1 and 2`, `node 3`.
pub(super) fn nodes(numbers: &[usize]) -> String {
    format!("node{} {}", if numbers.len() == 1 { "" } else { "s" }, list(numbers))
}

/// `1 min 34 s`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {:02} s", seconds % 60),
    }
}

/// `100,000,000.000000000`.
pub(super) fn grouped(amount: hpips_types::TokenAmount) -> String {
    let exact = amount.to_exact();
    let (whole, fraction) = exact.split_once('.').unwrap_or((&exact, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{out}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(list(&[]), "none");
        assert_eq!(nodes(&[4]), "node 4");
        assert_eq!(nodes(&[1, 2, 5]), "nodes 1, 2 and 5");
        assert_eq!(duration(Duration::from_secs(94)), "1 min 34 s");
        assert_eq!(grouped(hpips_types::TokenAmount::SUPPLY), "100,000,000.000000000");
        assert_eq!(grouped(hpips_types::TokenAmount::new(1)), "0.000000001");
        let mut out = Vec::new();
        Teller::new(&mut out).step("chain", "x").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "0:00  chain    x\n");
    }
}
