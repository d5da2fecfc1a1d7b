//! HPIPS beside the real thing: the same bytes, flags and questions given to Kubo and to npm's clients.
//!
//! Each test starts its own daemons on loopback and says "skipped" where a program is absent; `just interop`
//! installs them and runs all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

#[path = "../it/binary.rs"]
mod binary;
mod bitswap;
mod cids;
mod helia;
mod kubo;
#[allow(dead_code, reason = "shared with tests and benches that use more of it")]
mod node;
mod pinning;
mod routing;
mod rpc;
mod trees;
