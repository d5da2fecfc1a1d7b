//! The content engine against the machine: hashing, writing and reading as fast as it can.

use sha2::{Digest, Sha256};

use crate::table::{Table, timed};

/// Measures and tabulates.
pub(crate) fn run(_flags: &[String]) -> Table {
    let mut table = Table::default();
    table.speed("sha256/one core", sha256(256 << 20), None, "a limit");
    table
}

/// SHA-256 of so many bytes in blocks of 1 MiB on one core, bytes a second.
fn sha256(bytes: usize) -> f64 {
    let block = vec![7u8; 1 << 20];
    let ((), took) = timed(|| {
        for _ in 0..bytes >> 20 {
            std::hint::black_box(Sha256::digest(&block));
        }
    });
    bytes as f64 / took.as_secs_f64()
}
