//! The libp2p host: connections, streams, bitswap, bulk pieces, gossip and consensus frames.
//!
//! [`Net::start`] gives a handle; everything else hangs on it:
//!
//! - [`Net::open`] and [`Net::accept`]: raw [`Stream`]s by protocol name, [`read_frame`] and [`write_frame`].
//! - [`rpc`]: one question, one answer.
//! - [`Session`]: blocks by CID from candidate peers, verified.
//! - [`bulk`]: pieces and ranges of them, verified by BLAKE3 while they arrive, resumable.
//! - [`piece`]: what client and provider say to each other around a piece.
//! - [`Net::routing`]: who has a block, where a peer is, which record stands under a name.
//! - [`Net::gossip`]: messages to all on a topic.
//! - [`Net::frames`]: small messages between consensus peers.
//!
//! A peer is an [`hpips_types::AccountId`]: the ed25519 key of its libp2p identity. Nothing from a peer is
//! believed, and nothing a peer does or leaves undone holds up the swarm's task.

mod address;
mod bandwidth;
mod behaviour;
mod bitswap;
pub mod bulk;
mod config;
mod connections;
mod dht;
mod dial;
mod filters;
mod frames;
mod gossip;
pub mod identity;
mod muxer;
mod net;
mod peers;
pub mod piece;
mod private;
mod routing;
pub mod rpc;
mod streams;
mod swarm;
mod tasks;
mod transport;
mod wire;

pub use address::is_public;
pub use bandwidth::BANDWIDTH_MIN;
pub use bitswap::{BlockStream, FetchError, Session, Stats};
pub use config::{Config, Dht, Limits, Reach};
pub use filters::{Filter, FilterError, Filters};
pub use frames::{FrameReceiver, FrameSender};
pub use gossip::{Gossip, GossipError, Publisher};
pub use libp2p::{Multiaddr, PeerId};
pub use net::{Incoming, Net, NoBlocks, StartError};
pub use peers::PeerInfo;
pub use private::{KEY_FILE_BYTES_MAX, PrivateKey, PrivateKeyError};
pub use routing::{FindProviders, Provider, Routing, RoutingError};
pub use streams::{AlreadyAccepted, OpenError};
pub use wire::{FrameError, Stream, read_frame, write_frame};
