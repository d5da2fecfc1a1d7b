//! Bitswap 1.2.0 as values: messages, sessions that ask, decisions that answer.
//!
//! Bytes and times go in, effects come out. Nothing here opens a stream, reads a clock, or knows what a peer is
//! beyond a key to tell two of them apart; `net` runs the machines over libp2p streams. The wire is Kubo's:
//! `/ipfs/bitswap/1.2.0`, varint-delimited protobuf, and Kubo's limits hold on real lengths.
//!
//! - [`BlockSource`]: where blocks are served from; implemented by the store.
//! - [`Message`]: one message of the protocol.
//! - [`Client`]: asks peers for blocks, re-asks others on refusal, silence, lies and closed connections.
//! - [`Server`]: decides what to answer and when a block may be loaded.

#![forbid(unsafe_code)]

mod client;
mod message;
mod proto;
mod server;
mod source;

pub use client::{Client, ClientLimits, Effect, RequestId, SessionId, Verdict};
pub use message::{
    Entry, MESSAGE_BYTES_MAX, Message, MessageError, Payload, Presence, WANTS_MAX, WantType, cid_of_payload,
};
pub use server::{Answer, Server, ServerLimits};
pub use source::{BlockSource, SourceError};

/// The protocol that is spoken, on both ends.
pub const PROTOCOL: &str = "/ipfs/bitswap/1.2.0";
