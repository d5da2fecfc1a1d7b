//! Every decoder on its corpus and on seeded damage: the part of fuzzing that runs with every `cargo test`.

#![allow(unreachable_pub, reason = "the target list is shared with the fuzz package")]

mod mutate;
mod targets;

use std::fs;
use std::path::Path;

use mutate::{Dice, mutate};
use targets::TARGETS;

/// Damaged inputs a target. Ten times as many found nothing more.
const INPUTS: usize = 4_000;

#[test]
fn no_decoder_panics() {
    let seed = std::env::var("HPIPS_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_127);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut failures = Vec::new();
    for target in TARGETS {
        let mut inputs = (target.seeds)();
        if let Ok(entries) = fs::read_dir(corpus.join(target.name)) {
            inputs.extend(entries.flatten().map(|entry| fs::read(entry.path()).expect("a corpus file")));
        }
        inputs.push(Vec::new());
        let mut dice = Dice::new(seed);
        let damaged = (0..INPUTS).map(|_| {
            let mut input = mutate(&inputs[dice.below(inputs.len())], &mut dice);
            // Damage on damage now and then, so that more than one thing is wrong.
            if dice.below(4) == 0 {
                input = mutate(&input, &mut dice);
            }
            input
        });
        let damaged: Vec<_> = damaged.collect();
        let panics = |input: &&Vec<u8>| std::panic::catch_unwind(|| (target.run)(input)).is_err();
        if let Some(input) = inputs.iter().chain(&damaged).find(panics) {
            let shown: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            failures.push(format!("{} on {shown}", target.name));
        }
    }
    assert!(failures.is_empty(), "panics with HPIPS_FUZZ_SEED={seed}: {failures:#?}");
}

/// A folder of `fuzz_targets` that misses a decoder would be noticed by nobody else.
#[test]
fn every_target_has_its_fuzz_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the fuzz package");
    for target in TARGETS {
        let program = folder.join("fuzz_targets").join(format!("{}.rs", target.name));
        assert!(program.is_file(), "{} is missing: copy a neighbour", program.display());
        assert!(
            manifest.contains(&format!("name = \"{}\"", target.name)),
            "{} is not in the manifest",
            target.name
        );
    }
}
