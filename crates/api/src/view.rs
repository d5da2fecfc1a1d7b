//! What the endpoints say: the values that people and programs see.

use hpips_ledger::Event;
use hpips_types::{Height, View};
use serde::{Deserialize, Serialize};

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its version.
    pub version: String,
    /// System and processor it was built for.
    pub system: String,
}

impl Default for Version {
    fn default() -> Self {
        let system = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        Self { version: env!("CARGO_PKG_VERSION").into(), system }
    }
}

/// The node's names and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// libp2p name.
    pub peer_id: String,
    /// Account, as an `hp1` address.
    pub account: String,
    /// Multiaddresses it listens on, each ending in `/p2p/…`.
    pub addresses: Vec<String>,
}

/// One finalized block and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its height.
    pub height: Height,
    /// The view it was proposed in.
    pub view: View,
    /// Its proposer's account.
    pub proposer: String,
    /// SHA-256 of the block.
    pub digest: String,
    /// From its proposal, as seen by this node, to its finality, milliseconds; `None` where this node
    /// only followed.
    pub finality_ms: Option<u64>,
    /// What it did, in order.
    pub events: Vec<Event>,
}

/// A page of the block feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPage {
    /// Blocks in order of height, the first above what was asked for that is still remembered.
    pub blocks: Vec<BlockView>,
    /// The newest height this node knows final.
    pub height: Height,
}
