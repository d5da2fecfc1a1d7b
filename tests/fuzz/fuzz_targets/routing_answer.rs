//! `cargo fuzz run routing_answer`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = targets::TARGETS.iter().find(|target| target.name == "routing_answer");
    (target.expect("the list has it").run)(data);
});
