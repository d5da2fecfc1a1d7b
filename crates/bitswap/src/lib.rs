//! Bitswap, 1.0.0 to 1.2.0, as values: messages, sessions that ask, decisions that answer.
//!
//! Bytes and times go in, effects come out. Nothing here opens a stream, reads a clock, or knows what a peer is
//! beyond a key to tell two of them apart; `net` runs the machines over libp2p streams. The wire is Kubo's:
//! varint-delimited protobuf, and Kubo's limits hold on real lengths.
//!
//! - [`BlockSource`]: where blocks are served from; implemented by the store.
//! - [`Message`]: one message of the protocol.
//! - [`Protocol`]: the versions, and what each can say.
//! - [`Client`]: asks peers for blocks, re-asks others on refusal, silence, lies and closed connections.
//! - [`Server`]: decides whom to answer what and when a block may be loaded; keeps a [`Ledger`] for each peer.

#![forbid(unsafe_code)]

mod client;
mod ledger;
mod message;
mod proto;
mod protocol;
mod server;
mod source;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientLimits, Effect, RequestId, SessionId, Verdict};
pub use ledger::Ledger;
pub use message::{
    Entry, MESSAGE_BYTES_MAX, Message, MessageError, Payload, Presence, WANTS_MAX, WantType, cid_of_payload,
};
pub use protocol::Protocol;
pub use server::{Answer, Server, ServerLimits};
pub use source::{BlockSource, SourceError};

/// The newest version's name, see [`Protocol`].
pub const PROTOCOL: &str = "/ipfs/bitswap/1.2.0";
