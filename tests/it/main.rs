//! End-to-end tests: real processes on this machine, driven through the same HTTP interface and command line
//! that people use. None of them uses the demo's code.

mod binary;
mod local;
mod road;
mod telemetry;
