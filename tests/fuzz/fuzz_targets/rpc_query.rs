//! `cargo fuzz run rpc_query`.
#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = targets::TARGETS.iter().find(|target| target.name == "rpc_query");
    (target.expect("the list has it").run)(data);
});
