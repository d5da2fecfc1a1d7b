//! `just bench ROOM`: the figures of the design as ratios, each beside its limit measured in the same run.
//!
//! Built with the one profile of the house, run on demand, never part of a test run: nothing here asserts a time.

#[path = "../it/binary.rs"]
mod binary;
mod content;
mod net;
#[path = "../interop/node.rs"]
#[allow(dead_code, reason = "shared with the tests beside other programs, which use more of it")]
mod node;
mod proofs;
mod table;

use std::process::ExitCode;

/// Measures a room under the flags behind its name.
type Measure = fn(&[String]) -> table::Table;

/// The rooms that have a table: name, what it measures, the function that measures.
const ROOMS: &[(&str, &str, Measure)] = &[
    ("content", "add, get, cat, CAR and garbage collection", content::run),
    ("net", "bitswap between nodes, with Kubo, far away and beside floods", net::run),
    ("proofs", "hashing, sealing, commitments and proofs", proofs::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--nocapture");
    let room = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match ROOMS.iter().find(|(name, ..)| *name == room) {
        Some((.., measure)) => {
            table::print(&measure(&rest));
            ExitCode::SUCCESS
        }
        None => {
            table::say("just bench ROOM [FLAGS], where ROOM is one of:");
            for (name, what, _) in ROOMS {
                table::say(&format!("  {name:<10} {what}"));
            }
            ExitCode::from(2)
        }
    }
}
