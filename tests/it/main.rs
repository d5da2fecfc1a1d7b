//! End-to-end tests: real processes on this machine.
