//! Columns of text, and sizes for people, as Kubo prints them.

use std::io::{self, Write};

/// Writes rows with each column, but the last, padded to its longest cell and one space.
pub(crate) fn write_table(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(|cell| cell.chars().count());
    let widths: Vec<usize> = (0..columns).map(|column| width(column).max().unwrap_or(0)).collect();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            if index + 1 == row.len() {
                writeln!(out, "{cell}")?;
            } else {
                write!(out, "{cell:<width$} ", width = widths[index])?;
            }
        }
    }
    Ok(())
}

/// Powers of 1000 to two digits: `7 B`, `1.2 kB`, `832 kB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let rounded = (value * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 {
        format!("{rounded:.1} {}", UNITS[unit])
    } else {
        format!("{rounded:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_kubo_prints_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (153, "153 B"),
            (1234, "1.2 kB"),
            (338_431, "338 kB"),
            (600_732, "601 kB"),
            (10_000_000_000, "10 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_are_padded_to_the_longest_cell() {
        let mut out = Vec::new();
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect();
        write_table(&mut out, &[row(&["a", "6", "x"]), row(&["bb", "600", "y z"])]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a  6   x\nbb 600 y z\n");
    }
}
