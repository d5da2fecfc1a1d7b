//! `cargo fuzz run pin_request`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = targets::TARGETS.iter().find(|target| target.name == "pin_request");
    (target.expect("the list has it").run)(data);
});
