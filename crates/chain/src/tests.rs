//! Tests over several parts of the crate: whole networks on loopback, liars, decoders.

mod codec;
mod harness;
mod liars;
mod network;
