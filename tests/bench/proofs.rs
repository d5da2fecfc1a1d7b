//! Proof of storage against the cost of its parts.

use hpips_crypto::{Fr, poseidon2};

use crate::table::{Table, timed};

/// Permutations a measurement.
const COUNT: u32 = 20_000;

/// Measures and tabulates.
pub(crate) fn run(_flags: &[String]) -> Table {
    let mut table = Table::default();
    let mut state = [Fr::from(1u64); 8];
    let ((), took) = timed(|| {
        for _ in 0..COUNT {
            state[0] = poseidon2::h8(&state);
        }
    });
    std::hint::black_box(state);
    table.time("poseidon2::h8/lanes=1", took / COUNT, None, "<= 16 us");
    table
}
