//! `cargo fuzz run ipns_name`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = targets::TARGETS.iter().find(|target| target.name == "ipns_name");
    (target.expect("the list has it").run)(data);
});
