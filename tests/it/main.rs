//! End-to-end tests: real processes on this machine, driven through the same HTTP interface and command line
//! that people use. None of them uses the demo's code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod binary;
mod killed;
mod local;
mod namespaces;
#[path = "../interop/node.rs"]
#[allow(dead_code, reason = "shared with the tests beside other programs, which use more of it")]
mod node;
mod resumed;
mod road;
mod routed;
mod telemetry;
